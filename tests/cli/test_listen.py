"""`callback listen` passes calls to a local HTTP server, and the caller gets its response."""

import asyncio
import contextlib
import os
import signal

import pytest
from protovalidate import Validator
from support.fork_server import start
from support.store import free_port
from support.system import running_system
from support.wait import DEADLINE_S, wait_until

from callback import Redirect, Response
from callback.v1 import callback_pb2
from callback_cli.forwarding import OF_A_CONNECTION, OF_THE_EDGE
from callback_conform.relay import stop_accepting

CONFIG = "[activities.slow]\ndeadline_s = 1.5\n"


class LocalServer:
    """An HTTP server on a socket: `requests` are the bytes that it got, and `responses` the bytes that it gives."""

    def __init__(self):
        self.requests = []
        self.responses = []
        self.port = free_port()
        self._server = None

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""
        self.requests.append((head, body))
        response = self.responses.pop(0)
        if response is None:  # never
            await reader.read()
        else:
            writer.write(response)
        writer.close()

    async def stop(self):
        await stop_accepting(self._server)
        await self._server.wait_closed()


class Listening:
    """A running `callback listen`."""

    def __init__(self, directory, target, *arguments):
        self._output, self._errors = directory / "output", directory / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = start(
                "callback_cli", "listen", *arguments,
                env=os.environ | {"CALLBACK_TARGET": target}, stdout=output, stderr=errors,
                preloaded=["callback_cli.forwarding"],
            )  # fmt: skip

    @property
    def lines(self):
        return self._output.read_text().splitlines()

    @property
    def errors(self):
        return self._errors.read_text()

    async def is_ready(self):
        await wait_until(lambda: "Listening" in self.errors or self.process.poll() is not None)
        assert self.process.poll() is None, self.errors

    async def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, DEADLINE_S)


@pytest.fixture(scope="module")
async def system(store_of, tmp_path_factory):
    async with running_system(tmp_path_factory.mktemp("listen"), store_of("valkey"), config=CONFIG) as system:
        yield system


@pytest.fixture
async def local():
    server = await LocalServer().start()
    yield server
    await server.stop()


@pytest.fixture
async def listening(system, local, tmp_path):
    """Return a function that starts `callback listen ACTIVITY` for the local server, and waits until it is ready."""
    async with contextlib.AsyncExitStack() as stack:

        async def listen(activity, *arguments, port=local.port):
            url = f"http://127.0.0.1:{port}/hook"
            found = Listening(tmp_path, system.grpc, activity, "--forward-to", url, *arguments)
            stack.push_async_callback(found.stop)
            await found.is_ready()
            return found

        yield listen


async def path_of(system, activity, response=None, **options):
    made = await system.client.generate_callback_url(activity, response or Response("its own"), **options)
    return made.url.removeprefix(system.url), made.case_id


async def test_the_local_server_gets_the_request_as_it_arrived_and_the_caller_its_response(system, local, listening):
    listened = await listening("exact")
    path, case = await path_of(system, "exact", state_query_parameter="state")
    body = bytes(range(256))
    local.responses.append(
        b"HTTP/1.1 201 Fine\r\nX-Two: a\r\nX-Two: b\r\nX-Latin: \xe9\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: local\r\nRefresh: 1\r\nContent-Length: 3\r\n\r\n\x00\xff\n"
    )
    answer = await system.http.put(
        f"{path}&a=%20b&a=+c&%C3%A9",
        content=body,
        headers=[("x-one", "1"), ("x-one", "2"), ("x-latin", b"\xe9"), ("te", "trailers"), ("user-agent", "sender")],
    )
    ((head, got),) = local.requests
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    state = path.rpartition("=")[2]
    assert first == f"PUT /hook?state={state}&a=%20b&a=+c&%C3%A9 HTTP/1.1"
    assert got == body
    names = [line.partition(":")[0].lower() for line in lines]
    assert [line for line in lines if line.lower().startswith("x-")] == ["x-one: 1", "x-one: 2", "x-latin: \xe9"]
    assert (names.count("host"), names.count("content-length"), names.count("user-agent")) == (1, 1, 1)
    assert not {"te", "connection", "transfer-encoding"} & {*names}
    assert f"Host: 127.0.0.1:{local.port}" in lines

    assert (answer.status_code, answer.content) == (201, b"\x00\xff\n")
    assert answer.headers.get_list("x-two") == ["a", "b"]
    assert answer.headers.raw[[name for name, _ in answer.headers.raw].index(b"x-latin")][1] == b"\xe9"
    assert not {"x-hop", "refresh"} & {*answer.headers}
    (call,) = [each async for each in system.client.list_calls(case)]
    assert (call.status, call.response.code) == ("SUCCEEDED", 201)
    line = await wait_until(lambda: listened.lines and listened.lines[0])
    assert f"  {call.call_id}  PUT " in line
    assert line.endswith("201; not passed on: refresh")
    assert state not in line


