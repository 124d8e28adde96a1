"""What must not be seen of a recorded call by whoever looks over a shoulder, or reads a log of a terminal.

1. The state of a `/cbq/` case is among the query or form parameters: its value is masked, and wherever else it stands.
2. A state in a path, `/cb/…`, is masked: a Referer can hold one.
3. Header fields that carry a credential are masked, in request and response.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import unquote_plus

from callback import Call, Headers, Query, Response

MASK = "***"

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_STATE = re.compile(_UUID)
_IN_A_PATH = re.compile(rf"((?:/|%2f)cb(?:/|%2f)){_UUID}", re.IGNORECASE)
_CREDENTIAL = re.compile(r"authorization|cookie|token|secret|password|credential|api-?key", re.IGNORECASE)
_FORM = "application/x-www-form-urlencoded"


def masked(call: Call, state_query_parameter: str) -> Call:
    """Return the call with states and credentials masked.

    Args:
        call: The call as it was recorded.
        state_query_parameter: That of its case; empty for `/cb/`.
    """

    def is_state(name: str) -> bool:
        return bool(state_query_parameter) and name == state_query_parameter

    is_form = call.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    body = call.body.decode("latin-1")  # any bytes, one character each
    given = call.query.pairs + (call.form().pairs if is_form else ())
    states = {value for name, value in given if is_state(name) and _STATE.fullmatch(value)}

    def hide(text: str) -> str:
        for state in states:
            text = text.replace(state, MASK)
        return _IN_A_PATH.sub(rf"\1{MASK}", text)

    def hide_parameter(text: str) -> str:
        return hide("&".join(_masked_piece(piece, is_state) for piece in text.split("&")))

    def hide_headers(pairs: Iterable[tuple[str, str]]) -> Headers:
        return Headers((name, MASK if _CREDENTIAL.search(name) else hide(value)) for name, value in pairs)

    def hide_response(response: Response) -> Response:
        return replace(
            response,
            body=None if response.body is None else hide(response.body.decode("latin-1")).encode("latin-1"),
            headers=None if response.headers is None else hide_headers(response.headers.pairs),
            redirect_url=None if response.redirect_url is None else hide(response.redirect_url),
        )

    return replace(
        call,
        headers=hide_headers(call.headers.pairs),
        query=Query((name, MASK if is_state(name) else hide(value)) for name, value in call.query.pairs),
        query_string=hide_parameter(call.query_string),
        body=(hide_parameter(body) if is_form else hide(body)).encode("latin-1"),
        response=None if call.response is None else hide_response(call.response),
    )


def _masked_piece(piece: str, is_state: Callable[[str], bool]) -> str:
    """A piece of a query string or form, its value masked if it is the state."""
    name, equals, _ = piece.partition("=")
    return f"{name}={MASK}" if equals and is_state(unquote_plus(name)) else piece
