"""Status of a failed call or stream: decodes the server's `google.rpc.Status`. Pure, apart from the log."""

import contextlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from callback.v1 import callback_pb2
from callback_edge import problems
from callback_edge.page_content import Choice, FieldContent, PromptContent
from callback_process import logs
from callback_process.limited_event import LimitedEvent

log = logs.get_logger()

_INVOKE_FAILED: Final = LimitedEvent(log.warning, "invoke_failed")
"""The log event of errors that are none of a server of Callback, counted by their gRPC code."""

REFUSAL_CODES: Final = (code_pb2.UNAUTHENTICATED, code_pb2.PERMISSION_DENIED)
"""Codes with which a server refuses this edge."""
UNREACHABLE_RETRY_S: Final = 5
"""Value of `Retry-After`, in seconds, where no server accepts calls."""
_OUTCOME_UNKNOWN_CODES: Final = (code_pb2.UNAVAILABLE, code_pb2.DEADLINE_EXCEEDED, code_pb2.CANCELLED)
_ERROR_DOMAIN: Final = "callback"
_INVALID: Final = "INVALID_REQUEST"
"""The reason with which a server of an earlier release refuses a kind of request that it does not know."""
_CHALLENGE: Final = re.compile(r"[!-~](?:[ -~]{0,998}[!-~])?")
_DEFAULT_CHALLENGE: Final = "Signature"
_MAX_RETRY_S: Final = 24 * 3600


@dataclass(slots=True)
class ErrorDetails:
    """Details of an error. All are empty if the error is not from a server of Callback."""

    reason: str = ""
    call_id: str = ""
    callback_open: bool = False
    challenge: str = _DEFAULT_CHALLENGE
    retry_after_s: int | None = None
    prompt: PromptContent | None = None


def details_of(status: status_pb2.Status) -> ErrorDetails:
    """Return the details of a status."""
    details, problems_by_field = ErrorDetails(), dict[str, str]()
    for detail in status.details:
        info, retry, prompt = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), callback_pb2.Prompt()
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == _ERROR_DOMAIN:
            details.reason, details.call_id = info.reason, info.metadata.get("call_id", "")
            details.callback_open = info.metadata.get("callback_open") == "true"
            if _CHALLENGE.fullmatch(challenge := info.metadata.get("challenge", "")):
                details.challenge = challenge
        elif detail.Unpack(retry):
            details.retry_after_s = _whole_seconds(retry.retry_delay)
        elif detail.Unpack(bad):  # the server adds it before the prompt
            problems_by_field = {each.field: each.reason for each in bad.field_violations}
        elif detail.Unpack(prompt):
            fields = tuple(_field(each, problems_by_field.get(each.name, "")) for each in prompt.fields)
            details.prompt = PromptContent(prompt.title, prompt.text, _choices(prompt.choices), prompt.language, fields)
    return details


def _choices(choices: Iterable[callback_pb2.PromptChoice]) -> tuple[Choice, ...]:
    return tuple(Choice(each.value, each.label) for each in choices)


def _field(field: callback_pb2.PromptField, problem: str) -> FieldContent:
    words = callback_pb2.FieldKind
    kind = words.Name(field.kind) if field.kind in words.values() and field.kind else "FIELD_KIND_TEXT"
    return FieldContent(
        field.name,
        field.label,
        kind.removeprefix("FIELD_KIND_").lower(),
        field.is_required,
        field.default_value,
        field.minimum,
        field.maximum,
        _choices(field.choices),
        field.help,
        problem,
    )


def problem_error_from(status: status_pb2.Status) -> problems.ProblemError:
    """Return what a failed call means to its caller. The server's message is not part of it."""
    if status.code in REFUSAL_CODES:
        return problems.ProblemError(problems.EDGE_REFUSED, retry_after_s=UNREACHABLE_RETRY_S)
    details = details_of(status)
    if details.reason == _INVALID:
        return problems.ProblemError(problems.FEATURE_UNAVAILABLE, retry_after_s=UNREACHABLE_RETRY_S)
    if details.reason:
        problem = problems.BY_REASON.get(details.reason, problems.INTERNAL)
        challenge = details.challenge if problem is problems.VERIFICATION_FAILED else ""
        return problems.ProblemError(
            problem,
            retry_after_s=details.retry_after_s,
            call_id=details.call_id,
            callback_open=details.callback_open,
            challenge=challenge,
            prompt=details.prompt if problem in problems.WITH_PROMPT else None,
        )
    _INVOKE_FAILED.log(_code_name(status), grpc_details=status.message)
    is_unknown = status.code in _OUTCOME_UNKNOWN_CODES
    return problems.ProblemError(problems.OUTCOME_UNKNOWN if is_unknown else problems.INTERNAL)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the status with which a stream ended."""
    with contextlib.suppress(ValueError):  # the details contradict the status: not from a server of Callback
        if rich := rpc_status.from_call(error):  # type: ignore[arg-type]  # typed for the synchronous API, works for both
            return rich
    return status_pb2.Status(code=error.code().value[0], message=error.details() or "")


def reason_of(status: status_pb2.Status) -> str:
    """Return why a server refuses. A proxy in front of it may give only a code."""
    return details_of(status).reason or _code_name(status)


def _code_name(status: status_pb2.Status) -> str:
    return code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else str(status.code)


def _whole_seconds(delay: duration_pb2.Duration) -> int:
    return min(max(1, math.ceil(delay.seconds + delay.nanos / 1e9)), _MAX_RETRY_S)
