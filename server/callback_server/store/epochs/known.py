"""Epochs: the memory of a process of the primaries that each partition has had, so that it recognizes an old primary.

A partition begins a new epoch whenever it has another primary.

1. The store keeps a list of the epochs of each partition: the number of each, a random id, and how many events the
   partition had when it began. A server that connects to another primary than the last one (by run id and replication
   id) begins the next epoch in one script, before it does anything else there (see open_epoch.lua). That happens after
   a restart, a failover, or a move of the slot. Then the server does the same on all other partitions, so that an old
   primary is recognized on each of them, also where nothing was written since.
2. A connection runs nothing on a partition until the store has shown the newest epoch that this process knows. A store
   without that epoch is an old primary that came back, or a backup, and is refused. So is a store that has the same
   number with another id. A new connection first checks one partition of each known primary. So it recognizes an old
   primary also if the connection to the next primary broke before all partitions had begun an epoch there. A node of a
   cluster replies MOVED for the partitions of other nodes, which proves nothing.
3. A step is a change of a case or call, and writes one event. So the number of the newest event counts the steps of a
   partition, and the reply to each step contains it. If an epoch begins with fewer events than were acknowledged
   before, the difference is the number of lost steps.
4. Two primaries can begin epochs with the same number, if some servers connect to one of them and others to the other.
   The epoch with the higher id is valid (see open_epoch.lua), and the other primary is refused from then on.
5. A reply to a command that was sent in an earlier epoch acknowledges nothing, because the step may be lost.

A failover can also lose a new epoch. The promoted replica then has the replication id of the primary that had the epoch
(`master_replid2`), and is accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError

from callback_server import metrics
from callback_server.store import keys
from callback_server.store.connection.errors import NotSentError

ADVICE: Final = (
    "the store is an old primary that came back, or a backup: lead the servers to the present primary, or accept what "
    "it has with callback losses --accept"
)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The time in which a partition has one primary."""

    number: int
    """Its number, from 1 on. Not every number is used."""
    id: str
    """Random: the same number with another id is another epoch."""
    replication_id: str
    """The replication id of the primary."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Acknowledged steps that a partition does not have any more."""

    partition: int
    epoch: int
    """The number of the epoch that began without them."""
    lost_epoch: int
    """The number of the epoch that they were made in."""
    steps: int
    """How many they are, of those that this process knows."""


@dataclass(slots=True)
class Known:
    """What is known of one partition."""

    epoch: Epoch
    """The newest epoch."""
    counted_number: int
    """The number of the epoch whose steps are counted: an earlier one until the store has shown the newest."""
    steps: int
    """The number of the newest event that was seen in that epoch."""
    is_found: bool = False
    """Whether the store was taken as it was found, and nothing that was known before has confirmed it."""


@dataclass(frozen=True, slots=True)
class PrimaryChanged:
    """Another primary has the store than the last one that was known, or the same one after a restart."""

    epoch: int
    """The number of its epoch."""
    was_known: bool
    """Whether anything was known of the primaries before. Otherwise this one is taken as it is."""


class OtherEpochError(NotSentError):
    """The store does not have the newest epoch that is known. Nothing was sent."""


class EpochChangedError(RedisConnectionError):
    """A newer epoch became known while a command was under way. It may be lost."""


