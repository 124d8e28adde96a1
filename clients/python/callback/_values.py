"""Values that the client takes and returns: plain, immutable and typed.

Generated from the contract: `python3 tasks.py generate`.

Names are those of the contract without their prefixes: `callback_case_id` is `case_id`. Times are aware
datetimes in UTC. A `repr` omits each attribute that may hold a state or a credential, such as a URL or
body, so that a value in a log does not reveal secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from callback import _checks as checks
from callback._behavior import ActivityBehavior, MinuteStatisticsBehavior, RequestBehavior, ResponseBehavior
from callback._enums import (
    ActivityKind,
    AnswerMode,
    AuditAction,
    AuditProblemKind,
    CallbackStatus,
    CallEventType,
    CallFailure,
    CallReason,
    CallStatus,
    CheckOutcome,
    CloseReason,
    DeliveryStatus,
    FieldKind,
    FindingLevel,
    GetGuard,
    ResponseType,
    WarningReason,
)
from callback._multi_mapping import Headers, PairsLike, Query
from callback._value import Value

__all__ = [
    "Activity",
    "AuditChain",
    "AuditEntry",
    "AuditHead",
    "AuditProblem",
    "Call",
    "CallEvent",
    "Callback",
    "CallbackWarning",
    "Delivery",
    "Finding",
    "Findings",
    "GeneratedCallback",
    "IncomingCall",
    "MinuteStatistics",
    "NewCallback",
    "Notification",
    "OutcomeCount",
    "OwnerStatistics",
    "PausedActivity",
    "Profile",
    "ProfileCheck",
    "ProfileSecret",
    "Prompt",
    "PromptField",
    "RefusalCount",
    "Request",
    "Response",
    "StageDuration",
    "Statistics",
    "WorkStatistics",
]

_EPOCH = datetime.fromtimestamp(0, UTC)
_NO_DEADLINE = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Response(ResponseBehavior):
    """The response that a caller gets.

    In a case, a field that is not set has its default. In an override, it keeps the value of the case. A redirect uses
    only the URL; body and headers belong to the type response; heading, text and link belong to the type page; response
    and page use the code. The names and values of `headers` have together at most 8,192 bytes.
    """

    type: ResponseType | None
    """Redirect, response or page. Required in a case."""
    redirect_url: str | None
    """The target of a redirect: `/path` on `platform_url` (refused where none is configured) or an absolute `http` or
    `https` URL, or one of a scheme that the operator allows (`redirect_schemes`), such as that of an app. At most 2,048
    characters, printable ASCII without spaces. `//`, `\\`, user info and other schemes are refused, and always
    `javascript`, `data`, `file` and `blob`. A redirect must have a URL when it is sent; a case of the activity `record`
    must have it from the start."""
    body: bytes | None = field(repr=False)
    """The body, byte for byte. Default empty, at most 1 MiB (1,048,576 bytes). 204 and 205 have no body."""
    code: int | None
    """The HTTP status: 200-299 or 400-599. Default 200; after a rejection 422."""
    headers: Headers | None = field(repr=False)
    """Replace, as a whole, the headers that they override. Without a `content-type` the caller gets `text/plain;
    charset=utf-8` if the body is UTF-8, otherwise `application/octet-stream`."""
    heading: str | None
    """The heading and title of a page: text, not HTML, 1-200 characters on one line. A page must have a heading when it
    is sent; a case of the activity `record` must have it from the start."""
    text: str | None
    """The text of a page: text, not HTML, at most 2,000 characters. Line breaks are kept. Default empty."""
    link_label: str | None
    """The label of the link of a page: text on one line, at most 100 characters. It needs `link_url`. An empty label
    removes the link. Default: no link."""
    link_url: str | None
    """The target of the link of a page, by the rules of `redirect_url`. It needs `link_label`."""
    language: str | None
    """The language of the texts of a page, as a tag of BCP 47: `nl`, `pt-BR`. Screen readers, browsers that translate
    and fonts go by it. Default: the language in which the edge shows its own pages to the caller."""

    def __init__(
        self,
        body: bytes | str | None = None,
        code: int | None = None,
        headers: PairsLike | None = None,
        *,
        type: ResponseType | None = ResponseType.RESPONSE,  # noqa: A002  # the name in the contract
        redirect_url: str | None = None,
        heading: str | None = None,
        text: str | None = None,
        link_label: str | None = None,
        link_url: str | None = None,
        language: str | None = None,
    ) -> None:
        self._assign(
            type=None if type is None else checks.member("type", type, ResponseType),
            redirect_url=None if redirect_url is None else checks.text("redirect_url", redirect_url),
            body=None if body is None else checks.body("body", body),
            code=None if code is None else checks.number("code", code),
            headers=None if headers is None else checks.headers("headers", headers),
            heading=None if heading is None else checks.text("heading", heading),
            text=None if text is None else checks.text("text", text),
            link_label=None if link_label is None else checks.text("link_label", link_label),
            link_url=None if link_url is None else checks.text("link_url", link_url),
            language=None if language is None else checks.text("language", language),
        )


class ResponseAttributes(TypedDict, total=False):
    """The arguments of a `Response`, for `Redirect` and `PageResponse`."""

    type: ResponseType | None
    """Redirect, response or page. Required in a case."""
    redirect_url: str | None
    """The target of a redirect: `/path` on `platform_url` (refused where none is configured) or an absolute `http` or
    `https` URL, or one of a scheme that the operator allows (`redirect_schemes`), such as that of an app. At most 2,048
    characters, printable ASCII without spaces. `//`, `\\`, user info and other schemes are refused, and always
    `javascript`, `data`, `file` and `blob`. A redirect must have a URL when it is sent; a case of the activity `record`
    must have it from the start."""
    body: bytes | str | None
    """The body, byte for byte. Default empty, at most 1 MiB (1,048,576 bytes). 204 and 205 have no body."""
    code: int | None
    """The HTTP status: 200-299 or 400-599. Default 200; after a rejection 422."""
    headers: PairsLike | None
    """Replace, as a whole, the headers that they override. Without a `content-type` the caller gets `text/plain;
    charset=utf-8` if the body is UTF-8, otherwise `application/octet-stream`."""
    heading: str | None
    """The heading and title of a page: text, not HTML, 1-200 characters on one line. A page must have a heading when it
    is sent; a case of the activity `record` must have it from the start."""
    text: str | None
    """The text of a page: text, not HTML, at most 2,000 characters. Line breaks are kept. Default empty."""
    link_label: str | None
    """The label of the link of a page: text on one line, at most 100 characters. It needs `link_url`. An empty label
    removes the link. Default: no link."""
    link_url: str | None
    """The target of the link of a page, by the rules of `redirect_url`. It needs `link_label`."""
    language: str | None
    """The language of the texts of a page, as a tag of BCP 47: `nl`, `pt-BR`. Screen readers, browsers that translate
    and fonts go by it. Default: the language in which the edge shows its own pages to the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(RequestBehavior):
    """An HTTP request to a case, as it arrived."""

    call_id: str = ""
    """The id of the call, new for each call. Use it as the key for work that must not be done twice."""
    case_id: str = ""
    """The id of the case that was called: its `case_id`."""
    attempt: int = 1
    """The number of this call among the calls on the case: 1 for the first. In ACK mode, for a replay and for a
    notification, it is the number of the attempt of this call: the `call_id` stays the same."""
    method: str = "get"
    """The HTTP method in lower case: get, post, put, delete or patch."""
    headers: Headers = field(default=Headers(), repr=False)
    """The header fields of the request in order, with repeated fields."""
    query: Query = field(default=Query(), repr=False)
    """The parameters of the query string in order, with repeated parameters. On `/cbq/` they include the state
    parameter."""
    query_string: str = field(default="", repr=False)
    """The query string as sent, without the `?`."""
    body: bytes = field(default=b"", repr=False)
    """The body, byte for byte: not decoded, decompressed or parsed."""
    client_address: str = ""
    """The address of the client. Empty if unknown."""
    verification_profile: str = ""
    """The profile that the request passed. Empty: the sender is not verified."""
    message_id: str = ""
    """The id that the sender gave to the message, as the profile found it. Empty if there was none."""
    choice: str = ""
    """The value of the choice that a person made on the page of a CONFIRM case (`prompt`). Empty if the case has no
    choices."""
    fields_json: str = ""
    """What the person filled in on the page of a CONFIRM case, as a JSON object by the names of the fields of its
    prompt: texts, numbers, booleans and arrays of texts. The call is then the POST of the form, or of a JSON object, as
    it came. Empty if the case has no fields."""
    reason: CallReason = CallReason.CALL
    """Why the handler is asked: CALL, or REMINDER or EXPIRY for a notification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall(Request):
    """The call that a handler receives: the request, and the settings of its case."""

    activity: str = ""
    """The activity of the case."""
    activity_case: str = ""
    """The value that was given when the case was generated. Can be empty."""
    response: Response = Response()
    """The response of the case when the call started. The caller gets the response that the case has when the call
    ends, which `set_response` may have changed, unless the handler overrides it."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The labels of the case."""
    deadline: datetime = _NO_DEADLINE
    """The time after which a decision is too late. In the message it is by the clock of the server: compare it with no
    other clock. In the value of a client it is by the clock of that machine. It is also the gRPC deadline."""
    replayed: bool = False
    """Whether an owner replayed the call."""
    owner: str = ""
    """The principal that generated the case; `local` where no principals are configured."""
    endpoint: str = ""
    """The endpoint to which the request came as an event. Empty: it came to the URL of the case."""
    traceparent: str = ""
    """The W3C trace context of this attempt, as the header of this name has it: the parent of the span of the handler.
    HandleCallback and HandleNotification have it as metadata of the RPC, too. Empty: the call is not traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification(Value):
    """What a handler is told without a call: a reminder is due, or the case expired."""

    call_id: str = ""
    """The id of the call, new for each call. Use it as the key for work that must not be done twice."""
    case_id: str = ""
    """The id of the case that was called: its `case_id`."""
    activity: str = ""
    """The activity of the case."""
    activity_case: str = ""
    """The value that was given when the case was generated. Can be empty."""
    attempt: int = 1
    """The number of this call among the calls on the case: 1 for the first. In ACK mode, for a replay and for a
    notification, it is the number of the attempt of this call: the `call_id` stays the same."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The labels of the case."""
    deadline: datetime = _NO_DEADLINE
    """The time after which a decision is too late. In the message it is by the clock of the server: compare it with no
    other clock. In the value of a client it is by the clock of that machine. It is also the gRPC deadline."""
    replayed: bool = False
    """Whether an owner replayed the call."""
    owner: str = ""
    """The principal that generated the case; `local` where no principals are configured."""
    reason: CallReason = CallReason.CALL
    """Why the handler is asked: CALL, or REMINDER or EXPIRY for a notification."""
    traceparent: str = ""
    """The W3C trace context of this attempt, as the header of this name has it: the parent of the span of the handler.
    HandleCallback and HandleNotification have it as metadata of the RPC, too. Empty: the call is not traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Value):
    """Who changed what, and when.

    It has no state, no URL, no body, no header and no other secret.
    """

    chain: int = 0
    """The chain of the entry: the number of the partition of its case, or 64 for what belongs to no case."""
    sequence: int = 0
    """The number of the entry in its chain, from 1 on without a gap."""
    time: datetime
    """The time of the change, by the clock of the server that made it."""
    actor: str = ""
    """The principal that made the change; `local` where no principals are configured. Empty: a server."""
    action: AuditAction
    """The kind of change."""
    owner: str = ""
    """The owner of the case. Empty if the entry is about no case."""
    activity: str = ""
    """The activity of the case, or the activity that was paused or resumed."""
    case_id: str = ""
    """The case. Empty if the entry is about none."""
    call_id: str = ""
    """The call. Empty if the entry is about none."""
    reason: str = ""
    """What the principal gave as the reason. Empty if it gave none."""
    details: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Facts about the change, such as the `attributes` of a response that were replaced. New names can be added."""
    digest: str = ""
    """The SHA-256 of the entry as it is stored, in hexadecimal digits. The next entry of the chain has it, too."""
    key_id: str = ""
    """Names the key that protects the entry, without saying anything about it. Empty: the server had no `state_key`, so
    nothing protects the entry."""
    verification_profile: str = ""
    """The profile of the owner that was changed. Empty if the entry is about none."""


