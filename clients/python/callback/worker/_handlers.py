"""Handlers: the functions that decide on calls, and the gRPC server that offers them.

    handlers = Handlers()

    @handlers.activity("order-paid")
    async def paid(call: IncomingCall) -> Response:
        if call.query.get("trxid") is None:
            raise Reject("trxid is missing")
        return Redirect("/page/thankyou")

    Worker(handlers).run()

A `Worker` connects to the server and receives calls from it. The alternative is a handler server, to which the Callback
server connects at an address of its configuration: `handlers.run("127.0.0.1:50061")`.

The result of a call is the same in both cases:

1. A `Response` (or `Redirect`) accepts the call and overrides the case's response, attribute by attribute. None accepts
   the call and keeps the case's response. `Accept` does either, and can keep the case open.
2. A raised `Reject` rejects the call: the caller sent incorrect data. Only the response of the `Reject` is used.
   A `NotJsonError` of `call.json()`, and a `NotFormError` of `call.form()`, reject the call, too, with the code 400.
3. Any other exception, including `SystemExit`, fails the call. It is logged here with the id of the call; it is not
   sent to the server. `KeyboardInterrupt`, and a `SystemExit` in a task that a handler starts, end the program, as
   always in asyncio.
4. A response that the server cannot render, such as one with the code 302 or a body larger than 1 MiB, fails the call.
   The server reports the problem, and it is logged here.
5. A handler is cancelled at its deadline, or when its server is lost, and the call fails. It is not cancelled when the
   caller disconnects.
6. A handler of notifications (`@handlers.notification("order-paid")`) gets reminders and the expiry. Without one, a
   program gets calls alone.
7. A handler is a coroutine function, or a plain function (`def`) for code that blocks, such as Django's ORM. Each call
   of a plain function runs in a thread, with the context variables of the program. A thread cannot be ended: where a
   coroutine function is cancelled, a plain function runs to its end, its answer is dropped, its slot stays occupied
   until then, and a stop waits for it. `call.deadline` tells it how long its answer counts.
8. A coroutine function must not block, as `time.sleep` does: everything else of the program waits meanwhile, also the
   connection to the server. One that blocks for a second is logged as `handler_blocked`.
"""

import asyncio
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from callback import _checks as checks
from callback._decisions import Handler, HandlerDecorator, NotificationHandler, NotificationHandlerDecorator
from callback.connection._channel_options import SERVER_OPTIONS
from callback.connection._tls import ServerTls, server_credentials
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_handler_service_pb2_grpc as services
from callback.worker._execution import HandlerFailedError, decide, log_answer_refused
from callback.worker._listen_address import check_listen_address, is_unix
from callback.worker._process import log_to_standard_error, stop_signals
from callback.worker._threads import HandlerThreads, PlainFunction

DEFAULT_GRACE_S = 10.0
"""How long running calls may continue after a stop, in seconds, unless another time is given."""
DEFAULT_MAX_THREADS = 100
"""The number of concurrent calls of plain functions in a handler server, unless another number is given."""

_SERVICE = messages.DESCRIPTOR.services_by_name["CallbackHandlerService"].full_name

_log = logging.getLogger("callback.handlers")


_AnyHandler = TypeVar("_AnyHandler")
_GIVEN = {"activity": "call", "notification": "notification"}
"""What a handler gets, by the decorator that registers it."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The address of a running handler server."""

    address: str
    """`host:port` with the actual port. An address without a port is returned as given."""
    port: int
    """The actual port. 0 for a Unix socket."""


