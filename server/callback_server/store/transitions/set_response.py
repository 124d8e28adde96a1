"""The transition that replaces the response of a case."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.case import Case, CloseReason
from callback_server.domain.response import Response, needs_platform
from callback_server.store.audit_argument import require_head
from callback_server.store.packing import pack_content, stored_code
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import CaseClosed

SCRIPT: Final = Script("set_response", sends_reports=True)


class SetResponseResult(enum.Enum):
    """The result of a replacement of the response."""

    OK = b"OK"
    UNKNOWN = b"UNKNOWN"
    """The owner has no such case (any more)."""
    CONFLICT = b"CONFLICT"
    """The response has changed since `case` was read. Read the case again."""


async def set_response(
    scripts: Scripts,
    case: Case,
    response: Response,
    *,
    owner: str | None,
    recording: Recording,
    audit: bytes = b"",
) -> SetResponseResult | CaseClosed:
    """Replace the response of `case`, durably, with an entry of the audit, if it is still as it was read.

    `owner` None: any owner.

    Raises:
        HeadMovedError: The entry came late, and the response stays as it was.
        StoreError: It is not known whether the response was replaced.
    """
    content, body = pack_content(case.settings, response)
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case.id,
        owner=owner or "",
        version=case.version,
        content=content,
        body=body,
        limits=recording.limits,
        code=stored_code(response),
        audit=audit,
        needs_platform=needs_platform(response),
    )
    require_head(word, facts)
    if word == b"CLOSED":
        return CaseClosed(CloseReason(facts[0].decode()))
    return SetResponseResult(word)
