"""Handlers: the functions that decide what happens on a call.

::

    handlers = Handlers()

    @handlers.activity("order-paid")
    async def paid(call: IncomingCall) -> Response:
        if call.query.get("trxid") is None:
            raise Reject("trxid is missing")
        return Redirect("/page/thankyou")

    Worker(handlers).run()

A `Worker` connects to the server, and calls come to it. Where the server should connect to the handlers instead, at an
address that its configuration has, they serve there: `handlers.run("127.0.0.1:50061")`.

What becomes of a call is the same either way:

1. A `Response` (or `Redirect`) accepts the call and overrides the case's response, attribute by attribute. None accepts
   it and keeps the case's response. `Accept` does either, and can keep the case open.
2. `Reject`, raised, says that incorrect data was sent. Only its own response is used.
3. Any other exception fails the call, `SystemExit` too. It is logged here, with the call's id, and nothing of it leaves
   the process. A `KeyboardInterrupt`, and a `SystemExit` in a task that a handler starts, end the program: asyncio
   has it so.
4. An answer that can not be rendered, such as one with a code of 302 or a body beyond 1 MiB, fails the call. The server
   says what is wrong with it, and that is logged here.
5. At its deadline a handler is cancelled, and the call fails. So is one whose server is lost. A caller that hangs up
   cancels nothing.
6. Handlers are coroutine functions. A function that blocks would hold up every other call, and could not be cancelled:
   put blocking work into `await asyncio.to_thread(…)`.
"""

import asyncio
import inspect
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from callback._converters import incoming_call_from_proto
from callback._decisions import Handler, Reject, decision
from callback.connection._cancellation import is_being_cancelled
from callback.connection._channel_options import MAX_MESSAGE_BYTES, SERVER_OPTIONS
from callback.connection._credentials import ServerTls, server_credentials
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_handler_service_pb2_grpc as services
from callback.worker._certificate_names import names_of
from callback.worker._listen_address import check_address, is_unix

DEFAULT_GRACE = 10.0
"""How long running calls may take to end after a stop, in seconds, unless another time is given."""

LARGEST_ANSWER = MAX_MESSAGE_BYTES - 1024
"""How large an answer may be, in bytes: the server reads no larger message, and its stream would end."""

_SERVICE = messages.DESCRIPTOR.services_by_name["CallbackHandlerService"].full_name

_log = logging.getLogger("callback.handlers")


