"""Checks of what a program passes: a value of the wrong type raises a TypeError that names it.

gRPC's own errors name neither the parameter nor what is expected.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from callback._multi_mapping import Headers, PairsLike

_Type = TypeVar("_Type")
_Member = TypeVar("_Member", bound=StrEnum)


def instance(name: str, value: Any, expected: type[_Type], words: str = "") -> _Type:
    """Return the value, after checking its type.

    Args:
        name: The name of the parameter.
        value: The value.
        expected: Its type.
        words: How an error names the type. Default: its name with an article.
    """
    # A bool is an int to Python, and never an HTTP code.
    if not isinstance(value, expected) or isinstance(value, bool):
        article = "an" if expected.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {words or f'{article} {expected.__name__}'}, not {type(value).__name__}")
    return value


def text(name: str, value: str) -> str:
    """Return a text.

    Raises:
        ValueError: It is no Unicode: it has half of a surrogate pair.
    """
    if not instance(name, value, str, "text").isascii():
        _encoded(name, value)
    return value


def number(name: str, value: int) -> int:
    """Return a number."""
    return instance(name, value, int, "a number")


def seconds(name: str, value: float) -> float:
    """Return a number of seconds."""
    return value if isinstance(value, float) else instance(name, value, int, "a number of seconds")


def body(name: str, value: bytes | str) -> bytes:
    """Return a body as bytes. Text is encoded as UTF-8.

    Raises:
        ValueError: It is text that is no Unicode.
    """
    return _encoded(name, value) if isinstance(value, str) else instance(name, value, bytes, "bytes or text")


def _encoded(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be Unicode text, without half of a surrogate pair") from None


def headers(_name: str, value: PairsLike) -> Headers:
    """Return header fields."""
    return Headers(value)


def member(name: str, value: _Member, kind: type[_Member]) -> _Member:
    """Return a member of an enum."""
    return instance(name, value, kind)


def time(name: str, value: datetime) -> datetime:
    """Return a time.

    Raises:
        ValueError: It has no time zone.
    """
    if instance(name, value, datetime).tzinfo is None:
        raise ValueError(f"{name} needs a time zone, as in datetime.now(UTC) + timedelta(days=7)")
    return value


def duration(name: str, value: timedelta) -> timedelta:
    """Return a duration."""
    return instance(name, value, timedelta)


def texts(name: str, value: Mapping[str, str] | None) -> dict[str, str]:
    """Return texts by name, such as labels. None is empty."""
    shown = "a dictionary of texts"
    given = instance(name, {} if value is None else value, Mapping, shown)  # type: ignore[type-abstract]  # for isinstance
    return {text(f"each name in {name}", each): text(f"{name}[{each!r}]", one) for each, one in given.items()}


def several(name: str, value: Iterable[_Type]) -> Iterable[_Type]:
    """Return values, of which each is checked by itself. A text is none: it would be a list of its characters."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be a list, not text")
    return instance(name, value, Iterable, "a list")  # type: ignore[type-abstract]  # for isinstance
