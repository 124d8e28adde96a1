"""Enums of the contract.

Generated from the contract: `python3 tasks.py generate`.
"""

from enum import StrEnum

__all__ = [
    "ActivityKind",
    "AnswerMode",
    "AuditAction",
    "AuditProblemKind",
    "CallEventType",
    "CallFailure",
    "CallFilter",
    "CallReason",
    "CallStatus",
    "CallbackStatus",
    "CheckOutcome",
    "CloseReason",
    "DeliveryStatus",
    "FieldKind",
    "FindingLevel",
    "GetGuard",
    "ResponseType",
    "WarningReason",
]


class AuditAction(StrEnum):
    """The kind of a change."""

    RESPONSE_SET = "RESPONSE_SET"
    """The response of a case was replaced (`set_response`)."""
    CALL_ANSWERED = "CALL_ANSWERED"
    """A held call was answered (`answer_call`)."""
    CALLBACK_RESOLVED = "CALLBACK_RESOLVED"
    """A case got its answer (`resolve_callback`)."""
    CALLBACK_CLOSED = "CALLBACK_CLOSED"
    """A case was closed (`close_callback`)."""
    CALLBACK_EXTENDED = "CALLBACK_EXTENDED"
    """The `expire_time` of a case was set (`extend_callback`)."""
    CALLS_ERASED = "CALLS_ERASED"
    """The recorded data of the calls of a case was erased (`erase_calls`)."""
    CALL_REPLAYED = "CALL_REPLAYED"
    """A call or notification was replayed (`replay_call`)."""
    ACTIVITY_PAUSED = "ACTIVITY_PAUSED"
    """The deliveries of an activity were paused (`pause_activity`)."""
    ACTIVITY_RESUMED = "ACTIVITY_RESUMED"
    """The deliveries of an activity were resumed (`resume_activity`)."""
    PRINCIPALS_READ = "PRINCIPALS_READ"
    """A server has read a principals file that differs from the one that was read before."""
    STATE_KEY_CHANGED = "STATE_KEY_CHANGED"
    """A server goes on under its own key behind an entry under the other one."""
    PROFILE_CREATED = "PROFILE_CREATED"
    """A verification profile of an owner was created (`create_profile`)."""
    PROFILE_UPDATED = "PROFILE_UPDATED"
    """A verification profile of an owner was changed (`update_profile`)."""
    PROFILE_DELETED = "PROFILE_DELETED"
    """A verification profile of an owner was deleted (`delete_profile`)."""
    PROFILE_CHECKED = "PROFILE_CHECKED"
    """It was checked whether a request passes a verification profile of an owner (`check_profile`)."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class AuditProblemKind(StrEnum):
    """The kind of a problem with a chain."""

    ALTERED = "ALTERED"
    """An entry, or the record of where the chain begins, is not as a server has stored it. This is so for one without a
    right HMAC behind one that has it."""
    MISSING = "MISSING"
    """Entries between others, or before all others, were removed before their retention was over."""
    MOVED = "MOVED"
    """An entry stands where another one was: entries were reordered, replaced or inserted."""
    TRUNCATED = "TRUNCATED"
    """The newest entries are not there any more, or are others than those of a known head. A failover or a restored
    backup loses the newest entries together with their changes: compare with `callback losses`."""
    UNKNOWN_KEY = "UNKNOWN_KEY"
    """Entries, or the record of where the chain begins, name a key that this server does not have: its `state_key` was
    changed, or they are forged."""
    UNPROTECTED = "UNPROTECTED"
    """Entries, or the record of where the chain begins, have no protection: the server had no `state_key`, or they are
    forged."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CallReason(StrEnum):
    """The reason why a handler is asked.

    REMINDER and EXPIRY are notifications: there is no request, and no caller gets a response.
    """

    CALL = "CALL"
    """A request reached the case."""
    REMINDER = "REMINDER"
    """A time of `remind_after` has passed, and the case is neither closed nor resolved."""
    EXPIRY = "EXPIRY"
    """The case is closed with reason EXPIRED, and was not resolved before."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class AnswerMode(StrEnum):
    """Selects how a call gets its response: from a handler, from a person, or from the server."""

    HANDLER = "HANDLER"
    """The handler of the activity decides while the caller waits."""
    HOLD = "HOLD"
    """The call waits in the store for `answer_call`, by a person or another service. No handler gets it: the handler of
    the activity gets notifications alone (`notify`). The call fails if it is not answered within the `hold_time` of its
    case. At most 100 calls of a case are held at a time."""
    ACK = "ACK"
    """The caller gets the response of the case as soon as the call is stored. The call has then succeeded, and a
    single-use case is CONSUMED. The handler runs afterwards, with retries, at least once."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class GetGuard(StrEnum):
    """Selects how a GET on a case is handled, because it may come from a program that opens links.

    POST, PUT, PATCH and DELETE are always calls. HEAD, OPTIONS and prefetches never are.
    """

    OFF = "OFF"
    """Every GET is a call, except a browser's prefetch. The return from a payment needs this."""
    DETECT = "DETECT"
    """A program that is known to open links (preview, mail scanner) gets a page without content. Its GET is not a
    call."""
    CONFIRM = "CONFIRM"
    """A GET gets a page with one button. The button posts the form `callback_confirm=1` to the same URL, and that POST
    is the call. The handler sees the original GET, with its query and an empty body. No state parameter can have the
    name `callback_confirm`. A `prompt` changes what the page asks, and can add choices."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class FieldKind(StrEnum):
    """What a person enters into a field, and the type of its value in `fields_json`."""

    TEXT = "TEXT"
    """One line of text."""
    LONG_TEXT = "LONG_TEXT"
    """Text of several lines, with `\\n` as the line break."""
    INTEGER = "INTEGER"
    """A whole number from -(2^53 - 1) to 2^53 - 1: a number in JSON."""
    NUMBER = "NUMBER"
    """A number, with a point before its decimals: a number in JSON."""
    BOOLEAN = "BOOLEAN"
    """A box to tick: true or false. One that is required must be ticked."""
    DATE = "DATE"
    """A day, as in `2026-12-31`."""
    DATE_TIME = "DATE_TIME"
    """A time in UTC, as in `2026-12-31T23:59:00Z`. The page says that it is in UTC. A program can send a time with
    another offset."""
    EMAIL = "EMAIL"
    """An e-mail address."""
    URL = "URL"
    """An absolute `http` or `https` URL."""
    CHOICE = "CHOICE"
    """The value of one of `choices`."""
    CHOICES = "CHOICES"
    """Any number of the values of `choices`: an array of texts in JSON."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CallbackStatus(StrEnum):
    """The state of a case in its life."""

    OPEN = "OPEN"
    """The case can be called."""
    IN_PROGRESS = "IN_PROGRESS"
    """A call runs on a single-use case. Another call gets a 409."""
    CLOSED = "CLOSED"
    """The case cannot be called any more. A request gets the `closed_response`, else a 410, or a 404 on `/cbq/`."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CloseReason(StrEnum):
    """The reason why a case closed."""

    CONSUMED = "CONSUMED"
    """A call on a single-use case succeeded, or a handler closed the case."""
    FAILED = "FAILED"
    """A call on a single-use case that is not retryable was rejected or failed."""
    INTERRUPTED = "INTERRUPTED"
    """The server process that ran a call on such a case died or lost the store before the result was recorded. The call
    is not run again."""
    CLOSED_BY_OWNER = "CLOSED_BY_OWNER"
    """The owner called `close_callback`."""
    EXPIRED = "EXPIRED"
    """The `expire_time` has passed."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class ResponseType(StrEnum):
    """The kind of response that a caller gets."""

    REDIRECT = "REDIRECT"
    """Redirects the browser to `redirect_url`: 302 after GET, 303 after any other method."""
    RESPONSE = "RESPONSE"
    """Sends `code`, `body` and `headers`."""
    PAGE = "PAGE"
    """Sends `code` with a page in the style of the operator: `heading`, `text` and a link. A caller whose `Accept` does
    not prefer HTML gets the same as `text/plain`."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class DeliveryStatus(StrEnum):
    """The state of a delivery."""

    PENDING = "PENDING"
    """The delivery waits for the time of its next attempt, for an earlier call of an ordered case, or for its activity
    to be resumed."""
    RUNNING = "RUNNING"
    """The handler runs, or the server looks for one."""
    DELIVERED = "DELIVERED"
    """The handler accepted."""
    DEAD = "DEAD"
    """The handler rejected, or every attempt failed. `replay_call` starts new attempts."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CallStatus(StrEnum):
    """The state or result of a call."""

    RUNNING = "RUNNING"
    """The call has claimed the case, and its end is not recorded yet."""
    SUCCEEDED = "SUCCEEDED"
    """The handler accepted."""
    REJECTED = "REJECTED"
    """The handler said that incorrect data was sent."""
    FAILED = "FAILED"
    """The handler failed, was lost, missed its deadline, or decided on a response that cannot be rendered."""
    INTERRUPTED = "INTERRUPTED"
    """The lease ended before a result was recorded: the server process died or lost the store."""
    NOT_STARTED = "NOT_STARTED"
    """The handler provably never started. The case is open again."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CallFailure(StrEnum):
    """The reason why a call has no result of its handler."""

    HANDLER_ERROR = "HANDLER_ERROR"
    """The handler returned an error. The caller gets a 502."""
    HANDLER_LOST = "HANDLER_LOST"
    """The connection broke after the handler got the call. The caller gets a 503."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The handler missed its deadline. The caller gets a 504."""
    INVALID_RESPONSE = "INVALID_RESPONSE"
    """The response that the handler decided on cannot be rendered. The caller gets a 502."""
    HANDLER_UNREACHABLE = "HANDLER_UNREACHABLE"
    """There was no connection to the handler, or no worker accepted the call before the deadline, so the handler never
    started. The caller gets a 503 with `Retry-After`."""
    NO_HANDLER = "NO_HANDLER"
    """No handler of the activity takes notifications. Only an attempt to deliver one fails so."""
    TOO_LARGE = "TOO_LARGE"
    """Workers serve the activity, and none that is connected takes a message as large as the call (`max_message_bytes`
    of Hello); or the handler is a URL, and what it is told in a header is too large. The handler never started. The
    caller gets a 503 with `Retry-After`."""
    WORKERS_LOST = "WORKERS_LOST"
    """The streams of two workers were lost while the call was offered to them, before it began. It is offered to no
    other worker: it may be the cause. The caller gets a 503. A delivery is DEAD at once."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class WarningReason(StrEnum):
    """The kind of a warning."""

    ACTIVITY_NOT_SERVED = "ACTIVITY_NOT_SERVED"
    """No worker serves the activity now, and no target is configured for it. Until a worker does, a caller gets a 503,
    and a delivery of an ACK case waits."""
    NOTIFICATIONS_NOT_SERVED = "NOTIFICATIONS_NOT_SERVED"
    """The case has `notify`, no worker takes the notifications of the activity now, and no target is configured for it,
    or one that is a URL without `notifications`. Until a handler takes them, its notifications wait."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CallFilter(StrEnum):
    """Selects calls of all cases of an owner."""

    WAITING = "WAITING"
    """Selects held calls that wait for their answer."""
    DEAD = "DEAD"
    """Selects calls and notifications whose delivery is DEAD, except erased ones, which cannot be replayed."""
    PENDING = "PENDING"
    """Selects calls and notifications whose delivery waits for its next attempt, those of an ordered case only if they
    are first. It requires an activity, and the latest next attempt comes first."""
    ENDED = "ENDED"
    """Selects calls that have ended and have no delivery to run, those whose delivery is DEAD among them. The call that
    ended last comes first."""


