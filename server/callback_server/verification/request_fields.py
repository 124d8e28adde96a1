"""Access to the fields of a request, for verifiers. An invalid field raises VerificationError, whatever was sent.

Text is encoded without loss and without errors, so different texts always give different bytes.
"""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from callback_process import multipart
from callback_server.domain.call import Request
from callback_server.verification.profile import FailureReason, VerificationError

MAX_UNVERIFIED_BYTES: Final = 1024 * 1024
"""Size limit of a body that is read before its sender is known, and of a form, in bytes."""

_ID: Final = re.compile(r"[!-~]{1,200}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}")
_FIRST_MILLISECONDS: Final = 10**11
"""A time from here on is one in milliseconds: in seconds it is the year 5138, in milliseconds 1973."""
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)

TimestampFormat = Literal["seconds", "milliseconds", "rfc3339"]
"""Format of a time."""


def header(request: Request, name: str) -> str:
    """Return the value of a header that must occur exactly once."""
    found = request.values(name.lower())
    return _only(found, name.lower())


def authorization(request: Request, scheme: str) -> str:
    """Return the credentials of a scheme in the one `authorization` header."""
    found, _, given = header(request, "authorization").partition(" ")
    if found.lower() != scheme.lower():
        raise VerificationError(f"the authorization is not {scheme}")
    return given


def parameter(request: Request, name: str, *, in_form: bool = False) -> str:
    """Return the value of a parameter that must occur exactly once in the query, or with `in_form` also in a form."""
    pairs = [*request.query, *(form(request) if in_form else [])]
    found = [value for each, value in pairs if each == name]
    return _only(found, "the parameter")


def form(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a form in the body, in order; none if the body is not a form. A file is no field."""
    types = request.values("content-type")
    boundary = multipart.boundary_of(octets(types[0].strip(" \t"))) if len(types) == 1 else None
    if boundary is None and not request.is_form:
        return []
    if len(request.body) > MAX_UNVERIFIED_BYTES:
        raise VerificationError("the form is too large")
    try:
        if boundary is not None:
            return [(name.decode(), value.decode()) for name, value in multipart.fields(boundary, request.body)]
        return parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise VerificationError("the form cannot be read") from None


def _only(found: Sequence[str], name: str) -> str:
    if not found:
        raise VerificationError(f"{name} is missing", FailureReason.MISSING)
    if len(found) > 1:
        raise VerificationError(f"{name} occurs more than once")
    return found[0]


def octets(text: str) -> bytes:
    """Return the bytes of a received text."""
    return text.encode("utf-8", "surrogatepass")


def time_of(text: str, timestamp_format: TimestampFormat) -> float:
    """Parse a time, and return it in seconds since 1970. Each time has one spelling in a format."""
    if timestamp_format == "rfc3339":
        try:
            if _RFC3339.fullmatch(text):
                return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            pass
        raise VerificationError("the time is not as in 2026-01-31T23:59:59Z")
    if not _NUMBER.fullmatch(text):
        raise VerificationError(f"the time is not a whole number of {timestamp_format}")
    time = int(text)
    if timestamp_format == "milliseconds":
        return time / 1000
    if time >= _FIRST_MILLISECONDS:
        raise VerificationError('the time is not in seconds; timestamp_format = "milliseconds" may fit')
    return time


def require_recent(time: float, now: float, tolerance_s: float) -> None:
    """Raise VerificationError if a time differs from now by more than the tolerance."""
    difference = abs(now - time)
    if difference > tolerance_s:
        seconds = f"{math.ceil(difference)} s" if difference < 10**9 else "years"
        raise VerificationError(
            f"the time is too far in the {'past' if time < now else 'future'}: {seconds}", FailureReason.TIME
        )


def message_id(text: str) -> str:
    """Return the id of a message that must have one."""
    if not is_message_id(text):
        raise VerificationError("the message's id is empty, too long or unprintable")
    return text


def is_message_id(text: str) -> bool:
    """Return whether a text can be a message id: printable, without spaces, at most 200 characters."""
    return _ID.fullmatch(text) is not None


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; an empty one if the body is not a JSON object."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def matches(valid: Sequence[bytes], *given: bytes) -> bool:
    """Return whether a given value equals a valid one, in constant time."""
    found = False
    for each in given:
        for candidate in valid:
            found |= hmac.compare_digest(candidate, each)
    return found
