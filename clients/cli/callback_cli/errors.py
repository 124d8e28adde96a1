"""Error messages and warnings of the command line, and its exit codes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from callback import CallbackClosedError, CallbackError, ErrorReason, FieldViolation, NotFoundError, UnavailableError
from callback_cli.json_output import dumps
from callback_cli.request_options import option_of

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_CLOSED = 4
EXIT_UNAVAILABLE = 69
EXIT_TIMED_OUT = 124

EXIT_CODES = (
    (0, "success"),
    (EXIT_REFUSED, "refused by the server, or failed"),
    (EXIT_USAGE, "invalid usage or settings"),
    (EXIT_NOT_FOUND, "the callback or call does not exist"),
    (EXIT_CLOSED, "the callback is closed"),
    (EXIT_UNAVAILABLE, "the server or its store is unreachable, or a package is missing"),
    (EXIT_TIMED_OUT, "`wait` timed out"),
    (130, "stopped by Ctrl-C"),
)
"""Every exit code and its meaning, for the help text."""

_ADVICE: Mapping[str, str] = {
    ErrorReason.REQUEST_ID_REUSED: "Use another --request-id, or repeat the first request unchanged.",
    ErrorReason.REQUEST_ID_UNSUPPORTED: "Leave out --request-id, or set state_key_file on the server.",
    ErrorReason.CALLBACK_NOT_FOUND: "`callback list` lists your callbacks.",
    ErrorReason.CALL_NOT_FOUND: "`callback calls CASE` lists the stored calls.",
    ErrorReason.CALLBACK_CLOSED: "A closed callback cannot be opened again. Generate a new one.",
    ErrorReason.CALL_ANSWERED: "`callback call CALL` shows the answer.",
    ErrorReason.CALLBACK_RESOLVED: "`callback calls CASE` shows its calls and their answers.",
    ErrorReason.CALL_NOT_HELD: (
        "Only calls with --answer-mode hold or --activity form can be answered. `callback list --waiting` lists them."
    ),
    ErrorReason.CALL_NOT_REPLAYABLE: "`callback call CALL` shows its status and what is stored of its request.",
    ErrorReason.WATCH_POSITION_LOST: "List the current state with `callback list`, then watch without --resume-token.",
    ErrorReason.TOO_MANY_WATCHERS: "Stop another watch first, or use another server.",
    ErrorReason.PROFILE_NOT_FOUND: "`callback profile list` lists your profiles.",
    ErrorReason.PROFILE_EXISTS: "`callback profile show NAME` shows it; `callback profile rotate NAME` adds a secret.",
    ErrorReason.UNAUTHENTICATED: (
        "Authenticate with --token-file or CALLBACK_TOKEN_FILE, or with a certificate (--cert-file and --key-file).\n"
        "The operator of the server creates a token with `callback token NAME`."
    ),
    ErrorReason.ROLE_MISSING: "The operator of the server assigns roles in its principals_file.",
    ErrorReason.TOO_MANY_OPEN_CALLBACKS: (
        "Close some first: list them with `callback list --status open`, then use `callback close CASE`."
    ),
}
"""What to do about a refusal, where it is more than its message says."""

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
    """Return the exit code for an error."""
    if isinstance(error, NotFoundError):
        return EXIT_NOT_FOUND
    if isinstance(error, CallbackClosedError):
        return EXIT_CLOSED
    return EXIT_UNAVAILABLE if isinstance(error, UnavailableError) else EXIT_REFUSED


def readable(error: CallbackError, *, secure: bool) -> str:
    """Return the error as text: what happened, each invalid field with its option, and what to do.

    Args:
        error: The error.
        secure: Whether the connection uses TLS.
    """
    message, advice = error.message, _ADVICE.get(_reason(error), "")
    if error.violations:  # the message has all invalid fields in one long line
        message = "the request is not valid"
    elif not error.reason and isinstance(error, UnavailableError):
        message, advice = _connection(error.message, secure=secure)
    facts = "".join(f", {name} {value}" for name, value in error.facts.items())
    lines = [f"Error: {message} ({_reason(error)}{facts})"]
    lines += [f"  {_option(each.field)}: {each.description}" for each in error.violations]
    return "\n".join([*lines, advice] if advice else lines)


def as_json(error: CallbackError) -> str:
    """Return the error as JSON."""
    return dumps({"error": as_dict(error)})


def as_dict(error: CallbackError) -> dict[str, Any]:
    """Return the error for JSON: reason, message, facts, and the invalid fields with their names in the contract."""
    return _view(_reason(error), error.message, error.facts, error.violations)


def invalid(message: str) -> dict[str, Any]:
    """Return the error of a request that is not sent, because it is not valid, for JSON."""
    return _view(ErrorReason.INVALID_REQUEST, message)


def timed_out(message: str, *, as_json: bool) -> str:
    """Return the message of a timeout, as text or JSON."""
    return dumps({"error": _view("TIMED_OUT", message)}) if as_json else f"Error: {message} (TIMED_OUT)"


def warning(message: str, *, as_json: bool) -> str:
    """Return a warning on one line, as text or JSON."""
    return dumps({"warning": message}, indent=None) if as_json else f"Warning: {message}"


def _view(
    reason: str, message: str, facts: Mapping[str, str] | None = None, violations: Sequence[FieldViolation] = ()
) -> dict[str, Any]:
    fields = [{"field": each.field, "description": each.description, "rule": each.rule} for each in violations]
    return {"reason": reason, "message": message, "facts": dict(facts or {}), "fields": fields}


def _connection(message: str, *, secure: bool) -> tuple[str, str]:
    """Return what is wrong with a connection, and what to do."""
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


def _reason(error: CallbackError) -> str:
    """Return the reason, or the gRPC status code if the error does not come from the server."""
    return error.reason or error.code.name


def _option(field: str) -> str:
    """Return a field with its option, or the field alone if it has no option."""
    option = option_of(field)
    return f"{option} ({field})" if option else field
