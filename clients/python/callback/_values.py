"""Values that the client takes and returns: plain, immutable and typed.

Names are those of the contract without their prefixes: `callback_case_id` is `case_id`, `request_body` is `body`.
Bodies are bytes. Times are aware datetimes in UTC. A `repr` omits every field that may hold a state or a credential
(URL, state, headers, query, bodies), so that a value in a log does not reveal secrets.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from callback._dictionaries import Value
from callback._multi_mapping import Headers, PairsLike, Query

_EPOCH = datetime.fromtimestamp(0, UTC)


class CallbackStatus(StrEnum):
    """Status of a case."""

    OPEN = "OPEN"
    """The case accepts calls."""
    IN_PROGRESS = "IN_PROGRESS"
    """A call is running on a single-use case (a case without `allow_multiple_calls`). Another call gets a 409."""
    CLOSED = "CLOSED"
    """The case accepts no more calls."""
    UNKNOWN = "UNKNOWN"
    """A status that this version of the client does not know."""


class CloseReason(StrEnum):
    """Reason for which a case closed. A closed case never opens again."""

    CONSUMED = "CONSUMED"
    """A call on a single-use case succeeded."""
    FAILED = "FAILED"
    """A call on a single-use case that is not retryable was rejected or failed."""
    INTERRUPTED = "INTERRUPTED"
    """The server process that ran a call on such a case died or lost the store before the result was recorded. The call
    is not run again."""
    CLOSED_BY_OWNER = "CLOSED_BY_OWNER"
    """The owner called `close_callback`."""
    EXPIRED = "EXPIRED"
    """The time to live of the case passed."""
    UNKNOWN = "UNKNOWN"
    """A reason that this version of the client does not know."""


class CallStatus(StrEnum):
    """Status of a call."""

    RUNNING = "RUNNING"
    """The call has claimed the case, and its end is not recorded yet."""
    SUCCEEDED = "SUCCEEDED"
    """The handler accepted the call."""
    REJECTED = "REJECTED"
    """The handler rejected the call because of incorrect data."""
    FAILED = "FAILED"
    """The handler raised an exception, was lost, missed its deadline, or decided on a response that cannot be
    rendered."""
    INTERRUPTED = "INTERRUPTED"
    """No result was recorded in time, because the server process died or lost the store."""
    NOT_STARTED = "NOT_STARTED"
    """The handler provably never started. The case is open again."""
    UNKNOWN = "UNKNOWN"
    """A status that this version of the client does not know."""


class CallFailure(StrEnum):
    """Reason for which a call has no decision of its handler."""

    HANDLER_ERROR = "HANDLER_ERROR"
    """The handler returned an error."""
    HANDLER_LOST = "HANDLER_LOST"
    """The connection broke after the handler received the call."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The handler missed its deadline."""
    INVALID_RESPONSE = "INVALID_RESPONSE"
    """The response that the handler decided on cannot be rendered."""
    HANDLER_UNREACHABLE = "HANDLER_UNREACHABLE"
    """There was no connection to the handler, or no worker accepted the call before the deadline, so the handler never
    started."""
    NO_HANDLER = "NO_HANDLER"
    """No handler of the activity takes notifications. Only the delivery of one fails so."""
    TOO_LARGE = "TOO_LARGE"
    """No worker that is connected takes a message as large as the call, so the handler never started."""
    WORKERS_LOST = "WORKERS_LOST"
    """Two workers lost their streams when they were offered the call, before it began. No other worker gets it."""
    UNKNOWN = "UNKNOWN"
    """A failure that this version of the client does not know."""


class CallReason(StrEnum):
    """Reason for which a handler is asked. REMINDER and EXPIRY are notifications, without a caller."""

    CALL = "CALL"
    """A request reached the case."""
    REMINDER = "REMINDER"
    """A time of `remind_after` has passed, and the case is neither closed nor resolved."""
    EXPIRY = "EXPIRY"
    """The case is closed with the reason EXPIRED, and was not resolved before."""
    UNKNOWN = "UNKNOWN"
    """A reason that this version of the client does not know."""


class ResponseType(StrEnum):
    """Type of a response."""

    REDIRECT = "REDIRECT"
    """A redirect to the redirect URL: 302 after GET, 303 after any other method."""
    RESPONSE = "RESPONSE"
    """The code, body and headers."""
    PAGE = "PAGE"
    """The code, and a page in the style of the operator: heading, text and link."""


