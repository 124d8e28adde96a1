"""Request of a call: converts an HTTP request to a message for the server. No I/O.

1. A path is compared as it was sent, so a proxy's or log's rule for `/cb/` applies to every call. The state in it may
   be as people paste links: in upper case, or with the punctuation that followed the link in a text.
2. Only what is needed is decoded: the pairs of the query, for the handler's convenience, and the state.
3. The body goes to the server unchanged. On `/cbq/` it is searched for the state, not parsed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from callback.v1 import edge_service_pb2
from callback_edge import problems
from callback_process import multipart

CALL_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
"""Methods that make a call."""
ALLOW: Final = ", ".join((*CALL_METHODS, "HEAD", "OPTIONS"))
"""Value of `Allow` in a 405 and in the response to OPTIONS."""

_CB_PATH: Final = re.compile(rb"/cb/([^/]+)/?")
_CBQ_PATH: Final = re.compile(rb"/cbq/([A-Za-z][A-Za-z0-9_.-]{0,63})/?")
_IN_PATH: Final = re.compile(rb"/in/([a-z0-9][a-z0-9_-]{0,62})((?:/[!-~]*)?)")
_WAIT_PATH: Final = re.compile(rb"/wait/([0-9a-f]{32}-[0-9a-f]{16})/([0-9a-f]{64})/?")
_STATE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_PASTED_END: Final = re.compile(rb"(?:[.,)]|%20)\Z")
"""What may follow a link in the text from which a person pasted it."""
_VISIBLE: Final = re.compile(rb"[!-~]+")
_FORM: Final = b"application/x-www-form-urlencoded"
_CONFIRMATIONS: Final = (b"callback_confirm=", b"callback_choice=")
"""What the form of the confirmation page posts, by itself or behind its fields."""
_PREFETCH_HEADERS: Final = frozenset((b"sec-purpose", b"purpose", b"x-moz"))


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a callback URL: a case by its state, a parameter whose value is the state, or an endpoint."""

    parameter: str = ""
    """Parameter of a `/cbq/` address. Empty on others."""
    segment: str = ""
    """Path segment on `/cb/` that should be the state. Empty on others."""
    endpoint: str = ""
    """Name of an endpoint on `/in/`. Empty on others."""
    path: str = ""
    """What stands behind the name of an endpoint, as it was sent: empty, or from the first `/` on."""

    @property
    def is_shared(self) -> bool:
        """Whether many cases share the address."""
        return self.parameter != ""


def parse_path(raw_path: bytes) -> Target | None:
    """Return the target of a path. Return None if it is not a callback URL."""
    if match := _CB_PATH.fullmatch(raw_path):
        return Target(segment=_PASTED_END.sub(b"", match[1]).decode("latin-1").lower())
    if match := _CBQ_PATH.fullmatch(raw_path):
        return Target(parameter=match[1].decode("ascii"))
    if match := _IN_PATH.fullmatch(raw_path):
        return Target(endpoint=match[1].decode("ascii"), path=match[2].decode("ascii"))
    return None


def is_callback(path_and_query: bytes) -> bool:
    """Return whether this is the path of a callback URL, with or without a query, as a request can have it."""
    target = parse_path(path_and_query.partition(b"?")[0])
    return (
        _VISIBLE.fullmatch(path_and_query) is not None
        and target is not None
        and (target.is_shared or _STATE.fullmatch(target.segment) is not None)
    )


def parse_wait_path(raw_path: bytes) -> edge_service_pb2.WaitRequest | None:
    """Return the request for the answer to a call at this path. Return None if it is not the address of a call."""
    if match := _WAIT_PATH.fullmatch(raw_path):
        return edge_service_pb2.WaitRequest(call_id=match[1].decode(), token=match[2].decode())
    return None


