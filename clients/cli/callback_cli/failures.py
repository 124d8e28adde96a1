"""What is said when a server refuses or gives no answer, and the exit code for it; and what is warned of."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from callback import CallbackClosedError, CallbackError, ErrorReason, FieldViolation, NotFoundError, UnavailableError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_CLOSED = 4
EXIT_UNAVAILABLE = 69
EXIT_TIMED_OUT = 124

EXIT_CODES = (
    (0, "done"),
    (EXIT_REFUSED, "refused, or not possible"),
    (EXIT_USAGE, "wrong usage or settings"),
    (EXIT_NOT_FOUND, "no such case or call"),
    (EXIT_CLOSED, "the case is closed"),
    (EXIT_UNAVAILABLE, "no answer from the server or its store, or a package is missing"),
    (EXIT_TIMED_OUT, "`wait`: no call in time"),
    (130, "ended by Ctrl-C"),
)
"""Every exit code and what it says, as help tells it."""

_OPTIONS: Mapping[str, str] = {
    "callback_case_id": "CASE",
    "call_id": "CALL",
    "callback_activity": "ACTIVITY or --activity",
    "callback_activity_case": "--activity-case",
    "state_query_parameter": "--param",
    "alternative_domain": "--domain",
    "request_id": "--request-id",
    "time_to_live": "--ttl",
    "labels": "--label",
    "owner": "--owner",
    "answer_mode": "--answer-mode",
    "answer_deadline": "--answer-deadline",
    "ordered": "--ordered",
    "resume_token": "--resume-token",
    "fallback.response_redirect_url": "--fallback-redirect-url",
    "fallback.response_body": "--fallback-body",
    "fallback.response_code": "--fallback-code",
    "fallback.response_headers": "--fallback-header",
    "fallback": "--fallback-redirect-url, --fallback-body, --fallback-code or --fallback-header",
    "response.response_type": "--type",
    "response.response_redirect_url": "--redirect-url",
    "response.response_body": "--body or --body-file",
    "response.response_code": "--code",
    "response.response_headers": "--header",
}
"""The option or argument that a field of the contract comes from."""

_ADVICE: Mapping[str, str] = {
    ErrorReason.REQUEST_ID_REUSED: "Use another --request-id, or ask for the same as the first time.",
    ErrorReason.REQUEST_ID_UNSUPPORTED: "Leave --request-id out, or give the server a state_key.",
    ErrorReason.CALLBACK_NOT_FOUND: "`callback list` shows the cases there are.",
    ErrorReason.CALL_NOT_FOUND: "`callback calls CASE` shows the calls that are kept.",
    ErrorReason.CALLBACK_CLOSED: "It stays closed: generate a new one.",
    ErrorReason.CALL_ANSWERED: "`callback call CALL` shows how, and what was answered.",
    ErrorReason.CALL_NOT_HELD: (
        "`callback list --waiting` shows the calls that wait: those of `callback generate` with --answer-mode hold, or "
        "--activity form."
    ),
    ErrorReason.CALL_NOT_REPLAYABLE: "`callback call CALL` shows whether it runs, and what is kept of it.",
    ErrorReason.WATCH_POSITION_LOST: "See what is with `callback list`, then watch without --resume-token.",
    ErrorReason.TOO_MANY_WATCHERS: "End another watch first, or ask another server.",
    ErrorReason.STORE_UNAVAILABLE: "The server runs, its store does not answer. Try again when it does.",
    ErrorReason.UNAUTHENTICATED: (
        "Say who asks: --token-file or CALLBACK_TOKEN_FILE, or a certificate with --cert-file and --key-file.\n"
        "The server's operator makes a token with `callback token NAME`."
    ),
    ErrorReason.ROLE_MISSING: "The server's operator gives roles, in its principals_file.",
    ErrorReason.TOO_MANY_OPEN_CALLBACKS: "Close some first: `callback list --status open`, `callback close CASE`.",
}
"""What to do about a refusal."""

_NO_SERVER = "Start a server with `callback up`, or give its address with --target or CALLBACK_TARGET."
_CLOSED_AT_ONCE = r"Socket closed|Connection reset|Broken pipe"

_CONNECTION_ADVICE: Sequence[tuple[str, str, str]] = (
    ("certificate has expired", "its certificate has expired", "Ask the operator of the server to renew it."),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not from a trusted authority",
        "Give the file of its certificate authority with --ca-file or CALLBACK_CA_FILE.",
    ),
    (
        "Hostname Verification Check failed",
        "its certificate is for another name",
        "Use that name in --target, or give it with --server-name.",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "the port does not speak TLS",
        "Leave out --tls, --ca-file, --cert-file, --key-file and --server-name, and their environment variables.",
    ),
    (
        "Failed parsing HTTP/2",
        "the port does not speak gRPC",
        "Give the server's gRPC port in --target or CALLBACK_TARGET, not the port of its probes or of an edge.",
    ),
)
"""Text in gRPC's error of a connection, what it means, and what to do."""


