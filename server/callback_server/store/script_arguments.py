"""The arguments of a script: their declaration, and the Lua statements that bind them to names.

A script never counts its arguments. Its wrapper declares them by name, gives them by name (see scripts.py), and the
script reads locals of these names, which stand where it says `-- @arguments`. One that was not sent is empty there.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


class Kind(enum.Enum):
    """How a script receives an argument."""

    TEXT = "text"
    """A string, as it was sent. Also a number that the script only stores, passes on, or compares with stored text."""
    NUMBER = "number"
    """A number. One that is not sent is 0."""
    FLAG = "flag"
    """A boolean: `'1'` or `''`."""
    GROUP = "group"
    """Numbers that the script gets as one table, by the names of their fields."""
    LIST = "list"
    """Values behind all other arguments. The script gets `NAME_first` and `NAME_last`, their indexes in ARGV."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a script."""

    name: str
    kind: Kind = Kind.TEXT
    fields: tuple[str, ...] = ()
    """The fields of a group."""
    is_seldom: bool = False
    """Whether it is mostly empty or 0. For such an argument 0 means the same as no value."""


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


def seldom(*declared: list[Argument]) -> list[Argument]:
    """Declare single arguments that are mostly empty. They stand behind those that are mostly given."""
    return [replace(argument, is_seldom=True) for arguments in declared for argument in arguments]


def argument_bindings(arguments: Sequence[Argument]) -> str:
    """Return the Lua statements that bind the arguments of a script to locals of their names."""
    names, values, at = list[str](), list[str](), 1
    for argument in arguments:
        if argument.kind is not Kind.LIST:
            names.append(argument.name)
            values.append(_value(argument, at))
            at += len(argument.fields) or 1
    statements = [f"local {', '.join(names)} = {', '.join(values)}"] if names else []
    count_at = str(at)
    for argument in arguments:
        if argument.kind is not Kind.LIST:
            continue
        first, last = f"{argument.name}_first", f"{argument.name}_last"
        statements += [
            f"local {first} = {count_at} + 1",
            f"local {last} = {count_at} + tonumber(ARGV[{count_at}] or 0)",
        ]
        count_at = f"{last} + 1"
    return "\n".join(statements)


def _value(argument: Argument, at: int) -> str:
    match argument.kind:
        case Kind.NUMBER:
            return f"(tonumber(ARGV[{at}]) or 0)"
        case Kind.FLAG:
            return f"ARGV[{at}] == '1'"
        case Kind.GROUP:
            fields = ", ".join(f"{name} = tonumber(ARGV[{at + i}])" for i, name in enumerate(argument.fields))
            return f"{{{fields}}}"
    return f"(ARGV[{at}] or '')"
