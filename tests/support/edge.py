"""Tools for tests of the edge: a scripted EdgeService, an edge in front of it, and raw HTTP.

The EdgeService stands for the control plane. Everything between a socket and it is real: Hypercorn, Quart, gRPC.
"""

import asyncio
import atexit
import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import REGISTRY
from support.store import free_port
from support.system import Process
from support.wait import wait_until

from callback.v1 import callback_pb2, edge_service_pb2, edge_service_pb2_grpc
from callback_edge.edge import Edge
from callback_edge.settings import EdgeSettings
from callback_launcher.programs import variables
from callback_process.addresses import parse_bind

PINGS_WELCOME = [("grpc.http2.min_ping_interval_without_data_ms", 4_000), ("grpc.keepalive_permit_without_calls", 1)]
"""Options of the real server. By default gRPC disconnects an edge that pings every 30 s."""

DEADLINE_S = 60
"""Generous deadline of a wait, shorter than the 75 s after which an edge closes an idle connection."""

NOWHERE = "127.0.0.1:1"
"""A target at which no server is."""

BROWSER = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8")
"""Field of a request that gets a page."""

FIXED = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
    "cross-origin-opener-policy": "same-origin",
}

Invoked = edge_service_pb2.InvokeRequest
Script = Callable[[Invoked, grpc.aio.ServicerContext], Awaitable[edge_service_pb2.InvokeResponse]]


def new_state() -> str:
    """Return a state that no test has used."""
    return str(uuid.uuid4())


def sample(name, **labels):
    """Return a metric of the edges in this process, or 0."""
    return REGISTRY.get_sample_value(f"callback_edge_{name}", labels) or 0


def plain(body=b"", code=200, headers=(), **more):
    """Return the server's answer for type response."""
    return edge_service_pb2.InvokeResponse(
        response=callback_pb2.Response(
            response_type=callback_pb2.RESPONSE_TYPE_RESPONSE,
            response_code=code,
            response_body=body,
            response_headers=callback_pb2.ResponseHeaders(
                headers=[callback_pb2.ResponseHeader(name=name, value=value) for name, value in headers]
            ),
        ),
        **more,
    )


def redirect(url):
    """Return the server's answer for type redirect."""
    return edge_service_pb2.InvokeResponse(
        response=callback_pb2.Response(response_type=callback_pb2.RESPONSE_TYPE_REDIRECT, response_redirect_url=url)
    )


def answering(response) -> Script:
    """Return a script that answers with this response."""

    async def script(_request, _context):
        return response

    return script


def answering_after(gate, response=None) -> Script:
    """Return a script that answers once the gate is open."""

    async def script(_request, _context):
        await gate.wait()
        return response or plain(b"ok")

    return script


class Refused(Exception):  # noqa: N818  # an answer, not an error
    """Refusal of a call, raised by a script: a code, or a `google.rpc.Status`."""

    def __init__(self, status):
        self.status = status if isinstance(status, status_pb2.Status) else status_pb2.Status(code=status.value[0])


def refusal(
    reason, code="UNKNOWN", *, retry_after=None, domain="callback", message="internals: redis down", **metadata
) -> Refused:
    """Return a refusal with this reason; `retry_after` is a Duration."""
    details = status_pb2.Status(code=code_pb2.Code.Value(code), message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"call_id": "the-call", **metadata})
    details.details.add().Pack(info)
    if retry_after is not None:
        details.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=retry_after))
    return Refused(details)


def refusing(reason, code="UNKNOWN", **more) -> Script:
    """Return a script that refuses with this reason; see `refusal`."""

    async def script(_request, _context):
        raise refusal(reason, code, **more)

    return script


def prompting(title="Approve order 5?", text="", language="", **choices) -> Script:
    """Return a script that asks for a confirmation with a prompt, whose choices are values with labels."""
    prompt = callback_pb2.Prompt(title=title, text=text, language=language)
    for value, label in choices.items():
        prompt.choices.add(value=value, label=label)

    async def script(_request, _context):
        refused = refusal("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        refused.status.details.add().Pack(prompt)
        raise refused

    return script


def seconds(whole, nanos=0) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=whole, nanos=nanos)


