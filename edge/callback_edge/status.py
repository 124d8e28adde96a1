"""Every refusal a caller can meet: one table from reason to HTTP status, and what people read.

1. `code` is stable and for programs: the `ErrorReason` in lower case, or a word of the edge's own.
2. `heading` and `text` are for the person in front of the browser. They never show internals.
3. Whether a `Retry-After` goes with it is not decided here: who refuses knows whether trying again makes sense.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of refusal."""

    code: str
    """For programs: lower case, never changed once released."""
    status: int
    """The HTTP status."""
    heading: str
    """For people: what is the matter, in a few words."""
    text: str
    """For people: what that means and what can be done."""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not always an error
    """Ends the handling of a request with a problem as its answer."""

    def __init__(
        self, problem: Problem, *, retry_after_s: int | None = None, call_id: str = "", challenge: str = ""
    ) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.retry_after_s = retry_after_s
        """What `Retry-After` says, in seconds; None leaves it out."""
        self.call_id = call_id
        """The call that failed, for the log. Empty if none was made."""
        self.challenge = challenge
        """What `WWW-Authenticate` says: a 401 has one (RFC 9110, section 15.5.2), nothing else has."""


_TRY_AGAIN = "Nothing was done. Please try again in a moment."
_UNCLEAR = "It is not certain whether it was processed. Please check with the organisation that sent you here."

NOT_FOUND: Final = Problem("not_found", 404, "Page not found", "There is nothing at this address.")
METHOD_NOT_ALLOWED: Final = Problem(
    "method_not_allowed", 405, "Method not allowed", "This address can not be used in this way."
)
PREFETCH_REFUSED: Final = Problem(
    "prefetch_refused", 503, "Not opened in advance", "This link is not opened in advance. Please open it yourself."
)
STATE_MISSING: Final = Problem(
    "state_missing", 400, "Incomplete address", "The address or form lacks the value that says what it belongs to."
)
STATE_REPEATED: Final = Problem(
    "state_repeated", 400, "Ambiguous address", "The value that says what this belongs to was given more than once."
)
STATE_CONTRADICTORY: Final = Problem(
    "state_contradictory",
    400,
    "Ambiguous address",
    "The address and the form say that they belong to different things.",
)
BODY_TIMEOUT: Final = Problem(
    "body_timeout", 408, "Request took too long", "The request did not arrive in time. Please try again."
)
BODY_TOO_LARGE: Final = Problem("body_too_large", 413, "Request too large", "The request is larger than is accepted.")
HEAD_TOO_LARGE: Final = Problem(
    "head_too_large", 431, "Request head too large", "The address and header fields are larger than is accepted."
)
BAD_REQUEST: Final = Problem("bad_request", 400, "Bad request", "The request is not well-formed HTTP/1.1.")
NOT_IMPLEMENTED: Final = Problem(
    "not_implemented", 501, "Not implemented", "The request asks for what is not supported."
)
VERSION_NOT_SUPPORTED: Final = Problem(
    "http_version_not_supported", 505, "HTTP version not supported", "Only HTTP/1.1 and HTTP/1.0 are supported."
)
SERVER_UNREACHABLE: Final = Problem("server_unreachable", 503, "Temporarily unavailable", _TRY_AGAIN)
EDGE_REFUSED: Final = Problem("edge_refused", 503, "Temporarily unavailable", _TRY_AGAIN)
"""The server takes no calls from this edge: UNAUTHENTICATED, ROLE_MISSING. For the caller that is nobody's fault."""
STATE_UNKNOWN: Final = Problem(
    "state_unknown",
    404,
    "Link not found",
    "This link does not exist or is no longer kept. Please check that the address is complete.",
)
CALLBACK_CLOSED: Final = Problem(
    "callback_closed",
    410,
    "This link can no longer be used",
    "It was used already, was closed, or has expired.",
)
RESPONSE_INVALID: Final = Problem(
    "response_invalid",
    502,
    "No usable answer",
    "The request was processed, but the answer to it can not be shown.",
)
VERIFICATION_FAILED: Final = Problem(
    "verification_failed", 401, "Not verified", "It could not be verified who sent this request. Nothing was done."
)
TOO_MANY_REQUESTS: Final = Problem(
    "too_many_requests", 429, "Too many requests", "There were too many requests in a short time. " + _TRY_AGAIN
)
CONFIRMATION_REQUIRED: Final = Problem(
    "confirmation_required", 200, "Please confirm", "Nothing was done yet. Please confirm that you want to go on."
)
AGENT_DETECTED: Final = Problem("agent_detected", 200, "A link for people", "Please open this link in a browser.")
OUTCOME_UNKNOWN: Final = Problem("outcome_unknown", 503, "No answer yet", _UNCLEAR)
INTERNAL: Final = Problem("internal", 500, "Something went wrong", "An error occurred on our side. " + _UNCLEAR)

BY_REASON: Final[Mapping[str, Problem]] = {
    "STATE_UNKNOWN": STATE_UNKNOWN,
    "CALLBACK_CLOSED": CALLBACK_CLOSED,
    "CALL_IN_PROGRESS": Problem(
        "call_in_progress",
        409,
        "Already being processed",
        "This link is being processed at this moment. Please wait a moment before trying again.",
    ),
    "HANDLER_FAILED": Problem(
        "handler_failed",
        502,
        "Could not be processed",
        "The request arrived, but an error occurred while processing it.",
    ),
    "RESPONSE_INVALID": RESPONSE_INVALID,
    "HANDLER_DEADLINE_EXCEEDED": Problem("handler_deadline_exceeded", 504, "No answer in time", _UNCLEAR),
    "HANDLER_NOT_STARTED": Problem("handler_not_started", 503, "Temporarily unavailable", _TRY_AGAIN),
    "HANDLER_LOST": Problem("handler_lost", 503, "No answer", _UNCLEAR),
    "STORE_UNAVAILABLE": Problem("store_unavailable", 503, "Temporarily unavailable", _TRY_AGAIN),
    "OUTCOME_UNKNOWN": OUTCOME_UNKNOWN,
    "TOO_MANY_CALLS": Problem("too_many_calls", 503, "Very busy", _TRY_AGAIN),
    "TOO_MANY_REQUESTS": TOO_MANY_REQUESTS,
    "VERIFICATION_FAILED": VERIFICATION_FAILED,
    "VERIFICATION_UNAVAILABLE": Problem("verification_unavailable", 503, "Temporarily unavailable", _TRY_AGAIN),
    "CONFIRMATION_REQUIRED": CONFIRMATION_REQUIRED,
    "AGENT_DETECTED": AGENT_DETECTED,
    "SERVER_STOPPING": Problem("server_stopping", 503, "Temporarily unavailable", _TRY_AGAIN),
    "INTERNAL": INTERNAL,
}
"""By the `reason` of the server's `ErrorInfo`. What it does not hold, Invoke does not say of a call: take it for
INTERNAL."""


def seen_from(problem: Problem, *, shared_address: bool) -> Problem:
    """Return the problem as a caller at this kind of address may see it.

    A `/cbq/` address is shared by many cases, and a 410 would make some senders give it up for all of them: there a
    closed case can not be told from one that never was.
    """
    return STATE_UNKNOWN if shared_address and problem is CALLBACK_CLOSED else problem
