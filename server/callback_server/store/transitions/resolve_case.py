"""The transition that gives a case that holds calls its answer."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from callback_server.domain.call import Outcome
from callback_server.domain.case import CloseReason, Settings
from callback_server.domain.response import Response, ResponseType, code_alone
from callback_server.store.audit_argument import require_head
from callback_server.store.packing import pack_both, pack_content, unpack_content
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.finish_call import ResponseReplaced

SCRIPT: Final = Script("resolve_case", sends_reports=True)
BATCH_CALLS: Final = 64
"""How many held calls end in one execution."""


class ResolveRefusal(enum.Enum):
    """A reason why a case is not resolved."""

    UNKNOWN = b"UNKNOWN"
    """The owner has no such case (any more)."""
    NOT_HELD = b"NOT_HELD"
    """The case holds no calls."""
    CONFLICT = b"CONFLICT"
    """The case has another answer."""


@dataclass(frozen=True, slots=True)
class ResolvedBatch:
    """The case has this answer, and some of its held calls have ended with it."""

    left: int
    """How many calls are still to end: send the request again."""
    ended: tuple[tuple[str, str], ...]
    """The calls that have ended, each with the replica where its caller waits."""
    again: bool
    """Whether nothing was left to decide: the case had this answer before, or a rejection found no held call."""


async def resolve_case(
    scripts: Scripts,
    case_id: str,
    *,
    owner: str | None,
    digest: str,
    answered_by: str = "",
    outcome: Outcome,
    version: int | None,
    up_to: int,
    recording: Recording,
    audit: bytes = b"",
) -> ResolvedBatch | ResolveRefusal | CaseClosed | ResponseReplaced:
    """Give a case its answer, durably, and end the first of its held calls with it. Safe to send again.

    Args:
        scripts: The scripts on the store.
        case_id: The case.
        owner: Its owner. None: any.
        digest: A digest of the answer, by which the same one is recognized.
        answered_by: The principal that gives it.
        outcome: The end of each call: SUCCEEDED or REJECTED, with the whole answer.
        version: The version of the case's response that it was merged with. None: it does not depend on it.
        up_to: The number of the newest call when the case was read: a rejection of a retryable case ends no later one.
        recording: What is recorded of the answer and of ended calls.
        audit: The entry of the audit (see audit_argument.py).

    Raises:
        HeadMovedError: The entry came late, and the case stays as it was.
        StoreError: It is not known whether the case has the answer.
    """
    response = outcome.response or Response()
    recorded, body, whole_response, whole_body = pack_both(response, recording.of_answer(response))
    code = code_alone(response)
    erased = Response(type=ResponseType.RESPONSE, code=HTTPStatus.GONE if code is None else code)
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        owner=owner or "",
        digest=digest,
        answered_by=answered_by,
        status=outcome.status,
        response=recorded,
        response_body=body,
        whole_response=whole_response,
        whole_body=whole_body,
        erased_response=pack_content(Settings(), erased)[0],
        code="" if code is None else code,
        version="" if version is None else version,
        up_to=up_to,
        limit=BATCH_CALLS,
        repeat_bytes_per_case=recording.repeat_bytes_per_case,
        no_repeat=outcome.no_repeat,
        audit=audit,
        limits=recording.limits,
    )
    require_head(word, facts)
    if word == b"CLOSED":
        return CaseClosed(CloseReason(facts[0].decode()))
    if word == b"MERGE":
        now, content, now_body = facts
        return ResponseReplaced(unpack_content(content, now_body)[1], now)
    if word not in (b"OK", b"AGAIN"):
        return ResolveRefusal(word)
    left, *ended = facts
    names = [name.decode() for name in ended]
    return ResolvedBatch(left, tuple(zip(names[::2], names[1::2], strict=True)), again=word == b"AGAIN")
