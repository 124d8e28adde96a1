"""Access to the fields of a request, for verifiers. An invalid field raises VerificationError, whatever was sent.

Text is encoded without loss and without errors, so different texts always give different bytes.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from callback_server.domain.call import Request
from callback_server.verification.profile import VerificationError

_ID: Final = re.compile(r"[!-~]{1,200}")
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,11}")


def header(request: Request, name: str) -> str:
    """Return the value of a header that must occur exactly once."""
    found = request.values(name.lower())
    if len(found) != 1:
        raise VerificationError(f"{name.lower()} {'occurs more than once' if found else 'is missing'}")
    return found[0]


def parameter(request: Request, name: str, *, in_form: bool = False) -> str:
    """Return the value of a parameter that must occur exactly once in the query, or with `in_form` also in a form."""
    pairs = list(request.query)
    if in_form and request.is_form:
        try:
            pairs += parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError:
            raise VerificationError("the form cannot be read") from None
    found = [value for each, value in pairs if each == name]
    if len(found) != 1:
        raise VerificationError(f"the parameter {'occurs more than once' if found else 'is missing'}")
    return found[0]


def octets(text: str) -> bytes:
    """Return the bytes of a received text."""
    return text.encode("utf-8", "surrogatepass")


def seconds(text: str) -> int:
    """Parse a time in whole seconds since 1970, without sign or leading zeros."""
    if not _SECONDS.fullmatch(text):
        raise VerificationError("the time is not a whole number of seconds")
    return int(text)


def require_recent(time: int, now: float, tolerance_s: float) -> None:
    """Raise VerificationError if a time differs from now by more than the tolerance."""
    if abs(now - time) > tolerance_s:
        raise VerificationError(f"the time is too far in the {'past' if time < now else 'future'}")


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
