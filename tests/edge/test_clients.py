"""Requests of HTTP clients at their defaults, over plain HTTP, byte for byte."""

import asyncio

import pytest
from support.edge import DEADLINE_S, new_state, parse_answers, plain
from support.tools import require
from support.wait import wait_until

UPGRADE = (
    "Connection: Upgrade, HTTP2-Settings\r\n{length}Host: {host}\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
    "Upgrade: h2c\r\nUser-Agent: Java-http-client/{version}\r\n"
)
JSON = b'{"id":5}'
CHUNKED = b"8\r\n" + JSON + b"\r\n0\r\n\r\n"
# The heads of Java and curl were recorded here. For the others: Apache HttpClient 5.4, wiremock/wiremock#2861; Spring's
# RestClient on Java 21, MagicStack/httptools#124; .NET, whose `HttpWebRequest` and SOAP clients expect 100.
CLIENTS = {
    "Java 17, GET": (
        "GET {path} HTTP/1.1\r\n" + UPGRADE.format(length="Content-Length: 0\r\n", host="a:8080", version="17.0.15"),
        b"",
    ),
    "Java 25, GET": ("GET {path} HTTP/1.1\r\n" + UPGRADE.format(length="", host="a:8080", version="25.0.3"), b""),
    "Java 25, POST": (
        "POST {path} HTTP/1.1\r\n"
        + UPGRADE.format(length="Content-Length: 8\r\n", host="a:8080", version="25.0.3")
        + "Content-Type: application/json\r\n",
        JSON,
    ),
    "Spring's RestClient": (
        "POST {path} HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: a:8080\r\n"
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nTransfer-encoding: chunked\r\nUpgrade: h2c\r\n"
        "User-Agent: Java-http-client/21.0.2\r\nContent-Type: application/json\r\n",
        CHUNKED,
    ),
    "curl --http2": (
        "POST {path} HTTP/1.1\r\nHost: a:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
        "Content-Length: 8\r\nContent-Type: application/json\r\n",
        JSON,
    ),
    "Apache HttpClient 5.4": (
        "POST {path} HTTP/1.1\r\nAccept-Encoding: gzip, x-gzip, deflate\r\nContent-Length: 8\r\n"
        "Content-Type: application/json; charset=UTF-8\r\nHost: a:8080\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n"
        "User-Agent: Apache-HttpClient/5.4 (Java/21.0.2)\r\n",
        JSON,
    ),
    "Apache HttpClient 4": (
        "POST {path} HTTP/1.1\r\nContent-Length: 8\r\nContent-Type: application/json\r\nHost: a:8080\r\n"
        "Connection: Keep-Alive\r\nUser-Agent: Apache-HttpClient/4.5.14 (Java/17.0.15)\r\n"
        "Accept-Encoding: gzip,deflate\r\n",
        JSON,
    ),
    ".NET HttpClient": (
        "POST {path} HTTP/1.1\r\nHost: a:8080\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n"
        "Transfer-Encoding: chunked\r\nContent-Type: application/json; charset=utf-8\r\n",
        CHUNKED,
    ),
    ".NET HttpWebRequest": (
        "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nHost: a:8080\r\nContent-Length: 8\r\n"
        "Expect: 100-continue\r\nConnection: Keep-Alive\r\n",
        JSON,
    ),
    "through a forward proxy": (
        "POST http://a:8080{path} HTTP/1.1\r\nHost: a:8080\r\nProxy-Connection: Keep-Alive\r\nContent-Length: 8\r\n",
        JSON,
    ),
}


async def answered(reader, *, may_continue):
    async with asyncio.timeout(DEADLINE_S):
        raw = await reader.readuntil(b"\r\n\r\n")
        if may_continue and raw.startswith(b"HTTP/1.1 100 "):
            raw = await reader.readuntil(b"\r\n\r\n")
        length = int(raw.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        (answer,) = parse_answers(raw + await reader.readexactly(length))
    return answer


@pytest.mark.parametrize("client", CLIENTS)
async def test_two_requests_of_a_client_on_one_connection_are_two_calls(plane, edge, client):
    head, body = CLIENTS[client]
    reader, writer = await edge.connect()
    for _ in range(2):
        writer.write(f"{head.format(path=f'/cb/{new_state()}')}\r\n".encode())
        await writer.drain()
        writer.write(body)  # clients send it by itself
        answer = await answered(reader, may_continue="Expect" in head)
        assert (answer.status, answer.body, answer.all("connection")) == (200, b"ok", [])
    writer.close()
    assert [each.request_body for each in plane.requests] == [JSON if body else b""] * 2


async def test_curl_http2_makes_a_call(plane, edge):
    command = [require("curl"), "--silent", "--show-error", "--fail", "--http2", "--data", "a=b"]
    process = await asyncio.create_subprocess_exec(
        *command, f"http://127.0.0.1:{edge.port}/cb/{new_state()}", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (process.returncode, output) == (0, b"ok")
    (invoked,) = plane.requests
    assert invoked.request_body == b"a=b"
    assert ("upgrade", "h2c") in [(field.name, field.value) for field in invoked.request_headers]


async def test_a_client_that_offered_another_protocol_and_leaves_is_reported(plane, edge):
    """An offer that is ignored does not stop the edge from reading."""
    gate = plane.hold(plain(b"ok", call_id="call-1"))
    head, _ = CLIENTS["Java 17, GET"]
    _, writer = await edge.connect()
    writer.write(f"{head.format(path=f'/cb/{new_state()}')}\r\n".encode())
    await plane.until(lambda: plane.started)
    writer.close()
    await edge.until_disconnected()
    gate.set()
    await wait_until(lambda: plane.gone)
    assert plane.gone == ["call-1"]