class ScriptedEdgeService(edge_service_pb2_grpc.EdgeServiceServicer):
    """gRPC server with an EdgeService that runs `script` and records the requests."""

    def __init__(self):
        self.streams = {}
        """Lock of each stream's writer, by its context."""
        self._serving = True
        self.reset()
        self.health = health.aio.HealthServicer()
        self.port = 0

    def reset(self):
        self.script = answering(plain(b"ok"))
        self.unwelcome = None
        """Refusal of each new stream; None accepts it."""
        self.look_up = None
        """Refusal of each request that is looked up; None refuses none."""
        self.look_up_gate = None
        """Event before which no look-up has a result; None is open."""
        self.origins = edge_service_pb2.CaseOrigins()
        """Origins that may use every case, or the refusal of each request that asks for them."""
        self.asked_origins = []
        """Requests for the origins that may use a case."""
        self.requests = []
        self.looked_up = []
        """Requests that were looked up."""
        self.batches = []
        """Number of calls in each message."""
        self.tokens = []
        """Value of `authorization` of each stream."""
        self.opened = 0
        """Number of streams, accepted or not."""
        self.gone = []
        """Calls whose caller was reported gone after their result."""
        self.gone_numbers = []
        """Numbers of the calls whose caller was reported gone over their stream."""
        self.released = []
        """Number of calls in each message that releases the callers."""
        self.knows_gone = False
        """Whether results say that the caller is known to be gone."""
        self.started = 0
        self.ended = 0
        self.cancelled = 0
        self.changed = asyncio.Event()

    def hold(self, response=None):
        """Let calls wait for their answer, and return the event that ends it."""
        gate = asyncio.Event()
        self.script = answering_after(gate, response)
        return gate

    async def StreamInvocations(self, requests, context):
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        self.opened += 1
        if self.unwelcome is not None:
            await context.abort_with_status(rpc_status.to_status(self.unwelcome.status))
        readiness = edge_service_pb2.READINESS_READY if self._serving else edge_service_pb2.READINESS_NOT_READY
        writing = self.streams[context] = asyncio.Lock()  # gRPC takes one message at a time
        calls = set()
        try:
            async with writing:
                await context.write(edge_service_pb2.StreamInvocationsResponse(readiness=readiness))
            async for message in requests:
                self.gone_numbers += message.gone_numbers
                if message.release_callers:
                    self.released.append(len(message.invocations))
                if message.invocations:
                    self.batches.append(len(message.invocations))
                for each in message.invocations:
                    calls.add(asyncio.create_task(self._answer(each, context, writing)))
            if calls:
                await asyncio.wait(calls)
        finally:
            del self.streams[context]
            for call in calls:
                call.cancel()

    async def _answer(self, invocation, context, writing):
        answer = edge_service_pb2.InvocationResult(number=invocation.number)
        if invocation.HasField("origins"):
            self.asked_origins.append(invocation.origins)
            if isinstance(self.origins, Refused):
                answer.status.CopyFrom(self.origins.status)
            else:
                answer.origins.CopyFrom(self.origins)
            async with writing:
                await context.write(edge_service_pb2.StreamInvocationsResponse(results=[answer]))
            return
        if invocation.look_up:
            self.looked_up.append(invocation.request)
            if self.look_up_gate is not None:
                await self.look_up_gate.wait()
            if self.look_up is None:
                answer.send_body.SetInParent()
            else:
                answer.status.CopyFrom(self.look_up.status)
            async with writing:
                await context.write(edge_service_pb2.StreamInvocationsResponse(results=[answer]))
            return
        self.requests.append(invocation.request)
        self._count("started")
        try:
            response = await self.script(invocation.request, context)
            if response is not None:
                answer.response.CopyFrom(response)
        except Refused as refused:
            answer.status.CopyFrom(refused.status)
        except asyncio.CancelledError:
            self._count("cancelled")
            raise
        except grpc.aio.AbortError:  # the script has broken the stream, and this call was not cancelled yet
            self._count("cancelled")
            return
        except Exception as error:  # as gRPC reports it
            answer.status.CopyFrom(status_pb2.Status(code=code_pb2.UNKNOWN, message=f"Unexpected: {error}"))
        answer.caller_gone = self.knows_gone
        try:
            async with writing:
                await context.write(edge_service_pb2.StreamInvocationsResponse(results=[answer]))
        except (asyncio.CancelledError, grpc.aio.UsageError, grpc.RpcError):  # the stream has just ended
            self._count("cancelled")
            raise
        self._count("ended")

    async def ReportCallerGone(self, request, _context):
        self.gone.append(request.call_id)
        return edge_service_pb2.ReportCallerGoneResponse()

    def _count(self, what):
        setattr(self, what, getattr(self, what) + 1)
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition):
        """Wait until a condition on the counts holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.changed.wait()

    async def start(self, port=0, credentials=None, *, ip="127.0.0.1"):
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *PINGS_WELCOME])
        edge_service_pb2_grpc.add_EdgeServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        address = f"{ip}:{port or free_port()}"  # its own: it can come back to it
        if credentials:
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        await self._server.start()
        await self.serving(True)

    async def serving(self, whether):
        """Tell every stream and the health service whether calls are accepted."""
        self._serving = whether
        states = health_pb2.HealthCheckResponse
        await self.health.set("callback.v1.EdgeService", states.SERVING if whether else states.NOT_SERVING)
        if not whether:
            for context, writing in [*self.streams.items()]:
                with contextlib.suppress(grpc.aio.UsageError):  # it has just ended
                    async with writing:
                        await context.write(
                            edge_service_pb2.StreamInvocationsResponse(readiness=edge_service_pb2.READINESS_NOT_READY)
                        )

    async def stop(self, grace=None):
        await self._server.stop(grace)

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def control_plane(credentials=None, *, plane=None, port=0, ip="127.0.0.1") -> AsyncIterator[ScriptedEdgeService]:
    plane = plane or ScriptedEdgeService()
    await plane.start(port, credentials, ip=ip)
    try:
        yield plane
    finally:
        await plane.stop()


class Reachable:
    """An edge at `port`, with a client of its connections."""

    async def connect(self, **options):
        return await asyncio.open_connection("127.0.0.1", self.port, **options)

    async def kept(self, **options):
        """Open a connection that has had a request, and return its reader and writer."""
        reader, writer = await self.connect(**options)
        writer.write(http_request(close=False))
        assert (await one_answer(reader)).status == 200
        return reader, writer

    async def refuses_connections(self):
        """Return whether nothing listens any more."""
        try:
            _, writer = await self.connect()
        except OSError:
            return True
        writer.close()
        return False

    async def rest(self, reader, writer) -> bytes:
        """Return all bytes until the edge closes the connection."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await reader.read()
        finally:
            writer.close()


