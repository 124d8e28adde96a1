"""What the client gives and takes: plain, immutable, typed values.

Names are those of the contract without their prefixes: `callback_case_id` is `case_id`, `request_body` is `body`.
Bodies are bytes. Times are aware datetimes in UTC. What may hold a callback's state or a credential (URL, state,
headers, query, bodies) is left out of every `repr`, so that a value in a log gives nothing away.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from callback._multi_mapping import Headers, PairsLike, Query

_EPOCH = datetime.fromtimestamp(0, UTC)


class CallbackStatus(StrEnum):
    """Where a case is in its life."""

    OPEN = "OPEN"
    """It can be called."""
    IN_PROGRESS = "IN_PROGRESS"
    """A single-use case with a call running; another call gets a 409."""
    CLOSED = "CLOSED"
    """It can not be called any more."""
    UNKNOWN = "UNKNOWN"
    """A status that this version of the client does not know."""


class CloseReason(StrEnum):
    """Why a case closed. It is final."""

    CONSUMED = "CONSUMED"
    """A call on a single-use case succeeded."""
    FAILED = "FAILED"
    """The one call of a single-use case that is not retryable was rejected or failed."""
    INTERRUPTED = "INTERRUPTED"
    """The process that ran that one call died. It is never run again."""
    CLOSED_BY_OWNER = "CLOSED_BY_OWNER"
    """`close_callback` was called."""
    EXPIRED = "EXPIRED"
    """Its time to live has passed."""
    UNKNOWN = "UNKNOWN"
    """A reason that this version of the client does not know."""


class CallStatus(StrEnum):
    """What became of a call."""

    RUNNING = "RUNNING"
    """The case is claimed for this call; its end is not recorded yet."""
    SUCCEEDED = "SUCCEEDED"
    """The handler accepted."""
    REJECTED = "REJECTED"
    """The handler said that incorrect data was sent."""
    FAILED = "FAILED"
    """The handler raised, broke off, missed its deadline, or answered what can not be rendered."""
    INTERRUPTED = "INTERRUPTED"
    """No result was recorded in time: its process died or lost the store."""
    NOT_STARTED = "NOT_STARTED"
    """The handler provably never started. The case is open again."""
    UNKNOWN = "UNKNOWN"
    """A status that this version of the client does not know."""


class CallFailure(StrEnum):
    """Why a call has no result of its handler."""

    HANDLER_ERROR = "HANDLER_ERROR"
    """The handler answered with an error."""
    HANDLER_LOST = "HANDLER_LOST"
    """The connection broke after the handler was asked."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The handler missed its deadline."""
    INVALID_RESPONSE = "INVALID_RESPONSE"
    """The handler's answer can not be rendered."""
    HANDLER_UNREACHABLE = "HANDLER_UNREACHABLE"
    """No connection to the handler, so it never started."""
    NO_HANDLER = "NO_HANDLER"
    """No handler is configured for the activity any more."""
    UNKNOWN = "UNKNOWN"
    """A failure that this version of the client does not know."""


class ResponseType(StrEnum):
    """What a caller gets."""

    REDIRECT = "REDIRECT"
    """The browser is sent to the redirect URL: 302 after GET, 303 after any other method."""
    RESPONSE = "RESPONSE"
    """The code, body and headers."""


class GetGuard(StrEnum):
    """What becomes of a GET that may not be a person's. Other methods are calls in any case."""

    OFF = "OFF"
    """It is a call, as the return from a payment must be."""
    DETECT = "DETECT"
    """It is no call if it comes from a program that is known to open links: previews, scanners of mail."""
    CONFIRM = "CONFIRM"
    """It shows a page with one button, and that makes the call: the handler sees the GET, with its query."""
    UNKNOWN = "UNKNOWN"
    """A guard that this version of the client does not know."""