class GetGuard(StrEnum):
    """Treatment of a GET that may not come from a person.

    POST, PUT, PATCH and DELETE are always calls. HEAD, OPTIONS and prefetches never are.
    """

    OFF = "OFF"
    """Every GET is a call, except a browser's prefetch. The return from a payment needs this."""
    DETECT = "DETECT"
    """A GET from a program that is known to open links, such as a preview or a mail scanner, is not a call."""
    CONFIRM = "CONFIRM"
    """A GET shows a page with one button, which makes the call: the handler receives the GET, with its query."""
    UNKNOWN = "UNKNOWN"
    """A guard that this version of the client does not know."""


@dataclass(frozen=True, slots=True)
class Prompt(Value):
    """What the page of a callback with the guard CONFIRM asks: `Prompt("Pay 500 euros?", choices={"yes": "Pay"})`.

    All of it is shown as text, not HTML.
    """

    title: str
    """The heading of the page, at most 200 characters."""
    text: str = ""
    """The text below the title, with its line breaks. At most 2,000 characters."""
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The value and the label of each button, at most 4. The handler receives the value as `call.choice`. Empty: the
    page has one button."""


class AnswerMode(StrEnum):
    """How a call gets its response."""

    HANDLER = "HANDLER"
    """The handler of the activity decides, while the caller waits."""
    HOLD = "HOLD"
    """The caller waits until a person or another service calls `answer_call`. No handler runs."""
    ACK = "ACK"
    """The caller gets the case's response once the call is stored. The handler runs later, with retries."""
    UNKNOWN = "UNKNOWN"
    """A mode that this version of the client does not know."""


class DeliveryStatus(StrEnum):
    """Status of a delivery."""

    PENDING = "PENDING"
    """The delivery waits: for the time of its next attempt, for an earlier call of an ordered case, or for its paused
    activity."""
    RUNNING = "RUNNING"
    """The handler is running."""
    DELIVERED = "DELIVERED"
    """The handler accepted the call."""
    DEAD = "DEAD"
    """The handler rejected the call, or every attempt failed. `replay_call` tries again."""
    UNKNOWN = "UNKNOWN"
    """A status that this version of the client does not know."""


class CallFilter(StrEnum):
    """Filter of calls across all cases."""

    WAITING = "WAITING"
    """Held calls that wait for an answer."""
    DEAD = "DEAD"
    """Calls whose delivery is dead, except erased ones, which cannot be replayed."""


class CallEventType(StrEnum):
    """Type of an event."""

    CASE_CREATED = "CASE_CREATED"
    """A URL was generated."""
    RESPONSE_SET = "RESPONSE_SET"
    """The case's response was replaced."""
    CASE_CLOSED = "CASE_CLOSED"
    """The case closed for another reason than the end of a call."""
    CALL_STARTED = "CALL_STARTED"
    """A call claimed the case. A held call now waits for its answer. A call that the server itself responds to
    (`record`, ACK) has only an event for its end."""
    CALL_ENDED = "CALL_ENDED"
    """A call ended."""
    DELIVERY_CHANGED = "DELIVERY_CHANGED"
    """A delivery became due, was attempted, or ended."""
    CALLER_GONE = "CALLER_GONE"
    """The caller of a call did not get its response."""
    CASE_EXTENDED = "CASE_EXTENDED"
    """The `expire_time` of the case was set."""
    UNKNOWN = "UNKNOWN"
    """A type that this version of the client does not know. Ignore the event."""


def require(name: str, value: object, expected: type, words: str) -> None:
    """Raise a TypeError that names the parameter if its value has another type. None means that it is not given."""
    # A bool is an int to Python, and never an HTTP code.
    if value is not None and (not isinstance(value, expected) or isinstance(value, bool)):
        raise TypeError(f"{name} must be {words}, not {type(value).__name__}")


