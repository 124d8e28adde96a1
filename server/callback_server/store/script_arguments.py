"""The arguments of a script: declared in the header of its Lua file, and bound to locals of their names.

The header declares each argument on a line of its own, in the order in which the script receives them. `?` behind the
name says that it is mostly empty or 0; such an argument stands behind those that are mostly given, and 0 means the same
as no value. Lists stand last. An argument that was not sent is empty in the script, a number 0.

- `---@param owner string`: what was sent. Also a number that the script only stores, passes on, or compares with
  stored text.
- `---@param limit number`: a number.
- `---@param is_paused boolean`: a boolean, sent as `1` or nothing.
- `---@param limits {a: number, b: number}`: a table of numbers. Its value in Python is a tuple.
- `---@param names string[]`: a list. The script gets `names_first` and `names_last`, the indexes of its items in ARGV.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

LIST: Final = "string[]"
_PARAM: Final = re.compile(r"^---@param (\w+)(\??) (string|number|boolean|string\[\]|\{.+?\})(?: .*)?$", re.MULTILINE)


class Argument(NamedTuple):
    """One argument of a script."""

    name: str
    is_seldom: bool
    """Whether it is mostly empty or 0."""
    type: str

    @property
    def fields(self) -> list[str]:
        """The names of the numbers of a table."""
        return re.findall(r"(\w+): number", self.type)


def declared_arguments(header: str) -> list[Argument]:
    """Return the arguments that the header of a script declares."""
    return [Argument(name, seldom == "?", type_) for name, seldom, type_ in _PARAM.findall(header)]


def argument_bindings(arguments: Sequence[Argument]) -> str:
    """Return the Lua statements that bind the arguments to locals of their names."""
    names, values, at = list[str](), list[str](), 1
    for argument in arguments:
        if argument.type != LIST:
            names.append(argument.name)
            values.append(_value(argument, at))
            at += len(argument.fields) or 1
    statements = [f"local {', '.join(names)} = {', '.join(values)}"] if names else []
    count_at = str(at)
    for argument in arguments:
        if argument.type == LIST:
            first, last = f"{argument.name}_first", f"{argument.name}_last"
            statements.append(f"local {first} = {count_at} + 1")
            statements.append(f"local {last} = {count_at} + tonumber(ARGV[{count_at}] or 0)")
            count_at = f"{last} + 1"
    return "\n".join(statements)


def _value(argument: Argument, at: int) -> str:
    match argument.type:
        case "string":
            return f"(ARGV[{at}] or '')"
        case "number":
            return f"(tonumber(ARGV[{at}]) or 0)"
        case "boolean":
            return f"ARGV[{at}] == '1'"
    return f"{{{', '.join(f'{name} = tonumber(ARGV[{i}])' for i, name in enumerate(argument.fields, at))}}}"
