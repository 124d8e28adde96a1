"""The HTTP request, made into the one message that the server gets. Pure.

1. An address is compared as it was sent: only the canonical spelling reaches a case, so that each has one address (and
   a proxy's or log's rule for `/cb/` meets every call).
2. Nothing is decoded but what must be: the query's pairs, for the handler's convenience, and the state.
3. The body is handed on byte for byte; on `/cbq/` it is searched for the state, not parsed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from callback.v1 import edge_service_pb2
from callback_edge import problems

CALL_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
"""The methods that make a call."""
ALLOW: Final = ", ".join((*CALL_METHODS, "HEAD", "OPTIONS"))
"""What a 405 and the answer to OPTIONS say."""

_CB_PATH: Final = re.compile(rb"/cb/([^/]+)/?")
_CBQ_PATH: Final = re.compile(rb"/cbq/([A-Za-z][A-Za-z0-9_.-]{0,63})/?")
_STATE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_FORM: Final = b"application/x-www-form-urlencoded"
_PREFETCH_HEADERS: Final = frozenset((b"sec-purpose", b"purpose", b"x-moz"))


@dataclass(frozen=True, slots=True)
class Target:
    """What an address stands for: a case by its state, or a parameter whose value will be the state."""

    parameter: str
    """The parameter of a `/cbq/` address. Empty on `/cb/`."""
    segment: str
    """What stands in the place of the state on `/cb/`. Empty on `/cbq/`."""

    @property
    def is_shared(self) -> bool:
        """Whether the address belongs to many cases."""
        return self.parameter != ""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came, and whole."""

    method: str
    """In upper case."""
    headers: Sequence[tuple[bytes, bytes]]
    """Names in lower case, in the order in which they came. Only what the client sent."""
    query_string: bytes
    """As it was sent, without the `?`. ASCII: the connection takes nothing else."""
    body: bytes
    client_address: str
    """Empty if it is not known."""


def parse_path(raw_path: bytes) -> Target | None:
    """Return what the path of a request stands for, or None if it is none of our addresses."""
    if match := _CB_PATH.fullmatch(raw_path):
        return Target(parameter="", segment=match[1].decode("latin-1"))
    if match := _CBQ_PATH.fullmatch(raw_path):
        return Target(parameter=match[1].decode("ascii"), segment="")
    return None


def is_prefetch(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a browser marked the request as made in advance, before anyone asked for the page."""
    return any(name in _PREFETCH_HEADERS and b"prefetch" in value.lower() for name, value in headers)


def is_handshake(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether an OPTIONS asks if its sender may call this address (CloudEvents' HTTP WebHook, section 4.1)."""
    return any(name == b"webhook-request-origin" for name, _ in headers)


def to_invoke(target: Target, request: HttpRequest) -> edge_service_pb2.InvokeRequest:
    """Make the message for the server.

    Raises:
        Refusal: the state is absent, given twice in one place or with two values (`/cbq/` only), or is not a canonical
            UUID. The last is STATE_UNKNOWN: it can not be told from one that no case has.
    """
    state = _find_state(target.parameter, request) if target.is_shared else target.segment
    if not _STATE.fullmatch(state):
        raise problems.Refusal(problems.STATE_UNKNOWN)
    query_string = request.query_string.decode("ascii")
    message = edge_service_pb2.InvokeRequest(
        state=state,
        state_query_parameter=target.parameter,
        request_method=request.method.lower(),
        request_query_string=query_string,
        request_body=request.body,
        client_address=request.client_address,
    )
    # Each made in its place: a query can have 8,000 pairs, and to make one elsewhere first costs several times as much.
    for name, value in request.headers:
        message.request_headers.add(name=name.decode("latin-1"), value=value.decode("latin-1"))
    for parameter, text in parse_qsl(query_string, keep_blank_values=True, errors="replace"):
        message.request_query.add(name=parameter, value=text)
    return message


def _find_state(parameter: str, request: HttpRequest) -> str:
    places = [request.query_string]
    if request.method == "POST" and _is_form(request.headers):
        places.append(request.body)
    found: set[str] = set()
    for place in places:
        values = [value[1] or b"" for value in islice(_finder(parameter).finditer(b"&" + place), 2)]
        if len(values) > 1:
            raise problems.Refusal(problems.STATE_REPEATED)
        found.update(unquote_to_bytes(value).decode("latin-1") for value in values)
    if not found:
        raise problems.Refusal(problems.STATE_MISSING)
    if len(found) > 1:
        raise problems.Refusal(problems.STATE_CONTRADICTORY)
    return found.pop()


def _is_form(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    types = [value for name, value in headers if name == b"content-type"]
    return len(types) == 1 and types[0].split(b";", 1)[0].strip().lower() == _FORM


@lru_cache(maxsize=256)
def _finder(parameter: str) -> re.Pattern[bytes]:
    """Return the pattern that finds each value of a parameter in `&` + urlencoded data.

    A pattern and not a parser: a body of 1 MiB can hold half a million pairs, and anyone may send one; this takes
    about 10 ms where parsing takes most of a second. Each character may also be percent-encoded, in either case.
    """
    name = b"".join(b"(?:%s|%%(?i:%02x))" % (re.escape(bytes((byte,))), byte) for byte in parameter.encode("ascii"))
    return re.compile(rb"&" + name + rb"(?:=([^&]*))?(?=&|\Z)")
