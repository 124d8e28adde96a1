"""The server's response, made into an HTTP answer. Pure.

What comes is checked whole before the first byte is written: by the rules in the proto, which are kept nowhere twice,
and by the few that hold between its fields. So an answer on the wire is always complete and well-formed: what can not
be rendered becomes a clean 502.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import protovalidate

from callback.v1 import callback_pb2, edge_service_pb2
from callback_edge import problems

FIXED_HEADERS: Final[Sequence[tuple[str, str]]] = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex"),
)
"""On every answer, once each. `http11.EdgeConfig` adds them below the application, to Hypercorn's own answers as well;
so nothing here adds them, and those of a handler are dropped."""

_FIXED_NAMES: Final = frozenset(name for name, _ in FIXED_HEADERS)
_MAX_HEADERS_BYTES: Final = 8192
"""Names and values together; the contract says so in words, for it is a rule between fields."""

_VALIDATOR: Final = protovalidate.Validator()
_MOST_KNOWN: Final = 4096
_known_to_keep_rules: Final[set[bytes]] = set()
"""Digests of responses that keep the proto's rules. Most are given again and again, and to apply the rules costs
several times as much as a digest, which shows nothing of what was answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, complete but for what the connection adds (date, the four fixed headers)."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    """Names in lower case, values in ISO-8859-1, in the order in which they are sent."""
    body: bytes = b""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent, with `content-length`. A 204 has none (RFC 9110, section 8.6); a 205 says 0."""
        fields = [(name.encode(), value.encode("latin-1")) for name, value in self.headers]
        if self.status != 204:
            fields.append((b"content-length", b"%d" % len(self.body)))
        return fields


def render(answered: edge_service_pb2.InvokeResponse, method: str) -> Answer:
    """Render what the server answered.

    Args:
        answered: the answer to Invoke.
        method: the request's, in upper case: a redirect is 302 after GET, 303 after any other.

    Raises:
        Refusal: it can not be rendered (RESPONSE_INVALID).
    """
    response = answered.response
    if not _is_valid(response):
        raise problems.Refusal(problems.RESPONSE_INVALID, call_id=answered.call_id)
    if response.response_type == callback_pb2.RESPONSE_TYPE_REDIRECT:
        return Answer(302 if method == "GET" else 303, [("location", response.response_redirect_url)])
    headers = [(field.name.lower(), field.value) for field in response.response_headers.headers]
    headers = [(name, value) for name, value in headers if name not in _FIXED_NAMES]
    if response.response_code in (204, 205):
        return Answer(response.response_code, headers)
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", _default_content_type(response.response_body)))
    return Answer(response.response_code, headers, response.response_body)


def _is_valid(response: callback_pb2.Response) -> bool:
    if not _keeps_rules(response):
        return False
    if response.response_type == callback_pb2.RESPONSE_TYPE_REDIRECT:
        # By the rule in the proto it is this or `/path`, which the server has made absolute by now; empty if not given.
        return response.response_redirect_url[:4].lower() == "http"
    if response.response_type == callback_pb2.RESPONSE_TYPE_RESPONSE:
        size = sum(len(field.name) + len(field.value) for field in response.response_headers.headers)
        return response.HasField("response_code") and size <= _MAX_HEADERS_BYTES
    return False


def _keeps_rules(response: callback_pb2.Response) -> bool:
    digest = hashlib.sha256(response.SerializeToString()).digest()
    if digest not in _known_to_keep_rules:
        try:
            _VALIDATOR.validate(response)
        except protovalidate.ValidationError:
            return False
        if len(_known_to_keep_rules) >= _MOST_KNOWN:
            _known_to_keep_rules.clear()
        _known_to_keep_rules.add(digest)
    return True


def _default_content_type(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
