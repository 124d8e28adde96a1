"""Ambiguous HTTP requests, byte for byte, that two implementations may parse differently (request smuggling).

Each calls the case of `STATE`; a test can replace it by another state of the same length. `HIDDEN` looks like a request
but is none: it stands in a body, or after bytes that end the connection. Only a wrong parser sees it.
"""

STATE = b"3f2b8c1e-9d4a-4b6f-8e21-7c5d0a9b1e34"
PATH = b"/cb/" + STATE
HIDDEN = b"GET " + PATH + b"?hidden HTTP/1.1\r\nHost: a\r\n\r\n"


def get(*fields, target=PATH, version=b"HTTP/1.1", method=b"GET", end=b"\r\n"):
    """Return a request without a body, with exactly these fields."""
    return end.join([b" ".join([method, target, version]), *fields, b"", b""])


def post(*fields, body=b"", host=b"Host: a", target=PATH):
    """Return a POST with exactly these fields and this body."""
    return get(host, *fields, method=b"POST", target=target) + body


def sized(body):
    """Return the field for the length of a body."""
    return b"Content-Length: %d" % len(body)


def chunked(*lines, method=b"POST"):
    """Return a request with a chunked body of these bytes."""
    return get(b"Host: a", b"Transfer-Encoding: chunked", method=method) + b"".join(lines)


CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
END_AND_HIDDEN = b"0\r\n\r\n" + HIDDEN
_HIDDEN_CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)


def doubtful(*fields):
    """Return a POST whose body ends at once when read as chunks, or has the given length.

    A parser's treatment of the `Transfer-Encoding` in the fields decides which of the two it reads.
    """
    return post(*fields, sized(END_AND_HIDDEN), body=END_AND_HIDDEN)


