"""The exceptions of this library by what a program can do, under `CallbackError`.

`_reason_errors.py` has one for each other reason of a refusal; it is generated from the contract. Each error carries
its reason and the metadata of the `ErrorInfo` as fields, so that a program never has to parse a message or know gRPC.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2

from callback._reasons import ErrorReason
from callback._value import CONVERSIONS, Conversion, Value

_Violation = error_details_pb2.BadRequest.FieldViolation
_Enum = TypeVar("_Enum", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class FieldViolation(Value):
    """One invalid field of a request."""

    field: str
    """The path of the field in the contract, such as `response.response_redirect_url` or `labels["colour"]`."""
    description: str
    """What is wrong with the value."""
    rule: str
    """The stable name of the rule, such as `string.max_len`. May be empty."""


def violation_from_proto(message: Any) -> FieldViolation:
    """Convert a violation of a `google.rpc.BadRequest`."""
    return FieldViolation(message.field, message.description, message.reason)


def _violation_to_proto(value: FieldViolation) -> Any:
    return _Violation(field=value.field, description=value.description, reason=value.rule)


CONVERSIONS[FieldViolation] = Conversion(_Violation, violation_from_proto, _violation_to_proto)


class CallbackError(Exception):
    """Base class of every error of a request: the server refused it, or did not respond."""

    reason: ErrorReason | str
    """The reason. A plain string if this version does not know it; empty if the error does not come from the server."""
    code: grpc.StatusCode
    """The gRPC status code."""
    message: str
    """A sentence for people."""
    facts: Mapping[str, str]
    """Metadata of the `ErrorInfo`, such as `close_reason`."""
    violations: tuple[FieldViolation, ...]
    """Every invalid field. Empty unless the reason is INVALID_REQUEST."""
    retry_after: timedelta | None
    """How long to wait before sending the same request again. None if the server does not say."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: ErrorReason | str = "",
        facts: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.facts = dict(facts or {})
        self.violations = violations
        self.retry_after = retry_after

    def _count(self, fact: str) -> int | None:
        """Return a fact that is a number. None: the server does not say it."""
        text = self.facts.get(fact, "")
        return int(text) if text.isdecimal() else None

    def _word(self, enum: type[_Enum], fact: str) -> _Enum:
        """Return a fact that is a word of an enum, or UNKNOWN."""
        word = self.facts.get(fact, "")
        return enum(word) if word in set(enum) else enum("UNKNOWN")

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error be pickled: task queues and process pools pass it on. By default it would lose its facts."""
        given: dict[str, Any] = {
            "code": self.code, "reason": self.reason, "facts": self.facts, "violations": self.violations,
            "retry_after": self.retry_after,
        }  # fmt: skip
        return functools.partial(type(self), **given), (self.message,), self.__dict__

    def __str__(self) -> str:
        # The violations contain everything that the message says.
        text = "; ".join(f"{each.field}: {each.description}" for each in self.violations) or self.message
        return f"{self.reason or self.code.name}: {text}"


class InvalidRequestError(CallbackError):
    """The request is not valid. `violations` names every invalid field. Nothing was stored."""


class NotFoundError(CallbackError):
    """The case or call does not exist, belongs to another owner, or is past its retention."""


class UnauthenticatedError(CallbackError):
    """The request has no valid credentials: the token is missing, wrong or expired, or the certificate is unknown."""


class PermissionDeniedError(CallbackError):
    """The principal lacks the role that this request needs, or may not handle one of the worker's activities."""

    @property
    def role(self) -> str:
        """The missing role, such as `owner`. Empty if the server does not say."""
        return self.facts.get("role", "")


class UnavailableError(CallbackError):
    """The server or its store is unreachable.

    Every request can be sent again. Send `generate_callback_url` with the same `request_id`; otherwise the server may
    create a second case.
    """


class DeadlineExceededError(UnavailableError, TimeoutError):
    """No response arrived in time. The server may or may not have executed the request."""
