"""The transition that stores new cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from callback_server.domain.case import AnswerMode, GetGuard, NewCase
from callback_server.domain.features import needs_of
from callback_server.domain.response import needs_platform
from callback_server.store import keys
from callback_server.store.packing import pack, pack_content, stored_code
from callback_server.store.recording import Recording
from callback_server.store.scripts import Packed, Script, Scripts

SCRIPT: Final = Script("create_cases", sends_reports=True)


@dataclass(frozen=True, slots=True)
class RequestConflict:
    """A case with the same `request_id` and other content exists. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class CaseStored:
    """The case is stored."""

    expire_time_ms: int | None
    """When it expires, in milliseconds since the epoch. None: never."""


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """An earlier request with the same `request_id` and content has stored a case. Nothing changed."""

    nonce: bytes
    """The nonce of that case (see pointers.py)."""
    expire_time_ms: int | None = None
    """When that case expires, in milliseconds since the epoch. None: never."""


@dataclass(frozen=True, slots=True)
class CorrelationKeyInUse:
    """Another case has the correlation key, and is not closed. Nothing was stored."""

    case_id: str


CreateResult = CaseStored | KnownRequest | RequestConflict | CorrelationKeyInUse


async def create_cases(scripts: Scripts, cases: Sequence[NewCase], *, recording: Recording) -> list[CreateResult]:
    """Store cases of one owner and one partition, durably, each after the one before it. Safe to send again.

    Args:
        scripts: The scripts on the store.
        cases: The cases.
        recording: What is kept of ended calls: a case whose lease is over ends its call.

    Returns:
        What became of each case.

    Raises:
        StoreError: It is not known which of the cases were stored.
    """
    partition, owner = keys.partition_of(cases[0].id), cases[0].owner
    reply = await scripts.run(
        SCRIPT, partition, owner=owner, limits=recording.limits, cases=[_packed(case) for case in cases]
    )
    return [_result(*each) for each in reply]


def _packed(case: NewCase) -> Packed:
    content, body = pack_content(case.settings, case.response)
    return SCRIPT.pack_item(
        case_id=case.id,
        state_hash_half=case.state_sha256[16:] if case.has_url else b"",
        fingerprint=case.fingerprint[:16],
        activity=case.activity,
        mode=case.mode,
        parameter=case.state_query_parameter,
        time_to_live_ms="" if case.time_to_live_ms is None else case.time_to_live_ms,
        content=content,
        body=body,
        profile=case.verification_profile,
        guard="" if case.get_guard is GetGuard.OFF else case.get_guard,
        answer_mode="" if case.answer_mode is AnswerMode.HANDLER else case.answer_mode,
        fallback=b"" if case.fallback is None else pack(case.fallback),
        hold_ms=case.hold_time_ms if case.answer_mode is AnswerMode.HOLD else "",
        pointer=case.pointer,
        nonce=case.nonce,
        correlation=case.correlation,
        repeat_window=case.repeat_window_ms or "",
        code=stored_code(case.response),
        notify=",".join(case.notify),
        no_repeat=case.no_repeat,
        needs_platform=needs_platform(case.response),
        has_labels=bool(case.settings.labels),
        is_ordered=case.ordered,
        closed_response=b"" if case.closed_response is None else pack(case.closed_response),
        has_choices=case.settings.prompt is not None and case.settings.prompt.takes_input,
        needs=",".join(needs_of(case)),
    )


def _result(word: bytes, *facts: Any) -> CreateResult:
    if word == b"OK":
        return CaseStored(facts[0] or None)
    if word == b"KNOWN":
        return KnownRequest(nonce=facts[0], expire_time_ms=facts[1] or None)
    if word == b"IN_USE":
        return CorrelationKeyInUse(facts[0].decode())
    return RequestConflict()
