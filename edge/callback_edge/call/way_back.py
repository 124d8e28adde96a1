"""The way back to the callback from the address of a call where a browser waited. Pure.

The address of a call does not lead to its callback, and must not: it may be given to others. A browser that waits gets
a cookie for the address of that one call, with the path and query that it had opened itself. So it can be sent back
without a script, and neither a page nor an address contains the state.
"""

import base64
import binascii
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from callback_edge.call.request import parse_path

_NAME: Final = "callback_opened"
_MAX_CHARS: Final = 3500
"""The longest value: browsers drop a cookie of more than 4,096 bytes."""


def way_back(wait_path: str, scope: Any) -> list[tuple[str, str]]:
    """Return the header that lets a browser go back from the address of a call to what it has opened.

    It is empty where path and query are too long for a cookie.

    Args:
        wait_path: The path of the address of the call.
        scope: The request at the callback, as ASGI has it.
    """
    query = scope["query_string"]
    value = base64.urlsafe_b64encode(scope["raw_path"] + (b"?" + query if query else b"")).decode().rstrip("=")
    if len(value) > _MAX_CHARS:
        return []
    path = wait_path.rpartition("/")[0]
    return [("set-cookie", f"{_NAME}={value}; Path={path}; Secure; HttpOnly; SameSite=Lax")]


def callback_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the path and query of the callback that a browser had opened. Empty: it did not say, or they are none."""
    cookies = "; ".join(value.decode("latin-1") for name, value in headers if name == b"cookie")
    try:
        morsel = SimpleCookie(cookies).get(_NAME)
        opened = base64.b64decode((morsel.value if morsel else "") + "==", b"-_", validate=True)
    except (CookieError, binascii.Error):
        return ""
    if not opened.isascii() or b"\r" in opened or b"\n" in opened or parse_path(opened.partition(b"?")[0]) is None:
        return ""
    return opened.decode()