_Handler = TypeVar("_Handler", bound=Handler)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a handler server listens."""

    address: str
    """`host:port` with the real port, or the address as it was given if it has none."""
    port: int
    """The real port. 0 for a Unix socket."""


class Handlers:
    """The handlers of one service, by activity."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    @property
    def activities(self) -> tuple[str, ...]:
        """The activities that have a handler here."""
        return tuple(self._handlers)

    def get(self, activity: str) -> Handler | None:
        """Return the handler of an activity. None: it has none here."""
        return self._handlers.get(activity)

    def activity(self, name: str) -> Callable[[_Handler], _Handler]:
        """Register the decorated coroutine function as the handler of an activity, and return it unchanged.

        Raises:
            TypeError: It is not a coroutine function.
            ValueError: The name is empty, or has a handler already.
        """

        def register(handler: _Handler) -> _Handler:
            if not name:
                raise ValueError("an activity has a name")
            if name in self._handlers:
                raise ValueError(f"the activity {name!r} has a handler already")
            if not _is_async(handler):
                raise TypeError(
                    f"the handler of {name!r} is not a coroutine function: write `async def`,"
                    " and put blocking work into `await asyncio.to_thread(…)`"
                )
            self._handlers[name] = handler
            return handler

        return register

    def add_to(self, server: grpc.aio.Server, *, client_names: Collection[str] | None = None) -> None:
        """Add the service to a gRPC server of one's own, instead of `serve`.

        Args:
            server: The server, not yet started.
            client_names: Who may call, as in `ServerTls`. Default: everyone whom the server lets in.
        """
        services.add_CallbackHandlerServiceServicer_to_server(_Servicer(self._handlers, client_names), server)

    def run(self, address: str, *, tls: ServerTls | None = None, grace: float = DEFAULT_GRACE) -> None:
        """Serve, as all that a program does; what `serve` raises ends it with one line on standard error.

        What is logged here goes to standard error too, unless the program has set up logging. Args are those of
        `serve`.

        Raises:
            SystemExit: It can not start.
        """
        log_to_standard_error()
        try:
            asyncio.run(self.serve(address, tls=tls, grace=grace))
        except (OSError, ValueError) as error:
            sys.exit(str(error))

    async def serve(
        self,
        address: str,
        *,
        tls: ServerTls | None = None,
        grace: float = DEFAULT_GRACE,
    ) -> None:
        """Serve until SIGTERM or SIGINT arrives or this is cancelled; then take no new calls and let running ones end.

        A second signal has its usual effect. Outside the main thread signals can not be caught: cancel it there.

        Args:
            address: `host:port` (`[::1]:50061` for IPv6) or `unix:/path`.
            tls: The certificate to show, and which callers to let in. Default: no TLS.
            grace: How long running calls may take to end, in seconds. What still runs then is cancelled.

        Raises:
            OSError: The address can not be listened on, or a file of `tls` can not be read.
            ValueError: The address is not one, or there is nothing in a file of `tls` that can be used.
        """
        async with self.listen(address, tls=tls, grace=grace) as listening:
            with stop_signals() as stop:
                _log.info("handling %s on %s", ", ".join(self._handlers) or "nothing", listening.address)
                await stop.wait()
                _log.info("stopping; running calls have %g s to end", grace)

    @asynccontextmanager
    async def listen(
        self,
        address: str,
        *,
        tls: ServerTls | None = None,
        grace: float = DEFAULT_GRACE,
    ) -> AsyncIterator[Listening]:
        """Serve inside an `async with` block, as tests do; port 0 picks a free one.

        ::

            async with handlers.listen("127.0.0.1:0") as listening:
                print(listening.address)

        Args and errors are those of `serve`.
        """
        server = grpc.aio.server(options=SERVER_OPTIONS)
        self.add_to(server, client_names=None if tls is None else tls.client_names)
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        await servicer.set(_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        port = _bind(server, address, tls)
        await server.start()
        try:
            yield _listening(address, port)
        finally:
            await servicer.enter_graceful_shutdown()
            await server.stop(grace)


class _Servicer(services.CallbackHandlerServiceServicer):
    """`CallbackHandlerService` over a table of handlers, for callers with one of these names; None: for all."""

    def __init__(self, handlers: Mapping[str, Handler], client_names: Collection[str] | None) -> None:
        self._handlers = handlers
        self._client_names = None if client_names is None else frozenset(client_names)

    async def HandleCallback(  # noqa: N802 - the contract's name
        self,
        request: messages.HandleCallbackRequest,
        context: grpc.aio.ServicerContext[messages.HandleCallbackRequest, messages.HandleCallbackResponse],
    ) -> messages.HandleCallbackResponse:
        """Run the activity's handler and return its decision."""
        await self._require_name(context)
        handler = self._handlers.get(request.callback_activity)
        if handler is None:
            activity, call_id = request.callback_activity, request.call_id
            _log.error("call %s is for the activity %r, which has no handler here", call_id, activity)
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"no handler for the activity {activity!r} here")
        try:
            return await decide(handler, request)
        except HandlerFailedError as failure:
            await context.abort(grpc.StatusCode.INTERNAL, str(failure))
        raise AssertionError("abort does not return")

    async def RefuseAnswer(  # noqa: N802 - the contract's name
        self,
        request: messages.RefuseAnswerRequest,
        context: grpc.aio.ServicerContext[messages.RefuseAnswerRequest, messages.RefuseAnswerResponse],
    ) -> messages.RefuseAnswerResponse:
        """Log what is wrong with an answer."""
        await self._require_name(context)
        log_refusal(request)
        return messages.RefuseAnswerResponse()

    async def _require_name(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Refuse a caller that may not call here."""
        if self._client_names is not None:
            shown = [*context.auth_context().get("x509_pem_cert", ())]
            names = names_of(shown[0]) if len(shown) == 1 else frozenset()
            if names.isdisjoint(self._client_names):
                _log.warning(
                    "refused a call of %s: not one of client_names", ", ".join(sorted(names)) or "nobody named"
                )
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the certificate has no name that may call here")


class HandlerFailedError(Exception):
    """A handler has failed. What it raised is in the log, and not in here."""

    def __init__(self, message: str = "the handler failed") -> None:
        super().__init__(message)


async def decide(handler: Handler, request: messages.HandleCallbackRequest) -> messages.HandleCallbackResponse:
    """Run a handler and return its decision.

    Raises:
        HandlerFailedError: There is none.
    """
    activity, call_id = request.callback_activity, request.call_id
    try:
        answer = await _decision(handler, request)
    except asyncio.CancelledError:
        if is_being_cancelled():
            _log.warning("the handler of %r was cancelled (deadline, or stop) in call %s", activity, call_id)
            raise
        # Raised by the handler itself. Nothing at all would be sent, and the server wait to its deadline.
        _log.exception("the handler of %r failed in call %s", activity, call_id)
    except (Exception, SystemExit):  # a library that gives up one call does not end the others
        _log.exception("the handler of %r failed in call %s", activity, call_id)
    else:
        if answer.ByteSize() <= LARGEST_ANSWER:
            return answer
        too_large = "the handler's answer is larger than a message can be"
        _log.error("%s: that of %r in call %s", too_large, activity, call_id)
        raise HandlerFailedError(too_large)
    raise HandlerFailedError


def log_refusal(refusal: messages.RefuseAnswerRequest) -> None:
    """Log that the server can not render an answer."""
    _log.error(
        "the answer of the handler of %r in call %s can not be rendered, so the call has failed: %s",
        refusal.callback_activity,
        refusal.call_id,
        refusal.problem,
    )


async def _decision(handler: Handler, request: messages.HandleCallbackRequest) -> messages.HandleCallbackResponse:
    try:
        answer = await handler(incoming_call_from_proto(request))
    except Reject as rejection:
        return decision(rejection)
    if isinstance(answer, Reject):
        raise TypeError("a handler raises a Reject, and does not return it")
    return decision(answer)


def log_to_standard_error() -> None:
    """Have what this library logs on standard error, unless the program has set up logging."""
    log = logging.getLogger("callback")
    if not log.hasHandlers():
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)


def _is_async(handler: Handler) -> bool:
    """Whether calling it gives a coroutine: an `async def`, a partial of one, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _bind(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> int:
    check_address(address)
    credentials = None if tls is None else server_credentials(tls)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        why = "its directory has to exist and be writable" if is_unix(address) else "gRPC gives no reason"
        raise OSError(f"can not listen on {address}: {why}") from error


def _listening(address: str, port: int) -> Listening:
    if is_unix(address):  # gRPC's "port" of a Unix socket means nothing
        return Listening(address, 0)
    return Listening(f"{address.rpartition(':')[0]}:{port}", port)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGTERM or SIGINT sets; from then on both have the effect that they had before."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
