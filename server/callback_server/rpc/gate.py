"""What is turned away at the door: before its message is received, and parsed into something much larger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from callback_server import metrics
from callback_server.errors import UnauthenticatedError
from callback_server.rpc.access import Access
from callback_server.rpc.method import refuse
from callback_server.rpc.status import status_of

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # subscriptable in the types alone


class Gate(grpc.aio.ServerInterceptor):
    """Turns away who has no credential, or a wrong one. Who comes in is still looked at by each method.

    What needs no principal, such as health, passes; and so, where certificates are asked for, does who has no token.
    """

    def __init__(self, access: Access, services: Collection[ServiceDescriptor]) -> None:
        self._access = access
        self._methods = {
            f"/{service.full_name}/{method.name}": method.name for service in services for method in service.methods
        }

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Gives the handler that would have been, if any, or one that reads nothing and refuses."""
        method = self._methods.get(handler_call_details.method)
        error = self._access.refusal(handler_call_details.invocation_metadata) if method else None
        return await continuation(handler_call_details) if error is None else _refusing(error, method or "")


def _refusing(error: UnauthenticatedError, method: str) -> Handler:
    async def refuse_it(_messages: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        metrics.REFUSED.labels(method, error.reason).inc()
        await refuse(context, status_of(error))

    # The messages of a stream are received one by one, when they are asked for. These never are.
    return grpc.stream_unary_rpc_method_handler(refuse_it)