class RunningEdge(Reachable, Edge):
    """Edge in this process."""

    @property
    def port(self):
        return self.address.port

    async def until_disconnected(self):
        """Wait until no connection is open."""
        await wait_until(lambda: not self.listener.connections, what="the end of all connections")


class FailingUpstream:
    """Upstream whose calls fail with an error that nothing expects."""

    def __init__(self, text=""):
        self._text = text

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error):
        pass

    async def invoke(self, _message, _body=None):
        raise RuntimeError(self._text)


@contextlib.asynccontextmanager
async def running_edge(
    target=NOWHERE, *, send_buffer_bytes=None, upstream=None, ready=True, **settings
) -> AsyncIterator[RunningEdge]:
    """Run an edge in this process, on ports of its own.

    A call waits only a second for a server. So with a target, this waits until the edge can call one, unless `ready` is
    False.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    if send_buffer_bytes:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    own = {"server_target": target, "admin_bind": "127.0.0.1:0", "drain_s": 0, "grace_s": 0}
    async with RunningEdge(EdgeSettings(**own | settings), listening=listening, upstream=upstream) as edge:
        if ready and target != NOWHERE:
            await wait_until(lambda: not edge.upstream.why_not_ready(), what="a server that the edge can call")
        yield edge


@dataclass
class HttpAnswer:
    """One answer as it was on the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name):
        """Return the value of a field that is there exactly once."""
        (value,) = self.all(name)
        return value

    def all(self, name):
        return [value for each, value in self.headers if each == name]

    @property
    def text(self):
        return self.body.decode()

    @property
    def problem(self):
        """Status and code of a problem for a program."""
        self.assert_fixed_headers()
        assert self["content-type"] == "application/problem+json"
        document = json.loads(self.body)
        assert document["status"] == self.status
        return self.status, document["code"]

    def assert_fixed_headers(self):
        for name, value in FIXED.items():
            assert self.all(name) == [value], name
        assert self.all("server") == []
        assert len(self.all("date")) == 1


