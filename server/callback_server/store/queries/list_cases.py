"""Pages of an owner's cases, newest first, across partitions.

Creation times are in microseconds and differ within a partition, so (creation, partition) is a position in the list. A
page token is the position of the last case on the page before. Each partition is asked for a few of its newest cases
from there on, and for more only if all of these are on the page. So the cost of a page does not depend on the number of
cases. One script looks at a limited number of cases and returns how far it came. After a limited number of scripts a
page ends, short or empty, with the position that it came to. So a search for a rare case does not block the store.
"""

from __future__ import annotations

import base64
import heapq
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from callback_server.domain.call import CallStatus
from callback_server.domain.case import CaseStatus
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("list_cases")
SCAN: Final = 200
"""How many cases one script looks at, fewer if it compares many labels or calls. It blocks the store meanwhile."""
MAX_SCRIPTS: Final = 2 * keys.PARTITIONS
"""After how many scripts a page ends, whatever it has."""
_TOKEN: Final = struct.Struct(">BQB")
_TOKEN_VERSION: Final = 1


@dataclass(frozen=True, slots=True, order=True)
class PageCursor:
    """A position in the list of cases: between this case and the next older one."""

    created_us: int
    partition: int

    def token(self) -> str:
        """Return the position as an opaque page token."""
        return base64.urlsafe_b64encode(_TOKEN.pack(_TOKEN_VERSION, self.created_us, self.partition)).decode()

    @classmethod
    def from_token(cls, token: str) -> PageCursor:
        """Return the position that a token names.

        Raises:
            ValueError: The text is not a page token.
        """
        try:
            version, created_us, partition = _TOKEN.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
        except struct.error as error:
            raise ValueError("not a page token") from error
        if version != _TOKEN_VERSION or partition >= keys.PARTITIONS:
            raise ValueError("not a page token")
        return cls(created_us, partition)


async def list_cases(
    scripts: Scripts,
    *,
    owner: str,
    activities: Collection[str],
    status: CaseStatus | None,
    labels: Mapping[str, str],
    after: PageCursor | None,
    limit: int,
    last_call: CallStatus | None = None,
    id_prefix: str = "",
    created_after_us: int = 0,
    created_before_us: int | None = None,
) -> tuple[list[str], PageCursor | None]:
    """Return the ids of the next cases after a position, at most `limit`, newest first.

    Also returns the position to continue from if there may be more.

    Args:
        scripts: The scripts on the store.
        owner: The owner of the cases.
        activities: The activities of the cases. Empty: every activity.
        status: The status of the cases. None: every status.
        labels: The labels that the cases have.
        after: The position. None: the first page.
        limit: The maximum number of cases.
        last_call: The status of their newest recorded call. None: every one, and none.
        id_prefix: What their ids begin with, at least the digits that name the partition. Empty: anything.
        created_after_us: The earliest creation of the cases, in microseconds since the epoch.
        created_before_us: The creation before which the cases were made. None: every one.

    Raises:
        StoreError: The store did not answer.
    """
    if created_before_us is not None:
        newest = PageCursor(created_before_us, 0)
        after = newest if after is None else min(after, newest)
    chunk = 2 + 2 * (limit + 1) // keys.PARTITIONS
    compared = len(labels) + (0 if last_call is None else 2)
    scan = max(4 * SCAN // (4 + compared), 1)
    pairs = [text for pair in labels.items() for text in pair]
    # Known cases that are not on the page yet, newest first, and how far each partition is known.
    heap: list[_Known] = []
    scripts_run = 0

    async def read(positions: Mapping[int, PageCursor | None]) -> None:
        nonlocal scripts_run
        scripts_run += len(positions)
        packed = {
            partition: SCRIPT.pack(
                owner=owner,
                activities=list(activities),
                status=status or "",
                last_call=last_call or "",
                id_prefix=id_prefix,
                before=_before(partition, position),
                limit=chunk,
                max_scanned=scan,
                labels=pairs,
            )
            for partition, position in positions.items()
        }
        for partition, (frontier, *flat) in (await scripts.run_on_partitions(SCRIPT, packed)).items():
            for created, case_id in zip(flat[::2], flat[1::2], strict=True):
                heapq.heappush(heap, _Known(-created, -partition, False, case_id.decode()))
            if frontier:
                heapq.heappush(heap, _Known(-frontier, -partition, True, ""))

    searched = [keys.partition_of(id_prefix)] if id_prefix else range(keys.PARTITIONS)
    await read(dict.fromkeys(searched, after))
    taken: list[tuple[PageCursor, str]] = []
    while heap and len(taken) <= limit:
        known = heapq.heappop(heap)
        if known.position.created_us < created_after_us:
            return [case_id for _, case_id in taken], None
        if not known.is_frontier:
            taken.append((known.position, known.case_id))
        elif scripts_run >= MAX_SCRIPTS:
            return [case_id for _, case_id in taken], known.position
        else:  # also the others without a known case: they are needed soon
            with_cases = {each.minus_partition for each in heap if not each.is_frontier}
            waiting = [each for each in heap if each.is_frontier and each.minus_partition not in with_cases]
            heap = [each for each in heap if each not in waiting]
            heapq.heapify(heap)
            await read({each.position.partition: each.position for each in [known, *waiting]})
    more = taken[limit - 1][0] if len(taken) > limit else None
    return [case_id for _, case_id in taken[:limit]], more


class _Known(NamedTuple):
    """A known case, or how far a partition is known. The newest sort first."""

    minus_created_us: int
    minus_partition: int
    is_frontier: bool
    case_id: str

    @property
    def position(self) -> PageCursor:
        return PageCursor(-self.minus_created_us, -self.minus_partition)


def _before(partition: int, after: PageCursor | None) -> int | str:
    """Return the creation before which the cases of a partition follow a position. Empty: all of them follow."""
    if after is None:
        return ""
    # Of two cases with the same creation, the one of the higher partition comes first.
    return after.created_us + 1 if partition < after.partition else after.created_us