CODES = [
    (
        b"HTTP/1.1 307 Away\r\nLocation: https://shop.example/a?b=1\r\n\r\n",
        302,
        "https://shop.example/a?b=1",
        "SUCCEEDED",
    ),
    (b"HTTP/1.1 302 Away\r\nLocation: /done\r\n\r\n", 302, "https://platform.example/done", "SUCCEEDED"),
    (b"HTTP/1.1 302 Away\r\nLocation: done\r\n\r\n", 302, "http://127.0.0.1:{port}/done", "SUCCEEDED"),
    (b"HTTP/1.1 302 Away\r\nLocation: //shop.example/a\r\n\r\n", 302, "http://shop.example/a", "SUCCEEDED"),
    (b"HTTP/1.1 302 Away\r\nLocation: http://[\r\n\r\n", 502, None, "FAILED"),
    (b"HTTP/1.1 422 No\r\n\r\nno trxid", 422, None, "REJECTED"),
    (b"HTTP/1.1 500 Broken\r\n\r\nbroken", 500, None, "REJECTED"),
    (b"HTTP/1.1 304 Same\r\n\r\n", 502, None, "FAILED"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", 502, None, "FAILED"),
]
"""Responses of the local server, what the caller gets, and the status of the call."""


async def test_the_code_of_the_local_server_decides(system, local, listening):
    await listening("codes")
    for response, code, location, status in CODES:
        path, case = await path_of(system, "codes", Redirect("/waiting"))
        local.responses.append(response)
        answer = await system.http.get(path)
        wanted = location and location.format(port=local.port)
        assert (answer.status_code, answer.headers.get("location")) == (code, wanted), response
        (call,) = [each async for each in system.client.list_calls(case)]
        assert call.status == status
        if status == "REJECTED":
            assert answer.content == response.partition(b"\r\n\r\n")[2]


async def test_a_local_server_that_does_not_run_fails_the_call_and_says_so(system, listening, unused_port):
    listened = await listening("refused", "--json", port=unused_port)
    path, case = await path_of(system, "refused", retryable_after_error=True)
    assert (await system.http.get(path)).status_code == 502
    line = await wait_until(lambda: listened.lines and listened.lines[0])
    assert f'"problem": "cannot connect to 127.0.0.1:{unused_port}: Connection refused"' in line
    assert (await system.client.get_callback(case)).status == "OPEN"
    assert "Traceback" not in listened.errors


async def test_a_local_server_that_does_not_answer_misses_the_deadline_and_the_line_says_so(system, local, listening):
    listened = await listening("slow")
    path, _ = await path_of(system, "slow")
    local.responses.append(None)
    assert (await system.http.get(path)).status_code == 504
    line = await wait_until(lambda: listened.lines and listened.lines[0])
    assert "did not respond before the deadline" in line or "when the call ended" in line


async def test_a_tunnel_runs_as_long_as_the_command(system, listening, tmp_path):
    started = tmp_path / "started"
    listened = await listening("tunnel", "--tunnel-command", f"echo $$ > {started}; exec sleep 600")
    pid = int(await wait_until(lambda: started.exists() and started.read_text()))
    assert await listened.stop() == 0
    await wait_until(lambda: not _runs(pid))


async def test_the_end_of_the_tunnel_ends_the_command(listening, tmp_path):
    end = tmp_path / "end"
    os.mkfifo(end)
    listened = await listening("tunnel-ends", "--tunnel-command", f"read line < {end}; exit 3")
    await asyncio.to_thread(end.write_text, "now\n")
    assert await asyncio.to_thread(listened.process.wait, DEADLINE_S) == 1
    assert "the tunnel command has ended with the exit code 3" in listened.errors


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_headers_that_are_left_out_are_those_that_the_contract_reserves():
    names = ["x-accel-buffering", "x-sendfile", "x-reproxy-file", "cdn-cache-control", "netlify-cdn-cache-control"]
    names += ["x-own", "content-type", "retry-after", *OF_A_CONNECTION]
    names += [each for each in OF_THE_EDGE.pattern.split("|") if each.replace("-", "").isalpha()]
    validator = Validator()

    def is_reserved(name):
        return bool(validator.collect_violations(callback_pb2.ResponseHeader(name=name)))

    left_out = {name for name in names if OF_THE_EDGE.fullmatch(name) or name in OF_A_CONNECTION}
    # A cookie depends on the domain, and what a request expects has no meaning in a response.
    assert left_out - {"set-cookie", "expect"} == {name for name in names if is_reserved(name)}
    assert len(left_out) > 25