class AnswerMode(StrEnum):
    """Who answers a call, and when."""

    HANDLER = "HANDLER"
    """The handler of the activity decides, while the caller waits."""
    HOLD = "HOLD"
    """The caller waits for `answer_call`, by a person or another service. No handler is asked."""
    ACK = "ACK"
    """The caller gets the case's response once the call is stored; the handler runs after that, until it works."""
    UNKNOWN = "UNKNOWN"
    """A mode that this version of the client does not know."""


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    PENDING = "PENDING"
    """It waits for its next attempt: for its time, for an earlier call of an ordered case, for its activity to be
    resumed."""
    RUNNING = "RUNNING"
    """The handler is at work."""
    DELIVERED = "DELIVERED"
    """The handler accepted."""
    DEAD = "DEAD"
    """The handler rejected, or every attempt failed. `replay_call` tries again."""
    UNKNOWN = "UNKNOWN"
    """A status that this version of the client does not know."""


class CallFilter(StrEnum):
    """Which calls of all cases to list."""

    WAITING = "WAITING"
    """Held calls that wait for their answer."""
    DEAD = "DEAD"
    """Calls whose delivery is dead, but for those that were erased: nothing is left to replay."""


class CallEventType(StrEnum):
    """What happened to a case or a call."""

    CASE_CREATED = "CASE_CREATED"
    """A URL was generated."""
    RESPONSE_SET = "RESPONSE_SET"
    """The case's response was replaced."""
    CASE_CLOSED = "CASE_CLOSED"
    """The case closed, otherwise than by the end of a call."""
    CALL_STARTED = "CALL_STARTED"
    """A call claimed the case; a held one waits for its answer now. One that the case itself answers (`record`, ACK)
    has only its end."""
    CALL_ENDED = "CALL_ENDED"
    """A call ended."""
    DELIVERY_CHANGED = "DELIVERY_CHANGED"
    """A delivery is due, was tried, or is over."""
    UNKNOWN = "UNKNOWN"
    """What this version of the client does not know: pass it over."""


def require(name: str, value: object, expected: type, words: str) -> None:
    """Refuse what is of another type, by the name of the parameter. None is what is not given."""
    # A bool is an int to Python, and never an HTTP code.
    if value is not None and (not isinstance(value, expected) or isinstance(value, bool)):
        raise TypeError(f"{name} must be {words}, not {type(value).__name__}")


