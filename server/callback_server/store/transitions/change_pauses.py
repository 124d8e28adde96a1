"""The transition that pauses or resumes the deliveries of an activity.

One key of the store lists the paused activities. Each partition has a copy of the list, so that a script that starts a
delivery sees it in the same step. A copy has the version of the list that it was made from, and is never replaced by an
older one. If an error or the end of a process keeps a change from a partition, the next sweep brings it.
"""

from __future__ import annotations

from typing import Final

from callback_server.domain.activity import PausedActivities
from callback_server.store import keys
from callback_server.store.script_arguments import flags, numbers, texts
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.sync_pauses import sync_pauses

SCRIPT: Final = Script(
    "change_pauses",
    [*texts("activity"), *flags("is_paused"), *texts("principal", "reason"), *numbers("max_paused")],
    key="paused",
)
MAX_PAUSED: Final = 1000
"""How many activities can be paused: each sweep of a partition gets their names, and one message lists them all."""


async def change_pauses(
    scripts: Scripts, activity: str, *, is_paused: bool, principal: str = "", reason: str = ""
) -> bool:
    """Pause or resume the deliveries of an activity in all partitions, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        activity: The activity.
        is_paused: Whether it is paused from now on.
        principal: Who pauses it.
        reason: Why.

    Returns:
        Whether it was done. If not, `MAX_PAUSED` activities are paused already.

    Raises:
        StoreError: The change may be done all the same; then all partitions have it within one sweep.
    """
    reply = await scripts.run_on(
        SCRIPT,
        keys.PAUSED_KEY,
        SCRIPT.arguments(
            activity=activity, is_paused=is_paused, principal=principal, reason=reason, max_paused=MAX_PAUSED
        ),
    )
    if not reply:
        return False
    await sync_pauses(scripts, PausedActivities.from_fields(dict(zip(reply[::2], reply[1::2], strict=True))))
    return True
