"""Pages of lists: their size, and the tokens that name where the next one begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from callback_server.errors import InvalidRequestError, Violation

T = TypeVar("T")

DEFAULT_PAGE_SIZE: Final = 50
"""How many items a page has if its request does not say."""


def page_size(requested: int, most: int) -> int:
    """Return how many items a page has: the default for 0, and at most `most`."""
    return min(requested or DEFAULT_PAGE_SIZE, most)


def attempt(token: str) -> int:
    """Return the position in the calls of a case that a page token names, or raise ValueError."""
    if not re.fullmatch("[1-9][0-9]{0,15}", token):
        raise ValueError("not a page token")
    return int(token)


def read_token(read: Callable[[str], T], token: str, *, field: str = "page_token") -> T | None:
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