class Handlers:
    """The handlers of a service, by activity."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._notification_handlers: dict[str, NotificationHandler] = {}

    @property
    def activities(self) -> tuple[str, ...]:
        """The activities that have a handler of their calls."""
        return tuple(self._handlers)

    @property
    def notification_activities(self) -> tuple[str, ...]:
        """The activities that have a handler of their notifications."""
        return tuple(self._notification_handlers)

    def get(self, activity: str) -> Handler | None:
        """Return the handler of the calls of an activity, or None if it has none. It wraps a plain function."""
        return self._handlers.get(activity)

    def get_notification(self, activity: str) -> NotificationHandler | None:
        """Return the handler of the notifications of an activity, as `get` does, or None if it has none."""
        return self._notification_handlers.get(activity)

    def activity(self, name: str) -> HandlerDecorator:
        """Register the decorated function as the handler of an activity, and return it unchanged.

        Raises:
            TypeError: It is not a function, it is a generator, or it cannot be called with the call alone. Or the name
                is not text, as in `@handlers.activity` without a name.
            ValueError: The name is empty, or already has a handler.
        """
        return _registration("activity", name, self._handlers)

    def notification(self, name: str) -> NotificationHandlerDecorator:
        """Register the decorated function for the notifications of an activity, and return it unchanged.

        It gets a `Notification`: a reminder or the expiry of a callback that asks for them (`notify`). What it returns
        or raises counts as for a call: None takes the notification; a `Reject` refuses it for good; any other exception
        fails the attempt, and the server tries again later. There is no caller, so a response has no effect.

        Raises:
            TypeError: As for `activity`.
            ValueError: The name is empty, or already has a handler of notifications.
        """
        return _registration("notification", name, self._notification_handlers)

    def add_to(
        self,
        server: grpc.aio.Server,
        *,
        client_names: Collection[str] | None = None,
        max_threads: int = DEFAULT_MAX_THREADS,
    ) -> None:
        """Add the handler service to an existing gRPC server, as an alternative to `serve`.

        Args:
            server: The server, before its start.
            client_names: The accepted names of Callback servers, as in `ServerTls`. Default: every client that the gRPC
                server accepts.
            max_threads: As for `serve`. The exit of the program waits for plain functions that run.

        Raises:
            ImportError: `client_names` is given, and cryptography is not installed.
            ValueError: `max_threads` is less than 1.
        """
        self._add_to(server, client_names, HandlerThreads(max_threads))

    def _add_to(self, server: grpc.aio.Server, client_names: Collection[str] | None, threads: HandlerThreads) -> None:
        services.add_CallbackHandlerServiceServicer_to_server(_Servicer(self, client_names, threads), server)

    def run(
        self,
        address: str,
        *,
        tls: ServerTls | None = None,
        grace: float = DEFAULT_GRACE_S,
        max_threads: int = DEFAULT_MAX_THREADS,
    ) -> None:
        """Serve as the main job of a program. An error of `serve` ends the program with one line on standard error.

        The log of this library goes to standard error too, unless the program has configured logging. The arguments are
        those of `serve`.

        Raises:
            SystemExit: The server cannot start.
        """
        log_to_standard_error()
        try:
            asyncio.run(self.serve(address, tls=tls, grace=grace, max_threads=max_threads))
        except (OSError, ValueError) as error:
            sys.exit(str(error))

    async def serve(
        self,
        address: str,
        *,
        tls: ServerTls | None = None,
        grace: float = DEFAULT_GRACE_S,
        max_threads: int = DEFAULT_MAX_THREADS,
    ) -> None:
        """Serve until SIGTERM, SIGINT or cancellation. Then accept no new calls, and let running calls finish.

        A second signal has its usual effect. Python cannot handle signals outside the main thread: cancel `serve`
        there.

        Args:
            address: `host:port` (`[::1]:50061` for IPv6) or `unix:/path`.
            tls: The certificate of this server, and the Callback servers that it accepts. Default: no TLS.
            grace: How long running calls may continue after a stop, in seconds. Later they are cancelled. The server
                still waits for plain functions: a thread cannot be ended.
            max_threads: The number of concurrent calls of plain functions. Further ones wait, up to their deadlines.

        Raises:
            OSError: The server cannot listen on the address, or a file of `tls` cannot be read.
            TypeError: `tls`, `grace` or `max_threads` has the wrong type.
            ValueError: The address is malformed, `max_threads` is less than 1, or a file of `tls` has no usable
                content.
        """
        async with self.listen(address, tls=tls, grace=grace, max_threads=max_threads) as listening:
            with stop_signals() as stop:
                _log.info(
                    "handlers_listening address=%s activities=%s", listening.address, ",".join(self._handlers) or "none"
                )
                await stop.wait()
                _log.info("stopping grace_s=%g", grace)

    @asynccontextmanager
    async def listen(
        self,
        address: str,
        *,
        tls: ServerTls | None = None,
        grace: float = DEFAULT_GRACE_S,
        max_threads: int = DEFAULT_MAX_THREADS,
    ) -> AsyncIterator[Listening]:
        """Serve inside an `async with` block, for tests. Port 0 selects a free port.

            async with handlers.listen("127.0.0.1:0") as listening:
                print(listening.address)

        The arguments and errors are those of `serve`.
        """
        if tls is not None:
            checks.instance("tls", tls, ServerTls)
        checks.seconds("grace", grace)
        server, threads = grpc.aio.server(options=SERVER_OPTIONS), HandlerThreads(max_threads)
        unregistered = cast("grpc.aio.Server", _GenericHandlersOnly(server))
        self._add_to(unregistered, None if tls is None else tls.client_names, threads)
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, unregistered)
        await servicer.set(_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        port = _bind(server, address, tls)
        await server.start()
        try:
            yield _listening(address, port)
        finally:
            # Not before the stop: the servicer waits for a client that takes no answer to its watch.
            ending = asyncio.create_task(servicer.enter_graceful_shutdown())
            await server.stop(grace)
            await ending
            await threads.close()


class _GenericHandlersOnly:
    """A gRPC server to which generated code adds services by their generic handlers alone.

    grpc.aio keeps a pending request for each registered method, and looks at all of them whenever a call arrives. With
    the methods of a handler server, that was 6 % of the instructions that it executes for a call.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add the generic handlers of services."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Ignore the methods: the generic handler of their service has them."""


