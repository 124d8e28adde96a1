"""Pages of an owner's calls that wait, that have ended, or whose delivery is dead or waits, latest first.

Each partition is asked for a whole page, and the latest of all are taken. One script looks at a limited number of calls
and says how far it came, so that a search for the calls of a rare activity, or of one owner among all that have ended,
does not block the store. There the page ends, short or empty.
"""

from __future__ import annotations

import enum
import heapq
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("list_owner_calls")
SCAN: Final = 1000
"""How many calls one script looks at."""
_TOKEN: Final = re.compile(r"([0-9]{1,16})_([0-9a-f]{32}-[0-9a-f]{16})")


class CallFilter(enum.StrEnum):
    """Which calls of an owner are listed."""

    WAITING = "WAITING"
    """Held calls that wait for their answer."""
    DEAD = "DEAD"
    """Calls whose delivery is DEAD."""
    PENDING = "PENDING"
    """Calls of one activity whose delivery waits for its next attempt."""
    ENDED = "ENDED"
    """Calls that have ended, and have no delivery to run."""


@dataclass(frozen=True, slots=True, order=True)
class CallCursor:
    """A position in the list of calls: between this call and the next one, which is earlier."""

    time_ms: int
    """The start of the call. Of a PENDING delivery: the time of its next attempt. Of an ENDED call: its end."""
    call_id: str

    def token(self) -> str:
        """Return the position as an opaque page token."""
        return f"{self.time_ms}_{self.call_id}"

    @classmethod
    def from_token(cls, token: str) -> CallCursor:
        """Return the position that a token names.

        Raises:
            ValueError: The text is not a page token.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError("not a page token")
        return cls(int(match[1]), match[2])


async def list_owner_calls(
    scripts: Scripts,
    call_filter: CallFilter,
    *,
    owner: str,
    activities: Collection[str] = (),
    ended_after_ms: int | None = None,
    after: CallCursor | None,
    limit: int,
) -> tuple[list[str], CallCursor | None]:
    """Return the ids of the next calls after a position, at most `limit`, latest first.

    Also returns the position to continue from if there may be more.

    Args:
        scripts: The scripts on the store.
        call_filter: Which calls are listed.
        owner: The owner of the calls.
        activities: The activities of the calls. Empty: every activity. For PENDING exactly one.
        ended_after_ms: The earliest end of ENDED calls, in milliseconds since the epoch. None: any.
        after: The position. None: the first page.
        limit: The maximum number of calls.

    Raises:
        StoreError: The store did not answer.
    """
    time, call_id = ("", "") if after is None else (after.time_ms, after.call_id)
    packed = SCRIPT.pack(
        filter=call_filter,
        owner=owner,
        before_time=time,
        before_call_id=call_id,
        limit=limit + 1,
        max_scanned=SCAN,
        ended_after="" if ended_after_ms is None else ended_after_ms,
        activities=list(activities),
    )
    replies = await scripts.run_on_partitions(SCRIPT, dict.fromkeys(range(keys.PARTITIONS), packed))
    cursors, ends = [], []
    for flat in replies.values():
        end, *found = [
            CallCursor(time_ms, call_id.decode()) for time_ms, call_id in zip(flat[::2], flat[1::2], strict=True)
        ]
        if end.call_id:
            ends.append(end)
        cursors += found
    last = max(ends, default=None)
    newest = heapq.nlargest(limit + 1, (cursor for cursor in cursors if last is None or cursor >= last))
    more = newest[limit - 1] if len(newest) > limit else last
    return [cursor.call_id for cursor in newest[:limit]], more
