"""A running system: `callback up` as a separate process, and a worker with the handlers in a thread of this process.

1. The system is the same as in production. This module starts the command line, and imports nothing of the server.
2. The system ends when this process ends, for any reason: it reads its standard input, and only this process holds the
   other end.
3. `CALLBACK_…` environment variables do not reach it. Its data and log are in the given directory. The socket of the
   store is among the temporary files if the path of the directory is too long for a socket.
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
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode

from callback._decisions import Answer, Handler, NotificationHandler
from callback._multi_mapping import Headers, Pairs, PairsLike
from callback._values import IncomingCall
from callback.client._async_client import AsyncCallbackClient
from callback.client._sync_client import CallbackClient
from callback.testing import _http
from callback.testing._http import Reply
from callback.worker._handlers import Handlers
from callback.worker._worker import Worker

START_S = 60.0
"""How long a system may take to start, in seconds. It usually takes one second."""
STOP_S = 40.0
"""How long a system may take to stop, in seconds. It usually takes less than one second, plus running handlers."""
CALL_S = 30.0
"""The timeout of a caller in seconds, unless another one is given."""
_LAST_LINES = 20

_READY = re.compile(r"ready edge=(?P<edge>\S+) grpc=(?P<grpc>\S+)\n")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SystemStartError(RuntimeError):
    """The system did not start. The message has the last lines of its log."""


def _in_thread(function: Callable[_P, _T]) -> Callable[_P, Awaitable[_T]]:
    """Return an asyncio variant of a function, which runs it in a thread."""

    @functools.wraps(function)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return run


class System:
    """A running system, made by `running_system` or the fixture `callback_system`."""

    url: str
    """The URL of the edge, `http://127.0.0.1:PORT`. Callback URLs begin with it."""
    target: str
    """The target of the server for clients, `127.0.0.1:PORT`."""
    client: CallbackClient
    """A client, for use in any thread. It is closed together with the system."""
    log: Path
    """The log file of the processes."""

    def __init__(self, up: "_Up", client: CallbackClient, handling: "_HandlerThread", log: Path) -> None:
        self._up = up
        self._edge = up.edge
        self._handling = handling
        self.url = f"http://{up.edge}"
        self.target = up.target
        self.client = client
        self.log = log

    def __repr__(self) -> str:
        return f"<System url={self.url} target={self.target}>"

    def async_client(self) -> AsyncCallbackClient:
        """Return a new asyncio client, for an `async with` block on the event loop of the test."""
        return AsyncCallbackClient(self.target)

    @contextmanager
    def handling(self, activity: str, handler: Handler) -> Iterator[None]:
        """Replace a handler inside a `with` block. Afterwards the previous one is active again.

            async def broken(call):
                raise RuntimeError("the bank is closed")

            with callback_system.handling("order-paid", broken):
                assert callback_system.send(made.url).status == 502

        Args:
            activity: An activity of the handlers or of the configuration.
            handler: A function, as for `Handlers.activity`.

        Raises:
            TypeError: The handler is not a function.
            ValueError: The system has no such activity. Its activities are fixed at its start.
        """
        with self._handling.handlers.replaced(activity, handler):
            yield

    def advance(self, by: timedelta) -> None:
        """Move the time of all callbacks forward. What is due by then has happened when this returns.

            callback_system.advance(timedelta(days=3))
            assert callback_system.client.get_callback(made.case_id).status is CallbackStatus.CLOSED  # it has expired

        Callbacks have expired, the windows of repeats are over, and reminders are handed out: wait for what their
        handlers do. A delivery that is due is tried again, and data past its retention will be deleted. A call that
        runs ends as INTERRUPTED if its lease is over by then. The time cannot be moved back. Signatures, tokens and
        certificates keep to the real time.

        Args:
            by: How far, at least a millisecond.

        Raises:
            ValueError: It is less than a millisecond.
            RuntimeError: The system did not do it; its log says why.
        """
        by_ms = by // timedelta(milliseconds=1)
        if by_ms < 1:
            raise ValueError(f"the time is moved by at least a millisecond, not by {by}")
        self._up.advance(by_ms)

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
        """Call a URL as the sender of a webhook does, by default with POST.

            reply = callback_system.send(made.url, json={"id": "5", "status": "ok"})
            assert reply.status == 200

        Args:
            url: A callback URL. The request goes to the edge of this system, with the host of the URL as `Host`.
            body: The body, sent unchanged.
            form: The fields of a form, instead of a body.
            json: A value to send as JSON, instead of a body.
            method: The HTTP method.
            headers: Header fields. A `Content-Type` replaces that of a form or JSON.
            timeout: The timeout of the caller in seconds.

        Raises:
            OSError: No reply arrived in time.
            ValueError: The URL is not absolute, or more than one body is given.
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
        """Call a URL as a browser does. Redirects are not followed.

            reply = callback_system.visit(made.url, query={"status": "paid"})
            assert (reply.status, reply.location) == (302, "https://shop.example/thankyou")

        Args:
            url: A callback URL. The request goes to the edge of this system, with the host of the URL as `Host`.
            query: Parameters to add to those of the URL.
            form: Fields to send with POST, as OAuth's `form_post` and SAML do. Default: a GET without them.
            headers: Header fields, in addition to those of a browser. Equal names replace them.
            timeout: The timeout of the visitor in seconds.

        Raises:
            OSError: No reply arrived in time.
            ValueError: The URL is not absolute.
        """
        given = Headers(headers)
        mine = [(name, value) for name, value in _http.BROWSER.items() if name not in given]
        if added := urlencode(Pairs(query).pairs):
            url += ("&" if "?" in url else "?") + added
        method = "GET" if form is None else "POST"
        return self.send(url, form=form, method=method, headers=[*mine, *given.pairs], timeout=timeout)

    async_send = _in_thread(send)
    """The asyncio variant of `send`."""
    async_advance = _in_thread(advance)
    """The asyncio variant of `advance`."""
    async_visit = _in_thread(visit)
    """The asyncio variant of `visit`."""


