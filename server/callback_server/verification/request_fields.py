"""What verifiers read of a request. Whatever was sent, what is wrong with it is a VerificationError.

A text is encoded so that nothing else is encoded like it, and so that it never fails.
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
    """The value of a header that must be there, once."""
    found = request.values(name.lower())
    if len(found) != 1:
        raise VerificationError(f"{name.lower()} is {'there more than once' if found else 'missing'}")
    return found[0]


def parameter(request: Request, name: str, *, in_form: bool = False) -> str:
    """The value of a parameter that must be there once: in the query, or if `in_form` in a form that was sent."""
    pairs = list(request.query)
    if in_form and request.is_form:
        try:
            pairs += parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError:
            raise VerificationError("the form can not be read") from None
    found = [value for each, value in pairs if each == name]
    if len(found) != 1:
        raise VerificationError(f"the parameter is {'there more than once' if found else 'missing'}")
    return found[0]


def octets(text: str) -> bytes:
    """The bytes of a text that came in."""
    return text.encode("utf-8", "surrogatepass")


def seconds(text: str) -> int:
    """A time in whole seconds since 1970, written as people write a number."""
    if not _SECONDS.fullmatch(text):
        raise VerificationError("the time is no whole number of seconds")
    return int(text)


def recent(time: int, now: float, tolerance_s: float) -> None:
    """Let only what was sent within the tolerance pass."""
    if abs(now - time) > tolerance_s:
        raise VerificationError(f"the time is {'long past' if time < now else 'yet to come'}")


def message_id(text: str) -> str:
    """The id of a message that must have one."""
    if not is_message_id(text):
        raise VerificationError("the message's id is empty, too long or unprintable")
    return text


def is_message_id(text: str) -> bool:
    """Whether a text can be the id of a message: printable, without spaces, and not too long."""
    return _ID.fullmatch(text) is not None


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; an empty one if it is none."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def matches(right: Sequence[bytes], *given: bytes) -> bool:
    """Whether something of what was given is right: how long it takes says nothing about how much of it is."""
    found = False
    for each in given:
        for candidate in right:
            found |= hmac.compare_digest(candidate, each)
    return found