def prefers_minimal(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a caller asks for an answer without content (RFC 7240, section 4.2)."""
    return any(name == b"prefer" and value.strip().lower() == b"return=minimal" for name, value in headers)


def is_prefetch(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a browser marked the request as a prefetch."""
    return any(name in _PREFETCH_HEADERS and b"prefetch" in value.lower() for name, value in headers)


def is_service_worker_script(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser asks for the script of a service worker, which would see all requests below `/cb/`."""
    return (
        headers.get(b"service-worker", b"").strip().lower() == b"script"
        or headers.get(b"sec-fetch-dest", b"").strip().lower() == b"serviceworker"
    )


def is_navigation(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a browser opens the address, as far as is known: a script does not see where it leads then."""
    return all(value.strip().lower() == b"navigate" for name, value in headers if name == b"sec-fetch-mode")


def is_confirmation(body: bytes) -> bool:
    """Return whether a body is that of the form of the confirmation page."""
    # A regular expression would take 10 ms of the loop for a body of 1 MiB: every body is looked at.
    return body.startswith(_CONFIRMATIONS) or any(b"&" + each in body for each in _CONFIRMATIONS)


def is_handshake(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether an OPTIONS asks for permission to call this URL (CloudEvents' HTTP WebHook, section 4.1)."""
    return any(name == b"webhook-request-origin" for name, _ in headers)


def can_look_up(target: Target, method: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether the case of a request is known without its body: that of an event is in its key."""
    return not target.endpoint and not (target.is_shared and method == "POST" and _boundary_of(headers) is not None)


def to_invocation(
    target: Target,
    *,
    method: str,
    headers: Sequence[tuple[bytes, bytes]],
    query: bytes,
    body: bytes,
    client_address: str,
    traceparent: str,
    look_up: bool,
    prefers_page: bool,
) -> edge_service_pb2.StreamInvocationsRequest:
    """Make the message for the server: one invocation, still without a number.

    Args:
        target: The target of the request.
        method: The method in upper case.
        headers: The headers of the client in their order, with names in lower case.
        query: The query as it was sent, without the `?`. ASCII: the connection accepts nothing else.
        body: The body. Empty for a look-up.
        client_address: The address of the caller. Empty if unknown.
        traceparent: The trace context of the request. Empty: it is not traced.
        look_up: Whether it is looked up only, before its body is read.
        prefers_page: Whether the caller is a browser, which shows a page while it waits.

    Raises:
        ProblemError: The state is absent, appears twice in one place or with two values (`/cbq/` only), or is not a
            canonical UUID. The last is STATE_UNKNOWN, because it must look the same as a state that no case has.
    """
    state = _find_state(target.parameter, method, headers, query, body) if target.is_shared else target.segment
    if not target.endpoint and not _STATE.fullmatch(state):
        raise problems.ProblemError(problems.STATE_UNKNOWN)
    query_string = query.decode("ascii")
    batch = edge_service_pb2.StreamInvocationsRequest()
    # The request is made in its place in the batch: each copy of it would be a copy of its body.
    invocation = batch.invocations.add(look_up=look_up)
    if target.endpoint:
        invocation.event.endpoint, invocation.event.path = target.endpoint, target.path
    message = invocation.event.request if target.endpoint else invocation.request
    message.state = state
    message.state_query_parameter = target.parameter
    message.request_method = method.lower()
    message.request_query_string = query_string
    message.request_body = body
    message.client_address = client_address
    message.prefers_page = prefers_page
    if traceparent:
        message.traceparent = traceparent
    # `add` creates each item in its place. A query can have 8,000 pairs; to create and then copy them costs several
    # times as much.
    for name, value in headers:
        message.request_headers.add(name=name.decode("latin-1"), value=value.decode("latin-1"))
    if query_string:
        for parameter, text in parse_qsl(query_string, keep_blank_values=True, errors="replace"):
            message.request_query.add(name=parameter, value=text)
    return batch


def _find_state(parameter: str, method: str, headers: Sequence[tuple[bytes, bytes]], query: bytes, body: bytes) -> str:
    boundary = _boundary_of(headers) if method == "POST" else None
    places = [_urlencoded_values(parameter, query)]
    if boundary:
        named = parameter.encode("ascii")
        places.append([value for name, value in multipart.fields(boundary, body) if name == named])
    elif boundary is not None:
        places.append(_urlencoded_values(parameter, body))
    found: set[str] = set()
    for values in places:
        if len(values) > 1:
            raise problems.ProblemError(problems.STATE_REPEATED)
        found.update(value.decode("latin-1") for value in values)
    if not found:
        raise problems.ProblemError(problems.STATE_MISSING)
    if len(found) > 1:
        raise problems.ProblemError(problems.STATE_CONTRADICTORY)
    return found.pop()


def _boundary_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the boundary of a body that is a multipart form. Empty: it is another form. None: it is no form."""
    types = [value.strip(b" \t") for name, value in headers if name == b"content-type"]
    if len(types) != 1:
        return None
    if (boundary := multipart.boundary_of(types[0])) is not None:
        return boundary
    return b"" if types[0].split(b";", 1)[0].strip(b" \t").lower() == _FORM else None


def _urlencoded_values(parameter: str, data: bytes) -> list[bytes]:
    """Return the first two values of a parameter in urlencoded data."""
    found = islice(_pattern_of(parameter).finditer(b"&" + data), 2)
    return [unquote_to_bytes(value[1] or b"") for value in found]


@lru_cache(maxsize=256)
def _pattern_of(parameter: str) -> re.Pattern[bytes]:
    """Return the pattern that finds each value of a parameter in `&` + urlencoded data.

    It is a pattern and not a parser, because a body of 1 MiB can have half a million pairs: the pattern takes about
    10 ms, a parser most of a second. Each character may be percent-encoded, in upper or lower case.
    """
    name = b"".join(b"(?:%s|%%(?i:%02x))" % (re.escape(bytes((byte,))), byte) for byte in parameter.encode("ascii"))
    return re.compile(rb"&" + name + rb"(?:=([^&]*))?(?=&|\Z)")
