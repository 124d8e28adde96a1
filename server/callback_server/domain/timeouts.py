"""Timeouts of cases and calls. Every transition on a case applies those that are due, whatever it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from callback_server.domain.case import CaseEffect


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A call is INTERRUPTED, because its lease ended before its end was recorded."""

    call_id: str
    activity: str
    effect: CaseEffect | None
    """The effect on the case. None: the case is as it was."""


@dataclass(frozen=True, slots=True)
class HoldTimeEnded:
    """A held call FAILED, because it was not answered within the hold time of its case."""

    call_id: str
    activity: str
    effect: CaseEffect | None
    """The effect on the case. None: the case is as it was."""


@dataclass(frozen=True, slots=True)
class CaseExpired:
    """A case is closed, because its time to live has passed."""

    case_id: str
    activity: str


Timeout = LeaseEnded | HoldTimeEnded | CaseExpired
