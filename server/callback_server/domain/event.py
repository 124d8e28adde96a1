"""An event: one change of a case or a call, for watchers."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from callback_server.domain.notification import reason_of

STEP: Final = "STEP"
"""The type of an event that only counts a step (see store/epochs/known.py). Watchers are not told."""
_LABEL_DIGEST_LENGTH: Final = 12


class EventType(enum.StrEnum):
    """The type of a change."""

    CASE_CREATED = "CASE_CREATED"
    RESPONSE_SET = "RESPONSE_SET"
    CASE_CLOSED = "CASE_CLOSED"
    CALL_STARTED = "CALL_STARTED"
    CALL_ENDED = "CALL_ENDED"
    DELIVERY_CHANGED = "DELIVERY_CHANGED"
    CALLER_GONE = "CALLER_GONE"
    CASE_EXTENDED = "CASE_EXTENDED"


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One change. It has names and statuses, and nothing that a caller sent.

    Stored as an array, which the scripts write: append fields at the end, with a default, and never reuse a position.
    """

    type: str
    """An `EventType`, `STEP`, or a type that only a newer release knows."""
    case_id: str
    call: str
    """The part of the call id behind the case id. Empty: the event is about the case."""
    activity: str
    owner: str
    time_ms: int
    """The time by the store's clock, in milliseconds since the epoch."""
    case_status: str
    """The status after the change, like the fields below."""
    close_reason: str
    call_status: str
    delivery_status: str
    label_digests: str
    """The beginnings of the digests of the case's labels, concatenated, so that an event stays small."""

    @property
    def call_id(self) -> str:
        """The id of the call. Empty: the event is about the case."""
        return f"{self.case_id}-{self.call}" if self.call else ""

    @property
    def reason(self) -> str:
        """The reason of the call or notification. Empty: the event is about the case."""
        return reason_of(self.call_id) if self.call else ""


class EventFilter:
    """The events that a watcher wants."""

    def __init__(
        self,
        *,
        owner: str | None,
        activity: str = "",
        labels: Mapping[str, str] | None = None,
        case_id: str = "",
        sees: Callable[[str, str], bool] | None = None,
    ) -> None:
        """Make a filter. `owner` None: all owners. An empty value matches everything.

        `sees` says whether the watcher may see the events of an owner and an activity. None: it may see all of `owner`.
        """
        self.owner = owner
        self._sees = sees
        self._activity = activity
        self._label_digests = {_label_digest(name, value) for name, value in (labels or {}).items()}
        self._case_id = case_id

    def matches(self, event: Event) -> bool:
        """Return whether the watcher wants an event."""
        return (
            event.type != STEP
            and self.owner in (None, event.owner)
            and (self._sees is None or self._sees(event.owner, event.activity))
            and self._activity in ("", event.activity)
            and self._case_id in ("", event.case_id)
            and (not self._label_digests or self._label_digests <= _split_digests(event.label_digests))
        )


def _label_digest(name: str, value: str) -> str:
    """Return the beginning of the digest of a label, as `label_indexes` in labels.lua does."""
    text = name.encode()
    digest = hashlib.sha1(b"%d:%b%b" % (len(text), text, value.encode()), usedforsecurity=False)
    return digest.hexdigest()[:_LABEL_DIGEST_LENGTH]


def _split_digests(joined: str) -> set[str]:
    return {joined[at : at + _LABEL_DIGEST_LENGTH] for at in range(0, len(joined), _LABEL_DIGEST_LENGTH)}
