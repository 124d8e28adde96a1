"""The transition that replaces the response of a case."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.case import Case, CloseReason
from callback_server.domain.response import Response, needs_platform
from callback_server.store import keys
from callback_server.store.packing import pack_content
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import CaseClosed

SCRIPT: Final = Script("set_response", settles=True)


class SetResponseResult(enum.Enum):
    """What became of it."""

    OK = b"OK"
    UNKNOWN = b"UNKNOWN"
    """No such case of this owner (any more)."""
    CONFLICT = b"CONFLICT"
    """The response has changed since `case` was read: read again and decide again."""


async def set_response(
    scripts: Scripts, case: Case, response: Response, *, owner: str | None, retention: Retention
) -> SetResponseResult | CaseClosed:
    """Gives `case` another response, durably, if its own is still as it was read. `owner` None: whoever's it is.

    Raises:
        StoreError: it is not known whether it was replaced.
    """
    content, body = pack_content(case.settings, response)
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case.id),
        case.id,
        owner or "",
        case.version,
        content,
        body,
        "1" if needs_platform(response) else "",
        retention.calls_per_case,
        retention.bytes_per_case,
    )
    if word == b"CLOSED":
        return CaseClosed(CloseReason(facts[0].decode()))
    return SetResponseResult(word)
