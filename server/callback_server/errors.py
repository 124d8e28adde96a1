"""Every error that the control plane returns to a client, with its reason and metadata.

The reasons are those of `callback/v1/error_reason.proto`, and a test compares them. `rpc/status.py` maps them to gRPC
codes, and the edge maps them to HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class CallbackError(Exception):
    """An error for the client. Its text contains nothing internal and no secret."""

    reason: ClassVar[str]
    message = ""
    """The text, where it is always the same."""
    retry_after_s: int | None = None
    """Value of `RetryInfo`, in seconds. None: the error carries no retry advice."""
    limit = ""
    """The setting whose limit is exceeded, for operators. Empty: none is."""
    owner = ""
    """The owner that has reached the limit, for operators. Empty: all have together, or no limit is exceeded."""

    def __init__(self, message: str = "", **facts: str) -> None:
        super().__init__(message or self.message)
        self.facts = facts
        """The metadata of the error."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request."""

    field: str
    """Path of the field, in the proto's names, like `response.response_headers.headers[0].name`."""
    rule: str
    """Stable name of the broken rule."""
    message: str
    """A sentence about the problem."""


class InvalidRequestError(CallbackError):
    """The request is invalid; every bad field is listed."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: list[Violation]) -> None:
        described = [f"{each.field}: {each.message}" if each.field else each.message for each in violations[:3]]
        more = [f"and {len(violations) - 3} more"] if len(violations) > 3 else []
        super().__init__("; ".join(described + more))
        self.violations = violations


class RequestIdReusedError(CallbackError):
    """A case with this request_id and other content exists."""

    reason = "REQUEST_ID_REUSED"
    message = "a case with this request_id and other content exists; use a new request_id"


class CorrelationKeyInUseError(CallbackError):
    """Another case of the endpoint and correlation key is not closed."""

    reason = "CORRELATION_KEY_IN_USE"
    message = "another callback of this endpoint and correlation_key is not closed yet"

    def __init__(self, case_id: str) -> None:
        super().__init__(case_id=case_id)


class EndpointNotFoundError(CallbackError):
    """The endpoint does not exist, or belongs to another owner: the error is the same for both."""

    reason = "ENDPOINT_NOT_FOUND"
    message = "no such endpoint"


class RequestIdUnsupportedError(CallbackError):
    """The server has no key to derive the URL of a request_id from."""

    reason = "REQUEST_ID_UNSUPPORTED"
    message = (
        "a request_id needs the setting state_key_file, which is not set: in [server] of the settings file, or in "
        "CALLBACK_STATE_KEY_FILE"
    )


class CaseNotFoundError(CallbackError):
    """The case does not exist, or belongs to another owner: the error is the same for both."""

    reason = "CALLBACK_NOT_FOUND"
    message = "no such callback"


class CallNotFoundError(CallbackError):
    """The call does not exist, belongs to another owner, or is no longer kept."""

    reason = "CALL_NOT_FOUND"
    message = "no such call"


class CaseClosedError(CallbackError):
    """The case is closed."""

    reason = "CALLBACK_CLOSED"
    message = "the callback is closed"

    def __init__(self, close_reason: str) -> None:
        super().__init__(close_reason=close_reason)


class StateUnknownError(CallbackError):
    """No case has this state with this kind of URL."""

    reason = "STATE_UNKNOWN"
    message = "no callback has this state with this kind of URL"


class CallInProgressError(CallbackError):
    """Another call is running on a single-use case."""

    reason = "CALL_IN_PROGRESS"
    retry_after_s = 1
    message = "another call is running on this callback"


class CallFailedError(CallbackError):
    """A call ran, and its handler returned no decision."""

    def __init__(self, call_id: str, *, is_open: bool = False) -> None:
        super().__init__(call_id=call_id, **({"callback_open": "true"} if is_open else {}))


class HandlerFailedError(CallFailedError):
    """The handler returned an error."""

    reason = "HANDLER_FAILED"
    message = "the handler failed"


class ResponseInvalidError(CallFailedError):
    """The response that the handler decided on cannot be rendered."""

    reason = "RESPONSE_INVALID"
    message = "the response that the handler decided on cannot be rendered"


class HandlerDeadlineExceededError(CallFailedError):
    """The handler missed its deadline."""

    reason = "HANDLER_DEADLINE_EXCEEDED"
    message = "the handler missed its deadline"


class CallNotAnsweredError(CallFailedError):
    """A held call was not answered within the hold_time of its callback."""

    reason = "CALL_NOT_ANSWERED"
    message = "the call was not answered in time"


class HandlerNotStartedError(CallFailedError):
    """The handler never started; the case is open again."""

    reason = "HANDLER_NOT_STARTED"
    retry_after_s = 5
    message = "the handler could not be reached and was not started"


class HandlerLostError(CallFailedError):
    """The connection broke after the handler got the call, or the streams of two workers before it began."""

    reason = "HANDLER_LOST"
    message = "the connection to the handler broke during the call"


class AnswerNotRepeatedError(CallbackError):
    """The request is a repeat, and the answer of its call is no longer kept or must not be given twice."""

    reason = "ANSWER_NOT_REPEATED"
    message = "the request was answered before, and its answer cannot be given again"


class StoreUnavailableError(CallbackError):
    """The store cannot be reached or refuses commands. No call ran."""

    reason = "STORE_UNAVAILABLE"
    retry_after_s = 5
    message = "the store cannot be reached"

    def __init__(self, *, is_full: bool = False) -> None:
        super().__init__("the store is full: it refuses what is new" if is_full else "")


class OutcomeUnknownError(CallbackError):
    """The store did not reply in time. It is not known whether the call ran, or whether its result is recorded."""

    reason = "OUTCOME_UNKNOWN"
    message = "the outcome of the call is not known"

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id=call_id)
        self.call_id = call_id
        """The call whose outcome it is. Empty: the request is no call."""


class TooManyCallsError(CallbackError):
    """The process has its most calls, or bytes of bodies, in flight, or its last slots are kept for other owners."""

    reason = "TOO_MANY_CALLS"
    message = "too many calls are running, or too many bytes of them are in flight or recorded"
    retry_after_s = 1

    def __init__(self, limit: str, owner: str = "") -> None:
        super().__init__()
        self.limit = limit
        self.owner = owner


class ServerStoppingError(CallbackError):
    """The process accepts no new work."""

    reason = "SERVER_STOPPING"
    retry_after_s = 1
    message = "the server is stopping"


class UnauthenticatedError(CallbackError):
    """The request has no credential, or an unknown or expired one."""

    reason = "UNAUTHENTICATED"


class RevokedError(UnauthenticatedError):
    """The credential, or its principal, is revoked: what uses it ends now."""


class SubjectUnknownError(UnauthenticatedError):
    """The ID token is valid, and no principal has its subject."""

    reason = "SUBJECT_UNKNOWN"

    def __init__(self, issuer: str, subject: str) -> None:
        super().__init__(
            f"no principal has the subject {subject} of {issuer}; add it to an entry in the principals file"
        )


class IssuerUnavailableError(CallbackError):
    """The keys of the issuer of an ID token are not known now, so the token is neither accepted nor refused."""

    reason = "ISSUER_UNAVAILABLE"
    retry_after_s = 1
    message = "the keys of the token's issuer are not known yet"


class RoleMissingError(CallbackError):
    """The principal is known, and does not have the role."""

    reason = "ROLE_MISSING"

    def __init__(self, principal: str, role: str, *, advice: str = "") -> None:
        super().__init__(f"{principal} does not have the role {role}{advice}", role=role)


class TooManyOpenCasesError(CallbackError):
    """The owner has its maximum number of cases that are not closed."""

    reason = "TOO_MANY_OPEN_CALLBACKS"
    limit = "max_open_cases_per_owner"

    def __init__(self, limit: int, owner: str) -> None:
        self.owner = owner
        super().__init__(
            f"the limit of {limit} open callbacks is reached; close some, or let them expire",
            limit=str(limit),
        )


class ProfileNotFoundError(CallbackError):
    """The principal has no such verification profile."""

    reason = "PROFILE_NOT_FOUND"
    message = "no such verification profile"


class ProfileExistsError(CallbackError):
    """The principal has another verification profile of this name."""

    reason = "PROFILE_EXISTS"
    message = "a verification profile of this name exists, and it is another one; update or delete it"


class TooManyProfilesError(CallbackError):
    """The owner has as many verification profiles as it can have."""

    reason = "TOO_MANY_PROFILES"
    limit = "max_profiles_per_owner"

    def __init__(self, limit: int, owner: str) -> None:
        self.owner = owner
        super().__init__(f"the limit of {limit} verification profiles is reached; delete some", limit=str(limit))


class TooManyChecksError(CallbackError):
    """The owner has checked as many requests as it can in a minute."""

    reason = "TOO_MANY_CHECKS"

    def __init__(self, limit: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the limit of {limit} checks a minute is reached; check again later", limit=str(limit))


class ProfileUnusableError(CallbackError):
    """The server cannot use a verification profile. The text says why."""

    reason = "PROFILE_UNUSABLE"


class KeyringMissingError(CallbackError):
    """The server has no key under which it can store a secret."""

    reason = "KEYRING_MISSING"
    message = (
        "a profile needs the setting keyring_file, which is not set: in [server] of the settings file, or in "
        "CALLBACK_KEYRING_FILE"
    )


class VerificationFailedError(CallbackError):
    """The request does not pass the case's verification profile."""

    reason = "VERIFICATION_FAILED"
    message = "the request does not pass the verification"

    def __init__(self, challenge: str) -> None:
        """Create the error; `challenge` is the value of `WWW-Authenticate`."""
        super().__init__(challenge=challenge)


