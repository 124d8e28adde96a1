"""Guarded GETs: what a request asks of a case, and what a person's confirmation stands for."""

from __future__ import annotations

import enum
import re
from typing import Final

from msgspec.structs import replace

from callback_server.domain.agents import is_agent
from callback_server.domain.call import Request

CONFIRM_PARAMETER: Final = "callback_confirm"
"""The one field of the form that the page of a case with the guard CONFIRM sends. The state of such a case is in no
parameter of this name: the form would contradict it."""
CONFIRMATION: Final = f"{CONFIRM_PARAMETER}=1".encode()
"""The whole body of that form."""

_OF_A_FORM: Final = re.compile(r"(content-.*|transfer-encoding|origin)\Z", re.IGNORECASE)
"""Header fields that a form has, and the GET that a link leads to has not."""


class RequestIntent(enum.StrEnum):
    """What a request asks of a case, as far as guards look at it."""

    CALL = "CALL"
    """A call, whatever the guard."""
    GET = "GET"
    """A GET, of which nobody has looked at who sends it."""
    PERSON = "PERSON"
    """A GET by none of the programs that are known to open links."""
    FORM = "FORM"
    """A confirmation, on a case with the guard CONFIRM; else a POST as any other."""
    CONFIRMED = "CONFIRMED"
    """The GET that a confirmation stands for."""
    OPTIONS = "OPTIONS"
    """Never a call; a case with a verification profile may have an answer to it."""
    HANDSHAKE = "HANDSHAKE"
    """No call: whether the case is open, so that a handshake is answered."""


def intent_of(request: Request) -> RequestIntent:
    """What a request asks as it comes, with nothing established."""
    if request.method == "options":
        return RequestIntent.OPTIONS
    if request.method == "get":
        return RequestIntent.GET
    if request.method == "post" and request.body == CONFIRMATION and request.is_form:
        return RequestIntent.FORM
    return RequestIntent.CALL


def confirmed(form: Request) -> Request:
    """The GET that a confirmation stands for: without the form, and what the header says of it."""
    headers = tuple(pair for pair in form.headers if not _OF_A_FORM.match(pair[0]))
    return replace(form, method="get", headers=headers, body=b"")


def by_agent(request: Request) -> bool:
    """Whether a program sends it that is known to open links."""
    return is_agent(", ".join(request.values("user-agent")))