def exit_code(error: CallbackError) -> int:
    """Return the exit code that belongs to an error."""
    if isinstance(error, NotFoundError):
        return EXIT_NOT_FOUND
    if isinstance(error, CallbackClosedError):
        return EXIT_CLOSED
    return EXIT_UNAVAILABLE if isinstance(error, UnavailableError) else EXIT_REFUSED


def readable(error: CallbackError, *, secure: bool) -> str:
    """Return what is wrong, every bad field by its option, and what to do.

    Args:
        error: What went wrong.
        secure: Whether the server was asked over TLS.
    """
    what, advice = error.message, _ADVICE.get(_word(error), "")
    if error.violations:  # the message has the bad fields in one long line
        what = "the request is refused"
    elif not error.reason and isinstance(error, UnavailableError):
        what, advice = _connection(error.message, secure=secure)
    facts = "".join(f", {name} {value}" for name, value in error.facts.items())
    lines = [f"Error: {what} ({_word(error)}{facts})"]
    lines += [f"  {_option(each.field)}: {each.description}" for each in error.violations]
    return "\n".join([*lines, advice] if advice else lines)


def as_json(error: CallbackError) -> str:
    """Return the same for programs: reason, message, facts, and the bad fields by their names in the contract."""
    return _json(_word(error), error.message, error.facts, error.violations)


def timed_out(what: str, *, as_json: bool) -> str:
    """Return that a command has waited in vain, in one of the two forms."""
    return _json("TIMED_OUT", what, {}, ()) if as_json else f"Error: {what} (TIMED_OUT)"


def warning(what: str, *, as_json: bool) -> str:
    """Return what somebody should see to, on one line, in one of the two forms."""
    return json.dumps({"warning": what}) if as_json else f"Warning: {what}"


def _json(reason: str, message: str, facts: Mapping[str, str], violations: Sequence[FieldViolation]) -> str:
    fields = [{"field": each.field, "description": each.description, "rule": each.rule} for each in violations]
    view: dict[str, Any] = {"reason": reason, "message": message, "facts": dict(facts), "fields": fields}
    return json.dumps({"error": view}, indent=2)


def _connection(message: str, *, secure: bool) -> tuple[str, str]:
    """What is wrong with a connection, and what to do."""
    unreachable, _, cause = message.partition(": ")
    for pattern, meaning, advice in _CONNECTION_ADVICE:
        if pattern in cause:
            return f"{unreachable}: {meaning}", advice
    if re.search(_CLOSED_AT_ONCE, cause):
        if secure:
            advice = "If it requires a client certificate, give one with --cert-file and --key-file."
        else:
            advice = "If it requires TLS, use --ca-file with its certificate authority, or --tls."
        return f"{unreachable}: the server closed the connection immediately", advice
    return message, _NO_SERVER


def _word(error: CallbackError) -> str:
    """The reason; where the error is not the server's own, gRPC's word for it."""
    return error.reason or error.code.name


def _option(field: str) -> str:
    """The option that a field comes from, and the field; a field that no option gives stands alone."""
    for path, option in _OPTIONS.items():
        if field == path or field.startswith((f"{path}.", f"{path}[")):
            return f"{option} ({field})"
    return field
