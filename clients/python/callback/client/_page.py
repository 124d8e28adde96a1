"""A page of a list."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """One page of a list."""

    items: tuple[_Item, ...]
    """The entries, newest first, or by name. Even a page before the last one may have fewer than requested."""
    next_page_token: str
    """The token of the next page. Empty on the last page."""
    searched_to: datetime | None = None
    """Of a list of cases: each case that matches and was created after this time is on this page or on one before. None
    on the last page."""
