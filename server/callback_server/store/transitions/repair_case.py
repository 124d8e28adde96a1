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
class CaseFault:
    """A list lacks the entry of a case or call, or a key of a case or call has a wrong type."""

    is_wrong_type: bool
    listed_in: str
    """The list or key, as in the table of keys."""
    name: str
    """The id of the case or call; of a list of activities, the activity."""


async def repair_case(scripts: Scripts, case_id: str, *, makes_entries: bool) -> list[CaseFault]:
    """Return the entries that a case and its calls need and do not have, and make them. Also return wrong types.

    Args:
        scripts: The scripts on the store.
        case_id: The case.
        makes_entries: Whether to make them. Otherwise nothing changes.

    Raises:
        StoreError: It is not known whether all were made. Another attempt makes the others.
    """
    found, after = list[CaseFault](), 0
    while True:
        after, *faults = await scripts.run(
            SCRIPT,
            keys.partition_of(case_id),
            SCRIPT.arguments(
                case_id=case_id,
                after=str(after),
                limit=LIMIT,
                lease_ms=LEASE_MS,
                makes_entries=makes_entries,
            ),
        )
        found += [
            CaseFault(word == b"WRONG_TYPE", name.decode(), member.decode())
            for word, name, member in zip(faults[::3], faults[1::3], faults[2::3], strict=True)
        ]
        if not after:
            return found
