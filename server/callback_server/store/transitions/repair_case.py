"""The transition that makes the entries which a case and its calls need and do not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.store import keys
from callback_server.store.script_arguments import flags, numbers, texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "repair_case", [*texts("case_id", "after"), *numbers("limit", "lease_ms"), *flags("makes_entries")]
)
LIMIT: Final = 100
"""How many calls one script looks at. It blocks the store meanwhile."""
LEASE_MS: Final = 60_000
"""The lease of a call that runs and has none, in milliseconds. Its server may still record its end."""


@dataclass(frozen=True, slots=True)
class MissingEntry:
    """A list lacks the entry of a case or call."""

    listed_in: str
    """The list, as in the table of keys."""
    name: str
    """The id of the case or call; of a list of activities, the activity."""


async def repair_case(scripts: Scripts, case_id: str, *, makes_entries: bool) -> list[MissingEntry]:
    """Return the entries that a case and its calls need and do not have, and make them.

    Args:
        scripts: The scripts on the store.
        case_id: The case.
        makes_entries: Whether to make them. Otherwise nothing changes.

    Raises:
        StoreError: It is not known whether all were made. Another attempt makes the others.
    """
    found, after = list[MissingEntry](), 0
    while True:
        after, *missing = await scripts.run(
            SCRIPT,
            keys.partition_of(case_id),
            case_id=case_id,
            after=str(after),
            limit=LIMIT,
            lease_ms=LEASE_MS,
            makes_entries=makes_entries,
        )
        found += [
            MissingEntry(name.decode(), member.decode())
            for name, member in zip(missing[::2], missing[1::2], strict=True)
        ]
        if not after:
            return found