class VerificationUnavailableError(CallbackError):
    """The case's verification profile is not declared on this server, or its keys are not known yet."""

    reason = "VERIFICATION_UNAVAILABLE"

    def __init__(self, retry_after_s: int = 60) -> None:
        """Create the error. Keys that are fetched can be there sooner than a profile that an operator forgot."""
        self.retry_after_s = retry_after_s
        super().__init__("this server cannot verify requests to this callback")


class FeatureUnavailableError(CallbackError):
    """A callback needs a feature that a server of the store, of an earlier release, does not know."""

    reason = "FEATURE_UNAVAILABLE"
    retry_after_s = 60

    def __init__(self, feature: str) -> None:
        """Create the error; `feature` is the name of the feature."""
        super().__init__(f"a server of an earlier release does not know the feature {feature}", feature=feature)


class ConfirmationRequiredError(CallbackError):
    """A person must confirm first."""

    reason = "CONFIRMATION_REQUIRED"
    message = "a person must confirm first"

    def __init__(self, prompt: object = None) -> None:
        """Create the error with the `Prompt` of the case. None: the page asks whether to continue."""
        super().__init__()
        self.prompt = prompt


class ChoiceRequiredError(CallbackError):
    """The case has choices, and the request is none of them."""

    reason = "CHOICE_REQUIRED"
    message = "a person must make a choice on the page of the callback"


