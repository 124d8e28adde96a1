"""From a refusal to a `google.rpc.Status`: the one place where a domain error gets a gRPC code."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.principal import Principal, Role
from callback_server.errors import CallbackError, InvalidRequestError, StoreUnavailableError, Violation
from callback_server.rpc.access import Access
from callback_server.store.client import StoreError

log = get_logger()

DOMAIN: Final = "callback"
_CODES: Final = {
    "INVALID_REQUEST": code_pb2.INVALID_ARGUMENT,
    "REQUEST_ID_REUSED": code_pb2.ALREADY_EXISTS,
    "REQUEST_ID_UNSUPPORTED": code_pb2.FAILED_PRECONDITION,
    "CALLBACK_NOT_FOUND": code_pb2.NOT_FOUND,
    "CALL_NOT_FOUND": code_pb2.NOT_FOUND,
    "CALLBACK_CLOSED": code_pb2.FAILED_PRECONDITION,
    "STATE_UNKNOWN": code_pb2.NOT_FOUND,
    "CALL_IN_PROGRESS": code_pb2.ABORTED,
    "HANDLER_FAILED": code_pb2.INTERNAL,
    "RESPONSE_INVALID": code_pb2.INTERNAL,
    "HANDLER_DEADLINE_EXCEEDED": code_pb2.DEADLINE_EXCEEDED,
    "HANDLER_NOT_STARTED": code_pb2.UNAVAILABLE,
    "HANDLER_LOST": code_pb2.UNAVAILABLE,
    "STORE_UNAVAILABLE": code_pb2.UNAVAILABLE,
    "OUTCOME_UNKNOWN": code_pb2.UNAVAILABLE,
    "TOO_MANY_CALLS": code_pb2.RESOURCE_EXHAUSTED,
    "SERVER_STOPPING": code_pb2.UNAVAILABLE,
    "UNAUTHENTICATED": code_pb2.UNAUTHENTICATED,
    "ROLE_MISSING": code_pb2.PERMISSION_DENIED,
    "TOO_MANY_OPEN_CALLBACKS": code_pb2.RESOURCE_EXHAUSTED,
}
"""Every reason and its code (`error_reason.proto` says the same)."""

# A status travels as metadata: beyond 8 kB a peer drops it whole, code included. The message goes twice, once with each
# byte that is not ASCII as three, and the details in base64.
_MAX_MESSAGE_BYTES: Final = 600
_MAX_VIOLATIONS_BYTES: Final = 3500


def status_of(error: CallbackError) -> status_pb2.Status:
    """The status of a refusal, with ErrorInfo, and BadRequest or RetryInfo where they say something."""
    status = status_pb2.Status(code=_CODES[error.reason], message=_cut(str(error), _MAX_MESSAGE_BYTES))
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts))
    if isinstance(error, InvalidRequestError):
        _add(status, _bad_request(error.violations))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.seconds = error.retry_after_s
        _add(status, retry)
    return status


def _bad_request(violations: list[Violation]) -> error_details_pb2.BadRequest:
    """Every bad field; of very many as many as a status can hold, and then how many more there are."""
    bad = error_details_pb2.BadRequest()
    for told, each in enumerate(violations):
        bad.field_violations.add(field=_cut(each.field, 200), description=_cut(each.message, 300), reason=each.rule)
        if bad.ByteSize() > _MAX_VIOLATIONS_BYTES:
            del bad.field_violations[-1]
            bad.field_violations.add(reason="more", description=f"and {len(violations) - told} more")
            break
    return bad


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def _fault() -> status_pb2.Status:
    """What the outside learns of a fault of ours: one fixed text."""
    status = status_pb2.Status(code=code_pb2.INTERNAL, message="internal error")
    _add(status, error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN))
    return status


def _add(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


class Guarded(Protocol):
    """A servicer that knows who may ask."""

    access: Access


Servicer = TypeVar("Servicer", bound=Guarded)
Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Method = Callable[[Servicer, Request, Principal], Awaitable[Reply]]
ServicerMethod = Callable[[Servicer, Request, grpc.aio.ServicerContext[Request, Reply]], Awaitable[Reply]]


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
            except CallbackError as error:
                status, reason = status_of(error), error.reason
            except StoreError as error:
                log.error("store_unavailable", method=name, error=str(error))
                status, reason = status_of(StoreUnavailableError()), StoreUnavailableError.reason
            except Exception:
                log.exception("fault", method=name)
                status, reason = _fault(), "INTERNAL"
            finally:
                seconds.observe(time.perf_counter() - began)
            metrics.REFUSED.labels(name, reason).inc()
            # types-grpcio does not know that abort_with_status takes what rpc_status makes.
            await context.abort_with_status(cast("Any", rpc_status.to_status(status)))
            raise AssertionError("abort_with_status returned")

        servicer_method.role = role  # type: ignore[attr-defined]  # what `require_roles` looks for
        return servicer_method

    return decorate


def require_roles(service: ServiceDescriptor, servicer: Guarded) -> None:
    """Refuses a servicer with a method that does not say whom it is for: nothing is open by being forgotten.

    Raises:
        TypeError: it has one.
    """
    for method in service.methods:
        if not isinstance(getattr(getattr(servicer, method.name), "role", None), Role):
            raise TypeError(f"{service.full_name}/{method.name} does not say which role it needs")