class _Servicer(services.CallbackHandlerServiceServicer):
    """`CallbackHandlerService` for handlers.

    Args:
        handlers: The handlers.
        client_names: The accepted names of Callback servers. None accepts every client.
        threads: The threads of plain functions.

    Raises:
        ImportError: `client_names` is given, and cryptography is not installed.
    """

    def __init__(self, handlers: Handlers, client_names: Collection[str] | None, threads: HandlerThreads) -> None:
        self._handlers = handlers
        self._threads = threads
        self._client_names = None if client_names is None else frozenset(client_names)
        if client_names is not None:
            from callback_shared.certificate_names import names_of  # requires the extra `client-names`

            self._names_of = names_of

    async def HandleCallback(  # noqa: N802  # the contract's name
        self,
        request: messages.HandleCallbackRequest,
        context: grpc.aio.ServicerContext[messages.HandleCallbackRequest, messages.HandleCallbackResponse],
    ) -> messages.HandleCallbackResponse:
        """Run the handler of the activity, and return its decision."""
        await self._require_client_name(context)
        activity = request.callback_activity
        handler = self._handlers.get(activity)
        if handler is None:
            _log.error("handler_missing activity=%r call_id=%s", activity, request.call_id)
        return await self._decision(handler, request, f"the activity {activity!r}", context)

    async def HandleNotification(  # noqa: N802  # the contract's name
        self,
        request: messages.HandleNotificationRequest,
        context: grpc.aio.ServicerContext[messages.HandleNotificationRequest, messages.HandleNotificationResponse],
    ) -> messages.HandleNotificationResponse:
        """Run the handler of the notifications of the activity, and return its decision."""
        await self._require_client_name(context)
        activity = request.notification.callback_activity
        handler, what = self._handlers.get_notification(activity), f"the notifications of the activity {activity!r}"
        return messages.HandleNotificationResponse(
            decision=await self._decision(handler, request.notification, what, context)
        )

    async def RefuseAnswer(  # noqa: N802  # the contract's name
        self,
        request: messages.RefuseAnswerRequest,
        context: grpc.aio.ServicerContext[messages.RefuseAnswerRequest, messages.RefuseAnswerResponse],
    ) -> messages.RefuseAnswerResponse:
        """Log the problem of a decision."""
        await self._require_client_name(context)
        log_answer_refused(request)
        return messages.RefuseAnswerResponse()

    async def _decision(
        self,
        handler: Handler | NotificationHandler | None,
        request: messages.HandleCallbackRequest,
        what: str,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> messages.HandleCallbackResponse:
        """Return the decision of a handler, or end the RPC if there is none."""
        if handler is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"no handler for {what} here")
        try:
            return await decide(handler, request, self._threads)
        except HandlerFailedError as failure:
            await context.abort(grpc.StatusCode.INTERNAL, str(failure))
        raise AssertionError("abort does not return")

    async def _require_client_name(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Refuse a client whose certificate has none of the accepted names."""
        if self._client_names is not None:
            certificates = [*context.auth_context().get("x509_pem_cert", ())]
            names = self._names_of(certificates[0]) if len(certificates) == 1 else frozenset()
            if names.isdisjoint(self._client_names):
                _log.warning("caller_refused names=%s", ",".join(sorted(names)) or "none")
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the certificate has none of the accepted names")


def _registration(decorator: str, name: str, table: dict[str, Any]) -> Callable[[_AnyHandler], _AnyHandler]:
    """Return a decorator that puts a handler into a table."""
    if not isinstance(name, str):
        problem = f"the name of an activity must be text, not {type(name).__name__}"
        raise TypeError(f'{problem}: write @handlers.{decorator}("order-paid")')

    def register(handler: _AnyHandler) -> _AnyHandler:
        if not name:
            raise ValueError("the name of an activity must not be empty")
        if name in table:
            raise ValueError(f"the activity {name!r} already has a handler")
        if not callable(handler) or _yields(handler):
            raise TypeError(f"the handler of {name!r} must be a function that returns its answer")
        if not _takes_one(handler):
            raise TypeError(f"the handler of {name!r} must be a function with one parameter, the {_GIVEN[decorator]}")
        table[name] = handler if _is_kind(handler, inspect.iscoroutinefunction) else PlainFunction(handler)
        return handler

    return register


def _takes_one(handler: Callable[..., object]) -> bool:
    """Return whether a handler can be called with one argument. It can, if Python does not know its parameters."""
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _yields(handler: object) -> bool:
    return _is_kind(handler, inspect.isgeneratorfunction) or _is_kind(handler, inspect.isasyncgenfunction)


def _is_kind(handler: object, is_kind: Callable[[object], bool]) -> bool:
    """Return whether a handler is a function of a kind, a partial of one, or an object whose `__call__` is one."""
    return is_kind(handler) or is_kind(type(handler).__call__)


def _bind(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> int:
    check_listen_address(address)
    credentials = None if tls is None else server_credentials(tls)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        reason = "its directory must exist and be writable" if is_unix(address) else "gRPC gives no reason"
        raise OSError(f"cannot listen on {address}: {reason}") from error


def _listening(address: str, port: int) -> Listening:
    if is_unix(address):  # the port that gRPC returns for a Unix socket has no meaning
        return Listening(address, 0)
    return Listening(f"{address.rpartition(':')[0]}:{port}", port)
