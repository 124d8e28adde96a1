"""Answers of HTTP handlers that misbehave: each one fails its call, is asked for once, and never reaches the caller."""

import asyncio
import contextlib
import gzip
import itertools
import socket
import struct

import pytest
from server.test_notifications import DELIVERED, QUICK
from support.http_handlers import answer, http_activity
from support.services import refusal, running_services

from callback.v1 import callback_pb2 as pb
from callback_conform.relay import stop_accepting
from callback_process.tasks import cancel_all
from callback_server.handlers.http import pool
from callback_server.handlers.http.connection import MAX_BODY_BYTES, MAX_INFORMATIONAL

LOST, INVALID = pb.CALL_FAILURE_HANDLER_LOST, pb.CALL_FAILURE_INVALID_RESPONSE
ERROR, LATE = pb.CALL_FAILURE_HANDLER_ERROR, pb.CALL_FAILURE_DEADLINE_EXCEEDED
OK = answer(200, b"hunter2")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </hunter2>\r\n\r\n"
BODY = b"x" * 100_000


class RawServer:
    """A server on loopback whose `script`, a coroutine function, gets the reader and the writer of each connection."""

    def __init__(self):
        self.connections = 0
        self._serving = set()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._serving.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(reader, writer)
        finally:
            writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_error):
        await stop_accepting(self._server)
        await cancel_all(self._serving)


