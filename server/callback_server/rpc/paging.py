"""Pages of lists: their size, the tokens that name where the next one begins, and the order of concurrent lists."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sized
from typing import Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from callback_server.access.roles import Principal
from callback_server.errors import InvalidRequestError, Violation

T = TypeVar("T")
P = TypeVar("P", bound=Message)

DEFAULT_PAGE_SIZE: Final = 50
"""How many items a page has if its request does not say."""
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""The maximum size of a page, in bytes: the largest message that gRPC accepts by default."""
_FILTER_SIZE: Final = 8
"""How many characters at the start of a page token stand for the filter of its list."""


class ListQueue:
    """Runs the concurrent lists of a principal one after the other, so that they do not keep others from the store."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def turn(self, caller: Principal) -> asyncio.Lock:
        """Return what a list of this principal holds while it runs."""
        return self._locks[caller.name]


def page_size(requested: int, most: int) -> int:
    """Return how many items a page has: the default for 0, and at most `most`."""
    return min(requested or DEFAULT_PAGE_SIZE, most)


async def page_that_fits(
    read: Callable[[int], Awaitable[P]], requested: int, most: int, items: Callable[[P], Sized]
) -> P:
    """Return a page of at most `MAX_PAGE_BYTES`, or with one item.

    A page that would be larger is read again with fewer items. So its token is always the one of its last item.

    Args:
        read: Returns the page with at most so many items.
        requested: How many items the request asks for. 0: the default.
        most: The maximum number of items.
        items: Returns the items of a page.

    Raises:
        StoreError: The store did not answer.
    """
    limit = page_size(requested, most)
    page = await read(limit)
    while limit > 1 and (size := page.ByteSize()) > MAX_PAGE_BYTES:
        limit = max(1, len(items(page)) * MAX_PAGE_BYTES // size)
        page = await read(limit)
    return page


def call_number(token: str) -> int:
    """Return the number of the call of a case that a page token names, or raise ValueError."""
    if not re.fullmatch("[1-9][0-9]{0,15}", token):
        raise ValueError("not a page token")
    return int(token)


def page_token(request: Message, position: str) -> str:
    """Return the token of the page of a list that begins at a position. Empty, if the position is: there is none."""
    return _filter_of(request) + position if position else ""


def read_page_token(read: Callable[[str], T], token: str, request: Message) -> T | None:
    """Return the position of the page that a request asks for, or None for the first page.

    Args:
        read: Returns the position that a text names, or raises ValueError.
        token: The page token of the request.
        request: The request of a list.

    Raises:
        InvalidRequestError: It has no token of such a list, or one of a list with another filter.
    """
    position = read_token(read, token and (token[_FILTER_SIZE:] or token), field="page_token")
    if token and not token.startswith(_filter_of(request)):
        problem = "is a token of a list with another filter: send the same request, with the token"
        raise InvalidRequestError([Violation("page_token", "page_token", problem)])
    return position


def read_token(read: Callable[[str], T], token: str, *, field: str) -> T | None:
    """Return what a token says, or None for an empty one.

    Args:
        read: Returns what the text says, or raises ValueError.
        token: The text.
        field: The field of the request that has it.

    Raises:
        InvalidRequestError: It is no token.
    """
    if not token:
        return None
    try:
        return read(token)
    except ValueError:
        violation = Violation(field, field, "is not a token of an earlier response")
        raise InvalidRequestError([violation]) from None


def _filter_of(request: Message) -> str:
    """Return what stands for the filter of a list: for all of its request but the page and its size."""
    alone = type(request)()
    alone.CopyFrom(request)
    for name in {"page_size", "page_token"}.intersection(alone.DESCRIPTOR.fields_by_name):
        alone.ClearField(name)
    return hashlib.sha256(alone.SerializeToString(deterministic=True)).hexdigest()[:_FILTER_SIZE]


def milliseconds(time: Timestamp, field: str) -> int:
    """Return a time of a request in milliseconds since the epoch.

    Raises:
        InvalidRequestError: It is not a time.
    """
    try:
        return time.ToMilliseconds()
    except ValueError:  # outside of the years 1 to 9999, or with negative nanoseconds
        raise InvalidRequestError([Violation(field, "timestamp", "must be a valid timestamp")]) from None
