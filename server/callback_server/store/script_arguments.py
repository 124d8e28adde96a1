"""The arguments of a script: declared in the header of its Lua file, and bound to locals of their names.

The header declares each argument on a line of its own, in the order in which the script receives them:

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
_PARAM: Final = re.compile(r"^---@param (\w+) (string|number|boolean|string\[\]|\{.+?\})(?: .*)?$", re.MULTILINE)
_FIELD: Final = re.compile(r"(\w+): number")
_VALUES: Final = {"string": "ARGV[{}]", "number": "tonumber(ARGV[{}])", "boolean": "ARGV[{}] == '1'"}


class Argument(NamedTuple):
    """One argument of a script."""

    name: str
    type: str


def declared_arguments(header: str) -> list[Argument]:
    """Return the arguments that the header of a script declares."""
    return [Argument(*found) for found in _PARAM.findall(header)]


def argument_bindings(arguments: Sequence[Argument]) -> str:
    """Return the Lua statements that bind the arguments to locals of their names, one on each line."""
    lines, before, at = list[str](), "", 1
    for name, type_ in arguments:
        if type_ == LIST:
            lines.append(f"local {name}_first, {name}_last = {before}{at + 1}, {before}{at} + ARGV[{before}{at}]")
            before, at = f"{name}_last + ", 1
        elif type_ in _VALUES:
            lines.append(f"local {name} = {_VALUES[type_].format(f'{before}{at}')}")
            at += 1
        else:
            fields = _FIELD.findall(type_)
            values = [f"{field} = tonumber(ARGV[{before}{i}])" for i, field in enumerate(fields, at)]
            lines.append(f"local {name} = {{{', '.join(values)}}}")
            at += len(fields)
    return "\n".join(lines)
