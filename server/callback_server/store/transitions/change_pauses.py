"""The transition that pauses or resumes the deliveries of an activity.

One key of the store lists the paused activities. Each partition has a copy of the list, so that a script that starts a
delivery sees it in the same step. A copy has the version of the list that it was made from, and is never replaced by an
older one. If an error or the end of a process keeps a change from a partition, the next sweep brings it.
"""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.activity import PausedActivities
from callback_server.store import keys
from callback_server.store.audit_argument import require_head
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.sync_pauses import sync_pauses

SCRIPT: Final = Script("change_pauses")
MAX_PAUSED: Final = 1000
"""How many activities can be paused: each sweep of a partition gets their names, and one message lists them all."""


class PauseResult(enum.Enum):
    """The result of a pause or its end."""

    OK = b"OK"
    SAME = b"SAME"
    """The activity was not paused before, and is not now."""
    FULL = b"FULL"
    """`MAX_PAUSED` activities are paused already. Nothing was changed."""


async def change_pauses(
    scripts: Scripts, activity: str, *, is_paused: bool, principal: str = "", reason: str = "", audit: bytes = b""
) -> PauseResult:
    """Pause or resume the deliveries of an activity in all partitions, durably, with an entry of the audit.

    Safe to send again.

    Args:
        scripts: The scripts on the store.
        activity: The activity.
        is_paused: Whether it is paused from now on.
        principal: Who pauses it.
        reason: Why.
        audit: The entry of the audit (see audit_argument.py).

    Raises:
        HeadMovedError: The entry came late, and nothing was changed.
        StoreError: The change may be done all the same; then all partitions have it within one sweep.
    """
    word, *facts = await scripts.run_on(
        SCRIPT,
        keys.audit_tag(keys.STORE_CHAIN),
        activity=activity,
        is_paused=is_paused,
        principal=principal,
        reason=reason,
        max_paused=MAX_PAUSED,
        audit=audit,
    )
    require_head(word, facts)
    result = PauseResult(word)
    if result is not PauseResult.FULL:
        (flat,) = facts
        await sync_pauses(scripts, PausedActivities.from_fields(dict(zip(flat[::2], flat[1::2], strict=True))))
    return result
