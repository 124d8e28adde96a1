"""Forwarding of calls to an HTTP server, for `callback listen`.

1. The server gets method, query, headers and body of the call as they arrived, without the headers of a connection
   (RFC 9110, 7.6.1). `Host` names the server, and the path is that of its URL.
2. 2xx accepts the call, and 3xx with a `Location` accepts it with a redirect. Any other code rejects the call. The
   caller gets the server's response each time, without the headers that only Callback can set.
3. A server that does not answer fails the call, so that Callback can retry it.
"""

import asyncio
import contextlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import SplitResult, urljoin, urlsplit

from callback import Accept, Headers, IncomingCall, Redirect, Reject, Response

MAX_BODY_BYTES = 1024 * 1024
"""Size limit of a response's body, in bytes."""

OF_A_CONNECTION = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "content-length", "expect"),
}
"""Headers that belong to one connection, and not to the message."""
OF_THE_EDGE = re.compile(
    "date|server|via|location|refresh|x-(accel|lighttpd|litespeed|reproxy)-.*|x-sendfile.*|(.*-)?cdn-cache-control"
    "|surrogate-control|edge-control|clear-site-data|strict-transport-security|nel|report-to|reporting-endpoints|alt-svc"
    "|service-worker-allowed|accept-ch|critical-ch|origin-agent-cluster|set-login|secure-session-registration"
    "|use-as-dictionary|set-cookie"
)
"""Headers that a handler cannot set: the rule `header_name_reserved` of the contract, and cookies."""
_SILENTLY_LEFT_OUT = {"date", "server", "via", "location"}
"""The ones of these that almost every response has, or that are a redirect."""
_REDIRECTS = {301, 302, 303, 307, 308}


class ForwardingError(Exception):
    """The server gave no response that can be passed on. The text says why."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What became of one call."""

    call_id: str
    method: str
    """In upper case."""
    duration_s: float
    code: int | None = None
    """The status code of the server. None: it gave no response that can be passed on."""
    problem: str = ""
    """Why there is no response."""
    left_out: tuple[str, ...] = ()
    """Names of headers that the caller does not get, because a handler cannot set them."""


class Forwarder:
    """Forwards calls to an HTTP server.

    Args:
        url: The URL of the server, without a query.
        max_calls: The number of concurrent calls.
        report: Receives each call that has ended.
    """

    def __init__(self, url: str, max_calls: int, report: Callable[[Forwarded], None]) -> None:
        self._url = urlsplit(url)
        self._report = report
        self._threads = ThreadPoolExecutor(max_calls, "forward")
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None

    async def handle(self, call: IncomingCall) -> Accept:
        """Forward a call.

        Raises:
            Reject: The server's code is neither 2xx nor a redirect.
            ForwardingError: The server gave no response that can be passed on.
        """
        began = time.monotonic()
        left_s = (call.deadline - datetime.now(UTC)).total_seconds()
        connection = _connection(self._url, self._tls, max(left_s, 0.001))
        loop, opened = asyncio.get_running_loop(), None
        code, problem = None, ""
        left_out: tuple[str, ...] = ()
        try:
            opened = await loop.run_in_executor(self._threads, _open, connection)
            code, headers, body = await loop.run_in_executor(self._threads, _exchange, connection, self._url, call)
            left_out = tuple(sorted({name.lower() for name, _ in headers.pairs if _is_reported(name.lower())}))
            return _decision(self._url, code, headers, body)
        except ForwardingError as error:
            code, problem = None, str(error)
            raise
        except asyncio.CancelledError:
            problem = f"no response in {time.monotonic() - began:.1f} s, when the call ended"
            raise
        finally:
            if opened is not None:
                with contextlib.suppress(OSError):  # the server has closed it
                    opened.shutdown(socket.SHUT_RDWR)  # a thread that still waits ends
            connection.close()
            duration_s = time.monotonic() - began
            self._report(Forwarded(call.call_id, call.method.upper(), duration_s, code, problem, left_out))


def _connection(url: SplitResult, tls: ssl.SSLContext | None, timeout_s: float) -> http.client.HTTPConnection:
    host = url.hostname or ""
    if tls is not None:
        return http.client.HTTPSConnection(host, url.port, timeout=timeout_s, context=tls)
    return http.client.HTTPConnection(host, url.port, timeout=timeout_s)


def _open(connection: http.client.HTTPConnection) -> socket.socket:
    """Connect, and return the socket: the library forgets it when a response begins. It blocks."""
    try:
        connection.connect()
    except OSError as error:
        address = f"{connection.host}:{connection.port}"
        raise ForwardingError(f"cannot connect to {address}: {error.strerror or error}") from None
    opened: socket.socket = connection.sock
    return opened


def _exchange(
    connection: http.client.HTTPConnection, url: SplitResult, call: IncomingCall
) -> tuple[int, Headers, bytes]:
    """Send a call, and return the code, headers and body of the response. It blocks."""
    address = f"{connection.host}:{connection.port}"
    target = (url.path or "/") + (f"?{call.query_string}" if call.query_string else "")
    try:
        connection.putrequest(call.method.upper(), target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", url.netloc.rpartition("@")[2])
        for name, value in _of_the_message(call.headers):
            if name.lower() != "host":
                connection.putheader(name, value.encode("latin-1"))
        if call.body or call.method in ("post", "put", "patch"):
            connection.putheader("Content-Length", str(len(call.body)))
        connection.endheaders(call.body or None)
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES + 1)
    except TimeoutError:
        raise ForwardingError(f"{address} did not respond before the deadline of the call") from None
    except (OSError, http.client.HTTPException) as error:
        raise ForwardingError(f"{address} gave no valid response: {type(error).__name__} {error}".rstrip()) from None
    if len(body) > MAX_BODY_BYTES:
        raise ForwardingError(f"the response of {address} is larger than {MAX_BODY_BYTES:,} bytes")
    return response.status, Headers(response.getheaders()), body


def _decision(url: SplitResult, code: int, headers: Headers, body: bytes) -> Accept:
    """Return what a response means. Raise Reject, or ForwardingError."""
    if code in _REDIRECTS and "location" in headers:
        location = headers["location"]
        if location.startswith("/") and not location.startswith("//"):
            return Accept(Redirect(location))
        try:
            return Accept(Redirect(urljoin(url.geturl(), location)))
        except ValueError:
            raise ForwardingError(f"the response has the code {code} with a Location that is no URL") from None
    if not (200 <= code <= 299 or 400 <= code <= 599):
        raise ForwardingError(f"the response has the code {code}, which a callback cannot give")
    kept = [(name, value) for name, value in _of_the_message(headers) if not OF_THE_EDGE.fullmatch(name.lower())]
    response = Response(body, code=code, headers=kept)
    if code >= 400:
        raise Reject(response)
    return Accept(response)


def _of_the_message(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers without those of the connection, and without those that `Connection` names."""
    named = {each.strip().lower() for value in headers.get_all("connection") for each in value.split(",")}
    return [(name, value) for name, value in headers.pairs if name.lower() not in OF_A_CONNECTION | named]


def _is_reported(name: str) -> bool:
    return name not in _SILENTLY_LEFT_OUT and bool(OF_THE_EDGE.fullmatch(name))