@dataclass(frozen=True, slots=True, init=False)
class Response(Value):
    """Response to a caller: code, body and headers.

    The type redirect (see `Redirect`) uses only the URL. The type page (see `PageResponse`) uses the code, heading,
    text and link.

    An attribute that is None is not given: a new case uses its default, and `set_response` and handlers keep the value
    of the case.

    Args:
        body: Text is sent as UTF-8. At most 1 MiB. Default: empty.
        code: 200-299 or 400-599. Default: 200, or 422 for a rejection.
        headers: A mapping or pairs. They replace earlier headers as a whole. Each character of a value is one byte
            (ISO-8859-1); white space around a value is trimmed.
        redirect_url: `/path` on your platform, or an absolute http(s) URL.
        type: None keeps the type of the case.
        heading: See `PageResponse`.
        text: See `PageResponse`.
        link_label: See `PageResponse`.
        link_url: See `PageResponse`.

    Raises:
        TypeError: An attribute has the wrong type. The server validates the values.
    """

    body: bytes | None = field(repr=False)
    code: int | None
    headers: Headers | None = field(repr=False)
    redirect_url: str | None
    type: ResponseType | None
    heading: str | None
    text: str | None
    link_label: str | None
    link_url: str | None

    def __init__(
        self,
        body: bytes | str | None = None,
        code: int | None = None,
        headers: PairsLike | None = None,
        redirect_url: str | None = None,
        type: ResponseType | None = ResponseType.RESPONSE,  # noqa: A002  # the attribute's name in the contract
        heading: str | None = None,
        text: str | None = None,
        link_label: str | None = None,
        link_url: str | None = None,
    ) -> None:
        if isinstance(body, str):
            body = body.encode()
        require("body", body, bytes, "bytes or text")
        require("code", code, int, "a number")
        page = {"heading": heading, "text": text, "link_label": link_label, "link_url": link_url}
        for name, text_value in {"redirect_url": redirect_url, **page}.items():
            require(name, text_value, str, "text")
        require("type", type, ResponseType, "a ResponseType")
        values = {
            "body": body,
            "code": code,
            "headers": None if headers is None else Headers(headers),
            "redirect_url": redirect_url,
            "type": type,
            **page,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def json(value: Any, code: int | None = None, headers: PairsLike | None = None) -> "Response":
        """Return a response with a JSON body of the type `application/json`.

        Args:
            value: A value that `json.dumps` accepts.
            code: See `Response`.
            headers: More header fields.

        Raises:
            TypeError: The value contains something that JSON cannot represent.
            ValueError: The value contains NaN, infinity, or a reference to itself.
        """
        return _typed("application/json", json.dumps(value, allow_nan=False), code, headers)

    @staticmethod
    def html(page: str, code: int | None = None, headers: PairsLike | None = None) -> "Response":
        """Return a response with an HTML page of the type `text/html; charset=utf-8`.

        Args:
            page: The page, sent unchanged. Escape everything in it that came from outside.
            code: See `Response`.
            headers: More header fields.
        """
        return _typed("text/html; charset=utf-8", page, code, headers)

    def __eq__(self, other: object) -> bool:
        # Compared by value, so that the response of the server equals the Redirect that was sent.
        if not isinstance(other, Response):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[object, ...]:
        page = (self.heading, self.text, self.link_label, self.link_url)
        return (self.body, self.code, self.headers, self.redirect_url, self.type, *page)


def _typed(content_type: str, body: str, code: int | None, headers: PairsLike | None) -> Response:
    return Response(body, code, [("content-type", content_type), *Headers(headers or ()).pairs])


class Redirect(Response):
    """A response of the type redirect: `Redirect("/page/thankyou")`.

    Without a URL, that of the case or of the handler is used. The other attributes apply only if a handler chooses the
    type response; see `Response`.
    """

    __slots__ = ()

    def __init__(
        self,
        redirect_url: str | None = None,
        body: bytes | str | None = None,
        code: int | None = None,
        headers: PairsLike | None = None,
        type: ResponseType | None = ResponseType.REDIRECT,  # noqa: A002  # the attribute's name in the contract
        heading: str | None = None,
        text: str | None = None,
        link_label: str | None = None,
        link_url: str | None = None,
    ) -> None:
        super().__init__(body, code, headers, redirect_url, type, heading, text, link_label, link_url)


class PageResponse(Response):
    """A response of the type page: `PageResponse("Thank you", "Your payment has arrived.")`.

    The edge renders it in the style of its own pages. A caller that does not prefer HTML gets the same as text.

    Args:
        heading: The heading: text, not HTML. At most 200 characters. None: that of the case.
        text: The text: text, not HTML. Line breaks are kept. At most 2,000 characters. None: that of the case.
        link_label: The label of the link. An empty label removes the link. None: that of the case.
        link_url: The target of the link: `/path` on your platform, or an absolute http(s) URL. None: that of the case.
        code: See `Response`.
        body: Used only if a handler chooses the type response.
        headers: Used only if a handler chooses the type response.
        redirect_url: Used only if a handler chooses the type redirect.
        type: See `Response`.
    """

    __slots__ = ()

    def __init__(
        self,
        heading: str | None = None,
        text: str | None = None,
        link_label: str | None = None,
        link_url: str | None = None,
        code: int | None = None,
        body: bytes | str | None = None,
        headers: PairsLike | None = None,
        redirect_url: str | None = None,
        type: ResponseType | None = ResponseType.PAGE,  # noqa: A002  # the attribute's name in the contract
    ) -> None:
        super().__init__(body, code, headers, redirect_url, type, heading, text, link_label, link_url)


class ActivityKind(StrEnum):
    """How an activity is served."""

    BUILT_IN = "BUILT_IN"
    """The server answers (`record`), or holds the calls for a person (`form`)."""
    PUSH = "PUSH"
    """The server sends the calls to the target in its configuration."""
    WORKERS = "WORKERS"
    """The workers that serve it take the calls. There may be none."""
    UNKNOWN = "UNKNOWN"
    """A kind that this version of the client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity(Value):
    """An activity: how it is served, and what waits for it."""

    activity: str
    """The name of the activity."""
    kind: ActivityKind
    """How the activity is served."""
    worker_count: int = 0
    """The number of workers that take its calls, on all servers. 0 with the kind WORKERS: nothing serves it."""
    paused: bool = False
    """Whether its deliveries are paused (`pause_activity`)."""
    delivery_count: int = 0
    """The number of its deliveries that wait or run, of all owners. Of an ordered case, only the first one counts."""
    open_callback_count: int = 0
    """The number of the owner's callbacks for it that are not closed."""
    notification_worker_count: int = 0
    """The number of workers that take its notifications, on all servers."""

    @property
    def is_served(self) -> bool:
        """Whether something takes its calls."""
        return self.kind is not ActivityKind.WORKERS or self.worker_count > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDuration(Value):
    """How long a stage of calls took. The quantiles are estimates from buckets."""

    stage: str
    """`claim` (the store accepts the call), `verify`, `handler`, or `finish` (the store records the result)."""
    count: int
    """How often it ran."""
    median: timedelta
    """What half of them did not exceed."""
    p95: timedelta
    """What 95 % of them did not exceed."""
    p99: timedelta
    """What 99 % of them did not exceed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCount(Value):
    """A number of calls with the same outcome."""

    status: CallStatus
    """Their status."""
    failure: CallFailure | None
    """Why they failed. None if they did not."""
    count: int
    """Their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStatistics(Value):
    """What waits in the store."""

    open_callback_count: int = 0
    """The number of callbacks that are not closed."""
    waiting_call_count: int = 0
    """The number of held calls that wait for an answer."""
    dead_call_count: int = 0
    """The number of calls and notifications whose delivery is DEAD, without erased ones."""
    delivery_count: int = 0
    """The number of deliveries that wait or run. Of an ordered case, only the first one counts."""
    delivery_delay: timedelta = timedelta(0)
    """How long ago the delivery that waits the longest became due. Zero if none is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteStatistics(Value):
    """What all servers have done in one minute. A server adds what it has done every 5 seconds."""

    start_time: datetime
    """The start of the minute."""
    duration: timedelta
    """The part of the minute that the counts are of: 60 seconds, or less for the last one, and zero in its first 5."""
    outcomes: tuple[OutcomeCount, ...]
    """The calls that ended."""
    refusals: Mapping[str, int]
    """The requests that did not become calls, by reason, as in `ErrorReason`."""
    stages: tuple[StageDuration, ...]
    """The stages of the calls."""
    work: WorkStatistics | None
    """What waited in the store in this minute. None if no server has looked."""

    @property
    def call_count(self) -> int:
        """Number of calls that ended."""
        return sum(each.count for each in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerStatistics(Value):
    """What one owner has in the store."""

    owner: str
    """The owner."""
    open_callback_count: int
    """The number of its callbacks that are not closed."""
    waiting_call_count: int
    """The number of its held calls that wait for an answer."""
    dead_call_count: int
    """The number of its calls and notifications whose delivery is DEAD, without erased ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics(Value):
    """What the servers have done in the last hour, and what waits now."""

    minutes: tuple[MinuteStatistics, ...]
    """The last 60 minutes, oldest first. The last one has not ended."""
    stages: tuple[StageDuration, ...]
    """The stages of all calls in these minutes."""
    owners: tuple[OwnerStatistics, ...]
    """The owners that the server knows, by name."""
    work: WorkStatistics
    """What waits in the store now, of all these owners."""


class FindingLevel(StrEnum):
    """Severity of a finding."""

    OK = "OK"
    """The check passed."""
    WARNING = "WARNING"
    """It works, but needs attention."""
    PROBLEM = "PROBLEM"
    """It does not work, or breaks a promise."""
    UNKNOWN = "UNKNOWN"
    """A level that this version of the client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Value):
    """Result of one check of a server."""

    check: str
    """Name of the check, such as `store memory`."""
    level: FindingLevel
    """Severity."""
    seen: str
    """Observation."""
    advice: str = ""
    """What to do; empty if there is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedActivity(Value):
    """An activity whose deliveries are paused."""

    activity: str
    """The name of the activity."""
    principal: str = ""
    """The administrator that paused it. Empty if a server of an earlier release did."""
    reason: str = ""
    """What the administrator gave as the reason."""
    pause_time: datetime | None = None
    """The time at which it was paused, by the clock of the store. None if a server of an earlier release did."""


class AuditAction(StrEnum):
    """Kind of a change in the audit."""

    RESPONSE_SET = "RESPONSE_SET"
    """The response of a callback was replaced."""
    CALL_ANSWERED = "CALL_ANSWERED"
    """A held call was answered."""
    CALLBACK_RESOLVED = "CALLBACK_RESOLVED"
    """A callback got its answer."""
    CALLBACK_CLOSED = "CALLBACK_CLOSED"
    """A callback was closed."""
    CALLBACK_EXTENDED = "CALLBACK_EXTENDED"
    """The expiry of a callback was set."""
    CALLS_ERASED = "CALLS_ERASED"
    """The recorded data of the calls of a callback was erased."""
    CALL_REPLAYED = "CALL_REPLAYED"
    """A call or notification was replayed."""
    ACTIVITY_PAUSED = "ACTIVITY_PAUSED"
    """The deliveries of an activity were paused."""
    ACTIVITY_RESUMED = "ACTIVITY_RESUMED"
    """The deliveries of an activity were resumed."""
    PRINCIPALS_READ = "PRINCIPALS_READ"
    """A server has read a principals file that differs from the one that was read before."""
    UNKNOWN = "UNKNOWN"
    """A kind that this version of the client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Value):
    """An entry of the audit: who changed what, and when. It has no secret."""

    chain: int
    """The number of its chain: the partition of its callback, or 64 for what belongs to no callback."""
    sequence: int
    """Its number in the chain, from 1 on without a gap."""
    time: datetime
    """The time of the change, by the clock of the server that made it."""
    action: AuditAction
    """Kind of change."""
    actor: str = ""
    """The principal that made it. Empty: a server."""
    owner: str = ""
    """The owner of the callback. Empty if the entry is about no callback."""
    activity: str = ""
    """The activity of the callback, or the one that was paused or resumed."""
    case_id: str = ""
    """The case id of the callback. Empty if the entry is about none."""
    call_id: str = ""
    """The call. Empty if the entry is about none."""
    reason: str = ""
    """What the principal gave as the reason."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Facts about the change, such as the `attributes` of a response that were replaced."""
    digest: str = ""
    """SHA-256 of the entry as it is stored, in hexadecimal digits."""
    key_id: str = ""
    """Names the key that protects the entry. Empty: nothing protects it, because the server had no `state_key`."""

    def to_export(self) -> dict[str, Any]:
        """Return the entry with the names of the contract, as `callback audit --json` and the console export it."""
        return {
            "chain": self.chain,
            "sequence": self.sequence,
            "time": self.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": self.actor,
            "action": self.action.value,
            "owner": self.owner,
            "callbackActivity": self.activity,
            "callbackCaseId": self.case_id,
            "callId": self.call_id,
            "reason": self.reason,
            "details": dict(sorted(self.details.items())),
            "digest": self.digest,
            "keyId": self.key_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead(Value):
    """The newest entry of a chain of the audit at some time."""

    chain: int
    """The number of the chain."""
    sequence: int
    """The number of the entry."""
    digest: str
    """The digest of the entry."""


class AuditProblemKind(StrEnum):
    """Kind of a problem with a chain of the audit."""

    ALTERED = "ALTERED"
    """An entry is not as a server has stored it."""
    MISSING = "MISSING"
    """Entries between others, or before all others, were removed."""
    MOVED = "MOVED"
    """Entries were reordered, replaced or inserted."""
    TRUNCATED = "TRUNCATED"
    """The newest entries are not there any more, or are others than those of a known head."""
    UNKNOWN_KEY = "UNKNOWN_KEY"
    """Entries are protected by a key that the server does not have."""
    UNPROTECTED = "UNPROTECTED"
    """Entries have no protection, because the server had no `state_key`."""
    UNKNOWN = "UNKNOWN"
    """A kind that this version of the client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProblem(Value):
    """Something that is wrong with a chain of the audit."""

    kind: AuditProblemKind
    """Kind of problem."""
    sequence: int
    """The number of the entry where it was found."""
    text: str
    """A description for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain(Value):
    """The result of a verification of one chain of the audit."""

    chain: int
    """The number of the chain."""
    entry_count: int
    """The number of entries that are kept."""
    first_sequence: int
    """The number of the oldest entry. 0: there is none."""
    head: AuditHead | None = None
    """The newest entry. None: there is none."""
    problems: tuple[AuditProblem, ...] = ()
    """What is wrong. Empty: the chain is as the servers have stored it."""


class WarningReason(StrEnum):
    """Kind of a warning about a request that was accepted."""

    ACTIVITY_NOT_SERVED = "ACTIVITY_NOT_SERVED"
    """No worker serves the activity now, and no target is configured for it."""
    NOTIFICATIONS_NOT_SERVED = "NOTIFICATIONS_NOT_SERVED"
    """The callback has `notify`, no worker takes the notifications of the activity now, and no target is configured."""
    UNKNOWN = "UNKNOWN"
    """A kind that this version of the client does not know."""


@dataclass(frozen=True, slots=True)
class CallbackWarning(Value):
    """What may be wrong with a request that was accepted."""

    reason: WarningReason
    """The kind of the warning."""
    text: str
    """A sentence that says what may be wrong, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedCallback(Value):
    """The URL of a new case. The server returns it only once: store it, and treat it as a secret."""

    url: str = field(repr=False)
    """The URL for the outside system. Everyone who knows it can make the call."""
    state: str = field(repr=False)
    """The secret in the URL, a version 4 UUID, for protocols that send it separately."""
    case_id: str
    """The public id of the case. It is not a secret."""
    expire_time: datetime | None = None
    """The time at which the case expires. None: never."""
    warnings: tuple[CallbackWarning, ...] = ()
    """What may keep the callback from doing what it is for. The client logs each of them, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback(Value):
    """A case: a URL that an outside system can call, and the settings of its calls."""

    case_id: str
    """The public id: 32 lower-case hexadecimal digits."""
    owner: str
    """The principal that generated the case. `local` if no principals are configured."""
    status: CallbackStatus
    """The status of the case."""
    close_reason: CloseReason | None
    """The reason for which the case closed. None if it is not closed."""
    activity: str
    """The activity that decides on calls."""
    activity_case: str
    """A text that the handler receives unchanged. Empty if none was given."""
    state_query_parameter: str
    """The query or form parameter that carries the state. Empty for a `/cb/` URL."""
    retryable_after_error: bool
    """Whether a rejected, failed or interrupted call leaves a single-use case open."""
    allow_multiple_calls: bool
    """Whether the case accepts any number of calls, until it is closed or expires."""
    alternative_domain: str
    """The `https://` origin of the URL. Empty for the server's own origin."""
    response: Response
    """The response to a call, unless its handler overrides it. Without its body in a list."""
    labels: Mapping[str, str] = field(hash=False)
    """The labels that the owner chose."""
    create_time: datetime
    """The time at which the case was stored."""
    expire_time: datetime | None
    """The time at which the case expires. None if it never does."""
    close_time: datetime | None
    """The time at which the case closed. None if it is not closed."""
    call_count: int
    """The number of calls that started, with any result."""
    verification_profile: str = ""
    """The profile that every request must pass. Empty if there is none."""
    get_guard: GetGuard = GetGuard.OFF
    """The treatment of a GET that may not come from a person."""
    answer_mode: AnswerMode = AnswerMode.HANDLER
    """How a call gets its response."""
    answer_deadline: timedelta | None = None
    """The time after which the caller gets `fallback`, or without one is told to wait. None: the default."""
    fallback: Response | None = None
    """The response at the answer deadline. None if there is none. In mode HANDLER, a call after one of 2xx or 3xx has a
    delivery, and runs until the delivery ends. Without its body in a list."""
    ordered: bool = False
    """Whether the calls of an ACK case are handled one after the other, in their order."""
    closed_response: Response | None = None
    """The response to a request that reaches the case once it is closed. None: an error. Not in a list."""
    prompt: Prompt | None = None
    """What the page of the guard CONFIRM asks. None: whether to continue."""
    hold_time: timedelta | None = None
    """How long a held call waits for its answer. None unless the answer mode is HOLD."""
    repeat_window: timedelta = timedelta(0)
    """How long after the end of a call the same request gets the answer of that call. 0: it is another call."""
    no_repeat: bool = False
    """Whether no answer is given twice: the same request again gets a 410."""
    resolved: bool = False
    """Whether `resolve_callback` has given the case its answer, which each further call gets at once."""
    remind_after: tuple[timedelta, ...] = ()
    """The times after `create_time` at which the handler gets a reminder."""
    notify: tuple[CallReason, ...] = ()
    """The notifications that the handler gets."""
    notifications: "tuple[Call, ...]" = ()
    """The reminders that were due, oldest first, and then the expiry: each with `call_id`, `reason`, `start_time` and
    `delivery`. Without the reminders that were dropped when the case closed or was resolved. Empty in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Value):
    """An HTTP request to a case, as it arrived."""

    call_id: str = ""
    """The id of the call. It is the same for every attempt to handle the call. Use it as the idempotency key of work
    that must not be done twice."""
    case_id: str = ""
    """The id of the case."""
    attempt: int = 1
    """The number of the call on its case: 1 for the first. For the handler of a delivery (ACK mode, or a replay), the
    number of the attempt to handle this call."""
    method: str = "get"
    """The HTTP method in lower case: get, post, put, delete or patch."""
    headers: Headers = field(default=Headers(), repr=False)
    """The header fields, in order. Each byte of a value is one character (ISO-8859-1)."""
    query: Query = field(default=Query(), repr=False)
    """The query parameters, in order. On `/cbq/` they include the state."""
    query_string: str = field(default="", repr=False)
    """The query string as it was sent, without the `?`."""
    body: bytes = field(default=b"", repr=False)
    """The body, byte for byte."""
    client_address: str = ""
    """The address of the client. Empty if it is unknown."""
    verification_profile: str = ""
    """The verification profile that the request passed. Empty if its sender was not verified."""
    message_id: str = ""
    """The message id of the sender, as found by the profile. Empty if there is none."""
    choice: str = ""
    """The value of the choice that a person made on the page of the callback. Empty if its prompt has no choices."""

    @property
    def verified(self) -> bool:
        """Whether the request passed a verification profile. A profile that only reports lets others through."""
        return bool(self.verification_profile)

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            ValueError: The body is not JSON.
        """
        return json.loads(self.body)

    def form(self) -> Query:
        """Parse the body as the fields of a form (`application/x-www-form-urlencoded`)."""
        return Query(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall(Request):
    """The call that a handler receives: the request, and the settings of its case."""

    activity: str
    """The activity of the case."""
    activity_case: str = ""
    """The text that was given when the case was generated. May be empty."""
    response: Response = Response()
    """The response of the case when the call started. The caller gets it unless the handler overrides it."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The case's labels."""
    deadline: datetime = field(default=datetime.max.replace(tzinfo=UTC))
    """The time at which the handler is cancelled, by the clock of this machine."""
    replayed: bool = False
    """Whether the owner replayed the call (`replay_call`)."""
    owner: str = ""
    """The principal that generated the case; `local` where no principals are configured."""
    traceparent: str = ""
    """The W3C trace context of this attempt, as the header `traceparent` has it: the parent of the handler's own spans.
    Empty: the call is not traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification(Value):
    """What a handler is told without a call: a reminder is due, or the case has expired."""

    reason: CallReason
    """REMINDER or EXPIRY."""
    call_id: str = ""
    """The id of the notification. It is the same for every attempt. Use it as the idempotency key of work that must not
    be done twice."""
    case_id: str = ""
    """The id of the case."""
    activity: str
    """The activity of the case."""
    activity_case: str = ""
    """The text that was given when the case was generated. May be empty."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The case's labels."""
    attempt: int = 1
    """The number of the attempt to deliver this notification."""
    deadline: datetime = field(default=datetime.max.replace(tzinfo=UTC))
    """The time at which the handler is cancelled, by the clock of this machine."""
    replayed: bool = False
    """Whether the owner replayed the notification (`replay_call`)."""
    owner: str = ""
    """The owner of the case."""
    traceparent: str = ""
    """The W3C trace context of this attempt, as the header `traceparent` has it. Empty: it is not traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Value):
    """The delivery of a call to its handler, after the caller got its response, or of a notification.

    The call has ended, except after a fallback of 2xx or 3xx: then it is RUNNING until the delivery is DELIVERED or
    DEAD.
    """

    status: DeliveryStatus
    """The status of the delivery."""
    attempts: int = 0
    """The number of attempts in which a handler was asked, including replays and an attempt that runs."""
    next_attempt_time: datetime | None = None
    """The earliest time of the next attempt. None if the delivery is not pending, or waits for an earlier call of its
    ordered case."""
    failure: CallFailure | None = None
    """The reason for which the last attempt failed. None if it did not fail, or was a rejection."""
    failure_detail: str = ""
    """A sentence about the last attempt that failed."""
    response: Response | None = None
    """The complete response that the handler decided on, which is not sent. Without its body in a list."""
    paused: bool = False
    """Whether the delivery is pending and waits because its activity is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Request):
    """A recorded call: its request, its result, and its delivery.

    With the `reason` REMINDER or EXPIRY it is a notification: it has a delivery, and no request and no result.
    """

    status: CallStatus
    """The status of the call. UNKNOWN for a notification, which has none."""
    reason: CallReason = CallReason.CALL
    """CALL, or the reason of the notification."""
    failure: CallFailure | None = None
    """The reason for which the call failed or did not start. None for every other status."""
    failure_detail: str = ""
    """A sentence about the failure. Never shown to the caller."""
    body_size: int = 0
    """The size of the request's body in bytes, even if `body` is left out: in a list, or if the operator does not
    record bodies."""
    verification_failure: str = ""
    """Why the request did not pass a verification profile that only reports. Never shown to the caller. Empty: it
    passed, or there was no such profile."""
    response: Response | None = None
    """The complete response to the call. Without its body in a list. None unless the call succeeded or was rejected."""
    keep_open: bool = False
    """Whether the handler kept a single-use case open after this success."""
    close: bool = False
    """Whether the handler closed the case with this success, or with the delivery of the call."""
    erased: bool = False
    """Whether the recorded content was erased (`erase_calls`): request, response and `failure_detail` are empty."""
    start_time: datetime = _EPOCH
    """The time at which the call claimed its case."""
    end_time: datetime | None = None
    """The time at which the call ended. None while it is running."""
    delivery: Delivery | None = None
    """The delivery to the handler after the caller got its response. None unless the call was acknowledged (ACK) or
    replayed, or its caller got a fallback of 2xx or 3xx."""
    fallback_sent: bool = False
    """Whether the caller gets the case's fallback at the answer deadline. `response` is the later decision."""
    repeat_count: int = 0
    """The number of requests that were repeats of this call. A repeat is no call: it gets the answer of this one."""
    caller_gone: bool = False
    """Whether the caller did not get its response: it disconnected before, or the server or edge stopped. It is set
    when that happens, also while the call runs or is held."""
    answered_by: str = ""
    """The principal that answered the held call, or resolved its case. Empty for every other call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Value):
    """A change of a case or a call."""

    type: CallEventType
    """The type of the change."""
    case_id: str
    """The id of the case."""
    call_id: str
    """The id of the call. Empty for a change of the case."""
    activity: str
    """The activity of the case."""
    owner: str
    """The owner of the case."""
    time: datetime
    """The time of the change, by the clock of the store."""
    case_status: CallbackStatus
    """The status of the case after the change."""
    close_reason: CloseReason | None
    """The reason for which the case closed. None if it is not closed."""
    call_status: CallStatus | None
    """The status of the call after the change. None for a change of the case."""
    delivery_status: DeliveryStatus | None
    """The status of the delivery after the change. None if the call has none."""
    resume_token: str
    """The position of the event: `watch_calls(resume_token=…)` returns exactly the events after it."""
    reason: CallReason | None = None
    """CALL, or REMINDER or EXPIRY if `call_id` is that of a notification. None for a change of the case."""


_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """One page of a list."""

    items: tuple[_Item, ...]
    """The entries, newest first, or by name. Even a page before the last one may have fewer than requested."""
    next_page_token: str
    """The token of the next page. Empty on the last page."""
    searched_to: datetime | None = None
    """Of a list of cases: each case that matches and was created after this time is on this page or on one before. None
    on the last page."""
