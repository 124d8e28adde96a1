"""What a process tells its operators over HTTP, on an address of its own that callers do not reach.

- `/healthz`: 200 while the process answers at all, its event loop included. What to restart it by.
- `/readyz`: 200 if it may get work, else 503 and why not. What to route by.
- `/metrics`: the figures of this process, as Prometheus reads them.

It runs on a loop of its own in a thread, so that nobody who asks slowly, or much, holds up a call. One request a
connection.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Self

import h11
from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_ANSWER_S: Final = 5.0
"""How long the event loop may take to say whether the process is ready, in seconds."""
_CONNECTION_S: Final = 10.0
"""How long a connection may take, from its first byte to its last, in seconds."""
_CONNECTIONS: Final = 16
"""How many there may be at a time. One more is closed at once."""
_CHUNK: Final = 4096
_Answer = tuple[HTTPStatus, str, bytes]
"""The status, the type of the body, and the body."""


class AdminServer:
    """Serves the three on a socket that listens already, from `with` to its end. On a running event loop.

    Args:
        listening: the socket, which is ours from now on.
        is_ready: says why the process may not get work, in a few words; nothing if it may.
    """

    def __init__(self, listening: socket.socket, is_ready: Callable[[], Awaitable[str]]) -> None:
        self._listening = listening
        self._is_ready = is_ready
        self._watched = asyncio.get_running_loop()
        self._connections = 0
        # A second series for each metric, of when it was made: nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without types
        self._stopping = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
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
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _CONNECTIONS:
                async with asyncio.timeout(_CONNECTION_S):
                    await self._exchange(reader, writer)
                    writer.close()
                    await writer.wait_closed()
        except OSError:  # the peer has gone, or is slow
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
            status, kind, body = _plain(HTTPStatus(error.error_status_hint), "this is not HTTP")
            is_head = False
        else:
            if not isinstance(event, h11.Request):  # hung up before it
                return
            status, kind, body = await self._answer(event)
            is_head = event.method == b"HEAD"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
        head = h11.Response(status_code=status, reason=status.phrase.encode(), headers=headers)
        for part in (head, h11.Data(b"" if is_head else body), h11.EndOfMessage()):
            writer.write(http.send(part) or b"")

    async def _answer(self, request: h11.Request) -> _Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET")
        match request.target.partition(b"?")[0]:
            case b"/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(REGISTRY)
            case b"/healthz":
                why_not = await self._ask(_nothing)
            case b"/readyz":
                why_not = await self._ask(self._is_ready)
            case _:
                return _plain(HTTPStatus.NOT_FOUND, "there are /healthz, /readyz and /metrics")
        return _plain(HTTPStatus.SERVICE_UNAVAILABLE, why_not) if why_not else _plain(HTTPStatus.OK, "ok")

    async def _ask(self, question: Callable[[], Awaitable[str]]) -> str:
        async def answer() -> str:
            return await question()

        try:
            async with asyncio.timeout(_ANSWER_S):
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer(), self._watched))
        except TimeoutError:
            return "the process is stuck"


async def _nothing() -> str:
    return ""


def _plain(status: HTTPStatus, text: str) -> _Answer:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()
