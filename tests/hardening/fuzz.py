"""Malformed and unusual requests. The seed and a number determine each request, so it can be repeated.

Most of them are valid requests with a few errors, so that they pass as many checks as possible. Some are random bytes
from start to end.
"""

import random
import uuid

METHODS = [
    *["GET", "POST"] * 15,
    *["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "G@T"],
    "",
]
VERSIONS = [*["HTTP/1.1"] * 100, "HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/11", ""]
ENDS = [*[b"\r\n"] * 150, b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x00\r\n", b"\r\n ", b"\r\n\t"]
NAMES = [
    "Content-Length", "Transfer-Encoding", "Content-Type", "Connection", "Host", "Expect", "Upgrade", "Accept",
    "Accept-Language", "User-Agent", "Sec-Purpose", "Purpose", "X-Moz", "WebHook-Request-Origin", "Forwarded",
    "X-Forwarded-For", "X-Forwarded-Proto", "Authorization", "X-Hub-Signature-256", "X-GitHub-Delivery", "Cookie",
    "Trailer", "TE", "HTTP2-Settings", "Content-Encoding", "Range", "If-None-Match", "content_length", "X" * 300, "",
]  # fmt: skip
VALUES = [
    "0", "3", "-1", "+3", "0x3", "3, 3", "3,4", "1" * 25, "chunked", "Chunked", "chunked, chunked", "gzip", "identity",
    "close", "keep-alive", "Upgrade", "h2c", "websocket", "100-continue", "trailers", "a", "a, b", "127.0.0.1", "::1",
    "unknown", "[::1]:80, 10.0.0.1", "https", "prefetch", "sha256=" + "0" * 64, "sha256=", "Basic !", "Bearer x.y.z",
    "application/x-www-form-urlencoded", "application/json", "text/html", "text/html;q=nan, */*;q=1e999",
    "nl;q=0.5, *;q=0", "Slackbot", "Mozilla/5.0 (compatible)", "multipart/form-data; boundary=", "", "x" * 5000,
]  # fmt: skip
QUERIES = [
    "", "?", "??", "?state", "?state=", "?state=%00", "?hub.mode=subscribe&hub.challenge=1&hub.topic=https://blog.example/feed",
    "?validationToken=%ff", "?a=1&a=2", "?;", "?%", "?" + "&" * 500, "?" + "%FF" * 200, "#x", "?callback_confirm=1",
]  # fmt: skip
SUFFIXES = ["", "", "", "/", "//", "/..", "/.", "/../", ";a=b", "%00", "%2e", "%2F", "%", "%zz", "\\", " x", "\x7f"]
PREFIXES = [
    *["/cb/"] * 20,
    *["/cb//", "//cb/", "/cb/../cb/", "/./cb/", "/CB/", "/cbq/", "/cb%2F", "cb/", "/", "http://a/cb/"],
]
BODIES = [
    b"", b"abc", b"{}", b"[" * 2000, b'{"type":"url_verification","challenge":"x"}', b"callback_confirm=1", b"\xff\xfe",
    b"state=1&state=2", b"&" * 3000, b"%" * 300, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b"\x00" * 100,
]  # fmt: skip
LAST_CHUNKS = [
    *[b"0\r\n\r\n"] * 12, b"0\r\n\n", b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n", b"0",
]  # fmt: skip
SIZES = ["", "-", "+", "0x", " ", "0", "f" * 16, "f" * 21, "\x00"]


def payload(seed, n, targets):
    """Return the pieces to send on connection `n` of a run, and whether to end the connection after them.

    Args:
        seed: Seed of the run.
        n: Number of the connection in the run.
        targets: Paths, with query, of existing cases.
    """
    rng = random.Random(f"{seed} {n}")
    data = b"".join(_request(rng, targets) for _ in range(rng.choice((1, 1, 1, 1, 2, 3))))
    data = _mangled(rng, data)
    if rng.random() < 0.9:
        return [data], rng.random() < 0.99
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 5)))
    return [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)], strict=True)], rng.random() < 0.99


def _request(rng, targets):
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(1, 400))
    body = rng.choice(BODIES) if rng.random() < 0.9 else rng.randbytes(rng.randrange(2000))
    end = rng.choice(ENDS)
    method = rng.choice(METHODS)
    lines = [f"{method} {_path(rng, targets)} {rng.choice(VERSIONS)}".encode("latin-1")]
    lines += [b"Host: a"] * (rng.random() < 0.97)
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 1, 2, 3, 60))):
        lines.append(_field(rng))
    if body and rng.random() < 0.5:
        lines.append(b"Transfer-Encoding: chunked")
        body = _chunked(rng, body)
    elif body or method not in ("GET", "HEAD"):
        off = rng.choice((*[0] * 20, 1, -1, 10**7))
        lines.append(b"Content-Length: %d" % (len(body) + off))
    head = b"".join(line + (rng.choice(ENDS) if rng.random() < 0.02 else end) for line in lines)
    return head + (b"\r\n" if rng.random() < 0.98 else rng.choice(ENDS)) + body


def _path(rng, targets):
    path = rng.choice(targets)
    kind = rng.random()
    if kind < 0.35:
        return path
    if kind < 0.5:
        return path + (rng.choice(QUERIES) if "?" not in path else "&" + rng.choice(QUERIES)[1:])
    state = rng.choice([path.rpartition("/")[2], str(uuid.UUID(int=rng.getrandbits(128), version=4))])
    if kind < 0.6:
        state = state.upper()
    elif kind < 0.8:
        at = rng.randrange(len(state) + 1)
        state = state[:at] + rng.choice(["%2D", "%", "\xe9", "\x00", "/", "a", "", "%ff", "\u00a0"]) + state[at + 1 :]
    return rng.choice(PREFIXES) + state + rng.choice(SUFFIXES) + rng.choice(QUERIES)


def _field(rng):
    name, value = rng.choice(NAMES), rng.choice(VALUES)
    colon = rng.choice([*[": "] * 100, ":", " : ", ":\t", "", ":\x0b"])
    return f"{name}{colon}{value}".encode("latin-1")


def _chunked(rng, body):
    out = b""
    while body:
        size = rng.randrange(1, len(body) + 1)
        wrong = rng.choice(SIZES) if rng.random() < 0.05 else ""
        extension = rng.choice((";a=b", ";", ";\n", ";\r", " ", "\x00")) if rng.random() < 0.05 else ""
        end = rng.choice(ENDS) if rng.random() < 0.05 else b"\r\n"
        out += f"{wrong}{size:x}{extension}".encode() + end + body[:size] + b"\r\n"
        body = body[size:]
    return out + rng.choice(LAST_CHUNKS)


def _mangled(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 1, 4))):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(3)] = rng.choice(
            (b"", b"\x00", b"\r", b"\n", b" ", b":", b"\xff", b"\r\n", b"\r\n\r\n", rng.randbytes(2))
        )
    if rng.random() < 0.03:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data)
