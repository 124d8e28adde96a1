"""The arguments of a script: their declaration, and the Lua statements that bind them to names.

A script never counts its arguments. Its wrapper declares them by name, packs them by name (see scripts.py), and the
script reads locals of these names, which stand where it says `-- @arguments`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """How a script receives an argument."""

    TEXT = "text"
    """A string, as it was sent. Also a number that the script only stores, passes on, or compares with stored text."""
    NUMBER = "number"
    FLAG = "flag"
    """A boolean: `'1'` or `''`."""
    GROUP = "group"
    """Numbers that the script gets as one table, by the names of their fields. They stand behind single arguments."""
    LIST = "list"
    """Values behind all other arguments. The script gets `NAME_first` and `NAME_last`, their indexes in ARGV."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a script."""

    name: str
    kind: Kind = Kind.TEXT
    fields: tuple[str, ...] = ()
    """The fields of a group."""


def texts(*names: str) -> list[Argument]:
    """Declare arguments that are text."""
    return [Argument(name) for name in names]


def numbers(*names: str) -> list[Argument]:
    """Declare arguments that are numbers."""
    return [Argument(name, Kind.NUMBER) for name in names]


def flags(*names: str) -> list[Argument]:
    """Declare arguments that are booleans."""
    return [Argument(name, Kind.FLAG) for name in names]


def group(name: str, fields: Iterable[str]) -> list[Argument]:
    """Declare a group of numbers. Its value is a tuple of them in the order of `fields`."""
    return [Argument(name, Kind.GROUP, tuple(fields))]


def lists(*names: str) -> list[Argument]:
    """Declare arguments that are lists. They stand behind all others."""
    return [Argument(name, Kind.LIST) for name in names]


def argument_bindings(arguments: Sequence[Argument]) -> str:
    """Return the Lua statements that bind the arguments of a script to locals of their names."""
    statements = []
    if plain := [argument for argument in arguments if argument.kind not in (Kind.GROUP, Kind.LIST)]:
        names = ", ".join(argument.name for argument in plain)
        statements.append(
            f"local {names} = {', '.join(_value(argument, at) for at, argument in enumerate(plain, start=1))}"
        )
    end = len(plain)
    for argument in arguments:
        if argument.kind is Kind.GROUP:
            values = ", ".join(
                f"{name} = tonumber(ARGV[{at}])" for at, name in enumerate(argument.fields, start=end + 1)
            )
            statements.append(f"local {argument.name} = {{{values}}}")
            end += len(argument.fields)
    count_at = str(end + 1)
    for argument in arguments:
        if argument.kind is not Kind.LIST:
            continue
        first, last = f"{argument.name}_first", f"{argument.name}_last"
        statements += [f"local {first} = {count_at} + 1", f"local {last} = {count_at} + tonumber(ARGV[{count_at}])"]
        count_at = f"{last} + 1"
    return "\n".join(statements)


def _value(argument: Argument, at: int) -> str:
    match argument.kind:
        case Kind.NUMBER:
            return f"tonumber(ARGV[{at}])"
        case Kind.FLAG:
            return f"ARGV[{at}] == '1'"
    return f"ARGV[{at}]"
