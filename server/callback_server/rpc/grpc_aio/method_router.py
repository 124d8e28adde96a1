"""The look-up of an RPC's method, and early refusals.

grpc.aio keeps a pending request for each registered method, and looks at all of them whenever an RPC arrives. An
interceptor costs a coroutine per RPC. And a method is called only after its message has been received and parsed, which
can take many times the memory of the message. Therefore no method is registered: one generic handler finds the method
by its path, and refuses an RPC without a valid credential before its message is received.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from callback_server.access.authenticator import Authenticator
from callback_server.errors import CallbackError
from callback_server.rpc.malformed import lenient
from callback_server.rpc.method import error_status, refuse

Around = Callable[..., Awaitable[Any]]
"""Makes an RPC. Its arguments are the method of the servicer, and the arguments of that method."""
_NOT_LIMITED: Final = ("/callback.v1.EdgeService/StreamInvocations",)
"""The methods whose requests may have any number of fields."""

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # subscriptable in the types alone


class MethodRouter(grpc.GenericRpcHandler):
    """Finds the method of an RPC, and refuses RPCs whose credential is missing or cannot be accepted.

    This is the first check only: each method authenticates its caller itself. RPCs that need no principal, such as
    health checks, pass; so do RPCs without a token where certificates are requested.
    """

    def __init__(self, authenticator: Authenticator, authenticated: Collection[ServiceDescriptor]) -> None:
        """Create a router without methods. `authenticated` are the services that need a principal."""
        self._authenticator = authenticator
        self._handlers: dict[str, Handler] = {}
        self._authenticated = {
            f"/{service.full_name}/{method.name}": method for service in authenticated for method in service.methods
        }

    @property
    def as_server(self) -> grpc.aio.Server:
        """The router as the server to which generated code adds services: it calls the next two methods alone."""
        return cast("grpc.aio.Server", self)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore generic handlers: generated code passes each method by its name as well."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Add the methods of a service. They get a `Malformed` where a request is no message."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            fields = cast("Any", handler)  # a named tuple
            method = self._authenticated.get(path)
            # Edges limit the fields of what they send, and to count these again would take much of a call.
            limited = None if method is None or path in _NOT_LIMITED else method.input_type
            parse = lenient(fields.request_deserializer, limited)
            self._handlers[path] = fields._replace(request_deserializer=parse)

    def wrap(self, path: str, around: Around) -> None:
        """Let a function make each RPC of a method, by the method that it gets, in place of the method itself."""
        handler = self._handlers[path]
        self._handlers[path] = grpc.unary_unary_rpc_method_handler(
            functools.partial(around, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of an RPC, or one that refuses without reading. None: there is no such method."""
        path = handler_call_details.method
        method = self._authenticated.get(path)
        error = self._authenticator.early_refusal(handler_call_details.invocation_metadata) if method else None
        return self._handlers.get(path) if error is None else _refusing(error, method.name if method else "")


def _refusing(error: CallbackError, method: str) -> Handler:
    async def refuse_rpc(_messages: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await refuse(context, error_status(error, method))

    # gRPC receives the messages of a stream one by one, on request. This handler requests none.
    return grpc.stream_unary_rpc_method_handler(refuse_rpc)
