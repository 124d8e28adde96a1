"""An event: one change of a case or a call, told to those who watch."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

_MARK_LENGTH: Final = 12


class EventType(enum.StrEnum):
    """What happened."""

    CASE_CREATED = "CASE_CREATED"
    RESPONSE_SET = "RESPONSE_SET"
    CASE_CLOSED = "CASE_CLOSED"
    CALL_STARTED = "CALL_STARTED"
    CALL_ENDED = "CALL_ENDED"
    DELIVERY_CHANGED = "DELIVERY_CHANGED"


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One change. It names things, and holds nothing that a caller sent.

    Stored as an array, which the scripts write: append fields at the end, with a default, and never reuse a place.
    """

    type: str
    """An `EventType`; of a release that is newer, maybe one that is not known here."""
    case_id: str
    call: str
    """What follows the case's id in the call's; empty if it happened to the case."""
    activity: str
    owner: str
    time_ms: int
    """By the store's clock."""
    case_status: str
    """After it, as the others are."""
    close_reason: str
    call_status: str
    delivery_status: str
    marks: str
    """Of the case's labels, one after the other: the beginning of a digest of each. So an event stays small."""

    @property
    def call_id(self) -> str:
        """The call's id; empty if it happened to the case."""
        return f"{self.case_id}-{self.call}" if self.call else ""


class EventFilter:
    """Which events somebody watches."""

    def __init__(
        self, *, owner: str | None, activity: str = "", labels: Mapping[str, str] | None = None, case_id: str = ""
    ) -> None:
        """`owner` None: everyone's. What is empty keeps all."""
        self.owner = owner
        self._activity = activity
        self._marks = {_mark(name, value) for name, value in (labels or {}).items()}
        self._case_id = case_id

    def keeps(self, event: Event) -> bool:
        """Whether it is one of them."""
        return (
            self.owner in (None, event.owner)
            and self._activity in ("", event.activity)
            and self._case_id in ("", event.case_id)
            and (not self._marks or self._marks <= _marks(event.marks))
        )


def _mark(name: str, value: str) -> str:
    """As `label_marks` in labels.lua."""
    text = name.encode()
    digest = hashlib.sha1(b"%d:%b%b" % (len(text), text, value.encode()), usedforsecurity=False)
    return digest.hexdigest()[:_MARK_LENGTH]


def _marks(joined: str) -> set[str]:
    return {joined[at : at + _MARK_LENGTH] for at in range(0, len(joined), _MARK_LENGTH)}
