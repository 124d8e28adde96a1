"""Repair: finds cases and calls without their entries in the lists of the store, and entries without their case.

Scripts keep both together, so a difference comes from outside: a store that lost data, a slot whose move was given up
half-way, a change by hand. A case without its entry waits forever, such as a call that runs and has no lease. An entry
without its case may belong to a case that comes back, so a transition keeps it; only the operator removes it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callback_server.operations.store_access import open_store
from callback_server.store.queries.scan_keys import scan_keys
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import repair_list as lists
from callback_server.store.transitions.repair_case import repair_call, repair_case
from callback_server.store.transitions.repair_list import repair_list
from callback_server.store.transitions.repair_uses import repair_uses

KEYS_PER_STEP: Final = 1000
"""How many keys of the store one step of the operator's repair reads."""
CONCURRENT: Final = 8
"""How many cases and lists are examined at the same time."""


class FaultKind(enum.StrEnum):
    """What is wrong."""

    MISSING_ENTRY = "missing_entry"
    """A case or call lacks an entry."""
    ENTRY_WITHOUT_CASE = "entry_without_case"
    """The case or call of an entry does not exist, or has another state."""
    WRONG_TYPE = "wrong_type"
    """A key of a case or call has a wrong type. Nothing mends it; the case is left as it is."""
    NO_CALL = "no_call"
    """A case is in progress with a call that does not exist, so nothing ends it. Its owner can close it."""


_FIRST: Final = frozenset({"call"})
"""The keys that are examined first: a case is examined with the calls in its list, in their order."""
_THEN: Final = frozenset({"case", "uses"}) | lists.KINDS
_KINDS: Final = {"MISSING": FaultKind.MISSING_ENTRY, "WRONG_TYPE": FaultKind.WRONG_TYPE, "NO_CALL": FaultKind.NO_CALL,
                 "EXTRA": FaultKind.ENTRY_WITHOUT_CASE}  # fmt: skip
"""What the scripts say of a fault of a case."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One difference between a list and the cases and calls of its partition, or a key that is wrong or not there."""

    kind: FaultKind
    partition: int
    listed_in: str
    """The list, or the key of a wrong type, as in the table of keys."""
    name: str
    """The id of the case or call; of a list of activities or owners, the activity or the owner."""


@dataclass(slots=True)
class Step:
    """What a part of the examination found."""

    examined: int = 0
    """How many cases and lists were examined."""
    faults: list[Fault] = field(default_factory=list)
    not_examined: dict[int, str] = field(default_factory=dict)
    """The partitions of which a part could not be examined, with the last reason."""

    def add(self, step: Step) -> None:
        """Add what another step found."""
        self.examined += step.examined
        self.faults += step.faults
        self.not_examined.update(step.not_examined)


class Repair:
    """The examination of a whole store, in steps."""

    def __init__(self, scripts: Scripts, *, makes_entries: bool, removes_entries: bool) -> None:
        """Create an examination.

        Args:
            scripts: The scripts on the store.
            makes_entries: Whether to make entries that are missing.
            removes_entries: Whether to remove entries without their case.
        """
        self._scripts = scripts
        self._makes_entries = makes_entries
        self._removes_entries = removes_entries
        self._slots = asyncio.Semaphore(CONCURRENT)

    async def steps(self, keys_per_step: int) -> AsyncIterator[Step]:
        """Examine the store, about `keys_per_step` keys at a time.

        Raises:
            StoreError: A node of the store did not answer.
        """
        for kinds in (_FIRST, _THEN):
            async for found in scan_keys(self._scripts.client, keys_per_step):
                step = Step()
                await asyncio.gather(*(self._examine(*each, step) for each in found if _kind(each[1]) in kinds))
                yield step

    async def _examine(self, partition: int, name: str, step: Step) -> None:
        kind, _colon, identity = name.partition(":")
        step.examined += kind != "call"
        try:
            async with self._slots:
                if kind in ("case", "call"):
                    mend = repair_case if kind == "case" else repair_call
                    for each in await mend(self._scripts, identity, makes_entries=self._makes_entries):
                        step.faults.append(Fault(_KINDS[each.word], partition, each.listed_in, each.name))
                elif kind == "uses":
                    case_id, _, version = identity.partition(":")
                    makes, removes = self._makes_entries, self._removes_entries
                    if word := await repair_uses(
                        self._scripts, case_id, version, makes_entries=makes, removes_entries=removes
                    ):
                        step.faults.append(Fault(_KINDS[word], partition, kind, case_id))
                else:
                    removes = self._removes_entries
                    for member in await repair_list(self._scripts, partition, name, removes_entries=removes):
                        step.faults.append(Fault(FaultKind.ENTRY_WITHOUT_CASE, partition, kind, member))
        except Exception as error:  # its slot moves, or a key is broken: the others are examined
            step.not_examined[partition] = f"{name}: {error}"


def _kind(name: str) -> str:
    return name.partition(":")[0]


async def repair(config_file: Path | None, of_up: Mapping[str, str], *, changes: bool) -> AsyncIterator[Step]:
    """Examine the store that the settings of a server name, and mend it with `changes`.

    Args:
        config_file: The file with the settings; None means the file that CALLBACK_CONFIG names, if any.
        of_up: The settings that a running `callback up` gives its server.
        changes: Whether to make missing entries and to remove entries without their case.

    Raises:
        StoreAccessError: As for `open_store`.
    """
    async with open_store(config_file, of_up, refuses_older=True) as scripts:
        async for step in Repair(scripts, makes_entries=changes, removes_entries=changes).steps(KEYS_PER_STEP):
            yield step