BAD = {
    # conflicting message lengths
    "TE and CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=CHUNKS), 400),
    "CL and TE": (post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=CHUNKS), 400),
    "TE and CL: 0": (post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=CHUNKS), 400),
    "TE ends, CL hides": (doubtful(b"Transfer-Encoding: chunked"), 400),
    "CL ends, TE hides": (post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=_HIDDEN_CHUNK), 400),
    "TE in HTTP/1.0": (get(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", method=b"POST") + CHUNKS, 400),
    "TE and CL in HTTP/1.0": (
        get(b"Transfer-Encoding: chunked", sized(END_AND_HIDDEN), version=b"HTTP/1.0", method=b"POST") + END_AND_HIDDEN,
        400,
    ),
    "TE and CL of a GET": (
        get(b"Host: a", b"Transfer-Encoding: chunked", sized(END_AND_HIDDEN)) + END_AND_HIDDEN,
        400,
    ),
    "CL twice, different": (post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), 400),
    "CL twice, hiding": (post(b"Content-Length: 0", sized(HIDDEN), body=HIDDEN), 400),
    "CL twice, hiding, the other way": (post(sized(HIDDEN), b"Content-Length: 0", body=HIDDEN), 400),
    "CL list, different": (post(b"Content-Length: 3, 4", body=b"abcd"), 400),
    "CL empty": (post(b"Content-Length:", body=HIDDEN), 400),
    "CL with a sign": (post(b"Content-Length: +3", body=b"abc"), 400),
    "CL negative": (post(b"Content-Length: -3", body=b"abc"), 400),
    "CL hexadecimal": (post(b"Content-Length: 0x3", body=b"abc"), 400),
    "CL in two words": (post(b"Content-Length: 3 3", body=b"abc"), 400),
    "CL as a fraction": (post(b"Content-Length: 3.0", body=b"abc"), 400),
    "CL in quotes": (post(b'Content-Length: "3"', body=b"abc"), 400),
    "CL with underscore": (post(b"Content-Length: 1_0", body=b"a" * 10), 400),
    "CL of 30 digits": (post(b"Content-Length: " + b"1" * 30), 400),
    "CL not ASCII": (post(b"Content-Length: \xb2"), 400),
    "CL after a vertical tab": (post(b"Content-Length: \x0b3", body=b"abc"), 400),
    "TE gzip": (post(b"Transfer-Encoding: gzip", body=CHUNKS), 501),
    "TE gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 501),
    "TE chunked, identity": (post(b"Transfer-Encoding: chunked, identity", body=CHUNKS), 501),
    "TE twice": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS), 501),
    "TE with a tail": (doubtful(b"Transfer-Encoding: chunkedx"), 501),
    "TE with a head": (doubtful(b"Transfer-Encoding: xchunked"), 501),
    "TE in quotes": (doubtful(b'Transfer-Encoding: "chunked"'), 501),
    "TE with a parameter": (doubtful(b"Transfer-Encoding: chunked;a=b"), 501),
    "TE with a comma before": (doubtful(b"Transfer-Encoding: , chunked"), 501),
    "TE with a comma after": (doubtful(b"Transfer-Encoding: chunked,"), 501),
    "TE empty": (doubtful(b"Transfer-Encoding:"), 501),
    "TE identity": (doubtful(b"Transfer-Encoding: identity"), 501),
    "TE then identity": (doubtful(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 501),
    "TE after a control": (doubtful(b"Transfer-Encoding: \x01chunked"), 501),
    "TE after a no-break space": (doubtful(b"Transfer-Encoding: \xa0chunked"), 501),
    "TE after a vertical tab": (doubtful(b"Transfer-Encoding: \x0bchunked"), 400),
    "TE before a NUL": (doubtful(b"Transfer-Encoding: chunked\x00"), 400),
    "TE folded": (doubtful(b"Transfer-Encoding:\r\n chunked"), 400),
    "TE behind a space": (doubtful(b" Transfer-Encoding: chunked"), 400),
    "TE with a space before the colon": (doubtful(b"Transfer-Encoding : chunked"), 400),
    "TE with a tab before the colon": (doubtful(b"Transfer-Encoding\t: chunked"), 400),
    "TE with a NUL in its name": (doubtful(b"Transfer-Encoding\x00: chunked"), 400),
    "TE behind a bare LF": (doubtful(b"X: y\nTransfer-Encoding: chunked"), 400),
    "TE behind a bare CR": (doubtful(b"X: y\rTransfer-Encoding: chunked"), 400),
    "TE with a bare LF after": (doubtful(b"Transfer-Encoding: chunked\nX: y"), 400),
    # line ends and field lines
    "bare LF": (get(b"Host: a", end=b"\n"), 400),
    "bare CR": (get(b"Host: a", end=b"\r") + HIDDEN, 400),
    "one bare LF": (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "LF before the blank line": (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\n\r\n", 400),
    "CR CR LF": (get(b"Host: a", end=b"\r\r\n") + HIDDEN, 400),
    "folded line": (get(b"Host: a", b"X: b\r\n c"), 400),
    "folded with a tab": (get(b"Host: a", b"X: b\r\n\tc"), 400),
    "fold hides a length": (post(b"X: b\r\n Content-Length: 3", b"Content-Length: 3", body=b"abc"), 400),
    "fold after the request line": (b"GET " + PATH + b" HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", 400),
    "bare CR in a value": (get(b"Host: a", b"X: b\rc"), 400),
    "NUL in a value": (get(b"Host: a", b"X: b\x00c"), 400),
    "NUL in a name": (get(b"Host: a", b"X\x00: b"), 400),
    "space before the colon": (get(b"Host: a", b"X : b"), 400),
    "space before a length's colon": (post(b"Content-Length : 3", body=b"abc"), 400),
    "no colon": (get(b"Host: a", b"X"), 400),
    "empty name": (get(b"Host: a", b": b"), 400),
    "name not ASCII": (get(b"Host: a", b"\xe9: b"), 400),
    "name in brackets": (get(b"Host: a", b"(X): b"), 400),
    "two leading empty lines": (b"\r\n\r\n" + get(b"Host: a"), 400),
    "leading CR": (b"\r" + get(b"Host: a"), 400),
    "leading CR after an empty line": (b"\r\n\r" + get(b"Host: a"), 400),
    "leading LF after an empty line": (b"\r\n\n" + get(b"Host: a"), 400),
    "leading LF": (b"\n" + get(b"Host: a"), 400),
    "leading space": (b" " + get(b"Host: a"), 400),
    # request line
    "no version": (b"GET " + PATH + b"\r\nHost: a\r\n\r\n", 400),
    "two spaces": (b"GET  " + PATH + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tabs": (b"GET\t" + PATH + b"\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in the target": (get(b"Host: a", target=PATH + b"?a b"), 400),
    "words after the version": (get(b"Host: a", version=b"HTTP/1.1 x"), 400),
    "lower-case version": (get(b"Host: a", version=b"http/1.1"), 400),
    "HTTP/0.9": (get(b"Host: a", version=b"HTTP/0.9"), 505),
    "HTTP/1.2": (get(b"Host: a", version=b"HTTP/1.2"), 505),
    "HTTP/2.0": (get(b"Host: a", version=b"HTTP/2.0"), 505),
    "HTTP/3.7": (get(b"Host: a", version=b"HTTP/3.7"), 505),
    "HTTP/11": (get(b"Host: a", version=b"HTTP/11"), 400),
    "HTTP/1.1 with a zero": (get(b"Host: a", version=b"HTTP/1.01"), 400),
    "HTTP/1": (get(b"Host: a", version=b"HTTP/1"), 400),
    "another protocol's version": (get(b"Host: a", version=b"RTSP/1.0"), 400),
    "no Host": (get(), 400),
    "two Hosts": (get(b"Host: a", b"Host: a"), 400),
    "two Hosts, different": (get(b"Host: a", b"hOST: b"), 400),
    "target not ASCII": (get(b"Host: a", target=b"/cb/\xe9"), 400),
    "target not UTF-8": (get(b"Host: a", target=PATH + b"?\xc3("), 400),
    "NUL in the target": (get(b"Host: a", target=PATH + b"\x00"), 400),
    "DEL in the target": (get(b"Host: a", target=b"/cb/\x7f"), 400),
    "absolute form of a scheme unknown": (get(b"Host: a", target=b"file://a" + PATH), 400),
    "absolute form without an authority": (get(b"Host: a", target=b"http://" + PATH), 400),
    "absolute form with user information": (get(b"Host: a", target=b"http://b@a" + PATH), 400),
    "absolute form with a backslash": (get(b"Host: a", target=b"http://b\\a" + PATH), 400),
    "absolute form without slashes": (get(b"Host: a", target=b"http:" + PATH), 400),
    "authority form": (get(b"Host: a", target=b"a:80", method=b"CONNECT"), 405),
    "authority form of a GET": (get(b"Host: a", target=b"a:80"), 400),
    "CONNECT with a path": (get(b"Host: a", method=b"CONNECT"), 405),
    "OPTIONS *": (get(b"Host: a", target=b"*", method=b"OPTIONS"), 400),
    "no path": (get(b"Host: a", target=b"?state=" + STATE), 400),
    "empty target": (get(b"Host: a", target=b""), 400),
    "relative path": (get(b"Host: a", target=PATH[1:]), 400),
    "backslash for a slash": (get(b"Host: a", target=b"\\cb\\" + STATE), 400),
    "lower-case method": (get(b"Host: a", method=b"get"), 405),
    "method with a colon": (get(b"Host: a", method=b"GET:"), 400),
    # other protocols
    "PRI preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"\x00" * 50, 400),
    "PROXY protocol": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n" + get(b"Host: a"), 400),
    "nonsense": (b"\x00\x01\x02\x03", 400),
    "text": (b"hello\r\n\r\n", 400),
    # size
    "17 KiB head at once": (get(b"Host: a", b"X: " + b"x" * 17 * 1024), 431),
    "60 KiB head at once": (get(b"Host: a", b"X: " + b"x" * 60 * 1024), 431),
    "200 KiB head": (get(b"Host: a", b"X: " + b"x" * 200 * 1024), 431),
    "endless head": (b"GET " + PATH + b" HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300 * 1024, 431),
    "endless request line": (b"GET /" + b"x" * 100 * 1024, 431),
    "many fields": (get(b"Host: a", *[b"a: b"] * 510), 431),
    # bytes after the head
    "bad chunk size": (chunked(b"zz\r\nabc\r\n0\r\n\r\n"), 400),
    "no chunk size": (chunked(b"\r\nabc\r\n0\r\n\r\n"), 400),
    "negative chunk size": (chunked(b"-3\r\nabc\r\n0\r\n\r\n"), 400),
    "negative zero of a chunk": (chunked(b"-0\r\n\r\n", HIDDEN), 400),
    "chunk size with a sign": (chunked(b"+3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with 0x": (chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with an underscore": (chunked(b"0_3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size after a space": (chunked(b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size and more": (chunked(b"3 x\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size that wraps at 64 bits": (chunked(b"1" + b"0" * 15 + b"3\r\n", b"abc\r\n", END_AND_HIDDEN), 408),
    "chunk size of 21 digits": (chunked(b"0" * 20 + b"3\r\nabc\r\n0\r\n\r\n"), 400),
    "huge chunk size": (chunked(b"f" * 30 + b"\r\nabc"), 400),
    "bad chunk end": (chunked(b"3\r\nabcXX0\r\n\r\n"), 400),
    "chunk longer than it says": (chunked(b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    "chunk shorter than it says": (chunked(b"4\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk ended by LF": (chunked(b"3\r\nabc\n0\r\n\r\n"), 400),
    "chunk size ended by LF": (chunked(b"3\nabc\r\n0\r\n\r\n"), 400),
    "chunk size ended by CR": (chunked(b"3\rabc\r\n0\r\n\r\n"), 400),
    "chunks in LF": (chunked(b"3\nabc\n0\n\n"), 400),
    "last chunk ended by LF": (chunked(b"3\r\nabc\r\n0\n\r\n"), 400),
    "LF after the last chunk": (chunked(b"3\r\nabc\r\n0\r\n\n"), 400),
    "extension with an LF": (chunked(b"3;\nab\r\nabc\r\n0\r\n\r\n"), 400),
    "extension with a CR": (chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), 400),
    "extension with a NUL": (chunked(b"3;a\x00b\r\nabc\r\n0\r\n\r\n"), 400),
    "extension hides a chunk": (
        chunked(b"2;\nxx\r\n%x\r\n" % len(HIDDEN), b"0\r\n\r\n", HIDDEN, b"\r\n0\r\n\r\n"),
        400,
    ),
    "trailer in LF": (chunked(b"0\r\nX: y\n\r\n"), 400),
    "trailer folded": (chunked(b"0\r\nX: y\r\n z\r\n\r\n"), 400),
    "trailer without a colon": (chunked(b"0\r\n", HIDDEN), 400),
}
"""Requests that are refused, with the status: the connection ends, and no call is made.

A proxy in front may refuse such a request too, or repair it; then it is one request, never two.
"""

TOLERATED = {
    "leading empty line": (b"\r\n" + get(b"Host: a"), [("", b"")]),
    "empty line after a body": (post(sized(b"abc"), body=b"abc\r\n") + get(b"Host: a"), [("", b"abc"), ("", b"")]),
    "empty line before each request": ((b"\r\n" + get(b"Host: a")) * 3, [("", b"")] * 3),
    "absolute form": (get(b"Host: a", target=b"http://evil.example" + PATH + b"?a=//b"), [("a=//b", b"")]),
    "absolute form, own host": (get(b"Host: a", target=b"HTTPS://a:8443" + PATH), [("", b"")]),
    "absolute form of an address": (get(b"Host: a", target=b"http://[::1]:80" + PATH), [("", b"")]),
    "h2c": (
        get(b"Host: a", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        [("", b"")],
    ),
    "h2c without Connection": (get(b"Host: a", b"Upgrade: h2c"), [("", b"")]),
    "h2c with a body": (
        post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
        [("", b"abc")],
    ),
    "h2c, then another": (
        get(b"Host: a", b"Connection: Upgrade", b"Upgrade: h2c", target=PATH + b"?1")
        + get(b"Host: a", target=PATH + b"?2"),
        [("1", b""), ("2", b"")],
    ),
    "h2c and then its preface": (
        get(b"Host: a", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
        + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        [("", b"")],
    ),
    "websocket": (
        get(
            b"Host: a",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
        ),
        [("", b"")],
    ),
    "websocket of a version unknown": (
        get(b"Host: a", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777"),
        [("", b"")],
    ),
    "TLS by Upgrade": (get(b"Host: a", b"Connection: Upgrade", b"Upgrade: TLS/1.2"), [("", b"")]),
    "CL twice, the same": (post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), [("", b"abc")]),
    "CL list, the same": (post(b"Content-Length: 3, 3", body=b"abc"), [("", b"abc")]),
    "CL with zeros before": (post(b"Content-Length: 0003", body=b"abc"), [("", b"abc")]),
    "TE after a tab": (post(b"Transfer-Encoding:\tchunked", body=CHUNKS), [("", b"abc")]),
    "control in a value": (get(b"Host: a", b"X: a\x01b"), [("", b"")]),
    "chunk size before a space": (chunked(b"3 \r\nabc\r\n0\r\n\r\n"), [("", b"abc")]),
    "chunk size of 20 digits": (chunked(b"0" * 19 + b"3\r\nabc\r\n0\r\n\r\n"), [("", b"abc")]),
    "empty Host": (get(b"Host:"), [("", b"")]),
    "Host that is none": (get(b"Host: a/../b c"), [("", b"")]),
    "Host with an empty label": (get(b"Host: a..b"), [("", b"")]),
    "Host with a long label": (get(b"Host: " + b"a" * 64 + b".b"), [("", b"")]),
    "Host not ASCII": (get(b"Host: \xe9\xff"), [("", b"")]),
    "many fields, no more than there is room for": (get(b"Host: a", *[b"a: b"] * 509), [("", b"")]),
    "HTTP/1.0": (get(version=b"HTTP/1.0"), [("", b"")]),
    "HTTP/1.0 with more behind": (get(version=b"HTTP/1.0") + HIDDEN, [("", b"")]),
    "fields that look like TE": (
        doubtful(b"Transfer_Encoding: chunked", b"X-Transfer-Encoding: chunked", b"Transfer-Encodin: chunked"),
        [("", END_AND_HIDDEN)],
    ),
    "expects something else": (post(b"Expect: 200-maybe", b"Content-Length: 3", body=b"abc"), [("", b"abc")]),
    "trailers that say how long it is": (
        chunked(b"3\r\nabc\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n"),
        [("", b"abc")],
    ),
}
"""Requests that are accepted, with the query and the body of each call.

A proxy in front may refuse such a request, but must not read it differently.
"""

GOOD = {
    "plain": (get(b"Host: a"), [("", b"")]),
    "empty query": (get(b"Host: a", target=PATH + b"?"), [("", b"")]),
    "question marks": (get(b"Host: a", target=PATH + b"??a=?"), [("?a=?", b"")]),
    "not UTF-8, encoded": (get(b"Host: a", target=PATH + b"?%ff=%c3%28%00"), [("%ff=%c3%28%00", b"")]),
    "slash at the end": (get(b"Host: a", target=PATH + b"/?a"), [("a", b"")]),
    "15 KiB head": (get(b"Host: a", b"X: " + b"x" * 15_000), [("", b"")]),
    "CL hides nothing": (post(sized(HIDDEN), body=HIDDEN), [("", HIDDEN)]),
    "TE hides nothing": (chunked(_HIDDEN_CHUNK), [("", HIDDEN)]),
    "space behind, as in a pasted link": (get(b"Host: a", target=PATH + b"%20"), [("", b"")]),
    "TE in capitals": (post(b"Transfer-Encoding: CHUNKED", body=CHUNKS), [("", b"abc")]),
    "TE named in another case": (post(b"tRANSFER-eNCODING: chunked", body=CHUNKS), [("", b"abc")]),
    "chunk size in capitals": (chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), [("", b"0123456789")]),
    "chunk extension": (chunked(b'3;a="b"\r\nabc\r\n0;c\r\n\r\n'), [("", b"abc")]),
    "trailer": (chunked(b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"), [("", b"abc")]),
    "body of a GET": (get(b"Host: a", sized(HIDDEN)) + HIDDEN, [("", HIDDEN)]),
    "chunks of a GET": (chunked(_HIDDEN_CHUNK, method=b"GET"), [("", HIDDEN)]),
    "expects 100": (post(b"Expect: 100-continue", sized(HIDDEN), body=HIDDEN), [("", HIDDEN)]),
    "bytes above 127 in a value": (get(b"Host: a", b"X: caf\xe9"), [("", b"")]),
    "spaces around a value": (get(b"Host: a", b"X: \t b \t"), [("", b"")]),
    "one after the other": (
        get(b"Host: a", target=PATH + b"?1") + post(sized(HIDDEN), body=HIDDEN) + get(b"Host: a", target=PATH + b"?3"),
        [("1", b""), ("", HIDDEN), ("3", b"")],
    ),
    "chunks, then another": (chunked(CHUNKS) + get(b"Host: a", target=PATH + b"?2"), [("", b"abc"), ("2", b"")]),
    "the last of its connection": (get(b"Host: a", b"Connection: close") + HIDDEN, [("", b"")]),
}
"""Unusual but unambiguous requests, with the query and the body of each call. Every parser reads them the same way."""

NOWHERE = {
    "HEAD": get(b"Host: a", method=b"HEAD"),
    "HEAD with a body": get(b"Host: a", sized(HIDDEN), method=b"HEAD") + HIDDEN,
    "OPTIONS with a body": get(b"Host: a", sized(HIDDEN), method=b"OPTIONS") + HIDDEN,
    "TRACE": get(b"Host: a", method=b"TRACE"),
    "TRACE with a body": get(b"Host: a", sized(HIDDEN), method=b"TRACE") + HIDDEN,
    "method unknown, with a body": get(b"Host: a", sized(HIDDEN), method=b"PROPFIND") + HIDDEN,
    "method of 300 letters": get(b"Host: a", method=b"A" * 300),
    "body for nobody": post(sized(HIDDEN), body=HIDDEN, target=b"/nowhere"),
    "chunks for nobody": get(b"Host: a", b"Transfer-Encoding: chunked", method=b"POST", target=b"/x") + _HIDDEN_CHUNK,
    "prefetch with a body": post(b"Purpose: prefetch", sized(HIDDEN), body=HIDDEN),
    "body cut short": post(b"Content-Length: 400", body=HIDDEN),
    "chunks cut short": chunked(b"fff\r\n", HIDDEN),
    "encoded hyphen": get(b"Host: a", target=PATH.replace(b"-", b"%2D")),
    "encoded slash": get(b"Host: a", target=b"/cb%2F" + STATE),
    "encoded path": get(b"Host: a", target=b"/%63%62/" + STATE),
    "slash doubled before": get(b"Host: a", target=b"/" + PATH),
    "slash doubled within": get(b"Host: a", target=b"/cb//" + STATE),
    "slash doubled after": get(b"Host: a", target=PATH + b"//"),
    "dot": get(b"Host: a", target=b"/./cb/" + STATE),
    "dots": get(b"Host: a", target=b"/x/../cb/" + STATE),
    "dots, encoded": get(b"Host: a", target=b"/x/%2e%2e/cb/" + STATE),
    "dots above the root": get(b"Host: a", target=b"/../cb/" + STATE),
    "dots after": get(b"Host: a", target=PATH + b"/.."),
    "semicolon": get(b"Host: a", target=PATH + b";a=b"),
    "semicolon before": get(b"Host: a", target=b"/;/cb/" + STATE),
    "NUL, encoded": get(b"Host: a", target=PATH + b"%00"),
    "not UTF-8, encoded, in the path": get(b"Host: a", target=PATH + b"%c3%28"),
    "overlong UTF-8, encoded": get(b"Host: a", target=b"/cb%c0%af" + STATE),
    "line end, encoded": get(b"Host: a", target=PATH + b"%0d%0aX:%20y"),
    "fragment": get(b"Host: a", target=PATH + b"#a"),
    "percent alone": get(b"Host: a", target=PATH + b"%"),
    "root": get(b"Host: a", target=b"/"),
    "absolute form of a root": get(b"Host: a", target=b"http://a"),
    "absolute form with a query only": get(b"Host: a", target=b"http://a?" + PATH),
    "absolute form twice": get(b"Host: a", target=b"http://a/http://a" + PATH),
    "service worker": get(b"Host: a", b"Service-Worker: script"),
    "very long": get(b"Host: a", target=PATH + b"x" * 12_000),
}
"""Unambiguous requests that are not calls of this case."""