class CallEventType(StrEnum):
    """The kind of a change."""

    CASE_CREATED = "CASE_CREATED"
    """A URL was generated."""
    RESPONSE_SET = "RESPONSE_SET"
    """The response of the case was replaced."""
    CASE_CLOSED = "CASE_CLOSED"
    """The case closed for another reason than the end of a call."""
    CALL_STARTED = "CALL_STARTED"
    """A call claimed the case; a held call now waits for its answer. A call that the server itself responds to
    (`record`, ACK) has only a CALL_ENDED event."""
    CALL_ENDED = "CALL_ENDED"
    """A call ended."""
    DELIVERY_CHANGED = "DELIVERY_CHANGED"
    """A delivery became due, was attempted, or ended. A REMINDER that is dropped because its case closes or is resolved
    has no event of its own."""
    CALLER_GONE = "CALLER_GONE"
    """The caller of a call did not get its response."""
    CASE_EXTENDED = "CASE_EXTENDED"
    """The `expire_time` of the case was set."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class ActivityKind(StrEnum):
    """How an activity is served."""

    BUILT_IN = "BUILT_IN"
    """The server answers (`record`), or holds the calls for a person (`form`)."""
    PUSH = "PUSH"
    """The server sends the calls to the target in its configuration."""
    WORKERS = "WORKERS"
    """The workers that serve it take the calls. There may be none."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class FindingLevel(StrEnum):
    """How severe a finding is."""

    OK = "OK"
    """The check passed."""
    WARNING = "WARNING"
    """It works, but needs attention."""
    PROBLEM = "PROBLEM"
    """It does not work, or breaks a promise."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""


class CheckOutcome(StrEnum):
    """The outcome of a check."""

    PASSES = "PASSES"
    """It passes."""
    HANDSHAKE = "HANDSHAKE"
    """It is a handshake, which is answered without a call."""
    FAILS = "FAILS"
    """It does not pass."""
    REDACTED = "REDACTED"
    """It cannot be told, because not all of the request was recorded: servers leave out secrets that are sent in plain
    text, and what their settings or an owner have erased."""
    UNKNOWN = "UNKNOWN"
    """A value that this version of the client does not know."""