class Epochs:
    """The newest known epoch of each partition, by its tag."""

    def __init__(self, on_report: Callable[[Loss | PrimaryChanged], None] = lambda _report: None) -> None:
        """Create a memory that knows nothing.

        Args:
            on_report: Called with what is noticed here: each loss, and once for all partitions of a primary its change.
        """
        self._on_report = on_report
        self._known: dict[str, Known] = {}
        self._refused: dict[str, str] = {}
        """The partitions whose epoch is refused, and why."""
        self.unseen: Final = set[str]()
        """The partitions to ask for at once, because another one has another primary, which they probably have too."""
        self.witnesses: Mapping[str, Epoch] = {}
        """One partition of each known primary, by its tag, and its epoch. Another object after each change."""
        self.changed = asyncio.Event()
        """Set when an epoch becomes known."""

    def current(self, tag: str) -> Epoch | None:
        """Return the newest known epoch of a partition. None: none is known."""
        known = self._known.get(tag)
        return None if known is None else known.epoch

    @property
    def known(self) -> Mapping[str, Known]:
        """What is known, by the tag of the partition."""
        return self._known

    @property
    def problem(self) -> str:
        """Why partitions are refused. Empty: none is."""
        if not self._refused:
            return ""
        shown = next(iter(self._refused.values()))
        return f"{len(self._refused)} of {keys.PARTITIONS} partitions {shown}"

    def remember(self, partition: int, known: Known) -> None:
        """Take what another process, or this one before its restart, knew of a partition, if it is newer."""
        tag = keys.tag(partition)
        ours = self._known.get(tag)
        if ours is None:
            self._known[tag] = replace(known)
            self._note_change()
            return
        is_newer = (known.epoch.number, known.epoch.id) > (ours.epoch.number, ours.epoch.id)
        if is_newer or (ours.is_found and known.epoch.id != ours.epoch.id):
            ours.epoch = known.epoch  # the steps that are counted here are compared when the store shows it
            self._note_change()
        ours.is_found = False
        if known.counted_number == ours.counted_number:
            ours.steps = max(ours.steps, known.steps)

    def adopt(
        self, tag: str, asked: Epoch | None, epoch: Epoch, *, newest_before: int, events_before: int
    ) -> Epoch | None:
        """Take the epoch that the store shows.

        Args:
            tag: The tag of the partition.
            asked: What was known when the store was asked.
            epoch: The epoch of the store.
            newest_before: The number of the newest epoch that it had until then. 0: none.
            events_before: How many events it had when the first epoch began after the counted one. -1: none began.

        Returns:
            The newest known epoch, which the store has. None: another one became known meanwhile; ask again.
        """
        ours = self._known.get(tag)
        if ours is None:
            if asked is not None:
                return None
        elif ours.epoch is not asked and ours.epoch != epoch:
            return None
        if self._refused.pop(tag, None) is not None:
            metrics.STORE_PARTITIONS_REFUSED.set(len(self._refused))
        is_new = all(each.epoch.replication_id != epoch.replication_id for each in self._known.values())
        if ours is None:
            self._known[tag] = Known(epoch, epoch.number, 0, is_found=newest_before > 0)
            self._note_change()
            if newest_before and is_new:
                self._on_report(PrimaryChanged(epoch.number, was_known=False))
            return epoch
        if ours.epoch != epoch:
            is_next, ours.epoch = ours.epoch.number != epoch.number, epoch
            ours.is_found = ours.is_found and not is_next
            self._note_change()
            if is_next:
                self.unseen.update(
                    other for other, each in self._known.items() if each.epoch.replication_id != epoch.replication_id
                )
            if is_new and is_next:
                self._on_report(PrimaryChanged(epoch.number, was_known=True))
        if events_before >= 0 and ours.counted_number < epoch.number:
            lost = Loss(keys.partition_of_tag(tag), epoch.number, ours.counted_number, ours.steps - events_before)
            ours.counted_number, ours.steps = epoch.number, events_before
            if lost.steps > 0:
                self._on_report(lost)
        return ours.epoch

    def _note_change(self) -> None:
        first_of = {known.epoch.replication_id: tag for tag, known in reversed(self._known.items())}  # stays the same
        self.witnesses = {tag: self._known[tag].epoch for tag in first_of.values()}
        self.changed.set()

    def refuse(self, tag: str, asked: Epoch, number: int) -> OtherEpochError:
        """Note that the store does not have a known epoch of a partition, and return the error to raise."""
        seen = f"{number} in place of {asked.number}" if number != asked.number else f"{number} of another primary"
        shown = f"are older than what servers have seen: epoch {seen}; {ADVICE}"
        self._refused[tag] = shown
        metrics.STORE_PARTITIONS_REFUSED.set(len(self._refused))
        return OtherEpochError(f"partitions {shown}")

    def acknowledge(self, tag: str, epoch: Epoch | None, steps: int = 0) -> None:
        """Take the number of the newest event from a reply to what was sent in an epoch.

        Raises:
            EpochChangedError: The epoch is not the newest one any more.
        """
        known = self._known.get(tag)
        if known is None or known.epoch is not epoch:
            raise EpochChangedError("another primary was noticed before the reply, so the step may be lost")
        if steps > known.steps:
            known.steps = steps
