"""Responses: the response of a case, the override of a handler, and the answer that results from both.

The contract (`callback.proto`) has the rules of single fields. This module has the rules between fields, which every
effective response must follow.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
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
    PAGE = "PAGE"
    """A page in the style of the operator, with a code, a heading, a text and a link. The edge renders it."""


class Response(msgspec.Struct, frozen=True, array_like=True):
    """The response attributes. None: not given, which is the default in a case, and no change in an override.

    Stored as an array: append fields at the end, with a default, and never reuse a position.
    """

    type: ResponseType | None = None
    redirect_url: str | None = None
    code: int | None = None
    headers: tuple[tuple[str, str], ...] | None = None
    body: bytes | None = None
    heading: str | None = None
    text: str | None = None
    link_label: str | None = None
    link_url: str | None = None
    language: str | None = None


REJECTION: Final = Response(type=ResponseType.RESPONSE, code=422)
"""The response to rejected data if the handler gives no other."""


BARE_REJECTION: Final = Response(type=ResponseType.RESPONSE, code=422, headers=(), body=b"")
"""The same as it is sent, if the handler gives nothing."""


NO_PLATFORM: Final = (
    "/path needs the setting platform_url, which is not set: in [server] of the settings file, in "
    "CALLBACK_PLATFORM_URL, or with callback up --platform-url"
)
"""What is wrong with a `/path` without a platform, and where operators set it."""


_WEB_SCHEMES: Final = ("http", "https")
_NOTHING: Final = Response()


def overlay(base: Response, override: Response) -> Response:
    """Return `base` with each attribute that `override` gives."""
    if override == _NOTHING:
        return base
    given = {name: value for name, value in msgspec.structs.asdict(override).items() if value is not None}
    return msgspec.structs.replace(base, **given)


def problems(
    response: Response, *, platform_url: str | None, redirect_schemes: Collection[str] = (), must_be_complete: bool
) -> list[Violation]:
    """Return the violations that forbid `response` to be effective.

    Args:
        response: The whole response, after any overlay.
        platform_url: The base of a `/path`. None: none is configured.
        redirect_schemes: The schemes besides `http` and `https` that a redirect or a link may have, in lower case.
        must_be_complete: Whether a redirect must have its URL already, and a page its heading. A case may get them from
            its handler.
    """
    found = []
    if response.type is None:
        found.append(Violation("response_type", "required", "must be redirect, response or page"))
    if response.type is ResponseType.REDIRECT and response.redirect_url is None and must_be_complete:
        found.append(Violation("response_redirect_url", "required", "a redirect needs a URL"))
    if response.type is ResponseType.PAGE:
        if response.heading is None and must_be_complete:
            found.append(Violation("response_heading", "required", "a page needs a heading"))
        if response.link_label and response.link_url is None:
            found.append(Violation("response_link_url", "required", "a link needs a URL: response_link_label has none"))
        if response.link_label is None and response.link_url is not None:
            found.append(
                Violation("response_link_label", "required", "a link needs a label: response_link_url has none")
            )
    for field, url in (("response_redirect_url", response.redirect_url), ("response_link_url", response.link_url)):
        if url is None:
            continue
        if _is_path(url) and platform_url is None:
            found.append(Violation(field, "platform_url", NO_PLATFORM))
        if not _is_path(url) and (scheme := url.partition(":")[0].lower()) not in {*_WEB_SCHEMES, *redirect_schemes}:
            found.append(Violation(field, "redirect_schemes", f"{scheme}: is not in the setting redirect_schemes"))
    if response.headers and sum(len(name) + len(value) for name, value in response.headers) > MAX_HEADERS_BYTES:
        found.append(Violation("response_headers", "total_size", f"must have at most {MAX_HEADERS_BYTES} bytes"))
    return found


def in_field(field: str, found: Iterable[Violation]) -> list[Violation]:
    """Return the violations in a response as violations in a request whose field `field` is that response."""
    return [Violation(f"{field}.{each.field}", each.rule, each.message) for each in found]


def needs_platform(response: Response) -> bool:
    """Return whether the response has a URL that is a `/path`, which needs a platform."""
    return _is_path(response.redirect_url) or _is_path(response.link_url)


def _is_path(url: str | None) -> bool:
    return url is not None and url.startswith("/")


def complete(response: Response, *, platform_url: str | None) -> Response:
    """Return the answer as it is sent: with its code, and absolute URLs. `response` has no problems."""
    if response.type is ResponseType.REDIRECT:
        return Response(type=ResponseType.REDIRECT, redirect_url=_absolute(response.redirect_url, platform_url))
    code = response.code or 200
    if response.type is ResponseType.PAGE:
        page = Response(
            type=ResponseType.PAGE,
            code=code,
            heading=response.heading,
            text=response.text or "",
            language=response.language,
        )
        if not response.link_label:
            return page
        link_url = _absolute(response.link_url, platform_url)
        return msgspec.structs.replace(page, link_label=response.link_label, link_url=link_url)
    body = b"" if code in (204, 205) else response.body or b""  # these have no body (RFC 9110, sections 15.3.5 and 6)
    return Response(type=ResponseType.RESPONSE, code=code, headers=response.headers or (), body=body)


def _absolute(url: str | None, platform_url: str | None) -> str | None:
    return f"{platform_url}{url}" if _is_path(url) else url


def code_alone(response: Response) -> int | None:
    """Return the status code that is left of a response without all the rest. None: a redirect has none."""
    return None if response.type is ResponseType.REDIRECT else response.code or 200


FIELDS: Final = {f"response_{name}": name for name in Response.__struct_fields__}
"""The attributes by their names in the contract."""


def masked_overlay(base: Response, new: Response, names: Sequence[str]) -> Response:
    """Return `base` with the attributes `names` (of the contract) as `new` has them, given there or not."""
    return msgspec.structs.replace(base, **{FIELDS[name]: getattr(new, FIELDS[name]) for name in names})
