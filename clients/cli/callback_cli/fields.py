"""Fields of the contract, as options and texts use them."""

from typing import NamedTuple


class Field(NamedTuple):
    """A field of a message."""

    name: str
    """The name in the contract."""
    short_name: str
    """The name in the client."""
    kind: str
    """text, bool, number, bytes, duration, time, mask, enum, map, pairs or message."""
    of: str = ""
    """The class of an enum or a message in the client."""
    is_repeated: bool = False
    is_required: bool = False
    is_secret: bool = False
    unset: str = ""
    """What an unset field stands for."""
    words: tuple[str, ...] = ()
    """The words of an enum, in lower case."""
    help: str = ""
    default: str = ""
    """The default, in words."""