@dataclass(frozen=True, slots=True, init=False)
class Response:
    """What a caller gets: code, body and headers; with the type redirect (see `Redirect`) only the URL is used.

    An attribute that is None is not given. In a new case it has its default; given to `set_response` or by a handler
    it keeps what the case says.

    Args:
        body: Text is sent as UTF-8. At most 1 MiB. Default empty.
        code: 200-299 or 400-599. Default 200, after a rejection 422.
        headers: A mapping or pairs; they replace, as a whole, those given before.
        redirect_url: `/path` on the own platform, or an absolute http(s) URL.
        type: None keeps the type that the case has.

    Raises:
        TypeError: An attribute is of the wrong type. Values are judged by the server.
    """

    body: bytes | None = field(repr=False)
    code: int | None
    headers: Headers | None = field(repr=False)
    redirect_url: str | None
    type: ResponseType | None

    def __init__(
        self,
        body: bytes | str | None = None,
        code: int | None = None,
        headers: PairsLike | None = None,
        redirect_url: str | None = None,
        type: ResponseType | None = ResponseType.RESPONSE,  # noqa: A002  # the attribute's name in the contract
    ) -> None:
        if isinstance(body, str):
            body = body.encode()
        require("body", body, bytes, "bytes or text")
        require("code", code, int, "a number")
        require("redirect_url", redirect_url, str, "text")
        require("type", type, ResponseType, "a ResponseType")
        values = {
            "body": body,
            "code": code,
            "headers": None if headers is None else Headers(headers),
            "redirect_url": redirect_url,
            "type": type,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def json(value: Any, code: int | None = None, headers: PairsLike | None = None) -> "Response":
        """Return a response with a value as JSON, of the type `application/json`.

        Args:
            value: What `json.dumps` takes.
            code: See `Response`.
            headers: More header fields.

        Raises:
            TypeError: There is something in the value that can not be JSON.
            ValueError: There is a number in it that JSON does not have, NaN or infinity, or it is in itself.
        """
        return _typed("application/json", json.dumps(value, allow_nan=False), code, headers)

    @staticmethod
    def html(page: str, code: int | None = None, headers: PairsLike | None = None) -> "Response":
        """Return a response with a page, of the type `text/html; charset=utf-8`.

        Args:
            page: The page, as it is: escape what came from outside.
            code: See `Response`.
            headers: More header fields.
        """
        return _typed("text/html; charset=utf-8", page, code, headers)

    def __eq__(self, other: object) -> bool:
        # By value alone: what the server returns is equal to the Redirect that was sent.
        if not isinstance(other, Response):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[object, ...]:
        return (self.body, self.code, self.headers, self.redirect_url, self.type)


def _typed(content_type: str, body: str, code: int | None, headers: PairsLike | None) -> Response:
    return Response(body, code, [("content-type", content_type), *Headers(headers or ()).pairs])


class Redirect(Response):
    """A response of the type redirect: `Redirect("/page/thankyou")`.

    Without a URL the case's own one is used, or the handler's. The other attributes are kept for the type response,
    should a handler choose it; see `Response`.
    """

    __slots__ = ()

    def __init__(
        self,
        redirect_url: str | None = None,
        body: bytes | str | None = None,
        code: int | None = None,
        headers: PairsLike | None = None,
        type: ResponseType | None = ResponseType.REDIRECT,  # noqa: A002  # as above
    ) -> None:
        super().__init__(body, code, headers, redirect_url, type)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedCallback:
    """A new case's URL. It is told this once: keep it, and treat it as a secret."""

    url: str = field(repr=False)
    """The URL to hand out. Who knows it can make the call."""
    state: str = field(repr=False)
    """The secret in the URL, a version 4 UUID, to send it apart from the URL."""
    case_id: str
    """The case's public name; it opens nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A case: one URL that someone outside can call, and what happens when they do."""

    case_id: str
    """Its public name: 32 lower-case hexadecimal digits."""
    owner: str
    """The service that generated it; `local` where no principals are configured."""
    status: CallbackStatus
    """Where it is in its life."""
    close_reason: CloseReason | None
    """Why it closed. None while it is not closed."""
    activity: str
    """Who decides what happens on a call."""
    activity_case: str
    """Handed to the handler unchanged. Empty if none was given."""
    state_query_parameter: str
    """The query or form field that carries the state. Empty for a `/cb/` URL."""
    retryable_after_error: bool
    """Whether a rejected or failed call leaves a single-use case open."""
    allow_multiple_calls: bool
    """Whether it stays open whatever becomes of its calls."""
    alternative_domain: str
    """The `https://` origin of its URL. Empty for the server's own."""
    response: Response
    """What a call is answered with, unless its handler overrides it. Without its body in a list."""
    labels: Mapping[str, str] = field(hash=False)
    """The owner's own pairs."""
    create_time: datetime
    """When it was stored."""
    expire_time: datetime | None
    """When it closes by itself. None: never."""
    close_time: datetime | None
    """When it closed. None while it is not closed."""
    call_count: int
    """How many calls were started on it, whatever became of them."""
    verification_profile: str = ""
    """The profile that every call must pass. Empty: none."""
    get_guard: GetGuard = GetGuard.OFF
    """What becomes of a GET that may not be a person's."""
    answer_mode: AnswerMode = AnswerMode.HANDLER
    """Who answers a call, and when."""
    answer_deadline: timedelta | None = None
    """After how long a caller gets `fallback`. None: it waits for the answer."""
    fallback: Response | None = None
    """What a caller gets then. None if there is none; without its body in a list."""
    ordered: bool = False
    """Whether the calls of an ACK case are handled one after the other, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request that reached a case, as it came."""

    call_id: str = ""
    """The call's name; it is new for each call, and the same whenever that is tried again. Use it as the key for work
    that must not be done twice."""
    case_id: str = ""
    """The case that was called."""
    attempt: int = 1
    """Counts the calls on the case: 1 for the first. For the handler of a call in ACK mode, or of a replayed one, it
    counts how often that call, of the same `call_id`, was tried."""
    method: str = "get"
    """The HTTP method in lower case: get, post, put, delete or patch."""
    headers: Headers = field(default=Headers(), repr=False)
    """The header fields, in order; each byte of a value is one character (ISO-8859-1)."""
    query: Query = field(default=Query(), repr=False)
    """The query parameters, in order. On `/cbq/` the state is among them."""
    query_string: str = field(default="", repr=False)
    """The query string as it was sent, without the `?`."""
    body: bytes = field(default=b"", repr=False)
    """The body, byte for byte."""
    client_address: str = ""
    """The address that the request came from. Empty if it is not known."""
    verification_profile: str = ""
    """The profile that the request has passed. Empty: nobody has verified who sent it."""
    message_id: str = ""
    """The sender's own name for what was sent, as the profile found it. Empty if there was none."""

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        return json.loads(self.body)

    def form(self) -> Query:
        """Return the body as the fields of a form (`application/x-www-form-urlencoded`)."""
        return Query(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall(Request):
    """What a handler gets: the request, and the case's own settings."""

    activity: str
    """The activity that the case names."""
    activity_case: str = ""
    """What was given when the case was generated. Can be empty."""
    response: Response = Response()
    """The case's response as it was when the call began: what the caller gets unless it is overridden."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The case's labels."""
    deadline: datetime = field(default=datetime.max.replace(tzinfo=UTC))
    """When an answer comes too late. The handler is cancelled then."""
    replayed: bool = False
    """Whether the owner asked for the call to be handled again (`replay_call`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A call's way through its handler after its caller was answered."""

    status: DeliveryStatus
    """Where it is."""
    attempts: int = 0
    """How often the handler was asked, replays included."""
    next_attempt_time: datetime | None = None
    """When it is asked next, at the earliest. None unless it is pending, and of one that waits for an earlier call of
    its ordered case."""
    failure: CallFailure | None = None
    """Why the last attempt failed. None if it did not, or was a rejection."""
    failure_detail: str = ""
    """A sentence about the last attempt that failed."""
    response: Response | None = None
    """What the handler decided, complete; without its body in a list. It is sent to nobody."""
    paused: bool = False
    """Whether it is pending and its activity is paused: it is not tried until that is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Request):
    """A recorded call, and what became of it."""

    status: CallStatus
    """What became of it."""
    failure: CallFailure | None = None
    """Why it failed or was not started. None for every other status."""
    failure_detail: str = ""
    """A sentence about the failure. Never shown to the caller."""
    body_size: int = 0
    """The size of the request's body in bytes, also where `body` is left out: in a list, or where the operator does
    not record bodies."""
    response: Response | None = None
    """What the call was answered with, complete; without its body in a list. None unless it succeeded or was
    rejected."""
    keep_open: bool = False
    """Whether the handler wanted a single-use case to stay open after this success."""
    erased: bool = False
    """Whether what was recorded was erased (`erase_calls`): request, response and `failure_detail` are empty."""
    start_time: datetime = _EPOCH
    """When the case was claimed for this call."""
    end_time: datetime | None = None
    """When it ended. None while it runs."""
    delivery: Delivery | None = None
    """What became of the work after the answer. None unless the call was acknowledged (ACK) or replayed."""
    fallback_sent: bool = False
    """Whether the caller got the case's fallback, at the answer deadline; `response` is what the handler decided."""
    caller_gone: bool = False
    """Whether the caller had hung up before it could be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """One change of a case or a call."""

    type: CallEventType
    """What happened."""
    case_id: str
    """The case."""
    call_id: str
    """The call. Empty if it happened to the case."""
    activity: str
    """The case's activity."""
    owner: str
    """The case's owner."""
    time: datetime
    """When it happened, by the store's clock."""
    case_status: CallbackStatus
    """The case's status after it."""
    close_reason: CloseReason | None
    """Why the case is closed, if it is."""
    call_status: CallStatus | None
    """The call's status after it. None if it happened to the case."""
    delivery_status: DeliveryStatus | None
    """The delivery's status after it. None if the call has none."""
    resume_token: str
    """Goes on after this event: `watch_calls(resume_token=…)` gives exactly those that follow it. Empty where a server
    of the release before tells several together: only the last of them has one."""


_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """One page of a list."""

    items: tuple[_Item, ...]
    """The entries, newest first. Can be fewer than asked for before the last page."""
    next_page_token: str
    """Asks for the next page. Empty on the last one."""
