"""The transition that stores a new case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.case import AnswerMode, GetGuard, NewCase
from callback_server.domain.response import needs_platform
from callback_server.store.packing import pack, pack_content, stored_code
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("create_case", sends_reports=True)


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


async def create_case(scripts: Scripts, case: NewCase) -> CaseStored | KnownRequest | RequestConflict:
    """Store `case`, durably. Safe to send again.

    Raises:
        StoreError: It is not known whether the case was stored.
    """
    content, body = pack_content(case.settings, case.response)
    reply = await scripts.run(
        SCRIPT,
        case_id=case.id,
        state_hash_half=case.state_sha256[16:],
        fingerprint=case.fingerprint[:16],
        owner=case.owner,
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
        repeat_window=case.repeat_window_ms or "",
        code=stored_code(case.response),
        notify=",".join(case.notify),
        no_repeat=case.no_repeat,
        needs_platform=needs_platform(case.response),
        has_labels=bool(case.settings.labels),
        is_ordered=case.ordered,
        closed_response=b"" if case.closed_response is None else pack(case.closed_response),
        has_choices=case.settings.prompt is not None and bool(case.settings.prompt.choices),
    )
    if reply[0] == b"KNOWN":
        return KnownRequest(nonce=reply[1], expire_time_ms=reply[2] or None)
    if reply[0] == b"OK":
        return CaseStored(reply[1] or None)
    return RequestConflict()
