"""The parts of the Lua scripts that are generated from Python: key names, the life table, argument bindings.

Each of these facts has one home in Python, so that a script and its Python side cannot differ. The text is generated
when a script is loaded. It builds no Lua tables where a script runs once per call: a function costs a script almost
nothing until it is called.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callback_server.domain import life
from callback_server.domain.case import CaseEffect, CaseStatus, Mode
from callback_server.domain.life import CallEnd
from callback_server.store import keys


class Kind(enum.Enum):
    """How a script receives an argument."""

    TEXT = "text"
    """A string, as it was sent. Also a number that the script only stores, passes on, or compares with stored text."""
    NUMBER = "number"
    FLAG = "flag"
    """A boolean: `'1'` or `''`."""
    LIST = "list"
    """Values behind all other arguments. The script gets `NAME_first` and `NAME_last`, their indexes in ARGV."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a script."""

    name: str
    kind: Kind = Kind.TEXT


def text(*names: str) -> list[Argument]:
    """Declare arguments that are text."""
    return [Argument(name) for name in names]


def numbers(*names: str) -> list[Argument]:
    """Declare arguments that are numbers."""
    return [Argument(name, Kind.NUMBER) for name in names]


def flags(*names: str) -> list[Argument]:
    """Declare arguments that are booleans."""
    return [Argument(name, Kind.FLAG) for name in names]


def lists(*names: str) -> list[Argument]:
    """Declare arguments that are lists. They stand behind all others."""
    return [Argument(name, Kind.LIST) for name in names]


def argument_bindings(arguments: Sequence[Argument]) -> str:
    """Return the Lua statements that bind the arguments of a script to locals of their names."""
    plain = [argument for argument in arguments if argument.kind is not Kind.LIST]
    statements = []
    if plain:
        names = ", ".join(argument.name for argument in plain)
        statements.append(
            f"local {names} = {', '.join(_value(argument, at) for at, argument in enumerate(plain, start=1))}"
        )
    count_at = str(len(plain) + 1)
    for argument in arguments[len(plain) :]:
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


def key_functions() -> str:
    """Return the key table as Lua functions: `case_key(id)` and so on, under the hash tag in `KEYS[1]`."""
    lines = []
    for name, pattern in keys.LAYOUT.items():
        parameters = [f"p{i}" for i in range(1, pattern.count("{}") + 1)]
        pieces = [f"':{piece}'" if i == 0 else f"'{piece}'" for i, piece in enumerate(pattern.split("{}"))]
        terms = ["KEYS[1]", pieces[0]]
        for parameter, piece in zip(parameters, pieces[1:], strict=True):
            terms += [parameter, piece]
        body = " .. ".join(term for term in terms if term != "''")
        lines.append(f"local function {name}_key({', '.join(parameters)}) return {body} end")
    return "\n".join(lines)


def life_functions() -> str:
    """Return the life table as two Lua functions.

    `case_effect(mode, call_status, keep_open)` returns the new status of the case and its close reason, both nil where
    the case stays as it is. `status_during_call(mode)` returns the status of a case while a call runs on it.
    """
    lines = ["local function case_effect(mode, call_status, keep_open)"]
    for mode in Mode:
        if rows := [*_rows(life.LIFE[mode])]:
            lines += [f"  if mode == '{mode}' then", *rows, "  end"]
    lines += ["end", "local function status_during_call(mode)"]
    lines += [f"  if mode == '{mode}' then return '{life.STATUS_DURING_CALL[mode]}' end" for mode in Mode]
    lines.append("end")
    return "\n".join(lines)


def _rows(rows: Mapping[CallEnd, CaseEffect | None]) -> Iterable[str]:
    # A success that keeps the case open is tested before every other success. One without effect has a row too then.
    for end in sorted(rows, key=lambda end: end is not CallEnd.KEPT_OPEN):
        effect = rows[end]
        if effect is None and not (end is CallEnd.KEPT_OPEN and rows[CallEnd.SUCCEEDED]):
            continue
        condition = f"call_status == '{end}'"
        if end is CallEnd.KEPT_OPEN:
            condition = f"call_status == '{CallEnd.SUCCEEDED}' and keep_open"
        if effect is None:
            result = "nil"
        else:
            result = ", ".join(f"'{word}'" for word in (effect.status, effect.close_reason) if word)
        yield f"    if {condition} then return {result} end"


def status_lists() -> str:
    """Return the statuses of a case as Lua tables: all, and those of a case that is not closed."""
    tables = {"CASE_STATUSES": [*CaseStatus], "NOT_CLOSED": [each for each in CaseStatus if each != CaseStatus.CLOSED]}
    return "\n".join(
        f"local {name} = {{{', '.join(repr(str(each)) for each in statuses)}}}" for name, statuses in tables.items()
    )


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "key_functions": key_functions,
    "life_functions": life_functions,
    "status_lists": status_lists,
}
"""The parts that a script can include by name, as it includes a file."""
