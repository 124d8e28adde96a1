"""The ASGI application of the API, in front of the application of the pages.

The rules of every request:

1. It is a POST to the path of an RPC, with a media type of the Connect protocol. A browser sends such a request to
   another site only after asking, and gets no permission: there are no CORS headers.
2. A request with the `Origin` of another site is refused all the same.
3. Only the headers of the protocol and one bearer token are read. A cookie never counts.
4. The server has to accept its token before anything of its message is read, and before it counts.
5. A request has limits: its size, the time in which it arrives, is answered and is read, and what its token has at once
   (`admission`). Only a watch may last.
"""

import asyncio
import contextlib
import json
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final, cast

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.server import ConnectASGIApplication
from google.protobuf.descriptor import MethodDescriptor

from callback_api import admission as limits
from callback_api.admission import Admission, Admitted, CallerGoneError, FullError, TooLargeError
from callback_api.codecs import CODECS, GZIP, MAX_BODY_BYTES
from callback_api.forwarding import RPCS, Forwarding
from callback_process.http.service import Receive, Send

_PREFIX: Final = "/callback.v1."
"""Start of the paths of all services."""
_UNARY_TYPES: Final = ("application/json", "application/proto")
STREAM_TYPES: Final = ("application/connect+json", "application/connect+proto")
_KEPT_HEADERS: Final = frozenset(
    (
        b"authorization",
        b"connect-content-encoding",
        b"connect-protocol-version",
        b"connect-timeout-ms",
        b"content-encoding",
        b"content-type",
    )
)
"""Headers that the protocol and the server need. The others are not read: no cookie, and not what a caller accepts, so
no response is compressed. That would block the loop, and its size would say something about a secret."""
_TIMEOUT: Final = b"connect-timeout-ms"
TIMEOUT_MS: Final = 30_000
"""Time limit of a request other than a watch, in milliseconds. A caller can set a shorter one."""
READ_S: Final = 30.0
"""How long a caller may take to read a part of the response, in seconds."""
_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Headers of every response."""


class _RefusedError(Exception):
    """A request is not one of the API, or comes from where none may come from.

    Args:
        status: The status of the response.
        code: The code of the error.
        message: A sentence for people.
        headers: Headers of the response, besides those of every response.
    """

    def __init__(self, status: HTTPStatus, code: Code, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class _NotReadError(Exception):
    """The caller does not read the response."""


class _Connect(ConnectASGIApplication[Forwarding]):
    @property
    def path(self) -> str:
        return "/"


class ApiFirst:
    """Application that serves the paths of the API, and passes all others on.

    Args:
        app: The application of the pages.
        forwarding: The RPCs.
        origins: Origins of the pages.
        admission: What each token may have at once.
    """

    def __init__(self, app: Any, forwarding: Forwarding, origins: Collection[str], admission: Admission) -> None:
        self._app = app
        self._admission = admission
        self._origins = {origin.encode() for origin in origins}
        self._connect = _Connect(
            service=forwarding,
            endpoints=Forwarding.endpoints,
            interceptors=[forwarding],
            read_max_bytes=MAX_BODY_BYTES,
            compressions=[GZIP],
            codecs=CODECS,
        )

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if not scope["path"].startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        arriving = _Arriving(receive, self._admission, _token_of(scope))
        try:
            rpc = self._checked(scope)
            own_scope = {**scope, "headers": _kept_headers(scope, is_watch=rpc.server_streaming)}
            # A caller that does not read gets no more. What is left of the response is dropped with the connection.
            with contextlib.suppress(_NotReadError):
                await self._connect(cast("Any", own_scope), cast("Any", arriving), cast("Any", _Read(send)))
        except _RefusedError as refused:
            await _refuse(send, refused)
        finally:
            arriving.end()

    def _checked(self, scope: Any) -> MethodDescriptor:
        """Return the RPC of a request.

        Raises:
            _RefusedError: The request is refused.
        """
        headers = dict(reversed([*scope["headers"]]))  # the first of several, as in connectrpc
        if not self._origins.issuperset(value for name, value in scope["headers"] if name == b"origin"):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, Code.PERMISSION_DENIED, "pages of other sites may not use the API"
            )
        rpc = RPCS.get(scope["path"])
        if rpc is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, Code.UNIMPLEMENTED, "the API has no such RPC")
        if scope["method"] != "POST":
            allow = (b"allow", b"POST")
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, Code.UNIMPLEMENTED, "send the message by POST", allow)
        types = STREAM_TYPES if rpc.server_streaming else _UNARY_TYPES
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1") not in types:
            accept = (b"accept-post", ", ".join(types).encode())
            message = f"send the message with Content-Type: {' or '.join(types)}"
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, Code.INVALID_ARGUMENT, message, accept)
        return rpc


def _kept_headers(scope: Any, *, is_watch: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that are read, with the time limit of a request that is not a watch."""
    # connectrpc expects UTF-8.
    kept = [(name, value.decode("latin-1").encode()) for name, value in scope["headers"] if name in _KEPT_HEADERS]
    if is_watch:
        return kept
    given = [value for name, value in kept if name == _TIMEOUT]
    if given and not (given[0].isdigit() and int(given[0][:10]) > TIMEOUT_MS):
        return kept  # it is shorter, or connectrpc refuses it
    return [each for each in kept if each[0] != _TIMEOUT] + [(_TIMEOUT, str(TIMEOUT_MS).encode())]


def _token_of(scope: Any) -> str | None:
    """Return the token of a request, as its identity and that of a session, however its header is written."""
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return given.rpartition(b" ")[2].decode("latin-1") or None


class _Arriving:
    """`receive` of a request whose message has to be admitted.

    connectrpc calls it only after the request is authenticated: the first call counts the request and starts its time.

    Args:
        receive: `receive` of the request.
        admission: The requests of all tokens.
        identity: The token.
    """

    def __init__(self, receive: Receive, admission: Admission, identity: str | None) -> None:
        self._receive = receive
        self._admission, self._identity = admission, identity
        self._place = contextlib.ExitStack()
        self._has_come = False

    async def __call__(self) -> Any:
        if self._has_come:
            return await self._receive()  # the end of the connection
        self._has_come = True
        try:
            admitted = self._place.enter_context(Admitted(self._admission, self._identity))
            return {"type": "http.request", "body": await admitted.read(self._receive, MAX_BODY_BYTES)}
        except CallerGoneError:
            return {"type": "http.disconnect"}
        except FullError as error:
            await asyncio.sleep(limits.REFUSAL_S)
            code = Code.RESOURCE_EXHAUSTED if error.is_own else Code.UNAVAILABLE
            raise ConnectError(code, str(error)) from None
        except TooLargeError:
            raise ConnectError(Code.RESOURCE_EXHAUSTED, f"the message has more than {MAX_BODY_BYTES} bytes") from None
        except TimeoutError:
            raise ConnectError(Code.DEADLINE_EXCEEDED, "the message of the request did not arrive in time") from None

    def end(self) -> None:
        """Count the request no more."""
        self._place.close()


class _Read:
    """`send` of a response that the caller has to read."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event["headers"], *_HEADERS]}
        try:
            async with asyncio.timeout(READ_S) as limit:
                await self._send(event)
        except TimeoutError:
            if not limit.expired():
                raise
            raise _NotReadError from None


async def _refuse(send: Send, refused: _RefusedError) -> None:
    body = json.dumps({"code": refused.code.value, "message": str(refused)}).encode()
    headers = [*refused.headers, (b"content-type", b"application/json"), *_HEADERS]
    await send({"type": "http.response.start", "status": refused.status.value, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
