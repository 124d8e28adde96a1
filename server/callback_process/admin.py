"""What a process tells its operators over HTTP, on an address of its own that callers do not reach.

- `/healthz`: 200 while the process answers at all, its event loop included. What to restart it by.
- `/readyz`: 200 if it may get work, else 503 and why not. What to route by.
- `/metrics`: the figures of this process, as Prometheus reads them.

It runs in a thread, so that nobody who asks slowly, or much, holds up a call.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError
from socketserver import ThreadingMixIn
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import disable_created_metrics, make_wsgi_app

_ANSWER_S: Final = 5.0
"""How long the event loop may take to say whether the process is ready, in seconds."""
_READ_S: Final = 10
"""How long a peer may take to send its request, in seconds."""
_STOP_POLL_S: Final = 0.05
"""How often the thread looks whether it is to stop, in seconds: so long may it hold up the end of the process."""
_StartResponse = Callable[[str, list[tuple[str, str]]], object]


class AdminServer:
    """Serves the three on a socket that listens already, from `with` to its end. On a running event loop.

    Args:
        listening: the socket, which is ours from now on.
        is_ready: says why the process may not get work, in a few words; nothing if it may.
    """

    def __init__(self, listening: socket.socket, is_ready: Callable[[], Awaitable[str]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_ready = is_ready
        # A second series for each metric, of when it was made: nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without types
        self._metrics = make_wsgi_app(disable_compression=True)
        self._server = _Server(listening)
        self._server.set_app(self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_POLL_S,), name="admin", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(start_response, "405 Method Not Allowed", "only GET")
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start_response)  # type: ignore[no-any-return]  # any WSGI application
            case "/healthz":
                why_not = self._ask(_nothing())
            case "/readyz":
                why_not = self._ask(self._why_not_ready())
            case _:
                return _plain(start_response, "404 Not Found", "there are /healthz, /readyz and /metrics")
        if why_not:
            return _plain(start_response, "503 Service Unavailable", why_not)
        return _plain(start_response, "200 OK", "ok")

    async def _why_not_ready(self) -> str:
        return await self._is_ready()

    def _ask(self, question: Coroutine[Any, Any, str]) -> str:
        asked = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return asked.result(_ANSWER_S)
        except FutureTimeoutError:
            asked.cancel()
            return "the process is stuck"


async def _nothing() -> str:
    return ""


def _plain(start_response: _StartResponse, status: str, text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


class _Handler(WSGIRequestHandler):
    timeout = _READ_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the library's
        """Nothing: probes and scrapers come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket) -> None:
        self.address_family = listening.family
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()  # the one that it made
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
