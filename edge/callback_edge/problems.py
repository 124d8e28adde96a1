"""Every refusal a caller can meet: one table from reason to HTTP status.

1. `code` is stable and for programs: the `ErrorReason` in lower case, or a word of the edge's own.
2. What people read is in `templates/texts.LANGUAGE.toml`, by the code. It never shows internals.
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
    """The HTTP status. 200 is a page for whoever asks: nothing went wrong, and nothing was done."""
    shared_entry: str = ""
    """Which entry of the texts it shares with others. Empty: its code names its own."""

    @property
    def entry(self) -> str:
        """What names its texts."""
        return self.shared_entry or self.code


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


NOT_FOUND: Final = Problem("not_found", 404)
METHOD_NOT_ALLOWED: Final = Problem("method_not_allowed", 405)
PREFETCH_REFUSED: Final = Problem("prefetch_refused", 503)
STATE_MISSING: Final = Problem("state_missing", 400)
STATE_REPEATED: Final = Problem("state_repeated", 400)
STATE_CONTRADICTORY: Final = Problem("state_contradictory", 400)
BODY_TIMEOUT: Final = Problem("body_timeout", 408)
BODY_TOO_LARGE: Final = Problem("body_too_large", 413)
HEAD_TOO_LARGE: Final = Problem("head_too_large", 431)
BAD_REQUEST: Final = Problem("bad_request", 400)
NOT_IMPLEMENTED: Final = Problem("not_implemented", 501)
VERSION_NOT_SUPPORTED: Final = Problem("http_version_not_supported", 505)
SERVER_UNREACHABLE: Final = Problem("server_unreachable", 503, "unavailable")
EDGE_REFUSED: Final = Problem("edge_refused", 503, "unavailable")
"""The server takes no calls from this edge: UNAUTHENTICATED, ROLE_MISSING. For the caller that is nobody's fault."""
STATE_UNKNOWN: Final = Problem("state_unknown", 404)
CALLBACK_CLOSED: Final = Problem("callback_closed", 410)
RESPONSE_INVALID: Final = Problem("response_invalid", 502)
VERIFICATION_FAILED: Final = Problem("verification_failed", 401)
TOO_MANY_CALLS: Final = Problem("too_many_calls", 503, "busy")
TOO_MANY_REQUESTS: Final = Problem("too_many_requests", 429)
CONFIRMATION_REQUIRED: Final = Problem("confirmation_required", 200)
AGENT_DETECTED: Final = Problem("agent_detected", 200)
OUTCOME_UNKNOWN: Final = Problem("outcome_unknown", 503)
INTERNAL: Final = Problem("internal", 500)

BY_REASON: Final[Mapping[str, Problem]] = {
    "STATE_UNKNOWN": STATE_UNKNOWN,
    "CALLBACK_CLOSED": CALLBACK_CLOSED,
    "CALL_IN_PROGRESS": Problem("call_in_progress", 409),
    "HANDLER_FAILED": Problem("handler_failed", 502),
    "RESPONSE_INVALID": RESPONSE_INVALID,
    "HANDLER_DEADLINE_EXCEEDED": Problem("handler_deadline_exceeded", 504, "outcome_unknown"),
    "HANDLER_NOT_STARTED": Problem("handler_not_started", 503, "unavailable"),
    "HANDLER_LOST": Problem("handler_lost", 503, "outcome_unknown"),
    "STORE_UNAVAILABLE": Problem("store_unavailable", 503, "unavailable"),
    "OUTCOME_UNKNOWN": OUTCOME_UNKNOWN,
    "TOO_MANY_CALLS": TOO_MANY_CALLS,
    "TOO_MANY_REQUESTS": TOO_MANY_REQUESTS,
    "VERIFICATION_FAILED": VERIFICATION_FAILED,
    "VERIFICATION_UNAVAILABLE": Problem("verification_unavailable", 503, "unavailable"),
    "CONFIRMATION_REQUIRED": CONFIRMATION_REQUIRED,
    "AGENT_DETECTED": AGENT_DETECTED,
    "SERVER_STOPPING": Problem("server_stopping", 503, "unavailable"),
    "INTERNAL": INTERNAL,
}
"""By the `reason` of the server's `ErrorInfo`. What it does not hold, Invoke does not say of a call: take it for
INTERNAL."""

ALL: Final = frozenset(each for each in (*globals().values(), *BY_REASON.values()) if isinstance(each, Problem))
"""Every problem there is."""


def seen_from(problem: Problem, *, shared_address: bool) -> Problem:
    """Return the problem as a caller at this kind of address may see it.

    A `/cbq/` address is shared by many cases, and a 410 would make some senders give it up for all of them: there a
    closed case can not be told from one that never was.
    """
    return STATE_UNKNOWN if shared_address and problem is CALLBACK_CLOSED else problem
