"""What time brings: done by whichever transition comes first, whatever that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from callback_server.domain.case import CaseEffect


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A call is INTERRUPTED: its lease ended before its end was recorded."""

    call_id: str
    activity: str
    effect: CaseEffect | None
    """None: its case is as it was."""


@dataclass(frozen=True, slots=True)
class CaseExpired:
    """A case is closed: its time to live has passed."""

    case_id: str
    activity: str


Timeout = LeaseEnded | CaseExpired
