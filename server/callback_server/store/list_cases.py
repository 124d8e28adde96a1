"""Pages of an owner's cases, newest first, across partitions.

Creation times are microseconds and differ within a partition, so (creation, partition) names a place in the list. A
page token is the place of the last case of the page before. Each partition is asked for a few of its newest cases from
there on, and for more only if it gave all of them to the page: what a page costs does not depend on how many cases
there are.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import struct
from dataclasses import dataclass
from typing import Final

from callback_server.domain.case import CaseStatus
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("list_cases")
_TOKEN: Final = struct.Struct(">BQB")
_TOKEN_VERSION: Final = 1


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the list of cases: between this one and the next older."""

    created_us: int
    partition: int

    def token(self) -> str:
        """The place as an opaque page token."""
        return base64.urlsafe_b64encode(_TOKEN.pack(_TOKEN_VERSION, self.created_us, self.partition)).decode()

    @classmethod
    def from_token(cls, token: str) -> Place:
        """The place that a token names.

        Raises:
            ValueError: this is none of our tokens.
        """
        try:
            version, created_us, partition = _TOKEN.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
        except struct.error as error:
            raise ValueError("not a page token") from error
        if version != _TOKEN_VERSION or partition >= keys.PARTITIONS:
            raise ValueError("not a page token")
        return cls(created_us, partition)


async def list_cases(
    scripts: Scripts, *, owner: str, activity: str | None, status: CaseStatus | None, after: Place | None, limit: int
) -> tuple[list[str], Place | None]:
    """The ids of the next `limit` cases after a place, newest first, and the place after them if there are more.

    Raises:
        StoreError: the store did not answer.
    """
    statuses = ",".join([status] if status else CaseStatus)
    chunk = 2 + 2 * (limit + 1) // keys.PARTITIONS

    async def ask(partition: int, place: Place | None) -> list[tuple[Place, str]]:
        if place is None:
            highest = "+inf"
        elif partition < place.partition:  # at the same time, the higher partition comes first
            highest = str(place.created_us)
        else:
            highest = f"({place.created_us}"
        async with scripts.lists:
            flat = await scripts.run(SCRIPT, partition, owner, activity or "", statuses, highest, chunk)
        return [
            (Place(created, partition), case_id.decode())
            for created, case_id in zip(flat[::2], flat[1::2], strict=True)
        ]

    # One list a partition, each newest first; the heap holds the newest of each that is not taken yet.
    pages = await asyncio.gather(*(ask(partition, after) for partition in range(keys.PARTITIONS)))
    heap = [(_newest_first(page[0][0]), partition, 0) for partition, page in enumerate(pages) if page]
    heapq.heapify(heap)
    taken: list[tuple[Place, str]] = []
    while heap and len(taken) <= limit:
        _, partition, at = heapq.heappop(heap)
        page = pages[partition]
        taken.append(page[at])
        if at + 1 == len(page) == chunk:
            page = pages[partition] = await ask(partition, page[at][0])
            at = -1
        if at + 1 < len(page):
            heapq.heappush(heap, (_newest_first(page[at + 1][0]), partition, at + 1))
    more = taken[limit - 1][0] if len(taken) > limit else None
    return [case_id for _, case_id in taken[:limit]], more


def _newest_first(place: Place) -> tuple[int, int]:
    return -place.created_us, -place.partition
