"""The transition that makes the entries which a case and its calls need and do not have."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from redis.exceptions import ResponseError

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("repair_case")
LIMIT: Final = 100
"""How many calls one script looks at. It blocks the store meanwhile."""
LEASE_MS: Final = 60_000
"""The lease of a call that runs and has none, in milliseconds. Its server may still record its end."""


@dataclass(frozen=True, slots=True)
class CaseFault:
    """A list lacks the entry of a case or call, or a key of a case or call has a wrong type or does not exist."""

    word: str
    """MISSING, WRONG_TYPE or NO_CALL, as the script says."""
    listed_in: str
    """The list or key, as in the table of keys."""
    name: str
    """The id of the case or call; of a list of activities or owners, the activity or the owner."""


async def repair_case(scripts: Scripts, case_id: str, *, makes_entries: bool) -> list[CaseFault]:
    """Return the entries that a case and its calls need and do not have, and make them. Also return what lacks mending.

    Only the calls in the list of its calls are examined: see `repair_call`.

    Args:
        scripts: The scripts on the store.
        case_id: The case.
        makes_entries: Whether to make them. Otherwise nothing changes.

    Raises:
        StoreError: It is not known whether all were made. Another attempt makes the others.
    """
    found, after = list[CaseFault](), 0
    while True:
        after, faults = await _run(scripts, case_id, after=after, makes_entries=makes_entries)
        found += faults
        if not after:
            return found


async def repair_call(scripts: Scripts, call_id: str, *, makes_entries: bool) -> list[CaseFault]:
    """Return the entry of a call in the list of the calls of its case, if that lacks it, and make it.

    Args:
        scripts: The scripts on the store.
        call_id: The call.
        makes_entries: Whether to make it. Otherwise nothing changes.

    Raises:
        StoreError: It is not known whether it was made.
    """
    case_id = case_id_of_call(call_id)
    calls = keys.key(keys.partition_of(case_id), "calls", case_id)
    with contextlib.suppress(ResponseError):  # the list has a wrong type, which is found with the case
        if await scripts.read(calls, "ZSCORE", calls, call_id) is None:
            _, faults = await _run(scripts, case_id, call_id=call_id, makes_entries=makes_entries)
            return faults
    return []


async def _run(
    scripts: Scripts, case_id: str, *, call_id: str = "", after: int = 0, makes_entries: bool
) -> tuple[int, list[CaseFault]]:
    next_after, *faults = await scripts.run(
        SCRIPT,
        case_id=case_id,
        call_id=call_id,
        after=str(after),
        limit=LIMIT,
        lease_ms=LEASE_MS,
        makes_entries=makes_entries,
    )
    found = zip(faults[::3], faults[1::3], faults[2::3], strict=True)
    return next_after, [CaseFault(word.decode(), name.decode(), member.decode()) for word, name, member in found]