def style_hash(page):
    """Return the source of a page's style, for its Content-Security-Policy."""
    (style,) = re.findall(r"<style>(.*)</style>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")


def parse_answers(raw: bytes, methods=("GET",), *, keep_informational=False) -> list[HttpAnswer]:
    """Parse answers strictly: any other bytes fail."""
    answers = []
    methods = list(methods)
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        assert end, f"no end of a head: {head!r}"
        first, *lines = head.split(b"\r\n")
        match = _STATUS_LINE.fullmatch(first)
        assert match, f"bad status line: {first!r}"
        status = int(match[1])
        headers = []
        for line in lines:
            field_match = _FIELD.fullmatch(line)
            assert field_match, f"bad field: {line!r}"
            headers.append((field_match[1].decode().lower(), (field_match[2] or b"").decode("latin-1")))
        answer = HttpAnswer(status, headers, b"")
        if status < 200:
            if keep_informational:
                answers.append(answer)
            continue
        method = methods.pop(0) if methods else "GET"
        if method != "HEAD" and status != 204:
            assert answer.all("transfer-encoding") == []
            length = int(answer["content-length"])
            assert len(raw) >= length, f"cut short: {len(raw)} of {length}"
            answer.body, raw = raw[:length], raw[length:]
        elif status == 204:
            assert answer.all("content-length") == answer.all("transfer-encoding") == []
        answers.append(answer)
    return answers


async def one_answer(reader):
    """Read one answer with a length from a connection that may stay open."""
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        (answer,) = parse_answers(head + await reader.readexactly(length))
    return answer


async def send_raw(port: int, payload: bytes) -> bytes:
    """Send bytes, and return all bytes until the edge closes the connection."""
    async with asyncio.timeout(DEADLINE_S):
        # Nothing else runs between the connection and its first bytes: an edge waits for them for a short time only.
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setblocking(False)
        sent = connection.send(payload)
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            writer.write(payload[sent:])
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def http_request(path=None, method="GET", headers=(), body=b"", *, host="box.example", close=True) -> bytes:
    """Return a request's bytes. A body is framed by its length. Without a path it is a call of another callback."""
    lines = [f"{method} {path or f'/cb/{new_state()}'} HTTP/1.1", f"Host: {host}"]
    if close:
        lines.append("Connection: close")
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode()
    for name, value in headers:
        head += b"\r\n" + _bytes(name) + b": " + _bytes(value)
    return head + b"\r\n\r\n" + body


