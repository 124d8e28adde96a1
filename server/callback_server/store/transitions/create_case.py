"""The transition that stores a new case."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.case import AnswerMode, GetGuard, NewCase
from callback_server.domain.response import needs_platform
from callback_server.store import keys
from callback_server.store.packing import pack_content, pack_fallback
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("create_case")


class CreateResult(enum.Enum):
    """What became of it."""

    OK = b"OK"
    """It is stored now."""
    KNOWN = b"KNOWN"
    """The same request stored it before."""
    CONFLICT = b"CONFLICT"
    """Its state exists with another owner or content."""


async def create_case(scripts: Scripts, case: NewCase) -> CreateResult:
    """Stores `case`, durably. Safe to send again.

    Raises:
        StoreError: it is not known whether it was stored.
    """
    content, body = pack_content(case.settings, case.response)
    reply = await scripts.run(
        SCRIPT,
        keys.partition_of(case.id),
        case.id,
        case.state_sha256[16:],
        case.fingerprint[:16],
        case.owner,
        case.activity,
        case.mode,
        case.parameter,
        "" if case.time_to_live_ms is None else case.time_to_live_ms,
        content,
        body,
        "1" if needs_platform(case.response) else "",
        case.profile,
        "" if case.guard is GetGuard.OFF else case.guard,
        "" if case.answer is AnswerMode.HANDLER else case.answer,
        "1" if case.ordered else "",
        b"" if case.fallback is None else pack_fallback(case.fallback),
    )
    return CreateResult(reply[0])