@contextmanager
def running_system(
    handlers: Handlers | None = None, *, config: str = "", directory: Path | None = None
) -> Iterator[System]:
    """Run a system inside a `with` block.

    Args:
        handlers: The handlers under test. Default: none.
        config: Settings as the text of a server's TOML file. Targets of activities are ignored, because a worker in
            this process handles all activities. Listen addresses and the data directory are ignored too.
        directory: An empty directory for data and log. Default: a temporary one, which is removed afterwards.

    Raises:
        SystemStartError: The system did not start: a setting is not valid, or the extra `up` is not installed.
        ValueError: The configuration is not TOML.
    """
    declared = tomllib.loads(config).get("activities", {})
    handling = _HandlerThread(_HandlersUnderTest(handlers or Handlers(), declared))
    with ExitStack() as stack:
        home = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callback-")))
        config_file, log = home / "callback.toml", home / "callback.log"
        config_file.write_text(config, encoding="utf-8")
        activities = {name: {**entry, "target": None, "tls": None} for name, entry in declared.items()}
        settings = {"CALLBACK_ACTIVITIES": json.dumps(activities)}
        up = stack.enter_context(_up(home / "data", config_file, log, settings))
        stack.callback(handling.stop)  # first, so that no running handler delays the stop
        handling.start(up.target)
        client = stack.enter_context(CallbackClient(up.target))
        yield System(up, client, handling, log)


class _Up:
    """A running `callback up`."""

    def __init__(self, process: subprocess.Popen[str], edge: str, target: str) -> None:
        self._process = process
        self._advancing = threading.Lock()
        self.edge = edge
        self.target = target

    def advance(self, by_ms: int) -> None:
        with self._advancing:
            assert self._process.stdin and self._process.stdout  # noqa: S101, PT018  # both are pipes
            self._process.stdin.write(f"advance {by_ms}\n")
            self._process.stdin.flush()
            said = self._process.stdout.readline().rstrip()
        if said != "advanced":
            raise RuntimeError(f"the clock of the system was {said or 'not advanced: the system has stopped'}")