def raw_request(*fields, method="POST", path=None, version="HTTP/1.1", body=b"") -> bytes:
    """Return a request with exactly these lines of fields after its host, whatever its body is."""
    lines = [f"{method} {path or f'/cb/{new_state()}'} {version}", "Host: a", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def chunk(content: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(content), content)


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


async def ask(edge, path=None, method="GET", headers=(), body=b"", *, host="box.example") -> HttpAnswer:
    """Make one request on a connection of its own; see `http_request`."""
    return await answer_to(edge, http_request(path, method, headers, body, host=host))


async def answer_to(edge, request: bytes, **how) -> HttpAnswer:
    """Send the bytes of one request, and return the one answer; `how` is for `parse_answers`."""
    method = request.partition(b" ")[0].decode("latin-1")
    (answer,) = parse_answers(await send_raw(edge.port, request), [method], **how)
    return answer


_LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"} | dict(os.environ)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Program that starts another as systemd does: in the same process, with a socket as file descriptor 3."""


class EdgeProcess(Reachable, Process):
    """Process of `python -m callback_edge`, on free ports: `port`, and `admin_port` for operators."""

    def __init__(self, target=NOWHERE, *, loop="uvloop", first="", passed=None, ready=True, **settings):
        """`first` is Python code to run before the edge; `loop` is uvloop or asyncio.

        `passed` is a socket to pass to it, as systemd does. `ready` is as in `running_edge`.
        """
        self._is_to_be_ready = ready and target != NOWHERE
        own = {"bind": "127.0.0.1:0", "admin_bind": "127.0.0.1:0", "server_target": target, "drain_s": 0}
        settings = {name.upper(): value for name, value in {**own, **settings}.items()}
        self._started_by = {"preloaded": ["support.without_uvloop"] if loop == "asyncio" else []}
        interpreter = None
        if first:
            code = f"{first}\nimport sys; from callback_edge.__main__ import main; del sys.argv[1:]; sys.exit(main())"
            interpreter = [sys.executable, "-c", code]
        elif passed is not None:
            interpreter = [sys.executable, "-c", _LAUNCHER, str(passed.fileno())]
            self._started_by = {"inherit": [passed.fileno()]}
        descriptor, log = tempfile.mkstemp(prefix="edge-", suffix=".log")
        os.close(descriptor)
        atexit.register(os.unlink, log)  # tests read it also after the end of the edge
        super().__init__("callback_edge", Path(log), interpreter=interpreter, **variables("edge", **settings))

    async def __aenter__(self):
        await asyncio.to_thread(self.start)
        self.port, self.admin_port = (parse_bind(self.facts[each]).port for each in ("edge", "admin"))
        if self._is_to_be_ready:
            await self.until_logged("server_ready")
        return self

    async def __aexit__(self, *_exception):
        await asyncio.to_thread(self.kill)

    def spawn(self):
        return super().spawn(stdout=subprocess.DEVNULL, **self._started_by)

    @property
    def lines(self):
        """The lines of its log."""
        return self.said().splitlines(keepends=True)

    async def until_logged(self, event, times=1):
        """Wait until an event is so many times in the log, and return the first."""

        def logged():
            found = self.events(event)
            if len(found) < times:
                self.require_running()
            return found[times - 1 :] and found

        return (await wait_until(logged, deadline_s=DEADLINE_S, what=f"{event} in the log"))[0]

    async def metrics(self):
        """Return its metrics: (name, labels as sorted pairs) to value."""
        return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in await super().metrics()}

    async def metric(self, name, **labels):
        """Return one of its metrics, or 0."""
        return (await self.metrics()).get((f"callback_edge_{name}", *sorted(labels.items())), 0)

    async def until_metric(self, name, value):
        """Wait until one of its metrics has a value."""

        async def has_value():
            return await self.metric(name) == value

        await wait_until(has_value, what=f"{name} {value}")

    async def until_readiness(self, status):
        """Wait until `/readyz` has this status, and return its text."""

        async def text():
            answer = await self.admin("/readyz")
            return answer.status_code == status and answer.text

        return await wait_until(text, what=f"readiness {status}")

    async def stop(self):
        """Stop it with SIGTERM, and return the exit code."""
        return await asyncio.to_thread(super().stop)

    async def end(self):
        """Wait for the end, and return the exit code."""
        return await asyncio.to_thread(self.wait, DEADLINE_S * 2)

    def resident_bytes(self):
        return resident_bytes(self.process.pid)


async def failed_start(target=NOWHERE, **settings):
    """Start an edge that does not start, and return its exit code and the lines of its log."""
    edge = EdgeProcess(target, **settings)
    edge.spawn()
    return await edge.end(), edge.lines


def resident_bytes(pid):
    """Return the resident memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
