"""A case: one callback, from the URL that was made for it to its close."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from callback_server.domain.response import Response

RECORD: Final = "record"
"""A built-in activity: the call is stored and the case's response is given."""
FORM: Final = "form"
"""A built-in activity: the call is held, for a person to answer."""


class CaseStatus(enum.StrEnum):
    """Where a case is in its life (spec, "A case's life")."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    """A single-use case with a call running."""
    CLOSED = "CLOSED"


class CloseReason(enum.StrEnum):
    """Why a case closed. It is final."""

    CONSUMED = "CONSUMED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    CLOSED_BY_OWNER = "CLOSED_BY_OWNER"
    EXPIRED = "EXPIRED"


class CaseEffect(msgspec.Struct, frozen=True):
    """What the end of a call made of its case."""

    status: CaseStatus
    close_reason: CloseReason | None = None


class Mode(enum.StrEnum):
    """How often a case can be called: the two booleans of the contract, of which only three pairs differ."""

    SINGLE = "SINGLE"
    """One call, whatever becomes of it."""
    RETRYABLE = "RETRYABLE"
    """One call that succeeds."""
    MULTIPLE = "MULTIPLE"
    """Any number; `retryable_after_error` adds nothing."""


class GetGuard(enum.StrEnum):
    """What becomes of a GET that may not be a person's."""

    OFF = "OFF"
    """It is a call."""
    DETECT = "DETECT"
    """It is no call if it comes from a program that is known to open links."""
    CONFIRM = "CONFIRM"
    """It is no call: its page asks for a confirmation, and that is the call."""


class AnswerMode(enum.StrEnum):
    """Who answers a call, and when."""

    HANDLER = "HANDLER"
    """The handler, while the caller waits."""
    HOLD = "HOLD"
    """Whoever knows: the caller waits for a SetResponse with the call's id."""
    ACK = "ACK"
    """The case, as soon as the call is stored; the handler runs after that, until it has been delivered."""


class Fallback(msgspec.Struct, frozen=True, array_like=True):
    """What a caller gets that has waited long enough, while its call goes on.

    Stored as an array: append fields at the end, with a default, and never reuse a place.
    """

    after_ms: int
    response: Response


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """What never changes about a case and no transition looks at.

    Stored as an array: append fields at the end, with a default, and never reuse a place.
    """

    activity_case: str = ""
    alternative_domain: str = ""
    labels: dict[str, str] = {}
    retryable: bool = False
    """As it was given; `Mode` keeps only what has an effect."""


class NewCase(msgspec.Struct, frozen=True):
    """A case to be stored."""

    id: str
    state_sha256: bytes
    fingerprint: bytes
    """SHA-256 of the request that made it, to tell the same request again from another one."""
    owner: str
    activity: str
    mode: Mode
    parameter: str
    """The state query parameter; empty for a `/cb/` URL."""
    time_to_live_ms: int | None
    settings: Settings
    response: Response
    profile: str = ""
    """The verification profile that every call must pass; empty for none."""
    guard: GetGuard = GetGuard.OFF
    answer: AnswerMode = AnswerMode.HANDLER
    ordered: bool = False
    """The calls of an ACK case are delivered one after the other, in their order."""
    fallback: Fallback | None = None


class Case(msgspec.Struct, frozen=True):
    """A case as it is stored. Times are milliseconds since the epoch, by the store's clock."""

    id: str
    owner: str
    activity: str
    mode: Mode
    parameter: str
    settings: Settings
    response: Response
    status: CaseStatus
    close_reason: CloseReason | None
    created_ms: int
    expires_ms: int | None
    closed_ms: int | None
    calls: int
    """How many calls were started on it."""
    version: int
    """Counts the changes of its response."""
    profile: str = ""
    """The verification profile that every call must pass; empty for none."""
    guard: GetGuard = GetGuard.OFF
    answer: AnswerMode = AnswerMode.HANDLER
    ordered: bool = False
    """The calls of an ACK case are delivered one after the other, in their order."""
    fallback: Fallback | None = None
    """None also where cases are read without bodies."""