class FieldsInvalidError(CallbackError):
    """What was filled in does not fit the fields of the case's prompt."""

    reason = "FIELDS_INVALID"
    message = "what was filled in does not fit the fields of the callback"

    def __init__(self, prompt: object, violations: list[Violation]) -> None:
        """Create the error with the `Prompt`, which has what was entered, and a violation for each bad field."""
        super().__init__()
        self.prompt = prompt
        self.violations = violations


class QueryTooLongError(CallbackError):
    """The handler of the activity is a URL, and this query is too long to be sent to it."""

    reason = "QUERY_TOO_LONG"
    message = "the query of the request is longer than its handler can get"


class AgentDetectedError(CallbackError):
    """The request is from a program that opens links."""

    reason = "AGENT_DETECTED"
    message = "the request comes from a program that opens links"


class CallAnsweredError(CallbackError):
    """The call already has another answer, or ended without one."""

    reason = "CALL_ANSWERED"
    message = "the call has already ended, with another answer or without one"

    def __init__(self, status: str) -> None:
        super().__init__(status=status)


class CallNotHeldError(CallbackError):
    """The call is not held: its handler decides on it, or has decided. Or the case holds no calls."""

    reason = "CALL_NOT_HELD"

    def __init__(self, *, has_ended: bool | None = None) -> None:
        """Create the error; `has_ended` says whether the call has ended. None: the error is about a case."""
        if has_ended is None:
            super().__init__("the callback does not hold calls: its answer_mode is not HOLD")
        elif has_ended:
            super().__init__("the call has ended, and it was not a held call")
        else:
            super().__init__("the call is not held: its handler decides on it")


class CaseResolvedError(CallbackError):
    """The case already has another answer."""

    reason = "CALLBACK_RESOLVED"
    message = "the callback has been resolved with another answer"


class CallNotReplayableError(CallbackError):
    """The call is running, its request is not kept whole or was erased, or its activity has no handler."""

    reason = "CALL_NOT_REPLAYABLE"

    def __init__(self, why: str) -> None:
        super().__init__(f"the call cannot be replayed: {why}")


class WatchPositionLostError(CallbackError):
    """Events after the resume token are no longer kept."""

    reason = "WATCH_POSITION_LOST"
    message = "events after the resume_token are no longer kept; list the callbacks, then watch without a token"


class WatcherTooSlowError(CallbackError):
    """The watcher reads events more slowly than they are written."""

    reason = "WATCHER_TOO_SLOW"
    message = "events are read more slowly than they are written; watch again with the last resume_token"


class TooManyWatchersError(CallbackError):
    """The process has its maximum number of watchers, in total or of this principal."""

    reason = "TOO_MANY_WATCHERS"
    message = "there are too many watchers"


class ActivityNotAllowedError(CallbackError):
    """The principal may not serve an activity that it announces, or have callbacks of an activity."""

    reason = "ACTIVITY_NOT_ALLOWED"

    def __init__(self, principal: str, activity: str, *, purpose: str) -> None:
        advice = "add it to the activities of its entry in the principals file"
        super().__init__(f"{principal} may not {purpose} {activity}; {advice}", activity=activity)


class TooManyRequestsError(CallbackError):
    """A rate limit of the case, or a limit of its owner on calls or on request bodies in flight, is exceeded."""

    reason = "TOO_MANY_REQUESTS"

    def __init__(self, retry_after_s: int, limit: str, owner: str) -> None:
        super().__init__("too many calls at a time or in a short time, or too many bytes of request bodies in flight")
        self.retry_after_s = retry_after_s
        self.limit = limit
        self.owner = owner
