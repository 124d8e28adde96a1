"""Every refusal of the control plane, with its reason and facts.

The reasons are those of `callback/v1/error_reason.proto` (a test compares them). No gRPC codes and no HTTP here:
`rpc/status.py` and the edge's table map them, once each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class CallbackError(Exception):
    """A refusal. Its text is for the caller: it names nothing internal and no secret."""

    reason: ClassVar[str]
    retry_after_s: int | None = None
    """When the same request may be sent again, in seconds. None: do not."""

    def __init__(self, message: str, **facts: str) -> None:
        super().__init__(message)
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request."""

    field: str
    """Path of the field, in the proto's names, like `response.response_headers.headers[0].name`."""
    rule: str
    """Stable name of the rule that it breaks."""
    message: str
    """What is wrong with it, in words."""


class InvalidRequestError(CallbackError):
    """The request is wrong in itself; every bad field is listed."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: list[Violation]) -> None:
        told = [f"{each.field}: {each.message}" if each.field else each.message for each in violations[:3]]
        more = [f"and {len(violations) - 3} more"] if len(violations) > 3 else []
        super().__init__("; ".join(told + more))
        self.violations = violations


class RequestIdReusedError(CallbackError):
    """A case with this request_id and other content exists."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self) -> None:
        super().__init__("a case with this request_id and other content exists; use a new request_id")


class RequestIdUnsupportedError(CallbackError):
    """The server has no key from which a URL could be made twice."""

    reason = "REQUEST_ID_UNSUPPORTED"

    def __init__(self) -> None:
        super().__init__("this server has no state_key, so it can not give the same URL twice; leave request_id empty")


class CaseNotFoundError(CallbackError):
    """No such case, or somebody else's: the two are not told apart."""

    reason = "CALLBACK_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("no such callback")


class CallNotFoundError(CallbackError):
    """No such call, or somebody else's, or no longer kept."""

    reason = "CALL_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("no such call")


class CaseClosedError(CallbackError):
    """The case is closed."""

    reason = "CALLBACK_CLOSED"

    def __init__(self, close_reason: str) -> None:
        super().__init__("the callback is closed", close_reason=close_reason)


class StateUnknownError(CallbackError):
    """No case is reached by this state in this form."""

    reason = "STATE_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("no callback is reached by this state")


class CallInProgressError(CallbackError):
    """Another call is running on a single-use case."""

    reason = "CALL_IN_PROGRESS"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("another call is running on this callback")


class CallFailedError(CallbackError):
    """A call was made and has no result of its handler."""

    def __init__(self, call_id: str) -> None:
        super().__init__(self.text, call_id=call_id)

    text: ClassVar[str]


class HandlerFailedError(CallFailedError):
    """The handler answered with an error."""

    reason = "HANDLER_FAILED"
    text = "the handler failed"


class ResponseInvalidError(CallFailedError):
    """The handler's answer can not be rendered."""

    reason = "RESPONSE_INVALID"
    text = "the handler's answer can not be rendered"


class HandlerDeadlineExceededError(CallFailedError):
    """The handler missed its deadline."""

    reason = "HANDLER_DEADLINE_EXCEEDED"
    text = "the handler missed its deadline"


class HandlerNotStartedError(CallFailedError):
    """The handler never started; the case is open again."""

    reason = "HANDLER_NOT_STARTED"
    retry_after_s = 5
    text = "the handler could not be reached and was not started"


class HandlerLostError(CallFailedError):
    """The connection broke after the handler was asked."""

    reason = "HANDLER_LOST"
    text = "the handler was lost after it was asked"


class StoreUnavailableError(CallbackError):
    """The store can not be reached or refuses to work; a call was not made."""

    reason = "STORE_UNAVAILABLE"
    retry_after_s = 5

    def __init__(self) -> None:
        super().__init__("the store can not be reached")


class OutcomeUnknownError(CallbackError):
    """The store did not answer in time: whether the call was made, or its result kept, is not known."""

    reason = "OUTCOME_UNKNOWN"

    def __init__(self, call_id: str) -> None:
        super().__init__("it is not known what became of the call", call_id=call_id)


