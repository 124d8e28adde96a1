"""Responses: the response of a case, the override of a handler, and the answer that results from both.

The contract (`callback.proto`) has the rules of single fields. This module has the rules between fields, which every
effective response must follow.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from callback_server.errors import Violation

MAX_HEADERS_BYTES: Final = 8192
"""The maximum size of all names and values of a response's headers, in bytes."""


class ResponseType(enum.StrEnum):
    """The type of a response."""

    REDIRECT = "REDIRECT"
    """A redirect to `redirect_url`."""
    RESPONSE = "RESPONSE"
    """An answer with code, headers and body."""


class Response(msgspec.Struct, frozen=True, array_like=True):
    """The five response attributes. None: not given, which is the default in a case, and no change in an override.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    type: ResponseType | None = None
    redirect_url: str | None = None
    code: int | None = None
    headers: tuple[tuple[str, str], ...] | None = None
    body: bytes | None = None


REJECTION: Final = Response(type=ResponseType.RESPONSE, code=422)
"""The response to rejected data if the handler gives no other."""


BARE_REJECTION: Final = Response(type=ResponseType.RESPONSE, code=422, headers=(), body=b"")
"""The same as it is sent, if the handler gives nothing."""


def overlay(base: Response, override: Response) -> Response:
    """Return `base` with each attribute that `override` gives."""
    given = {name: value for name, value in msgspec.structs.asdict(override).items() if value is not None}
    return msgspec.structs.replace(base, **given) if given else base


def problems(response: Response, *, platform_url: str | None, needs_url: bool) -> list[Violation]:
    """Return the violations that forbid `response` to be effective.

    Args:
        response: The whole response, after any overlay.
        platform_url: The base of a `/path`. None: none is configured.
        needs_url: Whether a redirect must have its URL already. The redirect of a case may get it from its handler.
    """
    found = []
    if response.type is None:
        found.append(Violation("response_type", "required", "must be redirect or response"))
    if response.redirect_url is None:
        if response.type is ResponseType.REDIRECT and needs_url:
            found.append(Violation("response_redirect_url", "required", "a redirect needs a URL"))
    elif needs_platform(response) and platform_url is None:
        found.append(
            Violation("response_redirect_url", "platform_url", "/path needs a platform_url, and none is configured")
        )
    if sum(len(name) + len(value) for name, value in response.headers or ()) > MAX_HEADERS_BYTES:
        found.append(Violation("response_headers", "total_size", f"must have at most {MAX_HEADERS_BYTES} bytes"))
    return found


def in_field(field: str, found: Iterable[Violation]) -> list[Violation]:
    """Return the violations in a response as violations in a request whose field `field` is that response."""
    return [Violation(f"{field}.{each.field}", each.rule, each.message) for each in found]


def needs_platform(response: Response) -> bool:
    """Return whether the response redirects to a `/path`, which needs a platform."""
    return response.redirect_url is not None and response.redirect_url.startswith("/")


def complete(response: Response, *, platform_url: str | None) -> Response:
    """Return the answer as it is sent: with its code, and an absolute URL. `response` has no problems."""
    if response.type is ResponseType.REDIRECT:
        url = f"{platform_url}{response.redirect_url}" if needs_platform(response) else response.redirect_url
        return Response(type=ResponseType.REDIRECT, redirect_url=url)
    code = response.code or 200
    body = b"" if code in (204, 205) else response.body or b""  # these have no body (RFC 9110, sections 15.3.5 and 6)
    return Response(type=ResponseType.RESPONSE, code=code, headers=response.headers or (), body=body)


FIELDS: Final = {
    "response_type": "type",
    "response_redirect_url": "redirect_url",
    "response_body": "body",
    "response_code": "code",
    "response_headers": "headers",
}
"""The name of each attribute in the contract, and in `Response`."""


def masked_overlay(base: Response, new: Response, names: Sequence[str]) -> Response:
    """Return `base` with the attributes `names` (of the contract) as `new` has them, given there or not."""
    return msgspec.structs.replace(base, **{FIELDS[name]: getattr(new, FIELDS[name]) for name in names})
