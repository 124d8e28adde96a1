"""HTTP/1.1 connections of callers, as many as there are requests at the same time.

The pool of httpcore looks at all of its connections for each request. A few hundred callers that wait would take all
the time of the process.
"""

from collections import defaultdict
from typing import Final, Self

import httpcore

CALLER_TIMEOUT_S: Final = 60.0
"""Timeout of callers, in seconds."""
KEEP_ALIVE_S: Final = 2.0
"""Time after which an unused connection is not used again, in seconds."""
_TIMEOUTS: Final = dict.fromkeys(("connect", "read", "write"), CALLER_TIMEOUT_S)


class Connections:
    """Connections to any number of origins. Use it as a context manager, which closes them."""

    def __init__(self) -> None:
        self._idle = defaultdict[str, list[httpcore.AsyncHTTPConnection]](list)
        """Connections without a request, by origin."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        for idle in self._idle.values():
            for connection in idle:
                await connection.aclose()

    async def request(self, method: str, origin: str, path: str, content: bytes | None) -> httpcore.Response:
        """Send a request, and return the complete response.

        Args:
            method: Method of the request.
            origin: Where to send it, such as `http://127.0.0.1:8080`.
            path: Path of the request.
            content: Body of the request. None: it has none.

        Raises:
            NetworkError, ProtocolError, TimeoutException: No response arrived.
        """
        connection = await self._connection(origin)
        try:
            response = await connection.request(
                method, f"{origin}{path}", content=content, extensions={"timeout": _TIMEOUTS}
            )
        except BaseException:
            await connection.aclose()
            raise
        if connection.is_idle():
            self._idle[origin].append(connection)
        return response

    async def _connection(self, origin: str) -> httpcore.AsyncHTTPConnection:
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(httpcore.URL(origin).origin, keepalive_expiry=KEEP_ALIVE_S)
