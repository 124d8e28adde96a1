"""What a connection asks the store before its first command about a partition (see store/epochs)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class Sent:
    """Where a command was sent."""

    __slots__ = ("epoch", "tag")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        """The tag of the partition that the command is about. Empty: it is about another key."""
        self.epoch: Any = None
        """The epoch of the partition at that time. None: it was not sent, or the store has no fence."""


class Seen(NamedTuple):
    """The steps of a partition that were seen acknowledged."""

    epoch: Any = None
    """The epoch of the partition then. None: nothing was seen in the newest one."""
    steps: int = 0
    """The number of the newest event."""
    newest_at: int = 0
    """When that event was made, in milliseconds. 0: unknown."""


class Fence(Protocol):
    """Decides whether a connection may work on a partition. An epoch is the same object while it is the newest."""

    replicas: int
    """How many replicas must confirm what the store shows for the first time."""
    unseen: set[str]
    """The partitions to ask for before anything else is sent, because the store of another one has changed."""

    @property
    def witnesses(self) -> Mapping[str, Any]:
        """The partitions to ask for first, by their tags, and their epochs: an old primary does not have all of them.

        Another object after each change.
        """

    def current(self, tag: str) -> Any:
        """Return the newest known epoch of a partition. None: none is known."""

    def question(self, tag: str) -> tuple[str | bytes | int, ...]:
        """Return the command that asks the store for the epoch of a partition."""

    def must_confirm(self, tag: str, reply: Any) -> bool:
        """Return whether the replicas must confirm a reply about a partition before it is judged."""

    def judge(self, tag: str, asked: Any, reply: Any) -> Any:
        """Return the epoch in which the connection can work on a partition. None: ask again.

        Args:
            tag: The tag of the partition.
            asked: The newest known epoch when the question was sent.
            reply: The reply to it. An error is raised.

        Raises:
            NotSentError: The store is refused.
            RedisError: The reply is an error.
        """

    def seen(self, tag: str) -> Seen:
        """Return what was seen of a partition in its newest epoch."""

    def acknowledge(
        self, tag: str, epoch: Any, steps: int = 0, newest_at: int = 0, *, lacks: Seen | None = None
    ) -> None:
        """Take the newest event of a partition, its number and its time, from a reply to what was sent in an epoch.

        `lacks` is what was sent as seen, if the store does not have it, and so has done nothing.

        Raises:
            NotSentError: The store lacks steps of this epoch.
            RedisError: The epoch is not the newest one any more: the step may be lost.
        """
