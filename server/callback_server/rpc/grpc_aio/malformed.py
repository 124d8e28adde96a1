"""Requests whose bytes are no message.

If the function that parses a request raises, grpc.aio logs its exception with a traceback, and answers INTERNAL, before
or beside the method of the servicer. So this one does not raise: the method gets `MALFORMED`, and refuses it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError

from callback_server.errors import InvalidRequestError, Violation

T = TypeVar("T")

MALFORMED: Final = object()
"""Stands for a request whose bytes are no message of its type."""


def lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a function that parses as this one does, and returns `MALFORMED` for bytes that are no message."""
    return functools.partial(_parse, parse)


def _parse(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except DecodeError:
        return MALFORMED


def require_message(request: object) -> None:
    """Check that a request is a message.

    Raises:
        InvalidRequestError: It is `MALFORMED`.
    """
    if request is MALFORMED:
        raise InvalidRequestError([Violation("", "malformed", "the bytes of the request are no message of its type")])


class Messages(AsyncIterator[T]):
    """The requests of a stream, each of which is a message. It raises what `require_message` raises."""

    def __init__(self, requests: AsyncIterator[T]) -> None:
        self._next = requests.__anext__

    async def __anext__(self) -> T:
        request = await self._next()
        require_message(request)
        return request
