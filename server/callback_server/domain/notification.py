"""Notifications: messages to the handler of a case without a call.

A notification has an id of the form of a call id. The id is counted, so the notification is made once, also if a script
is sent again. It has a delivery, as a call in ACK mode has.
"""

from __future__ import annotations

import enum


class CallReason(enum.StrEnum):
    """Why a handler is asked. Every reason but CALL is that of a notification."""

    CALL = "CALL"
    REMINDER = "REMINDER"
    EXPIRY = "EXPIRY"


def reminder_id(case_id: str, number: int) -> str:
    """Return the id of a reminder of a case. The first one has the number 1."""
    return f"{case_id}-{number:016x}"


def expiry_id(case_id: str) -> str:
    """Return the id of the notification of the expiry of a case."""
    return reminder_id(case_id, 255)


def reason_of(call_id: str) -> CallReason:
    """Return the reason of a call or of a notification, which has an id of the same form (see notifications.lua)."""
    if call_id[33:46] != "0" * 13:
        return CallReason.CALL
    return CallReason.EXPIRY if call_id == expiry_id(call_id[:32]) else CallReason.REMINDER
