"""The transition that records the end of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from callback_server.domain.call import DeliveryStatus, Outcome
from callback_server.domain.case import CaseEffect
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.response import Response, code_alone
from callback_server.store.audit_argument import require_head
from callback_server.store.packing import pack_both, unpack_content, unpack_effect
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("finish_call", sends_reports=True)


class FinishResult(msgspec.Struct, frozen=True):
    """The end of a call is recorded, or of an attempt of its delivery."""

    effect: CaseEffect | None
    """The effect on the case. None: the case is as it was."""
    again: bool = False
    """The end was recorded before, by the same request."""
    delivery: DeliveryStatus | None = None
    """The status of the delivery. PENDING: the call has not ended, because another attempt follows. None: the call has
    no delivery."""
    backoff_ms: int | None = None
    """The time until that attempt, in milliseconds."""
    is_open: bool = False
    """Whether the case is open now."""


@dataclass(frozen=True, slots=True)
class ResponseReplaced:
    """The response of the case is not the one that the outcome was merged with. Nothing was recorded."""

    response: Response
    """The response of the case as it is now."""
    version: int


async def finish_call(
    scripts: Scripts,
    *,
    call_id: str,
    outcome: Outcome,
    recording: Recording,
    version: int | None = None,
    case_body: bytes | None = None,
    answer_digest: str = "",
    answered_by: str = "",
    audit: bytes = b"",
    fencing_token: int = 1,
    backoff_ms: int | None = None,
    was_asked: bool = True,
) -> FinishResult | ResponseReplaced | None:
    """Record the end of a call and its effect on the case, durably. Safe to send again.

    If the call has a delivery, because its caller got a fallback, record the end of an attempt. It ends the call unless
    another attempt follows.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call.
        outcome: How the call ended.
        recording: What is recorded of the answer and of ended calls.
        version: The version of the case's response that the outcome was merged with. None: it does not depend on it.
        case_body: The body of that response. An answer that has it too names it, in place of a copy.
        answer_digest: A digest of the answer to a held call. The whole answer is kept for a moment, for the process
            where the caller waits.
        answered_by: The principal that answers it.
        audit: The entry of the audit for that answer (see audit_argument.py).
        fencing_token: The fencing token of the attempt; 1 for the attempt that ran while the caller waited.
        backoff_ms: The time until the next attempt, if the call has a delivery and another attempt may follow. None: no
            other attempt follows.
        was_asked: Whether a handler was asked.

    Returns:
        The result; the response to merge with, if it was replaced; None if the call has ended otherwise: its lease
        ended, it has another answer, or another attempt has started.

    Raises:
        HeadMovedError: The entry came late, and the call has not ended.
        StoreError: It is not known whether the end was recorded.
    """
    case_id = case_id_of_call(call_id)
    response = body = whole_response = whole_body = b""
    code: int | None = None
    names_body = whole_names_body = False
    if outcome.response is not None:
        recorded = recording.of_answer(outcome.response)
        response, body, whole_response, whole_body = pack_both(outcome.response, recorded)
        code = code_alone(outcome.response)
        if case_body and version is not None and scripts.names_bodies:
            names_body, whole_names_body = body == case_body, (whole_body if whole_response else body) == case_body
            body = b"" if names_body else body
            whole_body = b"" if whole_names_body else whole_body
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        call_id=call_id,
        status=outcome.status,
        failure=outcome.failure or "",
        detail=outcome.failure_detail,
        response=response,
        response_body=body,
        whole_response=whole_response,
        whole_body=whole_body,
        names_body=names_body,
        whole_names_body=whole_names_body,
        code="" if code is None else code,
        version="" if version is None else version,
        answer_digest=answer_digest,
        answered_by=answered_by,
        audit=audit,
        fencing_token=fencing_token,
        backoff_ms="" if backoff_ms is None else str(backoff_ms),
        was_asked=was_asked,
        limits=recording.limits,
        keep_open=outcome.keep_open,
        close=outcome.close,
        no_repeat=outcome.no_repeat,
        repeat_bytes_per_case=recording.repeat_bytes_per_case,
    )
    if word == b"STALE":
        return None
    if word == b"MERGE":
        now, content, now_body = facts
        return ResponseReplaced(unpack_content(content, now_body)[1], now)
    if word == b"PENDING":
        return FinishResult(None, delivery=DeliveryStatus.PENDING, backoff_ms=backoff_ms)
    require_head(word, facts)
    effect, delivery, is_open = facts
    return FinishResult(
        unpack_effect(effect),
        again=word == b"AGAIN",
        delivery=DeliveryStatus(delivery.decode()) if delivery else None,
        is_open=bool(is_open),
    )
