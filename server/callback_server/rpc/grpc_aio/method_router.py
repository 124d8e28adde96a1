"""Where an RPC finds its handler, or is turned away: before its message is received, and parsed into much more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from callback_server import metrics
from callback_server.access.authenticator import Authenticator
from callback_server.errors import UnauthenticatedError
from callback_server.rpc.method import refuse
from callback_server.rpc.status import status_of

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # subscriptable in the types alone


class MethodRouter(grpc.GenericRpcHandler):
    """Finds the handler of an RPC, and turns away who has no credential, or a wrong one.

    Who comes in is still looked at by each method. What needs no principal, such as health, passes; and so, where
    certificates are asked for, does who has no token.

    To generated code it is the server that services are added to. That itself has no method registered: for each that
    is, grpc.aio keeps a request of its own open, and looks at all of those whenever an RPC comes. Nor has it an
    interceptor, which is a coroutine more for each RPC.
    """

    def __init__(self, access: Authenticator, guarded: Collection[ServiceDescriptor]) -> None:
        self._access = access
        self._handlers: dict[str, Handler] = {}
        self._guarded = {
            f"/{service.full_name}/{method.name}": method.name for service in guarded for method in service.methods
        }

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Adds nothing: each method comes by its name as well."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Adds the methods of a service."""
        self._handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of an RPC, if there is one, or one that reads nothing and refuses."""
        path = handler_call_details.method
        method = self._guarded.get(path)
        error = self._access.refusal(handler_call_details.invocation_metadata) if method else None
        return self._handlers.get(path) if error is None else _refusing(error, method or "")


def _refusing(error: UnauthenticatedError, method: str) -> Handler:
    async def refuse_it(_messages: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        metrics.REFUSED.labels(method, error.reason).inc()
        await refuse(context, status_of(error))

    # The messages of a stream are received one by one, when they are asked for. These never are.
    return grpc.stream_unary_rpc_method_handler(refuse_it)
