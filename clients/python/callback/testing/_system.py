"""A running system: `callback up` as a process of its own, and a worker with the handlers in a thread of this one.

1. What runs is what runs in production. This starts the command line, and imports nothing of the server.
2. It ends with this process, however that ends: it reads its standard input, of which this process alone holds the
   other end.
3. No `CALLBACK_…` variable of the environment reaches it. What it stores and logs is in the directory; the store's
   socket is among the temporary files if the directory lies too deep for one.
"""

import asyncio
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

from callback._decisions import Answer, Handler
from callback._multi_mapping import Headers, Pairs, PairsLike
from callback._values import IncomingCall
from callback.client._async_client import AsyncCallbackClient
from callback.client._sync_client import CallbackClient
from callback.testing import _http
from callback.testing._http import Reply
from callback.worker._handlers import Handlers
from callback.worker._worker import Worker

START_S = 60.0
"""How long a system may take to start, in seconds. It takes about one."""
STOP_S = 40.0
"""How long it may take to stop, in seconds. It takes less than one, unless a handler is still at work."""
CALL_S = 30.0
"""How long a caller waits, in seconds, unless another time is given."""
_LAST_LINES = 20

_READY = re.compile(r"ready edge=(?P<edge>\S+) grpc=(?P<grpc>\S+)\n")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SystemStartError(RuntimeError):
    """The system does not start. The text has what it said last."""


def _in_thread(function: Callable[_P, _T]) -> Callable[_P, Awaitable[_T]]:
    """Return a function for asyncio that does the same, without blocking the loop."""

    @functools.wraps(function)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return run


class System:
    """A running system. `running_system` and the fixture `callback_system` make one."""

    url: str
    """Where the edge listens: `http://127.0.0.1:PORT`. Callback URLs begin with it."""
    target: str
    """Where the server listens, `127.0.0.1:PORT`: what a client takes."""
    client: CallbackClient
    """A client, for use in any thread. It is closed with the system."""
    log: Path
    """The file with what the processes say."""

    def __init__(self, edge: str, target: str, client: CallbackClient, handling: "_Handling", log: Path) -> None:
        self._edge = edge
        self._handling = handling
        self.url = f"http://{edge}"
        self.target = target
        self.client = client
        self.log = log

    def __repr__(self) -> str:
        return f"<System url={self.url} target={self.target}>"

    def async_client(self) -> AsyncCallbackClient:
        """Return a new asyncio client, for an `async with` block on the loop of the test."""
        return AsyncCallbackClient(self.target)

    @contextmanager
    def handling(self, activity: str, handler: Handler) -> Iterator[None]:
        """Let another handler decide, inside the `with` block; afterwards it is the one from before.

        ::

            async def broken(call):
                raise RuntimeError("the bank is closed")

            with callback_system.handling("order-paid", broken):
                assert callback_system.send(made.url).status == 502

        Args:
            activity: One of the handlers' activities, or of the configuration's.
            handler: A coroutine function, as for `Handlers.activity`.

        Raises:
            TypeError: It is not a coroutine function.
            ValueError: The system has no such activity. Its activities are known from its start.
        """
        with self._handling.replaced(activity, handler):
            yield

    def send(
        self,
        url: str,
        body: bytes | str = b"",
        *,
        form: PairsLike | None = None,
        json: object = None,  # as other HTTP clients name it
        method: str = "POST",
        headers: PairsLike = (),
        timeout: float = CALL_S,
    ) -> Reply:
        """Call a URL as the sender of a webhook does: by default a POST.

        ::

            reply = callback_system.send(made.url, json={"id": "5", "status": "ok"})
            assert reply.status == 200

        Args:
            url: A callback URL. The edge of this system is called, whatever its host is; that is sent as `Host`.
            body: The body, as it is.
            form: Instead of a body, the fields of a form.
            json: Instead of a body, what to send as JSON.
            method: The HTTP method.
            headers: Header fields. One of the name `Content-Type` replaces that of a form or JSON.
            timeout: How long the caller waits, in seconds.

        Raises:
            OSError: There was no answer in time.
            ValueError: The URL is not absolute, or there is more than one body.
        """
        given, (content, kind) = Headers(headers), _http.content(body, form, json)
        if kind is not None and "content-type" not in given:
            given = Headers([("Content-Type", kind), *given.pairs])
        return _http.call(self._edge, url, method=method, headers=given, body=content, timeout=timeout)

    def visit(
        self,
        url: str,
        *,
        query: PairsLike = (),
        form: PairsLike | None = None,
        headers: PairsLike = (),
        timeout: float = CALL_S,
    ) -> Reply:
        """Call a URL as a browser does that was sent there, and stay at the answer: a redirect is not followed.

        ::

            reply = callback_system.visit(made.url, query={"status": "paid"})
            assert (reply.status, reply.location) == (302, "https://shop.example/thankyou")

        Args:
            url: A callback URL. The edge of this system is called, whatever its host is; that is sent as `Host`.
            query: Parameters to add to the URL's own.
            form: Fields that the page before posts here, as OAuth's `form_post` and SAML do. Default: a GET.
            headers: Header fields, in addition to a browser's own or, of the same name, in their place.
            timeout: How long the visitor waits, in seconds.

        Raises:
            OSError: There was no answer in time.
            ValueError: The URL is not absolute.
        """
        given = Headers(headers)
        mine = [(name, value) for name, value in _http.BROWSER.items() if name not in given]
        if added := urlencode(Pairs(query).pairs):
            url += ("&" if "?" in url else "?") + added
        method = "GET" if form is None else "POST"
        return self.send(url, form=form, method=method, headers=[*mine, *given.pairs], timeout=timeout)

    async_send = _in_thread(send)
    """`send` for asyncio."""
    async_visit = _in_thread(visit)
    """`visit` for asyncio."""


