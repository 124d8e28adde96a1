"""A case: the record of one callback in the store, from its URL to its close."""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Final

import msgspec

from callback_server.domain.form import PromptField
from callback_server.domain.notification import CallReason
from callback_server.domain.response import Response, ResponseType, problems
from callback_server.errors import Violation

RECORD: Final = "record"
"""A built-in activity: the call is stored, and its caller gets the response of the case."""
FORM: Final = "form"
"""A built-in activity: the call is held, for a person to answer."""
DEFAULT_HOLD_TIME_MS: Final = 300_000
"""How long a held call waits for its answer, where its case does not say, in milliseconds."""
DEFAULT_REPEAT_WINDOW_MS: Final = 120_000
"""How long the same request gets its answer again, on a single-use case whose owner does not say otherwise."""


class CaseStatus(enum.StrEnum):
    """The status of a case (see docs/life-of-a-callback.md)."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    """A single-use case with a call running."""
    CLOSED = "CLOSED"


class CloseReason(enum.StrEnum):
    """Why a case is closed. It never changes."""

    CONSUMED = "CONSUMED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    CLOSED_BY_OWNER = "CLOSED_BY_OWNER"
    EXPIRED = "EXPIRED"


class CaseEffect(msgspec.Struct, frozen=True):
    """The effect of the end of a call on its case."""

    status: CaseStatus
    close_reason: CloseReason | None = None


class CallMode(enum.StrEnum):
    """How often a case can be called: three modes, from two booleans of the contract."""

    SINGLE = "SINGLE"
    """One call, however it ends."""
    RETRYABLE = "RETRYABLE"
    """Calls until one succeeds."""
    MULTIPLE = "MULTIPLE"
    """Any number of calls. `retryable_after_error` changes nothing."""


class GetGuard(enum.StrEnum):
    """How a GET is treated that a program may have sent."""

    OFF = "OFF"
    """A GET is a call."""
    DETECT = "DETECT"
    """A GET is no call if it comes from a program that is known to open links."""
    CONFIRM = "CONFIRM"
    """A GET is no call. It shows a page that asks for a confirmation, which is the call."""


class AnswerMode(enum.StrEnum):
    """How and when a call is answered."""

    HANDLER = "HANDLER"
    """The handler answers while the caller waits."""
    HOLD = "HOLD"
    """The caller waits until an AnswerCall answers the call."""
    ACK = "ACK"
    """The case answers as soon as the call is stored. The handler runs after that, with retries."""


class Fallback(msgspec.Struct, frozen=True, array_like=True):
    """The response that a caller gets at the answer deadline, while its call goes on.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    after_ms: int
    response: Response

    @property
    def accepts(self) -> bool:
        """Whether it tells the caller that the request was accepted: 2xx or 3xx. The handler must get the call then."""
        return self.response.type is ResponseType.REDIRECT or (self.response.code or 200) < 400


class Prompt(msgspec.Struct, frozen=True, array_like=True):
    """What the page of a CONFIRM case asks.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    title: str
    text: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    """The value and the label of each button. Empty: the page has the one button of every CONFIRM case."""
    language: str = ""
    fields: tuple[PromptField, ...] = ()
    """What a person fills in."""

    @property
    def takes_input(self) -> bool:
        """Whether a plain confirmation is no call: a person makes a choice or fills in fields."""
        return bool(self.choices or self.fields)


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """The settings of a case that never change and that no transition reads.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    activity_case: str = ""
    alternative_domain: str = ""
    labels: dict[str, str] = {}
    retryable_after_error: bool = False
    """The setting as it was given. `CallMode` has only its effect."""
    prompt: Prompt | None = None
    """What the page of a CONFIRM case asks. None: whether to continue."""
    answer_deadline_ms: int | None = None
    """When a caller without an answer is told to wait, of a case without a fallback. None: the default."""
    remind_after_ms: tuple[int, ...] = ()
    """How long after its creation the handler is reminded of the case, ascending."""
    traceparent: str = ""
    """The W3C trace context that generated the case, for links to it. Empty: none."""
    allowed_origins: tuple[str, ...] = ()
    """The origins whose pages may call the case by a script, each in its one spelling. `*`: every origin."""
    frame_origins: tuple[str, ...] = ()
    """The origins whose pages may show the case in a frame, each in its one spelling."""
    endpoint: str = ""
    """The endpoint whose events can be calls of the case. Empty: none."""
    correlation_key: str = ""
    """The key by which these events find the case. Empty: it has no endpoint."""


class NewCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case to be stored."""

    id: str
    state_sha256: bytes
    fingerprint: bytes
    """SHA-256 of the request that created the case, to recognize the same request when it comes again."""
    owner: str
    activity: str
    mode: CallMode
    state_query_parameter: str = ""
    """The state query parameter; empty for a `/cb/` URL."""
    time_to_live_ms: int | None
    settings: Settings
    response: Response
    verification_profile: str = ""
    """The verification profile that every call must pass; empty for none."""
    get_guard: GetGuard = GetGuard.OFF
    answer_mode: AnswerMode = AnswerMode.HANDLER
    ordered: bool = False
    """The calls of an ACK case are delivered in order, one after the other."""
    fallback: Fallback | None = None
    closed_response: Response | None = None
    """The response to a request that reaches the case once it is closed. None: an error."""
    hold_time_ms: int = DEFAULT_HOLD_TIME_MS
    """How long a held call waits for its answer."""
    pointer: str = ""
    """The name of the pointer to the case; empty for none, if it has no `request_id`."""
    nonce: bytes = b""
    """What the pointer holds besides the id of the case."""
    correlation: str = ""
    """The name of the pointer of its correlation key (see store/correlation.py). Empty: the case has no endpoint."""
    has_url: bool = True
    """Whether it has a URL of its own. A case without one is reached by events alone."""
    repeat_window_ms: int = 0
    """How long after the end of a call the same request gets its answer again. 0: not at all, each is a call."""
    no_repeat: bool = False
    """No answer is given twice."""
    notify: tuple[CallReason, ...] = ()
    """The reasons of the notifications that the handler gets."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case as it is stored. Times are milliseconds since the epoch, by the store's clock."""

    id: str
    owner: str
    activity: str
    mode: CallMode
    state_query_parameter: str
    settings: Settings
    response: Response
    status: CaseStatus
    close_reason: CloseReason | None
    create_time_ms: int
    expire_time_ms: int | None
    close_time_ms: int | None
    call_count: int = 0
    """How many calls were started on it."""
    version: int = 0
    """Counts the changes of its response."""
    verification_profile: str = ""
    """The verification profile that every call must pass; empty for none."""
    get_guard: GetGuard = GetGuard.OFF
    answer_mode: AnswerMode = AnswerMode.HANDLER
    ordered: bool = False
    """The calls of an ACK case are delivered in order, one after the other."""
    fallback: Fallback | None = None
    """None also if the case was read without bodies."""
    closed_response: Response | None = None
    """The response to a request that reaches the case once it is closed. None also if it was read without bodies."""
    resolved: str = ""
    """A digest of the answer that ResolveCallback has given. Empty: none."""
    hold_time_ms: int | None = None
    """How long a held call waits for its answer. None: the case holds no calls."""
    repeat_window_ms: int | None = None
    """How long after the end of a call the same request gets its answer again. None: not at all, each is a call."""
    no_repeat: bool = False
    """No answer is given twice."""
    notify: tuple[CallReason, ...] = ()
    """The reasons of the notifications that the handler gets."""
    reminders: int = 0
    """How many reminders were due."""


def response_problems(
    response: Response,
    platform_url: str | None,
    redirect_schemes: Collection[str],
    activity: str,
    answer_mode: AnswerMode,
) -> list[Violation]:
    """Return the violations in the response of a case.

    Where the case itself answers, its response must be complete: no handler adds to it.
    """
    must_be_complete = activity == RECORD or answer_mode is AnswerMode.ACK
    return problems(
        response, platform_url=platform_url, redirect_schemes=redirect_schemes, must_be_complete=must_be_complete
    )
