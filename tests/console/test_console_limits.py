"""What the console accepts, from whom, and how much of it at once: by raw sockets, against the running system."""

import asyncio
import contextlib
import gzip
import socket

import httpx
import pytest
from prometheus_client import REGISTRY
from support.connect import PATH
from support.console import running_console
from support.wait import wait_until

from callback import AsyncCallbackClient
from callback_api import admission, codecs
from callback_console import service, sessions
from callback_console.sessions import Sessions

FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
MESSAGE = codecs.MAX_BODY_BYTES
"""Bytes of a large message."""
PART = 256 * 1024
"""Bytes that an event loop reads from a connection at once."""


@pytest.fixture(autouse=True)
def at_once(limits):
    limits(admission, REFUSAL_S=0)


def sample(name, **labels):
    return REGISTRY.get_sample_value(f"callback_console_{name}", labels) or 0


def head(world, path, *fields, method="POST"):
    own = (f"Host: {world.console.address}", f"Origin: {world.url}", *fields)
    return f"{method} {path} HTTP/1.1\r\n".encode() + "".join(f"{each}\r\n" for each in own).encode() + b"\r\n"


@contextlib.asynccontextmanager
async def connection(world):
    reader, writer = await asyncio.open_connection(*world.console.address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def status(reader):
    return int((await reader.readuntil(b"\r\n\r\n")).split()[1])


async def exchanged(world, content):
    """Send bytes, and return the status of the answer."""
    async with connection(world) as (reader, writer):
        writer.write(content)
        return await status(reader)


async def cookie_of(world, name):
    async with world.visitor(name) as http:
        ((key, value),) = http.cookies.items()
        return f"Cookie: {key}={value}"


@pytest.mark.parametrize(
    ("path", "fields", "refused"),
    [
        ("/sign-in", [FORM, f"Content-Length: {service.MAX_TOKEN_FORM_BYTES + 1}"], 413),
        ("/sign-in", ["Content-Type: multipart/form-data; boundary=a", "Content-Length: 9"], 415),
        ("/callbacks", [FORM, "Content-Length: 9"], 411),
        ("/nowhere", [FORM, "Transfer-Encoding: chunked"], 411),
        ("/static/console.js", [JSON, "Content-Length: 9"], 415),
    ],
)
async def test_a_stranger_is_refused_before_a_body_is_read(world, path, fields, refused):
    assert await exchanged(world, head(world, path, *fields)) == refused


async def test_a_request_of_the_api_at_another_path_is_told_where_the_api_is(world):
    async with world.visitor() as http:
        reply = await http.post("/v1/CallbacksService/GetCallback", json={})
    assert (reply.status_code, "its API is at /callback.v1.SERVICE/RPC" in reply.text) == (415, True)


async def test_a_stranger_s_form_of_unknown_size_is_read_up_to_the_limit(world):
    chunk = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"
    content = head(world, "/sign-in", FORM, "Transfer-Encoding: chunked") + chunk * 5
    assert await exchanged(world, content) == 413


async def test_a_form_of_many_fields_is_refused_before_it_is_parsed(world):
    cookie = await cookie_of(world, "orders")
    for path, fields in (("/sign-in", [FORM]), ("/callbacks", [FORM, cookie])):
        body = b"a&" * (service.MAX_FIELDS + 1)
        sent = head(world, path, *fields, f"Content-Length: {len(body)}") + body
        assert await exchanged(world, sent) == 413, path
    query = "&".join("a" * (service.MAX_FIELDS + 2))
    assert await exchanged(world, head(world, f"/sign-in?{query}", method="GET")) == 400


@pytest.mark.parametrize("name", ["Cookie", "Accept-Language"])
async def test_headers_of_many_items_are_refused_before_they_are_parsed(world, name):
    separator = ";" if name == "Cookie" else ","
    for count, answer in ((service.MAX_HEADER_ITEMS, 200), (service.MAX_HEADER_ITEMS + 1, 400)):
        sent = head(world, "/sign-in", f"{name}: en{separator * count}", method="GET")
        assert await exchanged(world, sent) == answer


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        (["Cookie"], "Cookie: a=b"),
        ([FORM], "Content-Type: multipart/form-data; boundary=a"),
        (["Content-Type: multipart/form-data; boundary=a"], FORM),
        ([FORM], "Origin: http://other.example"),
    ],
)
async def test_a_header_that_decides_comes_once(world, limits, fields, more):
    """Of two cookies, one could be that of the session for Quart alone, and of two types the other one be taken."""
    limits(admission, MAX_REQUESTS_EACH=0)
    cookie = await cookie_of(world, "operator")
    if fields == ["Cookie"]:
        for pair in ((cookie, more), (more, cookie)):
            assert await exchanged(world, head(world, "/waiting", *pair, method="GET")) == 400
        return
    sent = head(world, "/sign-in", *fields, more, "Content-Length: 9") + b"token=abc"
    assert await exchanged(world, sent) == 400