@contextmanager
def _up(data: Path, config: Path, log: Path, settings: dict[str, str]) -> Iterator[_Up]:
    """Run `callback up`."""
    # -P: no file of the project under test shadows a module.
    command = [sys.executable, "-P", "-m", "callback_cli", "up", "--test-clock", f"--data-dir={data}"]
    command += ["--edge=127.0.0.1:0", "--grpc=127.0.0.1:0", "--no-console", f"--config={config}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLBACK_")}
    with log.open("wb") as log_file:
        process = subprocess.Popen(  # noqa: S603  # our own command line
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env=environment | settings,
            text=True,
            start_new_session=True,  # Ctrl-C then reaches only the tests, which stop the system
        )
    with process:  # closes the pipes
        try:
            yield _Up(process, *_addresses(process, log))
        finally:
            _stop(process)


def _addresses(process: subprocess.Popen[str], log: Path) -> tuple[str, str]:
    """Wait until the system is ready, and return the addresses of edge and server."""
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
        raise SystemStartError("\n".join(["the system did not start. The last lines of its log:", *lines]))
    return ready["edge"], ready["grpc"]


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


@functools.cache
def _worker_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all workers, which runs in a thread until the process ends.

    It is never closed: grpc.aio has one completion queue per process, and delivers events of a closed channel late.
    Where their loop is closed, the error "Event loop is closed" ends up in another loop, whose own events are lost.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="callback-handlers", daemon=True).start()
    return loop


class _HandlersUnderTest(Handlers):
    """The handlers under test, and their temporary replacements, for all activities of the configuration too."""

    def __init__(self, under_test: Handlers, declared: Iterable[str]) -> None:
        super().__init__()
        self._under_test = under_test
        self._activities = tuple(dict.fromkeys([*under_test.activities, *declared]))
        self._replacements: dict[str, Handler | None] = {}

    @property
    def activities(self) -> tuple[str, ...]:
        """Those of the handlers under test and of the configuration."""
        return self._activities

    @property
    def notification_activities(self) -> tuple[str, ...]:
        """Those of the handlers under test."""
        return self._under_test.notification_activities

    def get(self, activity: str) -> Handler | None:
        """Return the handler that decides now. It raises an error if there is none."""
        return self._replacements.get(activity) or self._under_test.get(activity) or _undecided

    def get_notification(self, activity: str) -> NotificationHandler | None:
        """Return that of the handlers under test."""
        return self._under_test.get_notification(activity)

    @contextmanager
    def replaced(self, activity: str, handler: Handler) -> Iterator[None]:
        """Replace a handler inside a `with` block."""
        if activity not in self._activities:
            known = ", ".join(self._activities) or "none"
            raise ValueError(f"the system has no activity {activity!r}, only {known}. Declare it in `callback_config`.")
        replacement = Handlers()
        replacement.activity(activity)(handler)  # raises if it is not a handler
        before = self._replacements.get(activity)
        self._replacements[activity] = replacement.get(activity)
        try:
            yield
        finally:
            self._replacements[activity] = before


async def _undecided(call: IncomingCall) -> Answer:
    raise LookupError(f"no handler for {call.activity!r}. Set one with `handling`.")


class _HandlerThread:
    """A worker in a thread, with the handlers under test."""

    def __init__(self, handlers: _HandlersUnderTest) -> None:
        self.handlers = handlers
        self._working: Future[None] | None = None
        self._stopping = asyncio.Event()  # used on the worker's loop

    def start(self, target: str) -> None:
        """Start the worker on its loop. Return when it is connected."""
        if not (self.handlers.activities or self.handlers.notification_activities):
            return
        started: Future[None] = Future()
        self._working = asyncio.run_coroutine_threadsafe(self._work(target, started), _worker_loop())
        started.result()

    def stop(self) -> None:
        """Stop the worker, and cancel running handlers. A second call has no effect."""
        if self._working is not None:
            _worker_loop().call_soon_threadsafe(self._stopping.set)
            self._working.result()

    async def _work(self, target: str, started: Future[None]) -> None:
        try:
            worker = Worker(self.handlers, target, grace=0)
            async with worker.working():
                await worker.connected()
                started.set_result(None)
                await self._stopping.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)
