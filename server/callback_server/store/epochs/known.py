"""Epochs: what must be remembered so that an old primary is recognized, and no step is lost without a word.

A partition begins a new epoch whenever it has another primary. This page says who remembers what, and until when.

**The store**, each partition: 64 epochs, the last ones, and promotions longer than restarts. Each has a number, a
random id, and how many events the partition had when it began. A server that connects to another primary than the last
one (by run id and replication id) begins the next epoch in one script, before it does anything else there (see
open_epoch.lua), and then on all other partitions. That happens after a restart, a failover, or a move of the slot. A
step is a change of a case or call, and writes one event. So the number of the newest event counts the steps, and the
reply to each step has it and the time of that event.

**A server**, each partition, in memory and in `store_epochs_file` (see keeper.py), until it knows a newer one:

- the newest epoch, by its number and id, and the last replication ids of its primary;
- how many steps it has seen acknowledged, when the last one was made, and the ids of the last epochs of the store where
  it saw them.

**Edges and workers** carry the newest epochs from server to server, and remember the last message (see exchange.py).

1. A connection runs nothing on a partition until the store has shown the newest epoch that this process knows. A store
   without it is an old primary that came back, or a backup, and is refused. A new connection first checks one partition
   of each known primary. So it recognizes an old primary also if the connection to the next primary broke before all
   partitions had begun an epoch there. A node of a cluster replies MOVED for the partitions of other nodes, which
   proves nothing.
2. A promotion counts more than a restart: it raises the number by 1000, and its id begins with `f`. So an old primary
   that restarts within a failover is refused once the promoted replica is known, however often it has restarted. A
   promoted replica that lacks the newest epoch has followed the primary of that epoch, or the same one before its
   restarts (`master_replid2`), and is accepted.
3. With `replicated:N`, an epoch counts once N replicas have confirmed it. Until then nothing is acknowledged in it, and
   no server remembers it: an old primary that restarts without its replica excludes no other.
4. A store continues what was counted up to the last epoch that both have, by its id. What it had when its next epoch
   began, or has now, is what is left of the steps; if the last one that was seen is not there, what was made until its
   time. The difference is lost: a promotion gives it up, and it is reported.
   A primary that was not promoted loses nothing where `appendfsync` is `always`. With fewer steps it is a backup or an
   older copy, and is refused.
5. A command has the number and the time of the last step that its server has seen. A store without that event has got
   older data, also if it has as many again of other servers. It does nothing, and is asked again for all partitions. A
   reply to a command that was sent in an earlier epoch acknowledges nothing: the step may be lost.
6. All epochs of one store end in the same letters, its origin, and numbers of two stores are not compared. A server
   that is led to the store of another system excludes no other server from its own. But all servers take a store that
   an operator has accepted, once they are led to it or hear of it: its number is higher, and stays so.

Some steps cannot be reported: those that only servers without a file saw, which have stopped, and those of the last
second before the kill of the only server that saw them, which says so. Nor those that a primary loses because it gets
older data, if other servers make as many steps there before a command arrives that the server of the lost ones had sent
before their replies, or 10,000 while that server does not run: the events of so many are kept.
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
from callback_server.store.connection.fence import Seen

ACCEPTED: Final = 10**12
"""The least number of an epoch that an operator has begun: that of open_epoch.lua."""
ADVICE: Final = (
    "the store is an old primary that came back, a backup, or another store: lead the servers to the present primary, "
    "or accept what it has with callback losses --accept"
)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The time in which a partition has one primary."""

    number: int
    """Its number, from 1 on. Not every number is used."""
    id: str
    """Random: the same number with another id is another epoch."""
    replication_ids: str
    """The last replication ids of the primary, which takes another one when it restarts, the present one first."""

    @property
    def origin(self) -> str:
        """What all epochs of one store have in common. Empty: unknown, because a release before has begun the epoch."""
        return self.id[17:]

    def is_of_other_store(self, other: Epoch) -> bool:
        """Return whether another epoch is of a store that has nothing in common with the one of this epoch."""
        return "" not in (self.origin, other.origin) and self.origin != other.origin

    @property
    def is_accepted(self) -> bool:
        """Whether an operator has accepted what the store has, then or before."""
        return self.number >= ACCEPTED

    @property
    def primary(self) -> str:
        """The present replication id of the primary."""
        return self.replication_ids.partition(",")[0]


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
    counted_ids: str
    """The ids of that epoch and of those before it in the same store, the last ones. Empty: nothing is counted yet."""
    is_found: bool = False
    """Whether the store was taken as it was found, and nothing that was known before has confirmed it."""
    is_behind: bool = False
    """Whether more steps may have been seen: the server was killed before it could write the last ones to its file."""
    newest_at: int = 0
    """When that event was made, in milliseconds. 0: unknown."""


@dataclass(frozen=True, slots=True)
class PrimaryChanged:
    """Another primary has the store than the last one that was known, or the same one after a restart."""

    epoch: int
    """The number of its epoch."""
    was_known: bool
    """Whether anything was known of the primaries before. Otherwise this one is taken as it is."""


@dataclass(frozen=True, slots=True)
class StepsNotCounted:
    """Steps may be lost that this server has seen acknowledged, but does not remember, because it was killed."""

    epoch: int
    """The number of the epoch that may have begun without them."""


Report = Loss | PrimaryChanged | StepsNotCounted


class OtherEpochError(NotSentError):
    """The store does not have the newest epoch that is known, or its steps. Nothing was sent, or done."""


