"""Guarded GETs: the intent of a request, and the GET that a person confirms."""

from __future__ import annotations

import enum
import re
from typing import Final

from msgspec.structs import replace

from callback_server.domain.agents import is_agent
from callback_server.domain.call import Request

CONFIRM_PARAMETER: Final = "callback_confirm"
"""The only field of the form on the confirmation page. The state of a case with the guard CONFIRM is never in a
parameter of this name, because the form would conflict with it."""
CONFIRMATION: Final = f"{CONFIRM_PARAMETER}=1".encode()
"""The whole body of that form."""
CHOICE_PARAMETER: Final = "callback_choice"
"""The only field of the form on the page of a case with choices. It is reserved in the same way."""
_CHOICE: Final = re.compile(rb"callback_choice=([A-Za-z0-9_.-]{1,64})\Z")
"""The whole body of that form. A value is its own encoding."""

_OF_A_FORM: Final = re.compile(r"(content-.*|transfer-encoding|origin)\Z", re.IGNORECASE)
"""Header fields of a form that a GET does not have."""


_NAVIGATIONS: Final = frozenset({"document", "iframe", "frame"})
"""Destinations of a navigation in `Sec-Fetch-Dest`."""


class RequestIntent(enum.StrEnum):
    """Intent of a request, as far as guards distinguish it."""

    CALL = "CALL"
    """A call, whatever the guard."""
    GET = "GET"
    """A GET whose sender was not examined."""
    PERSON = "PERSON"
    """A GET that comes from none of the programs that are known to open links."""
    FORM = "FORM"
    """A confirmation if the case has the guard CONFIRM and no choices, otherwise an ordinary POST."""
    CONFIRMED = "CONFIRMED"
    """The GET that a person confirmed, or for which a person made a choice."""
    OPTIONS = "OPTIONS"
    """Never a call. The verification profile of a case may respond to it."""
    HANDSHAKE = "HANDSHAKE"
    """Not a call. It only checks whether the case is open, so that the handshake can get a response."""


def intent_of(request: Request) -> RequestIntent:
    """Return the intent of a request before any check."""
    if request.method == "options":
        return RequestIntent.OPTIONS
    if request.method == "get":
        return RequestIntent.GET
    if request.method == "post" and request.body == CONFIRMATION and request.is_form:
        return RequestIntent.FORM
    return RequestIntent.CALL


def confirmed(form: Request, choice: str = "") -> Request:
    """Return the GET that a person confirmed: the request without the form and its header fields, with the choice."""
    headers = tuple(pair for pair in form.headers if not _OF_A_FORM.match(pair[0]))
    return replace(form, method="get", headers=headers, body=b"", choice=choice)


def choice_of(request: Request) -> str:
    """Return the value of the choice that the form of a page posts. Empty: the request is no such form."""
    match = _CHOICE.match(request.body) if request.method == "post" and request.is_form else None
    return match[1].decode() if match else ""


def by_agent(request: Request) -> bool:
    """Return whether the request comes from a program that opens links, or is no navigation of a browser.

    A browser says with Fetch Metadata (https://www.w3.org/TR/fetch-metadata/) what a request is for: an image or a
    preload of a page is no person who opens a link.
    """
    if any(value.strip().lower() != "navigate" for value in request.values("sec-fetch-mode")):
        return True
    if any(value.strip().lower() not in _NAVIGATIONS for value in request.values("sec-fetch-dest")):
        return True
    if any("preview" in value.lower() for name in ("purpose", "x-purpose") for value in request.values(name)):
        return True
    return is_agent(", ".join(request.values("user-agent")))