@contextmanager
def running_system(
    handlers: Handlers | None = None, *, config: str = "", directory: Path | None = None
) -> Iterator[System]:
    """Start a system, for a `with` block.

    Args:
        handlers: The handlers under test. Default: none.
        config: Settings as the text of a server's TOML file. Targets of activities are of no account: a worker in this
            process has them all. Where processes listen, and what they store, is decided here.
        directory: An empty directory for what is stored and logged. Default: one that is removed afterwards.

    Raises:
        SystemStartError: It does not start: a setting is wrong, or `callback[up]` is not installed.
        ValueError: The configuration is not TOML.
    """
    declared = tomllib.loads(config).get("activities", {})
    handling = _Handling(handlers or Handlers(), declared)
    with ExitStack() as stack:
        home = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callback-")))
        config_file, log = home / "callback.toml", home / "callback.log"
        config_file.write_text(config, encoding="utf-8")
        activities = {name: {**entry, "target": None, "tls": None} for name, entry in declared.items()}
        settings = {"CALLBACK_ACTIVITIES": json.dumps(activities)}
        edge, target = stack.enter_context(_up(home / "data", config_file, log, settings))
        stack.callback(handling.stop)  # first of all: no handler that is still at work holds up the stop
        handling.start(target)
        client = stack.enter_context(CallbackClient(target))
        yield System(edge, target, client, handling, log)


@contextmanager
def _up(data: Path, config: Path, log: Path, settings: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Run `callback up`; gives the addresses of edge and server."""
    # -P: no file of the project under test is taken for a module.
    command = [sys.executable, "-P", "-m", "callback_cli", "up", "--until-eof", f"--data-dir={data}"]
    command += ["--edge=127.0.0.1:0", "--grpc=127.0.0.1:0", f"--config={config}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLBACK_")}
    with log.open("wb") as log_file:
        process = subprocess.Popen(  # noqa: S603  # our own command line
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env=environment | settings,
            text=True,
            start_new_session=True,  # a Ctrl-C reaches the tests alone, which then stop it
        )
    with process:  # closes the pipes
        try:
            yield _addresses(process, log)
        finally:
            _stop(process)


def _addresses(process: subprocess.Popen[str], log: Path) -> tuple[str, str]:
    """Wait until the system is ready; return where edge and server listen."""
    late = threading.Timer(START_S, process.kill)
    late.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
    finally:
        late.cancel()
    ready = _READY.fullmatch(line)
    if ready is None:
        _stop(process)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        raise SystemStartError("\n".join(["the system does not start; it said:", *lines]))
    return ready["edge"], ready["grpc"]


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


class _Handling:
    """Has the handlers under test at work, and those that take their place for a time."""

    def __init__(self, under_test: Handlers, declared: dict[str, Any]) -> None:
        self.activities = tuple(dict.fromkeys([*under_test.activities, *declared]))
        self._under_test = under_test
        self._instead: dict[str, Handler] = {}
        self._thread: threading.Thread | None = None

    def start(self, target: str) -> None:
        """Work for this server, in a thread with a loop of its own. Returns when calls can come."""
        if not self.activities:
            return
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._work(target, started)), name="callback-handlers", daemon=True
        )
        self._thread.start()
        started.result()

    def stop(self) -> None:
        """End the work; handlers that are at it are cancelled. A second time it does nothing."""
        if self._thread is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    async def _work(self, target: str, started: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        at_work = Handlers()
        for name in self.activities:
            at_work.activity(name)(self._decide)
        try:
            async with Worker(at_work, target, grace=0).working():
                started.set_result(None)
                await self._stopping.wait()
        except Exception as error:
            started.set_exception(error)
            raise

    @contextmanager
    def replaced(self, activity: str, handler: Handler) -> Iterator[None]:
        """Put a handler in the place of another."""
        if activity not in self.activities:
            known = ", ".join(self.activities) or "none"
            raise ValueError(f"the system has no activity {activity!r}, but {known}: give it one in `callback_config`")
        Handlers().activity(activity)(handler)  # refuses what is no handler
        before = self._instead.get(activity)
        self._instead[activity] = handler
        try:
            yield
        finally:
            if before is None:
                del self._instead[activity]
            else:
                self._instead[activity] = before

    async def _decide(self, call: IncomingCall) -> Answer:
        handler = self._instead.get(call.activity) or self._under_test.get(call.activity)
        if handler is None:
            raise LookupError(f"no handler for {call.activity!r} here: give it one with `handling`")
        return await handler(call)