class TooManyCallsError(CallbackError):
    """The process runs as many calls as it may."""

    reason = "TOO_MANY_CALLS"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("too many calls are running")


class ServerStoppingError(CallbackError):
    """The process takes no new calls."""

    reason = "SERVER_STOPPING"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("the server is stopping")


class UnauthenticatedError(CallbackError):
    """Nobody that is known: no credential, a wrong one, or one that has expired."""

    reason = "UNAUTHENTICATED"


class RoleMissingError(CallbackError):
    """The principal is known and may not do this."""

    reason = "ROLE_MISSING"

    def __init__(self, principal: str, role: str) -> None:
        super().__init__(f"{principal} does not have the role {role}", role=role)


class TooManyOpenCasesError(CallbackError):
    """The owner has as many cases that are not closed as it may."""

    reason = "TOO_MANY_OPEN_CALLBACKS"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"there are {limit} callbacks that are not closed, and no more are allowed; close some, or let them expire",
            limit=str(limit),
        )


class VerificationFailedError(CallbackError):
    """The request does not pass the case's verification profile."""

    reason = "VERIFICATION_FAILED"

    def __init__(self, challenge: str) -> None:
        """`challenge` is what `WWW-Authenticate` says."""
        super().__init__("the request does not pass the verification", challenge=challenge)


class VerificationUnavailableError(CallbackError):
    """The case's verification profile is not declared on this server."""

    reason = "VERIFICATION_UNAVAILABLE"
    retry_after_s = 60

    def __init__(self) -> None:
        super().__init__("the verification can not be done")


class ConfirmationRequiredError(CallbackError):
    """A person must confirm first."""

    reason = "CONFIRMATION_REQUIRED"

    def __init__(self) -> None:
        super().__init__("a person must confirm first")


class AgentDetectedError(CallbackError):
    """The request is from a program that looks at links."""

    reason = "AGENT_DETECTED"

    def __init__(self) -> None:
        super().__init__("this is for people")


class CallAnsweredError(CallbackError):
    """The call has another answer already, or ended without one."""

    reason = "CALL_ANSWERED"

    def __init__(self, status: str) -> None:
        super().__init__("the call has ended already, otherwise", status=status)


class CallNotHeldError(CallbackError):
    """The call's handler answers it, or has; its case does not hold calls."""

    reason = "CALL_NOT_HELD"

    def __init__(self, *, has_ended: bool) -> None:
        if has_ended:
            super().__init__("the call has ended, and was not one that waits for an answer from outside")
        else:
            super().__init__("the call does not wait for an answer from outside: its handler answers it")


class CallNotReplayableError(CallbackError):
    """The call is running, its request is not kept whole or was erased, or its activity has no handler."""

    reason = "CALL_NOT_REPLAYABLE"

    def __init__(self, why: str) -> None:
        super().__init__(f"the call can not be replayed: {why}")


class WatchPositionLostError(CallbackError):
    """Events after the resume token are no longer kept."""

    reason = "WATCH_POSITION_LOST"

    def __init__(self) -> None:
        super().__init__("events after the resume_token are no longer kept; read the state, then watch without a token")


class WatcherTooSlowError(CallbackError):
    """The watcher reads more slowly than events come."""

    reason = "WATCHER_TOO_SLOW"

    def __init__(self) -> None:
        super().__init__("events come faster than they are read; watch again with the last resume_token")


class TooManyWatchersError(CallbackError):
    """As many watch at this process as may, in all or of this principal."""

    reason = "TOO_MANY_WATCHERS"

    def __init__(self) -> None:
        super().__init__("too many watch already")


class ActivityNotAllowedError(CallbackError):
    """The principal may not work on an activity that it announces."""

    reason = "ACTIVITY_NOT_ALLOWED"

    def __init__(self, principal: str, activity: str) -> None:
        super().__init__(f"{principal} may not work on {activity}", activity=activity)


class TooManyRequestsError(CallbackError):
    """More calls on the case, or on all cases of its owner, than are allowed in this time."""

    reason = "TOO_MANY_REQUESTS"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many calls in this time")
        self.retry_after_s = retry_after_s