@dataclass(frozen=True, slots=True)
class AuditHead(Value):
    """The newest entry of a chain at some time."""

    chain: int
    """The number of the chain."""
    sequence: int
    """The number of the entry."""
    digest: str
    """The `digest` of the entry: 64 lower-case hexadecimal digits."""
    time: datetime
    """The time of the entry, or that of an earlier one if that is later. Retention deletes entries in its order: a
    start of the chain that is older than this head does not explain that the entry is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProblem(Value):
    """Something that is wrong with a chain."""

    kind: AuditProblemKind
    """The kind of problem."""
    sequence: int = 0
    """The number of the entry where it was found."""
    text: str = ""
    """Describes it, for people. It contains no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain(Value):
    """The result for one chain."""

    chain: int = 0
    """The number of the chain."""
    entry_count: int = 0
    """The number of entries that are kept."""
    first_sequence: int = 0
    """The number of the oldest entry. 0: there is none."""
    head: AuditHead | None = None
    """The newest entry. None: there is none."""
    problems: tuple[AuditProblem, ...] = ()
    """What is wrong. Empty: it is proven that the chain is as the servers have stored it. At most 100."""


@dataclass(frozen=True, slots=True)
class PromptField(Value):
    """One field of the form on the page.

    Its label and help are shown as text, not HTML.
    """

    name: str
    """The name in the form and in `fields_json`. Required, a letter, then at most 63 letters, digits, `_`, `.` or `-`.
    Names that begin with `callback_`, and the state parameter of the case, are refused."""
    label: str
    """The text at the field. Required, 1-200 characters on one line."""
    kind: FieldKind = FieldKind.TEXT
    """What a person enters. Default TEXT."""
    is_required: bool = False
    """Whether the field must be filled in. Default false: an empty field has no value in `fields_json`."""
    default_value: str = ""
    """What the field has at first, in the form in which it is entered: `true` for a box that is ticked, the values with
    commas between them for CHOICES. At most 10,000 characters."""
    minimum: str = ""
    """The smallest number or earliest date, or the fewest characters or choices. Default none."""
    maximum: str = ""
    """The largest number or latest date, or the most characters or choices. Default none. A TEXT has at most 500
    characters, an EMAIL 254, a URL 2,048 and a LONG_TEXT 10,000."""
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What CHOICE and CHOICES offer: 1-50, each with another value."""
    help: str = ""
    """A text below the label, of at most 500 characters on one line. Default empty."""


@dataclass(frozen=True, slots=True)
class Prompt(Value):
    """What the page of a CONFIRM case asks.

    All of it is shown as text, not HTML.
    """

    title: str
    """The heading of the page. Required, at most 200 characters on one line."""
    text: str = ""
    """Shown below the title, with its line breaks. Default empty, at most 2,000 characters."""
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The buttons of the page. At most 4, each with another value. Without choices, the page has the one button of
    every CONFIRM case. A button posts the form `callback_choice={value}` to the same URL, and that POST is the call.
    Every other POST, PUT, PATCH or DELETE on a case with choices gets a 400, and is not a call. No state parameter of a
    CONFIRM case can have the name of that field."""
    language: str = ""
    """The language of title, text and labels, as a tag of BCP 47: `nl`, `pt-BR`. Default: the language in which the
    edge shows its own pages to the caller."""
    fields: tuple[PromptField, ...] = ()
    """What a person fills in on the page, in this order. At most 20, each with another name. The form, or a JSON object
    with the same names, is posted with the choice, or with `callback_confirm` where there are no choices. What does not
    fit gets the page again, with the errors and a 422, and is not a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Value):
    """The delivery of a call to its handler after its caller got the response, or the delivery of a notification.

    The call has ended, except after a fallback of 2xx or 3xx: then it is RUNNING until the delivery is DELIVERED or
    DEAD.
    """

    status: DeliveryStatus
    """The state of the delivery."""
    attempts: int = 0
    """The number of attempts in which a handler was asked, replays included. An attempt that is RUNNING counts. An
    attempt that reached no handler does not: it leaves `failure` HANDLER_UNREACHABLE or NO_HANDLER."""
    next_attempt_time: datetime | None = None
    """The earliest time of the next attempt. Set while PENDING, unless the delivery waits until an earlier call of its
    ordered case is DELIVERED or DEAD."""
    failure: CallFailure | None = None
    """The reason why the last attempt failed. None if it did not fail, or was a rejection."""
    failure_detail: str = ""
    """Describes the last failed attempt in a sentence, for the owner: at most 500 characters. For a DEAD delivery
    without a failure, it says why it is dead: rejected or erased."""
    response: Response | None = None
    """The complete response that the handler decided on when it accepted or rejected. It is sent to no caller. None
    after a fallback: `response` of the call has it."""
    paused: bool = False
    """Whether the delivery is PENDING and its activity is paused: there is no attempt until the activity is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Request):
    """One HTTP request to a case, and its result.

    With the `reason` REMINDER or EXPIRY it is a notification: it has a `delivery`, no request, no response and no
    status, and counts as no call.
    """

    status: CallStatus = CallStatus.UNKNOWN
    """The result of the call. UNKNOWN for a notification."""
    failure: CallFailure | None = None
    """The reason why a call failed or was not started. None for every other status."""
    failure_detail: str = ""
    """Describes the failure in a sentence, for the owner: at most 500 characters. It ends with the name of the worker
    that had the call: `(worker NAME)`. It is never shown to the caller."""
    body_size: int = 0
    """The size of the body in bytes."""
    response: Response | None = None
    """The complete response to the call. None unless the call succeeded or was rejected. `list_calls` and
    `list_owner_calls` omit `body`."""
    keep_open: bool = False
    """Whether the handler kept a single-use case open after this success."""
    close: bool = False
    """Whether the handler asked to close the case with this success, or with the delivery of the call or notification.
    The case may have been closed before."""
    start_time: datetime = _EPOCH
    """When the call claimed the case, by the clock of the store."""
    end_time: datetime | None = None
    """When the call ended. None while it runs."""
    erased: bool = False
    """Whether the recorded data of the call was erased (`erase_calls`): request, response and `failure_detail` are
    empty."""
    body_dropped: bool = False
    """Whether the bodies that were recorded of the call were dropped, because the recorded bytes of its owner, or of
    all, were above a limit: those of the request and of the delivery, and that of `response` unless it is the response
    of the case. `body_size` stays. The call cannot be replayed, unless its request had no body."""
    verification_failure: str = ""
    """Why the request did not pass a profile that only reports (`enforce = false`), for the owner. It contains nothing
    of the request and no secret. Empty: it passed, or there was no such profile."""
    delivery: Delivery | None = None
    """The state of the delivery to the handler: of a call of an ACK case, of a call whose caller got a fallback of 2xx
    or 3xx, or of a replayed call."""
    fallback_sent: bool = False
    """Whether the caller gets the fallback of the case, at the answer deadline. It is stored before the fallback is
    sent. `response` is then the decision of the handler, if there was one."""
    caller_gone: bool = False
    """Whether the caller did not get the response: it disconnected before, or the server or edge stopped. It is set
    when that happens, also while the call runs or is held. A server that is killed sets it for none of its calls."""
    repeat_count: int = 0
    """The number of requests that were repeats of this call: the same request, or a message with the same id, within
    the window. A repeat is no call: it gets the answer of this one."""
    correlation_key: str = ""
    """The key with which the request came as an event to the endpoint of the case. Empty: it came to the URL of the
    case."""
    answered_by: str = ""
    """The principal that answered a held call, by `answer_call` or `resolve_callback`; `local` where no principals are
    configured. Empty for every other call, and for a call that a server of an earlier release has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback(Value):
    """A case: one URL that an outside system can call, and what happens on a call.

    It never contains the URL or its state; only the response of `generate_callback_url` does.
    """

    case_id: str = ""
    """The public id of the case: 32 lower-case hexadecimal digits. It gives no access."""
    owner: str = ""
    """The principal that generated the case; `local` where no principals are configured."""
    status: CallbackStatus
    """The state of the case in its life."""
    close_reason: CloseReason | None = None
    """The reason why a CLOSED case closed. It never changes. None while the case is not closed."""
    activity: str = ""
    """The activity that decides what happens on a call."""
    activity_case: str = ""
    """A text that the handler gets unchanged. Empty if none was given."""
    state_query_parameter: str = ""
    """The name of the query or form field that carries the state. Empty for a `/cb/` URL."""
    retryable_after_error: bool = False
    """Whether a single-use case (a case without `allow_multiple_calls`) stays open after a rejected, failed or
    interrupted call."""
    allow_multiple_calls: bool = False
    """Whether the case accepts any number of calls, whatever their results, until it is closed or expires."""
    alternative_domain: str = ""
    """The `https://` origin of the URL. Empty for the `box_url` of the server."""
    response: Response
    """The response to a call, unless its handler overrides it. `list_callbacks` omits `body`."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Name-value pairs of the owner, to find the case again."""
    create_time: datetime
    """When the case was stored, by the clock of the store."""
    expire_time: datetime | None = None
    """When the case closes with reason EXPIRED. None if it never expires."""
    close_time: datetime | None = None
    """When the case closed. None while it is not closed."""
    call_count: int = 0
    """The number of calls that started on the case, whatever their results."""
    verification_profile: str = ""
    """The profile that every request must pass. Empty: none."""
    get_guard: GetGuard = GetGuard.OFF
    """How a GET that may come from a program is handled. OFF by default."""
    answer_mode: AnswerMode = AnswerMode.HANDLER
    """The answer mode: handler, person or server. HANDLER by default."""
    answer_deadline: timedelta | None = None
    """The time after the start of a call at which the caller gets `fallback`, or without one is told to wait. None: 2
    seconds for a browser, 300 seconds for any other caller of a held call."""
    fallback: Response | None = None
    """The response that a caller gets at the answer deadline. After one of 2xx or 3xx, a call of a HANDLER case has a
    delivery."""
    ordered: bool = False
    """Whether the calls of an ACK case are delivered one after the other, in their order."""
    hold_time: timedelta | None = None
    """How long a call of a HOLD case waits for its answer. None for every other case."""
    repeat_window: timedelta = timedelta(0)
    """How long after the end of a call the same request gets the answer of that call again. 0s: the same request is
    another call."""
    no_repeat: bool = False
    """Whether no answer is given twice: a repeat gets a 410."""
    resolved: bool = False
    """Whether `resolve_callback` has given the case its answer: each further call gets it at once."""
    closed_response: Response | None = None
    """The response to a request that reaches the case once it is closed. None: such a request gets a 410, or a 404 on
    `/cbq/`. `list_callbacks` omits it."""
    prompt: Prompt | None = None
    """What the page of the guard CONFIRM asks. None: the page asks whether to continue."""
    remind_after: tuple[timedelta, ...] = ()
    """The times after `create_time` at which the handler for notifications gets a REMINDER, ascending."""
    notify: tuple[CallReason, ...] = ()
    """Which notifications the handler of the activity gets."""
    notifications: tuple[Call, ...] = ()
    """The deliveries of reminders, oldest first, and then that of the expiry: each with `call_id`, `reason`,
    `start_time` and `delivery`. A reminder that was dropped is not among them. `list_callbacks` omits them."""
    allowed_origins: tuple[str, ...] = ()
    """The origins whose pages may call the URL by a script, and read what it is answered. `*` is every origin."""
    frame_origins: tuple[str, ...] = ()
    """The origins whose pages may show the URL in a frame."""
    endpoint: str = ""
    """The endpoint whose events are calls of the case, if they have its `correlation_key`. Empty: none."""
    correlation_key: str = ""
    """The text by which an event at the endpoint finds the case. Empty without an endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCallback(Value):
    """Describes the case to create."""

    activity: str
    """Names the activity that decides on a call: `record` (store the call, send the response of the case), `form` (hold
    the call for a person), an activity with a push handler that the configuration of the server declares, or any other
    name, which belongs to the workers that serve it. Required. 1-200 characters, no control characters."""
    activity_case: str = ""
    """A text that the handler gets unchanged. Default empty, at most 200 characters."""
    state_query_parameter: str = ""
    """Makes the URL `{base}/cbq/{param}?{param}={state}`, for systems that only pass a state along (OAuth `state`, SAML
    `RelayState`). A letter, then at most 63 letters, digits, `_`, `.` or `-`. Default empty: the URL is
    `{base}/cb/{state}`."""
    retryable_after_error: bool = False
    """Keeps a single-use case (a case without `allow_multiple_calls`) open after a rejected, failed or interrupted
    call. Default false."""
    allow_multiple_calls: bool = False
    """Makes the case accept any number of calls, whatever their results, until it is closed or expires. Default false:
    the case accepts one call at a time. A success closes it; without `retryable_after_error`, so does a rejected,
    failed or interrupted call."""
    alternative_domain: str = ""
    """The `{base}` of the URL: `https://host` or `https://host:port`, without path, query, fragment or user. Upper case
    and the port 443 are normalized. Default empty: the `box_url` of the server. An operator can restrict it to a list,
    and reserve a domain for one owner."""
    response: Response | None
    """The response to a call, unless the handler overrides it. Required, with a `type`."""
    request_id: str = ""
    """Makes the request safe to retry. The same id with the same content returns the same URL, for as long as the case
    is kept. The same id with other content fails with REQUEST_ID_REUSED. Once the case is deleted, the id is free, and
    the same request creates a case with another URL. Default empty, at most 200 characters. Fails with
    REQUEST_ID_UNSUPPORTED where the server has no `state_key`."""
    time_to_live: timedelta | None = None
    """The time after which the case closes with reason EXPIRED. Default: the configuration of the server, or never. At
    least 1 second, at most 10 years or the maximum in the configuration of the server."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Name-value pairs of the owner, to find the case again. At most 16. Names have 1-63 letters, digits, `_`, `.`, `/`
    or `-`; values have at most 200 characters."""
    verification_profile: str = ""
    """The profile that every request must pass; otherwise the caller gets a 401 and nothing changes. It is a profile
    that the configuration of the server declares, or one of the owner, such as `own/shop-17` (`create_profile`); any
    other is refused. Default empty: everyone who has the URL can make the call."""
    get_guard: GetGuard | None = None
    """Selects how a GET that may come from a program is handled. Default OFF. CONFIRM together with a
    `verification_profile` is refused: a person cannot sign a request."""
    answer_mode: AnswerMode | None = None
    """Selects how a call gets its response. Default HANDLER; for the activity `form` it is always HOLD."""
    answer_deadline: timedelta | None = None
    """The time after the start of a call at which a caller without a response gets `fallback`. Without a fallback it is
    told to wait: a browser gets a page that becomes the answer, and any other caller a 202 with the address of the
    answer (`Location`, `Retry-After`). The call continues: the case stays IN_PROGRESS, and the decision of the handler
    takes effect when it comes. Default: 2 seconds for a browser, 300 seconds for any other caller of a held call. From
    100 ms to 300 s, and at most the deadline of the activity, or `hold_time`."""
    fallback: Response | None = None
    """The response that a caller gets at `answer_deadline`. It must be complete, as the response of a `record` case
    must be. Needs `answer_deadline`. One of 2xx or 3xx accepts the request: a call of a HANDLER case then has a
    delivery, and ends when that is DELIVERED or DEAD."""
    ordered: bool = False
    """Makes the server deliver the calls of an ACK case one after the other, in their order: a call waits until the
    call before it is DELIVERED or DEAD. Default false. Refused with any other `answer_mode`."""
    closed_response: Response | None = None
    """The response to a request that reaches the case once it is closed and passes the verification, until the case is
    deleted. Such a request is not a call. It must be complete, as the response of a `record` case must be. Code 410 is
    refused together with `state_query_parameter`: that URL is shared, and some senders disable it for everyone after a
    410. Default: a 410, or a 404 on `/cbq/`."""
    prompt: Prompt | None = None
    """What the page of the guard CONFIRM asks: a title, a text and choices. Default: whether to continue. Refused with
    any other `get_guard`."""
    hold_time: timedelta | None = None
    """How long a call of a HOLD case waits for its answer. After that it is FAILED, and its caller gets a 504. Default
    300 seconds. At least 100 ms, at most the maximum in the configuration of the server (30 days by default). Refused
    with any other `answer_mode`."""
    repeat_window: timedelta | None = None
    """How long after the end of a call the same request gets the answer of that call again, in place of making another
    call: a reload, a double click, a form that is sent again. A request is the same if its method, query and body are.
    While the call runs, the same request waits with it; at most 16 wait. Once the case is closed, it gets the answer or
    the error of that call. While the case is open, it is another call, unless the case allows multiple calls and the
    call succeeded. A verified message with an id is recognized by its id alone, for the time that its verification
    profile says. Default: 2 minutes; 0 if `allow_multiple_calls` is set. 0: the same request is another call. At most 7
    days."""
    no_repeat: bool = False
    """Whether no answer is given twice, for example because it contains a secret: a repeat gets a 410. Default
    false."""
    remind_after: tuple[timedelta, ...] = ()
    """The times after the creation of the case at which the handler of the activity gets a REMINDER, if the case is
    neither closed nor resolved then. Needs REMINDER in `notify`. At most 10, each another one, from 1 second to 10
    years. Default: none."""
    notify: tuple[CallReason, ...] = ()
    """Selects the notifications that the handler of the activity gets. REMINDER: at each time of `remind_after`, until
    the case is closed or resolved. EXPIRY: when the case closes with reason EXPIRED, unless it is resolved. A call that
    runs or is held at that moment still gets its answer. Each is durable and has an id of its own (`call_id`). It is
    delivered with retries, as a call in ACK mode is, and only to a handler that takes notifications (see
    HandleNotification and Hello): until there is one, its delivery is PENDING with the failure NO_HANDLER. A REMINDER
    is dropped when its case closes or is resolved. Default: none. REMINDER and EXPIRY, each once; refused for the
    activities `record` and `form`, which have no handler."""
    allowed_origins: tuple[str, ...] = ()
    """The origins whose pages may call the URL by a script, and read what it is answered (CORS). Each is
    `scheme://host` or `scheme://host:port`, as a browser sends it in `Origin`; upper case and the default port are
    normalized. `*` alone allows the pages of every origin. No page can call with the credentials of the browser, such
    as cookies. Default empty: none; at most 20. Refused with the `get_guard` CONFIRM."""
    frame_origins: tuple[str, ...] = ()
    """The origins whose pages may show the URL in a frame: its answers, its errors, and the page that waits. The page
    of the `get_guard` CONFIRM can be in no frame. Each is an origin as in `allowed_origins`, but not `*`. Default
    empty: a request from a frame gets no page that waits, but the answer, within the deadline; at most 20."""
    endpoint: str = ""
    """The name of an endpoint of the owner: one URL, registered with a sender, for the events of many cases. The events
    that have the `correlation_key` are calls of this case, too. Needs `correlation_key`. Default empty: none. Any name
    but one of the owner's fails with ENDPOINT_NOT_FOUND."""
    correlation_key: str = ""
    """The text by which an event at the endpoint finds the case, such as the id of a payment. It is compared byte by
    byte. One case of a key is open at a time: another Generate fails with CORRELATION_KEY_IN_USE until that case is
    closed. A `request_id` counts within its key. Needs `endpoint`. 1-200 bytes."""
    no_url: bool = False
    """Makes the case without a URL of its own, so that only events reach it: the response has no `url` and no `state`.
    Needs `endpoint`. Default false. Refused with what only holds on such a URL: the state query parameter, the
    alternative domain, the verification profile, the guard, the prompt, the closed response, and the origins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWarning(Value):
    """What may be wrong with a request that was accepted."""

    reason: WarningReason
    """The kind of the warning. Ignore one that the client does not know, and show its text."""
    text: str = ""
    """Says in a sentence what may be wrong, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedCallback(Value):
    """The only message that contains the URL and its state."""

    url: str = field(repr=False)
    """The URL to hand out. Everyone who has it can make the call: treat it as a secret. Empty with `no_url`."""
    state: str = field(repr=False)
    """The secret in the URL, for use apart from the URL: a version 4 UUID in lower case. Empty with `no_url`."""
    case_id: str
    """The id of the case. It is not secret."""
    expire_time: datetime | None = None
    """When the case closes with reason EXPIRED, by the clock of the store. None if it never expires. The same request
    with the same `request_id` gets the time that the case has now."""
    warnings: tuple[CallbackWarning, ...] = ()
    """Say what will keep the callback from doing what it is for, as far as it can be seen now. The case is stored all
    the same. Default empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Value):
    """One change of a case or a call."""

    type: CallEventType
    """The kind of change."""
    case_id: str = ""
    """The case."""
    call_id: str = ""
    """The call. Empty for a change of the case itself."""
    activity: str = ""
    """The activity of the case."""
    owner: str = ""
    """The owner of the case."""
    time: datetime
    """The time of the change, by the clock of the store."""
    case_status: CallbackStatus
    """The status of the case after the change."""
    close_reason: CloseReason | None = None
    """The reason why the case is closed. None if it is not."""
    call_status: CallStatus | None = None
    """The status of the call after the change. None for a change of the case itself, and of a notification."""
    delivery_status: DeliveryStatus | None = None
    """The status of the delivery after the change. None if the call has no delivery."""
    resume_token: str = ""
    """The position after this event: a watch from it gets exactly the events that follow here."""
    reason: CallReason | None = None
    """CALL for a change of a call, and REMINDER or EXPIRY for a change of a notification: `call_id` is then its id.
    None for a change of the case itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedActivity(Value):
    """An activity whose deliveries are paused."""

    activity: str = ""
    """The name of the activity."""
    principal: str = ""
    """The administrator that paused it; `local` where no principals are configured. Empty if a server of an earlier
    release did."""
    reason: str = ""
    """What the administrator gave as the reason. Empty if none was given."""
    pause_time: datetime | None = None
    """When it was paused, by the clock of the store. None if a server of an earlier release did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity(ActivityBehavior):
    """How an activity is served, and what waits for it."""

    activity: str = ""
    """The name of the activity."""
    kind: ActivityKind
    """How the activity is served."""
    worker_count: int = 0
    """The number of workers that take the calls of the activity, on all servers. A worker that has just connected or
    left is counted, or not counted any more, within seconds. 0 with the kind WORKERS: nothing serves it."""
    paused: bool = False
    """Whether the deliveries of the activity are paused (`pause_activity`)."""
    delivery_count: int = 0
    """The number of deliveries of the activity that wait or run, of all owners. Of an ordered case, only the first one
    counts."""
    open_callback_count: int = 0
    """The number of cases of the owner for this activity that are not closed."""
    notification_worker_count: int = 0
    """The number of workers that take the notifications of the activity, on all servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCount(Value):
    """A number of calls with the same outcome."""

    status: CallStatus
    """The status of the calls."""
    failure: CallFailure | None = None
    """Why they failed. None if they did not."""
    count: int = 0
    """Their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCount(Value):
    """A number of requests that were refused for the same reason."""

    reason: str = ""
    """The reason, as in `ErrorReason`."""
    count: int = 0
    """Their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDuration(Value):
    """How long a stage of calls took.

    The quantiles are estimates from the buckets of the metric `callback_call_stage_seconds`.
    """

    stage: str = ""
    """The name of the stage."""
    count: int = 0
    """How often it ran."""
    median: timedelta = timedelta(0)
    """What half of them did not exceed."""
    p95: timedelta = timedelta(0)
    """What 95 % of them did not exceed."""
    p99: timedelta = timedelta(0)
    """What 99 % of them did not exceed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStatistics(Value):
    """What waits in the store."""

    open_callback_count: int = 0
    """The number of cases that are not closed."""
    waiting_call_count: int = 0
    """The number of held calls that wait for an answer."""
    dead_call_count: int = 0
    """The number of calls and notifications whose delivery is DEAD, without erased ones."""
    delivery_count: int = 0
    """The number of deliveries that wait or run. Of an ordered case, only the first one counts."""
    delivery_delay: timedelta = timedelta(0)
    """How long ago the delivery that waits the longest became due. Zero if none is due. Deliveries of a paused activity
    count, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteStatistics(MinuteStatisticsBehavior):
    """What all servers have done in one minute.

    A server adds what it has done every 5 seconds.
    """

    start_time: datetime
    """The start of the minute, by the clocks of the servers."""
    duration: timedelta = timedelta(0)
    """The part of the minute that the counts are of: 60 seconds, or less for the last one, which in its first 5 seconds
    has zero."""
    outcomes: tuple[OutcomeCount, ...] = ()
    """The calls that ended, by status and failure. Without those that have no call."""
    refusals: tuple[RefusalCount, ...] = ()
    """The requests that did not become calls, by reason. Without those that have no request."""
    stages: tuple[StageDuration, ...] = ()
    """The durations of the stages of the calls, as in the response."""
    work: WorkStatistics | None = None
    """What waited in the store in this minute. None if no server has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerStatistics(Value):
    """What one owner has in the store."""

    owner: str = ""
    """The owner."""
    open_callback_count: int = 0
    """The number of its cases that are not closed."""
    waiting_call_count: int = 0
    """The number of its held calls that wait for an answer."""
    dead_call_count: int = 0
    """The number of its calls and notifications whose delivery is DEAD, without erased ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics(Value):
    """Returns what the servers have done, and what waits."""

    minutes: tuple[MinuteStatistics, ...] = ()
    """The last 60 minutes, oldest first, also those without calls. The last one has not ended."""
    stages: tuple[StageDuration, ...] = ()
    """The durations of the stages of all calls in these minutes: `claim` (the store accepts the call), `verify` (only
    of cases with a verification profile), `handler`, and `finish` (the store records the result). A stage that no call
    had is absent."""
    owners: tuple[OwnerStatistics, ...] = ()
    """The open cases and calls of each owner: of those in the principals file of the server that responds, and of those
    that have left it, whose cases are kept until their retention is over."""
    work: WorkStatistics
    """What waits in the store now, of all these owners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Value):
    """The result of one check.

    Its texts contain no secret.
    """

    check: str = ""
    """The name of the check, such as `store memory`."""
    level: FindingLevel
    """How severe it is."""
    seen: str = ""
    """What was seen."""
    advice: str = ""
    """What to do. Empty if there is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings(Value):
    """Returns what the checks found."""

    findings: tuple[Finding, ...] = ()
    """The results of the checks, also of those that passed."""
    check_time: datetime
    """When the checks ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSecret(Value):
    """Says when a secret or key of a profile was added, and until when it is valid."""

    secret_id: str = ""
    """Its id within the profile."""
    fingerprint: str = ""
    """The same for the same secret of an owner, as long as the servers seal under the same key: 8 hexadecimal digits.
    It says nothing else about the secret."""
    create_time: datetime
    """When it was added."""
    retire_time: datetime | None = None
    """From when on nothing passes by it. None: it stays valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Value):
    """A verification profile of an owner."""

    name: str = ""
    """The name of the profile, such as `own/shop-17`."""
    kind: str = ""
    """Its kind, such as `hmac` or `provider:stripe`."""
    settings: str = ""
    """Its other settings, as a JSON object."""
    secrets: tuple[ProfileSecret, ...] = ()
    """Its secrets and keys, newest first."""
    create_time: datetime
    """When it was created."""
    update_time: datetime
    """When it was changed last."""
    problem: str = ""
    """Why the server that responds cannot use it, so that callers get a 503. Empty: it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileCheck(Value):
    """Whether the request passes."""

    outcome: CheckOutcome
    """The outcome."""
    why: str = ""
    """Why it does not pass, without any part of the request. Empty: it passes."""
    secret_id: str = ""
    """The id of the secret by which it passes. Empty: there is none, or it cannot be told."""
    message_id: str = ""
    """The id that the sender gave the message. Empty: there is none."""
