"""A recorded request as a command of curl. Pure."""

import re
import shlex
from typing import Final

from callback import Call

_OF_THE_CONNECTION: Final = re.compile(
    r"host|content-length|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|accept-encoding"
    r"|proxy-.*|via|forwarded|x-forwarded-.*|x-real-ip",
    re.IGNORECASE,
)
"""Header fields that curl, or a proxy in front of the edge, adds again."""
_NOT_PASTED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters. A caller could make them run a command where a person pastes, and a page changes CRLF to LF."""


def curl_command(call: Call) -> str:
    """Return the command that sends the request of a call again.

    The command has `URL` in place of the URL of the callback: the server does not know that secret. It leaves header
    fields with control characters out.
    """
    query = f"?{call.query_string}" if call.query_string else ""
    parts = ["curl", "-i", "-X", call.method.upper(), shlex.quote(f"URL{query}")]
    for name, value in call.headers.pairs:
        if not _OF_THE_CONNECTION.fullmatch(name) and not _NOT_PASTED.search(value):
            # curl sends a header without a value only if a semicolon ends its name.
            parts += ["-H", shlex.quote(f"{name}: {value}" if value else f"{name};")]
    if call.body:
        parts += ["--data-binary", _data(call)]
    return " ".join(parts)


def _data(call: Call) -> str:
    try:
        text = call.body.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if _NOT_PASTED.search(text) or text.startswith("@"):  # to curl, `@` begins the name of a file
        return shlex.quote(f"@{body_file_name(call)}")
    return shlex.quote(text)


def body_file_name(call: Call) -> str:
    """Return the name of the file in which the body of a call is downloaded."""
    return f"{call.call_id}.body"
