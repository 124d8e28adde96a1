"""The cookie that leads a browser from the address of a call, where it waited, back to the callback. Pure.

The address of a call does not lead to its callback, and must not: it may be given to others. A browser that waits gets
a cookie for that one address, with the path and query that it had opened itself. So it can be sent back without a
script, and neither a page nor an address contains the state. A script cannot read where it leads either: one that does
not know the whole address does not get the cookie sent, and the redirect is for navigations alone.

All callbacks have one origin, so the page of another owner can set a cookie of this name, for a shorter path. So the
cookie begins with a digest of the address, which only those know who wait there, and any other is ignored.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any, Final

from callback_edge.call.request import is_callback

_NAME: Final = "callback_opened"
_ATTRIBUTES: Final = "Secure; HttpOnly; SameSite=Lax"
_DIGEST_BYTES: Final = 16
_MAX_AGE_S: Final = 24 * 3600
"""How long the browser keeps the cookie, in seconds: longer than a person looks at the page that waits."""
_MAX_CHARS: Final = 3500
"""The longest value: browsers drop a cookie of more than 4,096 bytes."""


def return_cookie(wait_path: str, scope: Any) -> list[tuple[str, str]]:
    """Return the header that lets a browser go back from the address of a call to what it has opened.

    It is empty where path and query are too long for a cookie.

    Args:
        wait_path: The path of the address of the call.
        scope: The request at the callback, as ASGI has it.
    """
    query = scope["query_string"]
    opened = scope["raw_path"] + (b"?" + query if query else b"")
    value = base64.urlsafe_b64encode(_digest(wait_path.encode()) + opened).decode().rstrip("=")
    if len(value) > _MAX_CHARS:
        return []
    return [("set-cookie", f"{_NAME}={value}; Path={wait_path}; Max-Age={_MAX_AGE_S}; {_ATTRIBUTES}")]


def clear_return_cookie(raw_path: bytes) -> tuple[str, str]:
    """Return the header that deletes the cookie for the address of a call at this path."""
    return "set-cookie", f"{_NAME}=; Path={raw_path.decode().rstrip('/')}; Max-Age=0; {_ATTRIBUTES}"


def callback_of(raw_path: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the path and query of the callback that a browser had opened. Empty: it did not say, or they are none.

    Args:
        raw_path: The path of the address of the call.
        headers: Headers of the request there.
    """
    digest = _digest(raw_path.rstrip(b"/"))
    pairs = [pair.strip().partition(b"=") for name, value in headers if name == b"cookie" for pair in value.split(b";")]
    for value in (value for name, _, value in pairs if name == _NAME.encode()):
        try:
            found = base64.b64decode(value + b"=" * (-len(value) % 4), b"-_", validate=True)
        except ValueError:
            continue
        opened = found.removeprefix(digest)
        if opened != found and is_callback(opened):
            return opened.decode()
    return ""


def _digest(wait_path: bytes) -> bytes:
    return hashlib.sha256(wait_path).digest()[:_DIGEST_BYTES]
