"""Admin HTTP server of a process, for operators, on an address that callers do not reach.

- `/healthz`: 200 while the process responds, including its event loop. Restart the process by it.
- `/readyz`: 200 if the process can take work, else 503 and the reason. Route by it.
- `/metrics`: the metrics of this process for Prometheus.

It runs on an event loop of its own in a thread, so that slow or frequent requests delay no call. It serves one request
per connection.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Self

import h11
from prometheus_client import REGISTRY, Gauge, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from callback_process.listener import stop_accepting
from callback_process.loop import new_loop
from callback_process.version import VERSION

_BUILD_INFO: Final = Gauge("callback_build_info", "1, with the version of Callback that this process runs", ["version"])
_ANSWER_TIMEOUT_S: Final = 5.0
"""Time limit for the event loop to report whether the process is ready, in seconds."""
CONNECTION_TIMEOUT_S: Final = 10.0
"""Time limit of a connection, in seconds."""
_MAX_CONNECTIONS: Final = 16
"""Number of connections at a time, at most. Any further one is closed at once."""
_CHUNK: Final = 4096
_Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type and body."""


class AdminServer:
    """Admin HTTP server on a listening socket, as a context manager. It needs a running event loop.

    Args:
        listening: The socket. The server takes ownership of it.
        is_ready: Returns the reason why the process cannot take work, in a few words; empty if it can.
    """

    def __init__(self, listening: socket.socket, is_ready: Callable[[], Awaitable[str]]) -> None:
        self._listening = listening
        self._is_ready = is_ready
        self._main_loop = asyncio.get_running_loop()
        self._connections = 0
        _BUILD_INFO.labels(VERSION).set(1)
        # Without this, each metric has a second series with its time of creation, which is of no use.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        self._stopping = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=new_loop)
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    def __enter__(self) -> Self:
        self._loop = self._runner.get_loop()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._converse, sock=self._listening)
        await self._stopping.wait()
        await stop_accepting(server)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MAX_CONNECTIONS:
                async with asyncio.timeout(CONNECTION_TIMEOUT_S):
                    await self._exchange(reader, writer)
                    writer.close()
                    await writer.wait_closed()
        except OSError:  # the peer disconnected, or is slow
            pass
        finally:
            writer.transport.abort()
            self._connections -= 1

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(_CHUNK))
        except h11.RemoteProtocolError as error:
            status, kind, body = _plain(HTTPStatus(error.error_status_hint), "not an HTTP request")
            is_head = False
        else:
            if not isinstance(event, h11.Request):  # the peer disconnected before it sent a request
                return
            status, kind, body = await self._answer(event)
            is_head = event.method == b"HEAD"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
        head = h11.Response(status_code=status, reason=status.phrase.encode(), headers=headers)
        for part in (head, h11.Data(b"" if is_head else body), h11.EndOfMessage()):
            writer.write(http.send(part) or b"")

    async def _answer(self, request: h11.Request) -> _Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is allowed")
        match request.target.partition(b"?")[0]:
            case b"/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(REGISTRY)
            case b"/healthz":
                problem = await self._ask_main_loop(_no_problem)
            case b"/readyz":
                problem = await self._ask_main_loop(self._is_ready)
            case _:
                return _plain(HTTPStatus.NOT_FOUND, "not found: use /healthz, /readyz or /metrics")
        return _plain(HTTPStatus.SERVICE_UNAVAILABLE, problem) if problem else _plain(HTTPStatus.OK, "ok")

    async def _ask_main_loop(self, question: Callable[[], Awaitable[str]]) -> str:
        async def answer() -> str:
            return await question()

        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer(), self._main_loop))
        except TimeoutError:
            return "the event loop of the process does not respond"


async def _no_problem() -> str:
    return ""


def _plain(status: HTTPStatus, text: str) -> _Answer:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()
