"""What methods of servicers do around their own work: who asks, for what, how long it took, what a refusal becomes."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NoReturn, Protocol, TypeVar, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.contract.validation import violations
from callback_server.errors import CallbackError, InvalidRequestError, StoreUnavailableError
from callback_server.rpc.status import fault, status_of
from callback_server.store.connection.client import StoreError

log = get_logger()


class Guarded(Protocol):
    """A servicer that knows who may ask."""

    access: Authenticator


Servicer = TypeVar("Servicer", bound=Guarded)
Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Method = Callable[[Servicer, Request, Principal], Awaitable[Reply]]
ServicerMethod = Callable[[Servicer, Request, grpc.aio.ServicerContext[Request, Reply]], Awaitable[Reply]]
Asked = TypeVar("Asked")
"""A request, or the requests that a stream brings."""
Caller = Callable[[], Principal]
"""Who asks, as it is known at this moment: over a long time that can change."""
StreamMethod = Callable[[Servicer, Asked, Caller], AsyncGenerator[Reply, None]]
ServicerStream = Callable[[Servicer, Asked, grpc.aio.ServicerContext[Any, Any]], AsyncGenerator[Reply, None]]


def rpc(role: Role) -> Callable[[Method[Servicer, Request, Reply]], ServicerMethod[Servicer, Request, Reply]]:
    """Makes a method of a servicer, for principals with a role, out of one that takes a request and who asks.

    It returns a reply or raises domain errors.
    """

    def decorate(method: Method[Servicer, Request, Reply]) -> ServicerMethod[Servicer, Request, Reply]:
        name = method.__name__
        seconds = metrics.REQUEST_SECONDS.labels(name)

        @functools.wraps(method)
        async def servicer_method(
            self: Servicer, request: Request, context: grpc.aio.ServicerContext[Request, Reply]
        ) -> Reply:
            began = time.perf_counter()
            try:
                return await method(self, request, self.access.caller(context, role))
            except Exception as error:
                status = refused(error, name)
            finally:
                seconds.observe(time.perf_counter() - began)
            return await refuse(context, status)

        servicer_method.role = role  # type: ignore[attr-defined]  # what `require_roles` looks for
        return servicer_method

    return decorate


def rpc_stream(role: Role) -> Callable[[StreamMethod[Servicer, Asked, Reply]], ServicerStream[Servicer, Asked, Reply]]:
    """As `rpc`, of a method that replies any number of times. How long it lasts says nothing, and is not measured."""

    def decorate(method: StreamMethod[Servicer, Asked, Reply]) -> ServicerStream[Servicer, Asked, Reply]:
        @rpc_duplex(role)
        @functools.wraps(method)
        async def looked_after(self: Servicer, request: Asked, caller: Caller) -> AsyncGenerator[Reply, None]:
            async with contextlib.aclosing(method(self, request, caller)) as replies:
                async for reply in replies:
                    caller()  # who may no longer is told so before the next reply
                    yield reply

        return looked_after

    return decorate


def rpc_duplex(role: Role) -> Callable[[StreamMethod[Servicer, Asked, Reply]], ServicerStream[Servicer, Asked, Reply]]:
    """As `rpc_stream`, of a method that looks itself whether who asks still may."""

    def decorate(method: StreamMethod[Servicer, Asked, Reply]) -> ServicerStream[Servicer, Asked, Reply]:
        name = method.__name__

        @functools.wraps(method)
        async def servicer_method(
            self: Servicer, request: Asked, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncGenerator[Reply, None]:
            caller = functools.partial(self.access.caller, context, role)
            try:
                caller()
                async with contextlib.aclosing(method(self, request, caller)) as replies:
                    async for reply in replies:
                        yield reply
                return
            except Exception as error:
                status = refused(error, name)
            await refuse(context, status)

        servicer_method.role = role  # type: ignore[attr-defined]  # what `require_roles` looks for
        return servicer_method

    return decorate


def require_valid(message: Message) -> None:
    """Refuses a message that breaks a rule of the contract.

    Raises:
        InvalidRequestError: with all that is wrong.
    """
    broken = violations(message)
    if broken:
        raise InvalidRequestError(broken)


def refused(error: BaseException, method: str) -> status_pb2.Status:
    """What an error of a method becomes outside. It is counted, and logged where it is no refusal."""
    if isinstance(error, StoreError):
        log.error("store_unavailable", method=method, error=str(error))
        error = StoreUnavailableError()
    if isinstance(error, CallbackError):
        status, reason = status_of(error), error.reason
    else:
        log.error("fault", method=method, exc_info=error)
        status, reason = fault(), "INTERNAL"
    metrics.REFUSED.labels(method, reason).inc()
    return status


async def refuse(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status) -> NoReturn:
    """Ends an RPC with a status and its details."""
    # types-grpcio does not know that abort_with_status takes what rpc_status makes.
    await context.abort_with_status(cast("Any", rpc_status.to_status(status)))
    raise AssertionError("abort_with_status returned")


def require_roles(service: ServiceDescriptor, servicer: Guarded) -> None:
    """Refuses a servicer with a method that does not say whom it is for: nothing is open by being forgotten.

    Raises:
        TypeError: it has one.
    """
    for method in service.methods:
        if not isinstance(getattr(getattr(servicer, method.name), "role", None), Role):
            raise TypeError(f"{service.full_name}/{method.name} does not say which role it needs")
