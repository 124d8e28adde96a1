"""Masking of secrets in recorded calls, so that a terminal, a page or a log does not reveal them.

It masks:

1. the value of a header field, or of a parameter in a query, a form or a URL, whose name indicates a credential;
2. the state of a `/cbq/` callback: the value of its parameter, and every other occurrence of it;
3. a state in a path (`/cb/…`), and the password in a URL, as a Referer can contain them.

Percent-encoded occurrences are masked too, as in a URL that contains another URL.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from callback import Call, Headers, Query, Response
from callback._forms import urlencoded
from callback._value import Value
from callback.json_form import MASK as MASK

_Value = TypeVar("_Value", bound=Value)

CREDENTIAL = re.compile(
    r"authorization|cookie|token|secret|passw|pwd|credential|(?:api|access|private)[-_]?key|signature|assertion|saml"
    r"|relaystate|session|verifier|jwt|^(?:state|code|key|sig|auth|otp|pass|sid)$",
    re.IGNORECASE,
)
"""Names of header fields and parameters that carry a credential."""


def _encoded(text: str) -> str:
    """Return a pattern for a text in which any character may be percent-encoded, even repeatedly."""
    return "".join(rf"(?:{re.escape(each)}|%(?:25)*{ord(each):02x})" for each in text)


_HEX, _DASH, _SLASH = r"(?:[0-9a-f]|%(?:25)*(?:3[0-9]|[46][1-6]))", _encoded("-"), _encoded("/")
_STATE = re.compile(_DASH.join(rf"{_HEX}{{{count}}}" for count in (8, 4, 4, 4, 12)), re.IGNORECASE)
_IN_A_PATH = re.compile(rf"({_SLASH}{_encoded('cb')}{_SLASH}){_STATE.pattern}", re.IGNORECASE)
_USER = re.compile(
    rf"({_encoded('://')})(?:(?!{_SLASH}|{_encoded('?')}|{_encoded('#')}|{_encoded('@')})[^\s\"'<>&])+({_encoded('@')})",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    rf"((?:{'|'.join(map(_encoded, '?&#'))})([^\s?&#=%\"'<>]+){_encoded('=')})"
    rf"(?:(?!{_encoded('&')}|{_encoded('#')})[^\s\"'<>])+",
    re.IGNORECASE,
)
_FORM = "application/x-www-form-urlencoded"


def masked(call: Call, state_query_parameter: str) -> Call:
    """Return the call with states and credentials masked.

    Args:
        call: The recorded call.
        state_query_parameter: That of its callback. Empty for `/cb/`.
    """

    def is_secret(name: str) -> bool:
        return bool(name) and (name == state_query_parameter or CREDENTIAL.search(name) is not None)

    is_form = call.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    given = call.query.pairs + (tuple(urlencoded(call.body)) if is_form else ())
    states = [
        re.compile(_encoded(value), re.IGNORECASE)
        for name, value in given
        if state_query_parameter and name == state_query_parameter and _STATE.fullmatch(value)
    ]

    def hide(text: str) -> str:
        for state in states:
            text = state.sub(MASK, text)
        return _hidden(text)

    def hide_parameters(text: str) -> str:
        return hide("&".join(_masked_piece(piece, is_secret) for piece in text.split("&")))

    def hide_parameters_in(value: Any) -> Any:
        """Mask a secret, which is or can have parameters."""
        match value:
            case Query():
                return Query((name, MASK if is_secret(name) else hide(each)) for name, each in value.pairs)
            case str():
                return hide_parameters(value)
            case bytes() if is_form:
                return hide_parameters(value.decode("latin-1")).encode("latin-1")
        return _hidden_value(value, hide)

    found = {}
    for each in fields(call):
        value = getattr(call, each.name)
        found[each.name] = _hidden_value(value, hide) if each.repr else hide_parameters_in(value)
    return replace(call, **found)


def masked_response(response: Response, hide: Callable[[str], str] | None = None) -> Response:
    """Return the response with credentials masked.

    Args:
        response: The response of a callback or a call.
        hide: The function that masks its texts. Default: mask credentials, wherever they occur.
    """
    return _masked_value(response, hide or _hidden)


def _masked_value(value: _Value, hide: Callable[[str], str]) -> _Value:
    """Return a value with every text, body and header field masked."""
    found = {each.name: _hidden_value(getattr(value, each.name), hide) for each in fields(value)}  # type: ignore[arg-type]  # a value is a dataclass
    return replace(value, **found)  # type: ignore[type-var]  # as above


def _hidden_value(value: Any, hide: Callable[[str], str]) -> Any:
    match value:
        case Enum() | None:
            return value
        case str():
            return hide(value)
        case bytes():  # any bytes, one character each
            return hide(value.decode("latin-1")).encode("latin-1")
        case Headers():
            return Headers((name, MASK if CREDENTIAL.search(name) else hide(each)) for name, each in value.pairs)
        case Value():
            return _masked_value(value, hide)
        case tuple():
            return tuple(_hidden_value(each, hide) for each in value)
        case Mapping():
            return {name: _hidden_value(each, hide) for name, each in value.items()}
    return value


def _hidden(text: str) -> str:
    """Return the text with credentials masked, wherever they occur."""

    def parameter(found: re.Match[str]) -> str:
        return f"{found[1]}{MASK}" if CREDENTIAL.search(found[2]) else found[0]

    text = _USER.sub(rf"\1{MASK}\2", _IN_A_PATH.sub(rf"\1{MASK}", text))
    return _PARAMETER.sub(parameter, text)


def _masked_piece(piece: str, is_secret: Callable[[str], bool]) -> str:
    """Return one parameter of a query string or form, with its value masked if its name is secret."""
    name, equals, _ = piece.partition("=")
    return f"{name}={MASK}" if equals and is_secret(unquote_plus(name)) else piece