async def test_a_body_that_does_not_arrive_ends_its_request(world, limits):
    limits(admission, ARRIVAL_S=0.1)
    cookie = await cookie_of(world, "orders")
    for fields in ([FORM], [FORM, cookie]):
        content = head(world, "/sign-in" if len(fields) == 1 else "/callbacks", *fields, "Content-Length: 9")
        assert await exchanged(world, content + b"a") == 408


async def test_a_sender_that_waits_until_it_is_invited_is_invited(world):
    body = f"token={world.tokens['orders']}".encode()
    async with connection(world) as (reader, writer):
        writer.write(head(world, "/sign-in", FORM, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert await status(reader) == 100
        writer.write(body)
        assert await status(reader) == 303


async def test_a_person_has_some_requests_at_once_and_leaves_the_others_room(world, limits):
    limits(admission, MAX_REQUESTS_EACH=2)
    cookie, others = [await cookie_of(world, name) for name in ("operator", "shop")]
    unfinished = head(world, "/callbacks", FORM, cookie, "Content-Length: 9", "Expect: 100-continue")
    async with connection(world) as (first, one), connection(world) as (second, two):
        one.write(unfinished)
        two.write(unfinished)
        assert [await status(each) for each in (first, second)] == [100, 100]  # their bodies are read
        before = sample("limited_total", limit="identity")
        assert await exchanged(world, head(world, "/waiting", cookie, method="GET")) == 429
        assert sample("limited_total", limit="identity") == before + 1
        assert await exchanged(world, head(world, "/waiting", others, method="GET")) == 200

    async def has_room():
        return await exchanged(world, head(world, "/waiting", cookie, method="GET")) == 200

    await wait_until(has_room, what="the end of the two requests")


@pytest.mark.parametrize(("limit", "refused"), [("MAX_BYTES_EACH", 429), ("MAX_BYTES", 503)])
async def test_the_bytes_in_flight_of_a_person_and_of_all_are_limited(world, limits, limit, refused):
    limits(admission, **{limit: 8})
    cookie = await cookie_of(world, "orders")
    sent = head(world, "/callbacks", FORM, cookie, "Content-Length: 9") + b"aaaaaaaaa"
    assert await exchanged(world, sent) == refused


async def test_the_requests_of_a_token_count_as_one_identity_and_leave_those_of_another_room(world, limits):
    cookie = await cookie_of(world, "stranger")
    limits(admission, MAX_REQUESTS_EACH=1)

    def request(name, *more, scheme="Bearer "):
        token = f"Authorization: {scheme}{world.tokens[name]}"
        return head(world, f"{PATH}ListCallbacks", JSON, token, "Content-Length: 2", *more)

    async with connection(world) as (answers, slow):
        slow.write(request("stranger", "Expect: 100-continue"))
        assert await status(answers) == 100  # its message is read
        for scheme in ("Bearer ", "bearer ", "BEARER  ", "Bearer     "):
            assert await exchanged(world, request("stranger", scheme=scheme) + b"{}") == 429
        assert await exchanged(world, head(world, "/waiting", cookie, method="GET")) == 429
        assert await exchanged(world, request("shop") + b"{}") == 200


async def test_a_message_of_many_members_of_gzip_is_refused_at_the_first(world):
    async with httpx.AsyncClient(base_url=f"{world.url}{PATH}") as http:
        http.headers = {"Authorization": f"Bearer {world.tokens['orders']}", "Content-Encoding": "gzip"}
        http.headers["Content-Type"] = "application/json"
        members = gzip.compress(b"{}") + gzip.compress(b"")
        for content in (members, gzip.compress(b"{}")[:-1], b"{}", gzip.compress(b"{}") + b"\0"):
            answer = await http.post("ListCallbacks", content=content)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
        assert (await http.post("ListCallbacks", content=gzip.compress(b"{}"))).status_code == 200
        answer = await http.post("ListCallbacks", content=gzip.compress(b" " * (codecs.MAX_BODY_BYTES + 1)))
        assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")


@pytest.mark.parametrize("name", ["work", "edge"])
async def test_a_token_without_the_role_is_refused_before_its_message(world, name):
    token = f"Authorization: Bearer {world.tokens[name]}"
    assert await exchanged(world, head(world, f"{PATH}GetCallback", JSON, token, "Content-Length: 1000000")) == 403


async def test_what_a_refused_caller_sends_comes_into_memory_in_parts(world, monkeypatch):
    held = []
    receive = asyncio.StreamReaderProtocol.data_received

    def receive_and_look(protocol, data):
        receive(protocol, data)
        held.append(len(protocol._stream_reader._buffer))

    monkeypatch.setattr(asyncio.StreamReaderProtocol, "data_received", receive_and_look)
    token = f"Authorization: Bearer {world.tokens['work']}"
    async with connection(world) as (reader, writer):
        writer.write(head(world, f"{PATH}GetCallback", JSON, token, f"Content-Length: {MESSAGE}") + b"x" * MESSAGE)
        assert await status(reader) == 403
        await writer.drain()
        await reader.read()
    assert max(held) < 2 * PART


async def test_http_2_is_not_spoken_and_pipelining_ends_the_connection(world):
    async with connection(world) as (reader, writer):
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert await status(reader) == 505
    async with connection(world) as (reader, writer):
        writer.write(head(world, "/static/console.js", method="GET") * 3)
        answers = await reader.read(-1)
        assert answers.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answers
    async with connection(world) as (reader, writer):
        for _ in range(2):  # one after the other, a connection serves several
            writer.write(head(world, "/static/console.js", method="HEAD"))
            assert await status(reader) == 200


async def test_connections_are_limited_by_address_behind_known_proxies(world, limits):
    async with running_console(world.system.grpc, trusted_proxies=[]) as console:
        held = [await asyncio.open_connection(*console.address) for _ in range(256)]
        reader, writer = await asyncio.open_connection(*console.address)
        assert await status(reader) == 429
        for _, each in (*held, (reader, writer)):
            each.transport.abort()


async def test_a_person_opens_some_live_pages_in_a_minute_and_leaves_the_others_theirs(world, limits):
    limits(service, LIVE_PAGES_PER_MINUTE=2)
    async with running_console(world.system.grpc) as console:
        origin = "http://{}:{}".format(*console.address)
        statuses = {}
        for name in ("shop", "orders"):
            async with httpx.AsyncClient(base_url=origin, headers={"Origin": origin}) as http:
                await http.post("/sign-in", data={"token": world.tokens[name]})
                statuses[name] = []
                for _ in range(3):
                    async with http.stream("GET", "/events") as answer:
                        statuses[name].append(answer.status_code)
    assert statuses == {"shop": [200, 200, 429], "orders": [200, 200, 429]}


async def test_a_live_page_with_a_body_is_refused(world):
    cookie = await cookie_of(world, "orders")
    sent = head(world, "/events", FORM, cookie, "Content-Length: 1", method="GET") + b"a"
    assert await exchanged(world, sent) == 411


async def test_sign_ins_beyond_those_that_may_wait_are_refused(world, limits):
    limits(service, MAX_WAITING_SIGN_INS=0)
    before = sample("limited_total", limit="sign_ins")
    assert await exchanged(world, head(world, "/sign-in", method="GET")) == 503
    assert sample("limited_total", limit="sign_ins") == before + 1


async def test_sign_ins_of_one_address_leave_those_of_others_room(limits):
    limits(service, MAX_WAITING_SIGN_INS_EACH=2, MAX_WAITING_SIGN_INS=3)
    async with contextlib.AsyncExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # a server that says nothing
        target = "{}:{}".format(*silent.getsockname())
        console = await stack.enter_async_context(running_console(target, trusted_proxies=[]))

        async def asked(source):
            """Send a sign-in, which has no answer unless it is refused."""
            reader, writer = await asyncio.open_connection(*console.address, local_addr=(source, 0))
            stack.callback(lambda: writer.transport.abort())  # keeps the writer, whose end would close the connection
            writer.write(f"GET /sign-in HTTP/1.1\r\nHost: {console.address}\r\n\r\n".encode())
            return reader

        async def is_refused(source, with_status):
            reader = await asked(source)
            try:
                async with asyncio.timeout(0.2):
                    assert await status(reader) == with_status
            except TimeoutError:
                return False
            return True

        for source, refused in (("127.0.0.9", 429), ("127.0.0.1", 503)):
            await wait_until(lambda source=source, refused=refused: is_refused(source, refused), what=f"a {refused}")


async def test_sign_ins_end_only_sessions_of_the_same_owner(limits):
    limits(sessions, MAX_SESSIONS_EACH=2, MAX_SESSIONS=4)
    kept = Sessions(60)

    async def opened(token, subject=None):
        return await kept.open(token, AsyncCallbackClient(), subject=subject)

    administrator = await opened("admin")
    first, second, third = [await opened("flooding") for _ in range(3)]
    assert [kept.find(key) is not None for key in (first, second, third)] == [False, True, True]
    person = [await opened(f"id token {number}", ("https://issuer", "user-7")) for number in range(3)]
    assert [kept.find(key) is not None for key in person] == [False, True, True]
    assert [kept.find(key) is not None for key in (administrator, second, third)] == [True, False, True]
    assert kept.find(await opened("newcomer"))
    assert kept.find(administrator)
    await kept.close_all()