class EpochChangedError(RedisConnectionError):
    """A newer epoch became known while a command was under way. It may be lost."""


class Epochs:
    """The newest known epoch of each partition, by its tag."""

    def __init__(self, on_report: Callable[[Report], None] = lambda _report: None) -> None:
        """Create a memory that knows nothing.

        Args:
            on_report: Called with what is noticed here: each loss, and the rest once for all partitions of a primary.
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

    def remember(self, partition: int, epoch: Epoch) -> bool:
        """Take the newest epoch that another server knew of a partition, if it is newer. Return whether it is ours."""
        tag = keys.tag(partition)
        ours = self._known.get(tag)
        if ours is None:
            self.restore(partition, Known(epoch, epoch.number, 0, ""))
            return True
        if ours.epoch.is_of_other_store(epoch) and not (ours.is_found or epoch.is_accepted):
            return False
        is_newer = (epoch.number, epoch.id) > (ours.epoch.number, ours.epoch.id)
        if is_newer or (ours.is_found and epoch.id != ours.epoch.id):
            ours.epoch = epoch  # the steps that are counted here are compared when the store shows it
            self._note_change()
        ours.is_found = False
        return True

    def restore(self, partition: int, known: Known) -> None:
        """Take what this server knew of a partition before its restart."""
        self._known[keys.tag(partition)] = known
        self._note_change()

    def adopt(
        self,
        tag: str,
        asked: Epoch | None,
        epoch: Epoch,
        *,
        newest_before: int,
        ids: str,
        steps_left: int,
        of_ids: str,
        may_lose: bool,
    ) -> Epoch | None:
        """Take the epoch that the store shows.

        Args:
            tag: The tag of the partition.
            asked: What was known when the store was asked.
            epoch: The epoch of the store.
            newest_before: The number of the newest epoch that it had until then. 0: none.
            ids: The ids of its last epochs.
            steps_left: How many of the steps that were counted it has, or more. -1: all, in the same epoch.
            of_ids: The ids of the epochs that were counted when the store was asked.
            may_lose: Whether steps can be gone since those epochs: after a promotion, or as a primary that restarts can
                lose some.

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
        is_new = all(each.epoch.primary != epoch.primary for each in self._known.values())
        if ours is None:
            self.restore(keys.partition_of_tag(tag), Known(epoch, epoch.number, 0, ids, is_found=newest_before > 0))
            if newest_before and is_new:
                self._on_report(PrimaryChanged(epoch.number, was_known=False))
            return epoch
        if ours.epoch != epoch:
            is_next, ours.epoch = ours.epoch.id != epoch.id, epoch
            ours.is_found = ours.is_found and not is_next
            self._note_change()
            if is_next:
                self.unseen.update(other for other, each in self._known.items() if each.epoch.primary != epoch.primary)
            if is_new and is_next:
                self._on_report(PrimaryChanged(epoch.number, was_known=True))
                if ours.is_behind and may_lose:
                    self._on_report(StepsNotCounted(epoch.number))
        ours.is_behind = False
        if steps_left >= 0 and of_ids == ours.counted_ids:
            lost = Loss(keys.partition_of_tag(tag), epoch.number, ours.counted_number, ours.steps - steps_left)
            ours.counted_number, ours.counted_ids = epoch.number, ids
            if lost.steps > 0:
                ours.steps, ours.newest_at = steps_left, 0
                ours.epoch = replace(ours.epoch)  # what was known before a command that is under way does not count
                self._note_change()
                self._on_report(lost)
        return ours.epoch

    def _note_change(self) -> None:
        first_of = {known.epoch.primary: tag for tag, known in reversed(self._known.items())}  # stays the same
        self.witnesses = {tag: self._known[tag].epoch for tag in first_of.values()}
        self.changed.set()

    def refuse(self, tag: str, why: str) -> OtherEpochError:
        """Note why the store of a partition is refused, and return the error to raise."""
        self._refused[tag] = f"{why}; {ADVICE}"
        metrics.STORE_PARTITIONS_REFUSED.set(len(self._refused))
        return OtherEpochError(f"partitions {self._refused[tag]}")

    def acknowledge(
        self, tag: str, epoch: Epoch | None, steps: int = 0, newest_at: int = 0, *, lacks: Seen | None = None
    ) -> None:
        """Take the newest event from a reply to what was sent in an epoch.

        Args:
            tag: The tag of the partition.
            epoch: The epoch in which the command was sent.
            steps: The number of the newest event. 0: the reply does not show it.
            newest_at: When that event was made, in milliseconds.
            lacks: What was sent with the command as seen, if the store does not have it, and so has done nothing.

        Raises:
            EpochChangedError: The epoch is not the newest one any more.
            OtherEpochError: The store does not have what it had.
        """
        known = self._known.get(tag)
        if known is None or known.epoch is not epoch:
            raise EpochChangedError("another primary was noticed before the reply, so the step may be lost")
        if lacks is not None and lacks.epoch is epoch:
            for each in self._known.values():
                each.epoch = replace(each.epoch)  # not the object that connections have seen: they ask again
            self.unseen.update(self._known)
            self._note_change()
            raise OtherEpochError(f"the store has {steps} steps, and not all of the {lacks.steps} that it had")
        # With the same number and another time, older data came while both commands were under way: the next one tells.
        if (steps, newest_at > 0) > (known.steps, known.newest_at > 0):
            known.steps, known.newest_at = steps, newest_at