async def read_request(reader):
    """Read a request with a body of known length."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(size.partition(b":")[2]))


def sends(*parts):
    """Return a script that answers each request with these bytes, and keeps the connection open."""

    async def script(reader, writer):
        while True:
            await read_request(reader)
            writer.write(b"".join(parts))

    return script


def for_ever(before, part):
    """Return a script that sends a part again and again, after some bytes."""

    async def script(reader, writer):
        await read_request(reader)
        writer.write(before)
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()

    return script


@pytest.fixture(scope="module")
async def running(tmp_path_factory):
    """Run a server with an activity of a long deadline, `act`, and one of a short deadline, `short`."""
    folder = tmp_path_factory.mktemp("secrets")
    async with RawServer() as handler:
        yield (
            handler,
            {
                "act": http_activity(handler.url, folder),
                "short": http_activity(handler.url, folder, deadline_s=0.3),
            },
        )


@pytest.fixture
async def services(running, shared_store):
    handler, activities = running
    handler.connections = 0
    async with running_services(shared_store, activities=activities) as services:
        services.handler = handler
        yield services


async def failure(services, script, activity="act", body=b"paid"):
    """Return the failure of a new call that a script answers, and what the caller and the owner are told."""
    services.handler.script = script
    connections = services.handler.connections
    made = await services.generate(activity)
    said = await refusal(services.call(made, body=body))
    assert services.handler.connections == connections + 1
    ended = await services.ended(made)
    assert "hunter2" not in said.text + ended.failure_detail + str(said.metadata)
    assert not ended.HasField("response") or not ended.response.response_body
    case = await services.case_of(made)
    assert (case.status, case.call_count) == (pb.CALLBACK_STATUS_CLOSED, 1)
    return ended.failure, ended.failure_detail


BROKEN = {
    "no HTTP": (sends(b"hunter2 hunter2\r\n\r\n"), INVALID, "not valid HTTP/1.1"),
    "HTTP/2": (sends(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), INVALID, "not valid HTTP/1.1"),
    "a status of 2 digits": (sends(b"HTTP/1.1 20 OK\r\n\r\n"), INVALID, "not valid HTTP/1.1"),
    "another protocol": (sends(b"HTTP/1.1 101 Go\r\nupgrade: hunter2\r\n\r\n"), INVALID, "not valid HTTP/1.1"),
    "100 for ever": (for_ever(b"", CONTINUE), INVALID, "informational answers (1xx)"),
    "103 for ever": (for_ever(b"", EARLY_HINTS), INVALID, "informational answers (1xx)"),
    "one 1xx after the other": (
        sends(*(b"HTTP/1.1 %d Go on\r\n\r\n" % code for code in range(102, 200)), OK), INVALID, "informational answers"
    ),
    "a head without end": (for_ever(b"HTTP/1.1 200 OK\r\n", b"x: hunter2\r\n" * 100), INVALID, "not valid HTTP/1.1"),
    "a header without a colon": (sends(b"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n"), INVALID, "not valid HTTP/1.1"),
    "two lengths": (
        sends(OK.replace(b"length: 7", b"length: 7\r\ncontent-length: 6")), INVALID, "not valid HTTP/1.1"
    ),
    "a length of a list": (sends(OK.replace(b"length: 7", b"length: 7, 6")), INVALID, "not valid HTTP/1.1"),
    "a length and chunks": (
        sends(OK.replace(b"length: 7", b"length: 7\r\ntransfer-encoding: chunked")), INVALID, "has two lengths"
    ),
    "a negative length": (sends(OK.replace(b"length: 7", b"length: -7")), INVALID, "not valid HTTP/1.1"),
    "another transfer coding": (
        sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n"), INVALID, "not valid HTTP/1.1"
    ),
    "chunks without end": (
        for_ever(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 0x4000 + b"\r\n"),
        INVALID, "larger than 1,048,576 bytes",
    ),
    "a chunk of no size": (
        sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhunter2\r\n"), INVALID, "not valid HTTP/1.1"
    ),
    "a body that is too large": (sends(answer(200, b"x" * (MAX_BODY_BYTES + 1))), INVALID, "larger than 1,048,576"),
    "gzip": (sends(answer(200, gzip.compress(b"hunter2"), "content-encoding: gzip")), INVALID, "a Content-Encoding"),
    "304": (sends(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"), INVALID, "304 without one Location"),
    "300 without a Location": (sends(answer(300)), INVALID, "300 without one Location"),
    "two Locations": (
        sends(answer(302, b"", "location: https://a.example", "location: https://b.example")), INVALID,
        "302 without one Location",
    ),
    "a Location with a script": (sends(answer(302, b"", "location: javascript:alert()")), INVALID, "redirect_url"),
    "a Location without a scheme": (sends(answer(302, b"", "location: //evil.example")), INVALID, "redirect_url"),
    "401 with a challenge": (sends(answer(401, b"", 'www-authenticate: Basic realm="hunter2"')), ERROR, "answered 401"),
    "407": (sends(answer(407, b"", "proxy-authenticate: Basic")), ERROR, "answered 407"),
    "502 after the body was taken": (sends(answer(502, b"hunter2")), ERROR, "answered 502"),
    "a decision that is none": (
        sends(answer(200, b"", "callback-decision: hunter2")), INVALID, "callback-decision has 1 unknown words"
    ),
    "a contradiction": (sends(answer(200, b"", "callback-decision: close, keep-open")), INVALID, "close"),
    "a code that no response has": (sends(answer(999, b"hunter2")), ERROR, "answered 999"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "why", "detail"), BROKEN.values(), ids=BROKEN)
async def test_an_answer_that_is_none_fails_its_call(services, script, why, detail):
    found, told = await failure(services, script)
    assert (found, detail in told) == (why, True), told


async def test_a_delivery_alone_is_tried_again_after_such_an_answer(running, store_of, limits):
    limits(pool, MAX_IDLE_S=0)  # each attempt has a connection, and so a script
    handler, activities = running
    act = activities["act"].model_copy(update={"retry": QUICK})
    async with running_services(store_of(), activities={"act": act}, sweeps=True) as services:
        for name, (script, _, _) in BROKEN.items():
            scripts = iter((script, sends(answer(200, b"ok"))))
            handler.script = lambda *way, scripts=scripts: next(scripts)(*way)
            made = await services.generate("act", answer_mode=pb.ANSWER_MODE_ACK)
            acknowledged = await services.call(made, body=b"paid")
            call = await services.delivery(acknowledged.call_id, DELIVERED, pb.DELIVERY_STATUS_DEAD)
            assert (call.delivery.status, call.delivery.attempts) == (DELIVERED, 2), name
            assert call.delivery.response.response_body == b"ok", name


@pytest.mark.parametrize(
    "script",
    [sends(), sends(CONTINUE), sends(OK[:-1]), sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")],
    ids=["silence", "a 100 alone", "a part", "no chunk"],
)
async def test_an_answer_that_does_not_end_fails_its_call_at_the_deadline(services, script):
    found, told = await failure(services, script, "short")
    assert (found, told) == (LATE, "the handler did not answer completely by its deadline")


@pytest.mark.parametrize("ends_with", ["FIN", "RST"])
async def test_a_connection_that_ends_at_any_point_of_the_answer_loses_the_call(services, ends_with):
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\nhunter2\r\n0\r\n\r\n"
    cuts = itertools.chain(
        (OK[:size] for size in range(0, len(OK), 5)), (chunked[:-size] for size in (1, 3, 6, 9)), [CONTINUE]
    )
    for part in cuts:

        async def breaks(reader, writer, part=part):
            await read_request(reader)
            writer.write(part)
            await writer.drain()
            end(writer, ends_with)

        assert (await failure(services, breaks))[0] == LOST, part


@pytest.mark.parametrize("ends_with", ["FIN", "RST"])
@pytest.mark.parametrize("read", [0, 100, 50_000])
async def test_a_connection_that_ends_at_any_point_of_the_request_loses_the_call(services, read, ends_with):
    async def breaks(reader, writer):
        await reader.readexactly(read)
        end(writer, ends_with)

    assert (await failure(services, breaks, body=BODY))[0] == LOST


@pytest.mark.parametrize("ends_with", ["FIN", "RST"])
async def test_a_connection_that_ends_when_it_is_used_again_is_not_made_again(services, ends_with):
    def breaks(read, part):
        async def script(reader, writer):
            await read_request(reader)
            writer.write(answer(200, b"ok"))
            await (reader.readexactly(read) if read else read_request(reader))
            writer.write(part)
            await writer.drain()
            end(writer, ends_with)

        return script

    for read, part in [(1, b""), (100, b""), (None, b""), (None, CONTINUE), (None, OK[:-1])]:
        services.handler.connections = 0
        services.handler.script = breaks(read, part)
        await services.call(await services.generate("act"), body=b"paid")
        made = await services.generate("act")
        assert (await refusal(services.call(made, body=BODY))).reason == "HANDLER_LOST", (read, part)
        case = await services.case_of(made)
        assert (case.status, case.call_count) == (pb.CALLBACK_STATUS_CLOSED, 1)
        assert services.handler.connections == 1, (read, part)


def end(writer, how):
    """End a connection: in order (FIN), or at once (RST)."""
    if how == "RST":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


GOOD = {
    "after informational answers": sends(
        CONTINUE, EARLY_HINTS, answer(200, b"ok")
    ),
    "after as many as may be": sends(CONTINUE * MAX_INFORMATIONAL, answer(200, b"ok")),
    "in chunks with trailers": sends(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;a=b\r\nk\r\n0\r\nx-trailer: 1\r\n\r\n"
    ),
    "identity": sends(answer(200, b"ok", "content-encoding: identity")),
    "with a field of bytes": sends(answer(200, b"ok", "x-name: caf\u00e9")),
}  # fmt: skip


@pytest.mark.parametrize("script", GOOD.values(), ids=GOOD)
async def test_an_unusual_answer_is_one(services, script):
    services.handler.script = script
    assert (await services.call(await services.generate("act"), body=b"paid")).response.response_body == b"ok"


async def test_an_answer_without_a_length_ends_with_its_connection(services):
    async def closes(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.0 200 OK\r\ncontent-type: text/x\r\n\r\nok")

    services.handler.script = closes
    assert (await services.call(await services.generate("act"), body=b"paid")).response.response_body == b"ok"


async def test_an_answer_before_the_end_of_the_request_is_one(services):
    async def early(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(422, b"too large"))
        await reader.readexactly(len(BODY))

    services.handler.script = early
    said = await services.call(await services.generate("act"), body=BODY)
    assert (said.response.response_code, said.response.response_body) == (422, b"too large")


@pytest.mark.parametrize(
    "first", [OK + OK, OK + b"HTTP", OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")],
    ids=["two", "one and a part", "the last one"],
)  # fmt: skip
async def test_what_comes_behind_an_answer_is_no_answer_to_the_next_call(services, first):
    async def script(reader, writer):
        await read_request(reader)
        writer.write(first)
        await read_request(reader)
        raise AssertionError("the connection was used again")

    services.handler.script = script
    await services.call(await services.generate("act"), body=b"paid")
    services.handler.script = sends(answer(200, b"of the second"))
    assert (
        await services.call(await services.generate("act"), body=b"paid")
    ).response.response_body == b"of the second"
    assert services.handler.connections == 2
