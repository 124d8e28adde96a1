"""The transition that records the end of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.call import Outcome
from callback_server.domain.case import CaseEffect, Settings
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.response import Response
from callback_server.store import keys
from callback_server.store.packing import pack_answer, pack_content, unpack_content, unpack_effect
from callback_server.store.recording import LIMITS, Recording
from callback_server.store.script_arguments import flags, texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "finish_call",
    [
        *texts("case_id", "call_id", "status", "failure", "detail", "response", "response_body", "version"),
        *texts("answer_digest", "answer", "answer_ms"),
        *flags("keep_open"),
        *LIMITS,
    ],
    applies_timeouts=True,
)
ANSWER_MS: Final = 10_000
"""How long the answer to a held call is kept, in milliseconds. The caller's process looks for it each second."""


@dataclass(frozen=True, slots=True)
class FinishResult:
    """The end of a call is recorded."""

    effect: CaseEffect | None
    """The effect on the case. None: the case is as it was."""
    again: bool = False
    """The end was recorded before, by the same request."""


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
    answer_digest: str = "",
) -> FinishResult | ResponseReplaced | None:
    """Record the end of a call and its effect on the case, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call.
        outcome: How the call ended.
        recording: What is recorded of the answer and of ended calls.
        version: The version of the case's response that the outcome was merged with. None: it does not depend on it.
        answer_digest: A digest of the answer to a held call. The whole answer is kept for a moment, for the process
            where the caller waits.

    Returns:
        The result; the response to merge with, if it was replaced; None if the call has ended otherwise: its lease
        ended, or it has another answer.

    Raises:
        StoreError: It is not known whether the end was recorded.
    """
    case_id = case_id_of_call(call_id)
    response, body = b"", b""
    if outcome.response is not None:
        response, body = pack_content(Settings(), recording.of_answer(outcome.response))
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id=case_id,
        call_id=call_id,
        status=outcome.status,
        failure=outcome.failure or "",
        detail=outcome.detail,
        response=response,
        response_body=body,
        version="" if version is None else version,
        answer_digest=answer_digest,
        answer=pack_answer(outcome.response) if answer_digest and outcome.response is not None else b"",
        answer_ms=ANSWER_MS,
        limits=recording.limits,
        keep_open=outcome.keep_open,
    )
    if word == b"STALE":
        return None
    if word == b"MERGE":
        now, content, now_body = facts
        return ResponseReplaced(unpack_content(content, now_body)[1], now)
    return FinishResult(unpack_effect(facts[0]), again=word == b"AGAIN")
