"""What every method of a servicer does around its own work: authentication, validation, metrics, errors to statuses."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
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
from callback_server.limits.log import log_limit
from callback_server.rpc.malformed import Messages, require_message
from callback_server.rpc.status import internal_error, status_of
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import log_store_error

log = get_logger()


class Authenticating(Protocol):
    """A servicer with an authenticator."""

    authenticator: Authenticator


Servicer = TypeVar("Servicer", bound=Authenticating)
Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Method = Callable[[Servicer, Request, Principal], Awaitable[Reply]]
ServicerMethod = Callable[[Servicer, Request, grpc.aio.ServicerContext[Request, Reply]], Awaitable[Reply]]
Input = TypeVar("Input")
"""A request, or an iterator of the requests of a stream."""
Authenticate = Callable[[], Principal]
"""Returns the principal of an RPC as it is known now: during a long RPC it can lose its role."""
StreamMethod = Callable[[Servicer, Input, Authenticate], AsyncGenerator[Reply, None]]
ServicerStream = Callable[[Servicer, Input, grpc.aio.ServicerContext[Any, Any]], AsyncGenerator[Reply, None]]


def rpc(
    role: Role, *, or_answers: bool = False, validates: bool = True
) -> Callable[[Method[Servicer, Request, Reply]], ServicerMethod[Servicer, Request, Reply]]:
    """Make a servicer's method for principals with a role from one that takes a request and its principal.

    With `or_answers`, it is for workers with `answers`, too. The decorated method returns a reply or raises a
    `CallbackError`. It gets valid requests only, unless it validates them by itself (`validates` is False).
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
                principal = self.authenticator.authenticate(context, role, or_answers=or_answers)
                require_message(request)
                if validates:
                    require_valid(request)
                return await method(self, request, principal)
            except Exception as error:
                status = error_status(error, name)
            finally:
                seconds.observe(time.perf_counter() - began)
            return await refuse(context, status)

        servicer_method.role = role  # type: ignore[attr-defined]  # what `require_roles` looks for
        return servicer_method

    return decorate


def rpc_stream(
    role: Role, *, or_answers: bool = False
) -> Callable[[StreamMethod[Servicer, Input, Reply]], ServicerStream[Servicer, Input, Reply]]:
    """Make a servicer's method as `rpc` does, from a generator of replies. Its duration means nothing: no metric.

    The decorated method calls `authenticate` before each reply: it refuses a principal that has lost its role.
    """

    def decorate(method: StreamMethod[Servicer, Input, Reply]) -> ServicerStream[Servicer, Input, Reply]:
        name = method.__name__

        @functools.wraps(method)
        async def servicer_method(
            self: Servicer, request: Input, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncGenerator[Reply, None]:
            authenticate = functools.partial(self.authenticator.authenticate, context, role, or_answers=or_answers)
            try:
                authenticate()
                if isinstance(request, AsyncIterator):
                    request = cast("Input", Messages(request))
                else:
                    require_message(request)
                async with contextlib.aclosing(method(self, request, authenticate)) as replies:
                    async for reply in replies:
                        yield reply
                return
            except Exception as error:
                status = error_status(error, name)
            await refuse(context, status)

        servicer_method.role = role  # type: ignore[attr-defined]  # what `require_roles` looks for
        return servicer_method

    return decorate


def require_valid(message: Message) -> None:
    """Check a message against the rules of the contract.

    Raises:
        InvalidRequestError: The message breaks a rule. The error lists every bad field.
    """
    broken = violations(message)
    if broken:
        raise InvalidRequestError(broken)


def error_status(error: BaseException, method: str, *, logs_fault: bool = True) -> status_pb2.Status:
    """Return the status for an error of a method. Count it, and log it if it is not a refusal.

    Args:
        error: The error.
        method: The name of the method.
        logs_fault: Whether to log a fault of this server: False for one like it of the same request.
    """
    if isinstance(error, StoreError):
        log_store_error(method, error)
        error = StoreUnavailableError(is_full=error.is_full)
    if isinstance(error, CallbackError):
        status, reason, limit, owner = status_of(error), error.reason, error.limit, error.owner
    else:
        if logs_fault:
            log.error("request_failed", method=method, exc_info=error)
        status, reason, limit, owner = internal_error(), "INTERNAL", "", ""
    metrics.REFUSED.labels(method, reason, limit).inc()
    if limit:
        log_limit(limit, owner)
    return status


async def refuse(context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status) -> NoReturn:
    """End an RPC with a status and its details."""
    # types-grpcio does not know that abort_with_status accepts the result of rpc_status.
    await context.abort_with_status(cast("Any", rpc_status.to_status(status)))
    raise AssertionError("abort_with_status returned")


def require_roles(service: ServiceDescriptor, servicer: Authenticating) -> None:
    """Check that every method of a servicer declares its role, so that no method is open by mistake.

    Raises:
        TypeError: A method declares none.
    """
    for method in service.methods:
        if not isinstance(getattr(getattr(servicer, method.name), "role", None), Role):
            raise TypeError(f"{service.full_name}/{method.name} does not say which role it needs")
