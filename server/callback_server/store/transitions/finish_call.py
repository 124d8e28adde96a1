"""The transition that records the end of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.call import Outcome
from callback_server.domain.case import CaseEffect, Settings
from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.generated_lua import flags, numbers, text
from callback_server.store.packing import pack_answer, pack_content, unpack_effect
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "finish_call",
    [
        *text("case_id", "call_id", "status", "failure", "detail", "response", "response_body", "answer_digest"),
        *text("answer", "answer_ms"),
        *numbers("max_recorded_calls", "max_recorded_bytes"),
        *flags("keep_open"),
    ],
    applies_timeouts=True,
)
ANSWER_MS: Final = 10_000
"""How long what a held call was answered is kept for its caller: who holds it looks each second."""


@dataclass(frozen=True, slots=True)
class FinishResult:
    """The end is recorded, now or by the same message before."""

    effect: CaseEffect | None
    """None: the case is as it was."""
    again: bool = False
    """It was recorded before."""


async def finish_call(
    scripts: Scripts, *, call_id: str, outcome: Outcome, retention: Retention, answer_digest: str = ""
) -> FinishResult | None:
    """Records how `call_id` ended, durably, and what that makes of its case. Safe to send again.

    `answered` is of a held call: a digest of what somebody answered it, whose result `outcome` is. The answer is kept
    whole for a moment, for the process where the caller waits.

    None: the call has ended otherwise, for its lease was over, or somebody answered it otherwise.

    Raises:
        StoreError: it is not known whether it was recorded.
    """
    case_id = case_id_of_call(call_id)
    response, body = b"", b""
    if outcome.response is not None:
        response, body = pack_content(Settings(), retention.of_answer(outcome.response))
    reply = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id=case_id,
        call_id=call_id,
        status=outcome.status,
        failure=outcome.failure or "",
        detail=outcome.detail,
        response=response,
        response_body=body,
        answer_digest=answer_digest,
        answer=pack_answer(outcome.response) if answer_digest and outcome.response is not None else b"",
        answer_ms=ANSWER_MS,
        max_recorded_calls=retention.calls_per_case,
        max_recorded_bytes=retention.bytes_per_case,
        keep_open=outcome.keep_open,
    )
    if reply[0] == b"STALE":
        return None
    return FinishResult(unpack_effect(reply[1]), again=reply[0] == b"AGAIN")
