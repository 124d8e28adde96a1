"""What is said when a server refuses or gives no answer, and the exit code for it."""

import json
from collections.abc import Mapping
from typing import Any

from callback import CallbackError, ErrorReason, NotFoundError, UnavailableError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_UNAVAILABLE = 69

_OPTIONS: Mapping[str, str] = {
    "callback_case_id": "CASE",
    "call_id": "CALL",
    "callback_activity": "--activity",
    "callback_activity_case": "--activity-case",
    "state_query_parameter": "--param",
    "alternative_domain": "--domain",
    "request_id": "--request-id",
    "time_to_live": "--ttl",
    "labels": "--label",
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
    ErrorReason.STORE_UNAVAILABLE: "The server runs, its store does not answer. Try again when it does.",
}
"""What to do about a refusal."""

_RULE_ADVICE: Mapping[str, str] = {
    "activity_not_served": 'Declare it in the server\'s configuration: [activities.NAME] with target = "host:port".',
}
"""What to do about a bad field, by the rule that it breaks."""

_NO_SERVER = "Start one with `callback up`, or say where it is with --target or CALLBACK_TARGET."


def exit_code(error: CallbackError) -> int:
    """Return the exit code that belongs to an error."""
    if isinstance(error, NotFoundError):
        return EXIT_NOT_FOUND
    return EXIT_UNAVAILABLE if isinstance(error, UnavailableError) else EXIT_REFUSED


def readable(error: CallbackError) -> str:
    """Return what is wrong, every bad field by its option, and what to do."""
    facts = "".join(f", {name} {value}" for name, value in error.facts.items())
    what = "the request is refused" if error.violations else error.message  # which has the bad fields in one long line
    lines = [f"Error: {what} ({_word(error)}{facts})"]
    lines += [f"  {_option(each.field)}: {each.description}" for each in error.violations]
    lines += [_RULE_ADVICE[each.rule] for each in error.violations if each.rule in _RULE_ADVICE]
    if not error.reason and isinstance(error, UnavailableError):
        lines.append(_NO_SERVER)
    elif error.reason in _ADVICE:
        lines.append(_ADVICE[error.reason])
    return "\n".join(lines)


def as_json(error: CallbackError) -> str:
    """Return the same for programs: reason, message, facts, and the bad fields by their names in the contract."""
    view: dict[str, Any] = {"reason": _word(error), "message": error.message, "facts": dict(error.facts)}
    view["fields"] = [
        {"field": each.field, "description": each.description, "rule": each.rule} for each in error.violations
    ]
    return json.dumps({"error": view}, indent=2)


def _word(error: CallbackError) -> str:
    """The reason; where the error is not the server's own, gRPC's word for it."""
    return error.reason or error.code.name


def _option(field: str) -> str:
    """The option that a field comes from, and the field; a field that no option gives stands alone."""
    for path, option in _OPTIONS.items():
        if field == path or field.startswith((f"{path}.", f"{path}[")):
            return f"{option} ({field})"
    return field
