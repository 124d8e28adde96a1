"""The life of a case, as a table: what a running call and the end of a call do to the status of its case.

This is the only copy of the table. The Lua functions that decide are generated from it when the scripts are loaded, the
model of the tests reads it, and the diagram in `docs/life-of-a-callback.md` is drawn from it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from callback_server.domain.case import CallMode, CaseEffect, CaseStatus, CloseReason


class CallEnd(enum.StrEnum):
    """How a call ended, as the table distinguishes it: its final status, or a success that keeps or closes the case."""

    SUCCEEDED = "SUCCEEDED"
    KEPT_OPEN = "KEPT_OPEN"
    """The call SUCCEEDED, and its handler said `keep_open`."""
    CLOSED = "CLOSED"
    """The call SUCCEEDED, and its handler said `close`."""
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    NOT_STARTED = "NOT_STARTED"


_REOPENED: Final = CaseEffect(CaseStatus.OPEN)
_CONSUMED: Final = CaseEffect(CaseStatus.CLOSED, CloseReason.CONSUMED)
_FAILED: Final = CaseEffect(CaseStatus.CLOSED, CloseReason.FAILED)
_INTERRUPTED: Final = CaseEffect(CaseStatus.CLOSED, CloseReason.INTERRUPTED)

STATUS_DURING_CALL: Final[Mapping[CallMode, CaseStatus]] = {
    CallMode.SINGLE: CaseStatus.IN_PROGRESS,
    CallMode.RETRYABLE: CaseStatus.IN_PROGRESS,
    CallMode.MULTIPLE: CaseStatus.OPEN,
}
"""The status of a case while a call runs on it, by the mode of the case."""

LIFE: Final[Mapping[CallMode, Mapping[CallEnd, CaseEffect | None]]] = {
    CallMode.SINGLE: {
        CallEnd.SUCCEEDED: _CONSUMED,
        CallEnd.KEPT_OPEN: _REOPENED,
        CallEnd.CLOSED: _CONSUMED,
        CallEnd.REJECTED: _FAILED,
        CallEnd.FAILED: _FAILED,
        CallEnd.INTERRUPTED: _INTERRUPTED,
        CallEnd.NOT_STARTED: _REOPENED,
    },
    CallMode.RETRYABLE: {
        CallEnd.SUCCEEDED: _CONSUMED,
        CallEnd.KEPT_OPEN: _REOPENED,
        CallEnd.CLOSED: _CONSUMED,
        CallEnd.REJECTED: _REOPENED,
        CallEnd.FAILED: _REOPENED,
        CallEnd.INTERRUPTED: _REOPENED,
        CallEnd.NOT_STARTED: _REOPENED,
    },
    CallMode.MULTIPLE: {
        CallEnd.SUCCEEDED: None,
        CallEnd.KEPT_OPEN: None,
        CallEnd.CLOSED: _CONSUMED,
        CallEnd.REJECTED: None,
        CallEnd.FAILED: None,
        CallEnd.INTERRUPTED: None,
        CallEnd.NOT_STARTED: None,
    },
}
"""What the end of a call does to its case, by the mode of the case. None: the case stays as it is.

The table applies to the call that holds the case, and to each call whose handler closes the case. A case that was
closed while the call ran stays closed.
"""

CLOSED_WITHOUT_CALL: Final[Mapping[CloseReason, str]] = {
    CloseReason.CLOSED_BY_OWNER: "CloseCallback",
    CloseReason.EXPIRED: "expire_time has passed",
}
"""The close reasons that no call causes, and what causes them. They apply in every status but CLOSED."""

OF_SUCCESS: Final = (CallEnd.SUCCEEDED, CallEnd.KEPT_OPEN, CallEnd.CLOSED)
"""The ends of a call that SUCCEEDED."""
