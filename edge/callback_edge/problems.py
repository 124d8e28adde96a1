"""Table of problems: every refusal that a caller can get, with its HTTP status.

1. `code` is stable and for programs: the server's `ErrorReason` in lower case, or a code of the edge's own. The status
   of a reason is that of the contract.
2. The texts for people are in `pages/templates/texts.LANGUAGE.toml`, by the code. They never show internals.
3. The code that raises a `ProblemError` decides about `Retry-After`: only it knows whether to try again makes sense.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from callback.v1 import error_reason_pb2, options_pb2
from callback_edge.page_content import PromptContent


@dataclass(frozen=True, slots=True)
class Problem:
    """Kind of refusal."""

    code: str
    """Code for programs: lower case, never changed after a release."""
    status: int
    """HTTP status. 200 is a page for every client: nothing went wrong, and nothing was done. 202: the call goes on."""
    shared_text_key: str = ""
    """Text key that this problem shares with others. Empty: the code is the key."""

    @property
    def text_key(self) -> str:
        """Key of this problem's texts."""
        return self.shared_text_key or self.code


class ProblemError(Exception):
    """Ends the handling of a request; the problem is the answer."""

    def __init__(
        self,
        problem: Problem,
        *,
        retry_after_s: int | None = None,
        call_id: str = "",
        callback_open: bool = False,
        challenge: str = "",
        prompt: PromptContent | None = None,
    ) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.retry_after_s = retry_after_s
        """Value of `Retry-After`, in seconds. None omits the header."""
        self.call_id = call_id
        """ID of the call that failed, for the log. Empty if there is no call."""
        self.callback_open = callback_open
        """Whether the call has failed and its callback is open, so that it can be called again."""
        self.prompt = prompt
        """What the page of CONFIRMATION_REQUIRED or FIELDS_INVALID asks. None: whether to continue."""
        self.creator_traceparent = ""
        """Trace context that generated the callback of the call that failed. Empty: unknown."""
        self.challenge = challenge
        """Value of `WWW-Authenticate`, which every 401 has and no other answer (RFC 9110, section 15.5.2)."""


_SHARED_TEXT_KEYS: Final = {
    "HANDLER_DEADLINE_EXCEEDED": "outcome_unknown",
    "HANDLER_LOST": "outcome_unknown",
    "HANDLER_NOT_STARTED": "unavailable",
    "STORE_UNAVAILABLE": "unavailable",
    "VERIFICATION_UNAVAILABLE": "unavailable",
    "FEATURE_UNAVAILABLE": "unavailable",
    "SERVER_STOPPING": "unavailable",
    "TOO_MANY_CALLS": "busy",
}


def _by_reason() -> Iterator[tuple[str, Problem]]:
    """Yield the problem that each reason of the contract is to a caller, if callers can get it."""
    for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values:
        reason = value.name.removeprefix("ERROR_REASON_")
        if status := value.GetOptions().Extensions[options_pb2.http_status]:
            yield reason, Problem(reason.lower(), status, _SHARED_TEXT_KEYS.get(reason, ""))


BY_REASON: Final[Mapping[str, Problem]] = dict(_by_reason())
"""Problems by the `reason` of the server's `ErrorInfo`. The server returns no other reason for a call: treat any other
as INTERNAL."""

STATE_UNKNOWN: Final = BY_REASON["STATE_UNKNOWN"]
CALLBACK_CLOSED: Final = BY_REASON["CALLBACK_CLOSED"]
ANSWER_NOT_REPEATED: Final = BY_REASON["ANSWER_NOT_REPEATED"]
RESPONSE_INVALID: Final = BY_REASON["RESPONSE_INVALID"]
VERIFICATION_FAILED: Final = BY_REASON["VERIFICATION_FAILED"]
TOO_MANY_CALLS: Final = BY_REASON["TOO_MANY_CALLS"]
TOO_MANY_REQUESTS: Final = BY_REASON["TOO_MANY_REQUESTS"]
CONFIRMATION_REQUIRED: Final = BY_REASON["CONFIRMATION_REQUIRED"]
FEATURE_UNAVAILABLE: Final = BY_REASON["FEATURE_UNAVAILABLE"]
FIELDS_INVALID: Final = BY_REASON["FIELDS_INVALID"]
WITH_PROMPT: Final = frozenset((CONFIRMATION_REQUIRED, FIELDS_INVALID))
"""The problems that can have a prompt."""
OUTCOME_UNKNOWN: Final = BY_REASON["OUTCOME_UNKNOWN"]
INTERNAL: Final = BY_REASON["INTERNAL"]

NOT_FOUND: Final = Problem("not_found", 404)
METHOD_NOT_ALLOWED: Final = Problem("method_not_allowed", 405)
PREFETCH_REFUSED: Final = Problem("prefetch_refused", 503)
SERVICE_WORKER_REFUSED: Final = Problem("service_worker_refused", 403)
STATE_MISSING: Final = Problem("state_missing", 400)
STATE_REPEATED: Final = Problem("state_repeated", 400)
STATE_CONTRADICTORY: Final = Problem("state_contradictory", 400)
HEAD_TIMEOUT: Final = Problem("head_timeout", 408, "body_timeout")
BODY_TIMEOUT: Final = Problem("body_timeout", 408)
BODY_TOO_LARGE: Final = Problem("body_too_large", 413)
HEAD_TOO_LARGE: Final = Problem("head_too_large", 431)
BAD_REQUEST: Final = Problem("bad_request", 400)
NOT_IMPLEMENTED: Final = Problem("not_implemented", 501)
VERSION_NOT_SUPPORTED: Final = Problem("http_version_not_supported", 505)
SERVER_UNREACHABLE: Final = Problem("server_unreachable", 503, "unavailable")
EDGE_REFUSED: Final = Problem("edge_refused", 503, "unavailable")
"""The server refuses this edge: UNAUTHENTICATED or ROLE_MISSING. The caller sees an unavailable service."""
SHARED_ANSWER_NOT_REPEATED: Final = Problem("shared_answer_not_repeated", 404, "answer_not_repeated")
"""ANSWER_NOT_REPEATED at an address that many cases share."""
CALL_REJECTED: Final = Problem("call_rejected", 422)
"""The handler rejected the data, and gave no response for that."""
WAITING: Final = Problem("waiting", 202)
"""The answer takes longer. It is at the address of the call, where the caller waits."""

ALL: Final = frozenset(each for each in (*globals().values(), *BY_REASON.values()) if isinstance(each, Problem))
"""Every problem."""
_OF_HANDLERS: Final = frozenset(each for reason, each in BY_REASON.items() if reason.startswith("HANDLER_"))
OWN_ERRORS: Final = (
    frozenset(each for each in ALL if each.status >= 500)
    - _OF_HANDLERS
    - {RESPONSE_INVALID, PREFETCH_REFUSED, NOT_IMPLEMENTED, VERSION_NOT_SUPPORTED}
)
"""The errors of Callback itself: not those of a handler, nor those that anyone can cause by a request of that kind."""


_AT_SHARED_ADDRESS: Final = {
    CALLBACK_CLOSED: STATE_UNKNOWN,
    ANSWER_NOT_REPEATED: SHARED_ANSWER_NOT_REPEATED,
}


def visible_problem(problem: Problem, *, is_shared_address: bool) -> Problem:
    """Return the problem that a caller at this kind of address may see.

    Many cases share a `/cbq/` address, and some senders disable the whole address after a 410. There a closed case
    looks the same as an unknown one.
    """
    return _AT_SHARED_ADDRESS.get(problem, problem) if is_shared_address else problem
