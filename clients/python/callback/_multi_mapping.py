"""Headers and query parameters: ordered multi-mappings of names and values.

1. They keep the order and every repeated name (`pairs`, `get_all`).
2. As a mapping, a name gives its first value. Names in `Headers` are case-insensitive.
3. `as_json` returns the flat form: `{"id": "5", "status": "ok"}`; a repeated name has a list.
"""

from collections.abc import Iterable, Iterator, Mapping

PairsLike = Mapping[str, str | list[str] | tuple[str, ...]] | Iterable[tuple[str, str]]
"""The accepted input: a mapping, in which a list as value repeats its name, or pairs of name and value."""


class Pairs(Mapping[str, str]):
    """Immutable, ordered multi-mapping of names to values.

    Raises:
        TypeError: A name or a value is not a string.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, pairs: PairsLike = ()) -> None:
        if isinstance(pairs, Pairs):
            self._pairs: tuple[tuple[str, str], ...] = pairs.pairs
        else:
            self._pairs = tuple(_flat(pairs))
        values: dict[str, list[str]] = {}
        for name, value in self._pairs:
            values.setdefault(self._key(name), []).append(value)
        self._values = values

    @classmethod
    def _key(cls, name: str) -> str:
        """Return the form of a name in which equal names are equal."""
        return name

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All pairs, in order."""
        return self._pairs

    def get_all(self, name: str) -> tuple[str, ...]:
        """Return every value of a name, in order. Empty if the name does not occur."""
        return tuple(self._values.get(self._key(name), ()))

    def as_json(self) -> dict[str, str | list[str]]:
        """Return the flat form: the value of each name, or the list of its values if the name is repeated."""
        spelled = {self._key(name): name for name, _ in reversed(self._pairs)}
        return {spelled[key]: values[0] if len(values) == 1 else list(values) for key, values in self._values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[self._key(name)][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._key(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash(self._comparable())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._pairs)!r})"

    def _comparable(self) -> tuple[object, ...]:
        return tuple((self._key(name), value) for name, value in self._pairs)


class Headers(Pairs):
    """HTTP header fields. Names are case-insensitive."""

    __slots__ = ()

    @classmethod
    def _key(cls, name: str) -> str:
        return name.lower()


class Query(Pairs):
    """Query or form parameters, percent-decoded."""

    __slots__ = ()


def _flat(pairs: PairsLike) -> Iterator[tuple[str, str]]:
    """Yield single pairs, and reject a value that is not text."""
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        values = value if isinstance(value, list | tuple) else (value,)
        for single in values:
            if not isinstance(name, str) or not isinstance(single, str):
                raise TypeError(f"names and values must be text, not {type(name).__name__} and {type(single).__name__}")
            yield name, single
