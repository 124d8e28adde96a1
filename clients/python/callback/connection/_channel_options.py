"""Options of the gRPC channels and servers of this library, and the reason for each."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest message accepted, in bytes; the server has the same limit. A full page of a list exceeds gRPC's 4 MiB."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Pings detect a dead peer while a call waits, well within the default deadline, and the next call opens a new
    # connection. `ping_timeout_ms` limits an unanswered ping, `keepalive_timeout_ms` limits lost packets.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    # Also on a stream that stays silent for long: a watch, a worker without calls. gRPC's default is two pings.
    ("grpc.http2.max_pings_without_data", 0),
    # Reconnect to a restarted server within two seconds; gRPC would wait up to two minutes. The minimum is also the
    # time limit of one attempt to connect.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Connections to an internal service do not use the web proxy that the environment may name.
    ("grpc.enable_http_proxy", 0),
)
"""The options of every client channel."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Without this a second server could silently take the same port, and receive half of the calls.
    ("grpc.so_reuseport", 0),
    # Callers may send pings to detect a dead peer; by default gRPC treats that as an attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""The options of a handler server."""
