"""Reports: what a transition did or found besides what it was asked for.

Every transition on a case applies the timeouts of the case and its calls that are due.
"""

from __future__ import annotations

from dataclasses import dataclass

from callback_server.domain.call import CallStatus
from callback_server.domain.case import CaseEffect


@dataclass(frozen=True, slots=True)
class _CallEnded:
    """A transition has ended a call that it was not asked for."""

    call_id: str
    activity: str
    effect: CaseEffect | None
    """The effect on the case. None: the case is as it was."""


class LeaseEnded(_CallEnded):
    """A call is INTERRUPTED, because its lease ended before its end was recorded."""


class HoldTimeEnded(_CallEnded):
    """A held call FAILED, because it was not answered within the hold time of its case."""


@dataclass(frozen=True, slots=True)
class CallResolved(_CallEnded):
    """A held call ended with the answer of its case."""

    status: CallStatus


@dataclass(frozen=True, slots=True)
class CaseExpired:
    """A case is closed, because its time to live has passed."""

    case_id: str
    activity: str
    skipped_reminders: int
    """How many reminders were due before that, and are dropped: no server ran, or no handler took them."""


@dataclass(frozen=True, slots=True)
class AwaitedCallEnded:
    """A call has ended, and repeats wait with it."""

    call_id: str
    replicas: frozenset[str]
    """The replicas where they wait."""


@dataclass(frozen=True, slots=True)
class EntryWithoutCase:
    """A list has an entry whose case or call is not there. The entry was kept."""

    name: str
    """The id of the case or call."""
    listed_in: str
    """The list, as in the table of keys."""


@dataclass(frozen=True, slots=True)
class WrongType:
    """An entry of a list is due, and a key of its case or call has a wrong type. The case was left as it is."""

    name: str
    """The id of the case or call."""
    listed_in: str
    """The list, as in the table of keys."""
    error: str
    """What the store said."""


LoggedReport = LeaseEnded | HoldTimeEnded | CallResolved | CaseExpired | EntryWithoutCase | WrongType
Report = LoggedReport | AwaitedCallEnded
