"""The transition that has a recorded call delivered to its handler again."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.generated_lua import text
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("replay_call", text("case_id", "owner", "call_id"))


class ReplayResult(enum.Enum):
    """What became of it."""

    OK = b"OK"
    UNKNOWN = b"UNKNOWN"
    """No such call of this owner, or no longer."""
    RUNNING = b"RUNNING"
    """The call runs, or its delivery does."""
    LOST = b"LOST"
    """Its request is not kept whole."""
    UNHANDLED = b"UNHANDLED"
    """Its activity has no handler."""


async def replay_call(scripts: Scripts, call_id: str, *, owner: str | None) -> ReplayResult:
    """Makes the delivery of a call due now, durably. `owner` None: whoever's it is. Safe to send again.

    Raises:
        StoreError: it is not known whether it was done.
    """
    case_id = case_id_of_call(call_id)
    (word,) = await scripts.run(SCRIPT, keys.partition_of(case_id), case_id=case_id, owner=owner or "", call_id=call_id)
    return ReplayResult(word)
