"""Answer of a call: renders the server's response as HTTP, or as the content of a page. Pure.

A response is checked before its first byte is written: by the rules in the proto, and by the few rules between its
fields. So a response is always complete and well-formed, and a response that cannot be rendered becomes a clean 502.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import protovalidate

from callback.v1 import callback_pb2, edge_service_pb2
from callback_edge import problems
from callback_edge.page_content import PageContent
from callback_process.http.answer import HttpAnswer

_COOKIE: Final = "set-cookie"
_OPENER_POLICY: Final = "cross-origin-opener-policy"
FIXED_HEADERS: Final[Sequence[tuple[str, str]]] = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex"),
    (_OPENER_POLICY, "same-origin"),
)
"""Headers of every answer, once each. The connection adds them, also to Hypercorn's own answers, unless the answer has
one itself. Without the opener policy, the opener of a window would see the URLs that it visits, also those of other
owners. A handler can choose that one alone: the edge removes the others of a handler."""
_FIXED_NAMES: Final = frozenset(name for name, _ in FIXED_HEADERS) - {_OPENER_POLICY}
_UNSENT_NAMES: Final = _FIXED_NAMES | {_COOKIE}
"""Names of the fields that are left out of a response that may not set cookies."""
_WITHOUT_BODY: Final = (204, 205)
_MAX_HEADERS_BYTES: Final = 8192
"""Maximum number of bytes of names and values together. The proto states this rule in words, because it is between
fields."""

_VALIDATOR: Final = protovalidate.Validator()
MAX_VALID_DIGESTS: Final = 4096
valid_digests: Final[set[bytes]] = set()
"""Digests of responses that follow the proto's rules. Handlers return most responses again and again, and the rules
cost several times as much as a digest. A digest reveals nothing of a response."""


def render(
    invoked: edge_service_pb2.InvokeResponse, method: str, request_headers: Sequence[tuple[bytes, bytes]] = ()
) -> HttpAnswer | PageContent:
    """Render the server's response. A response of the type page is its content, if its code allows a body.

    Args:
        invoked: The server's result.
        method: The request's method, in upper case: a redirect is 302 after GET, 303 after any other.
        request_headers: The request's headers, with names in lower case: cookies are set only on the host they are for.

    Raises:
        ProblemError: The response cannot be rendered (RESPONSE_INVALID), or there is none for rejected data
            (CALL_REJECTED).
    """
    if invoked.rejected_without_response:
        raise problems.ProblemError(problems.CALL_REJECTED, call_id=invoked.call_id)
    response = invoked.response
    if not _is_valid(response):
        raise problems.ProblemError(problems.RESPONSE_INVALID, call_id=invoked.call_id)
    if response.response_type == callback_pb2.RESPONSE_TYPE_REDIRECT:
        method = invoked.request_method.upper() or method
        return HttpAnswer(302 if method == "GET" else 303, [("location", response.response_redirect_url)])
    if response.response_type == callback_pb2.RESPONSE_TYPE_PAGE:
        return _page(response)
    headers = [(field.name.lower(), field.value.strip(" \t")) for field in response.response_headers.headers]
    may_set_cookies = invoked.cookie_host and invoked.cookie_host == _host_of(request_headers)
    unsent = _FIXED_NAMES if may_set_cookies else _UNSENT_NAMES
    headers = [(name, value) for name, value in headers if name not in unsent]
    if response.response_code in _WITHOUT_BODY:
        return HttpAnswer(response.response_code, headers)
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", _default_content_type(response.response_body)))
    return HttpAnswer(response.response_code, headers, response.response_body)


def _page(response: callback_pb2.Response) -> HttpAnswer | PageContent:
    if response.response_code in _WITHOUT_BODY:
        return HttpAnswer(response.response_code)
    return PageContent(
        response.response_code,
        response.response_heading,
        response.response_text,
        response.response_link_label,
        response.response_link_url,
        response.response_language,
    )


def _is_valid(response: callback_pb2.Response) -> bool:
    if not _follows_rules_of_fields(response):
        return False
    if response.response_type == callback_pb2.RESPONSE_TYPE_REDIRECT:
        return _is_absolute(response.response_redirect_url)
    if response.response_type == callback_pb2.RESPONSE_TYPE_PAGE:
        has_link = bool(response.response_link_label)
        return (
            response.HasField("response_code")
            and response.HasField("response_heading")
            and (not has_link or _is_absolute(response.response_link_url))
        )
    if response.response_type == callback_pb2.RESPONSE_TYPE_RESPONSE:
        size = sum(len(field.name) + len(field.value) for field in response.response_headers.headers)
        return response.HasField("response_code") and size <= _MAX_HEADERS_BYTES
    return False


def _is_absolute(url: str) -> bool:
    """Return whether a URL that the proto allows is absolute, not `/path`, and there is one."""
    return url != "" and not url.startswith("/")


def _host_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the host that a request asks for, without the port."""
    authority = next((value.decode("latin-1").lower() for name, value in headers if name == b"host"), "")
    return re.sub(r":[0-9]*$", "", authority)


def _follows_rules_of_fields(response: callback_pb2.Response) -> bool:
    digest = hashlib.sha256(response.SerializeToString()).digest()
    if digest not in valid_digests:
        try:
            _VALIDATOR.validate(response)
        except protovalidate.ValidationError:
            return False
        if any(map(_has_domain, response.response_headers.headers)):
            return False
        if len(valid_digests) >= MAX_VALID_DIGESTS:
            valid_digests.clear()
        valid_digests.add(digest)
    return True


def _has_domain(field: callback_pb2.ResponseHeader) -> bool:
    """Return whether a field sets a cookie for more than its host. The proto states this rule in words."""
    return field.name.lower() == _COOKIE and any(
        part.partition("=")[0].strip().lower() == "domain" for part in field.value.split(";")[1:]
    )


def _default_content_type(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
