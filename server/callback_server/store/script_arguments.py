"""The arguments of a script: declared in the header of its Lua file, and bound to locals of their names.

The header declares each argument on a line of its own, in the order in which the script receives them:

- `---@param owner string`: what was sent. Also a number that the script only stores, passes on, or compares with
  stored text.
- `---@param limit number`: a number.
- `---@param is_paused boolean`: a boolean, sent as `1` or nothing.
- `---@param limits {a: number, b: number}`: a table of numbers. Its value in Python is a tuple.
- `---@param names string[]`: a list. The script gets `names_first` and `names_last`, the indexes of its items in ARGV.
- `---@param cases NewCase[]`: a list of items with fields. `---@field owner string` declares one of the fields, which
  has one of the first three types. The script gets `cases_first` and `cases_last`, the indexes of the first field of
  the first and of the last item, and `cases_step`, which is between two of them. In a function with such an index as
  its parameter `at`, `-- @fields` stands for locals with the names of the fields.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

LIST: Final = "string[]"
_PARAM: Final = re.compile(r"^---@param (\w+) (string|number|boolean|\w+\[\]|\{.+?\})(?: .*)?$", re.MULTILINE)
_ITEM_FIELD: Final = re.compile(r"^---@field (\w+) (string|number|boolean)(?: .*)?$", re.MULTILINE)
_FIELD: Final = re.compile(r"(\w+): number")
_VALUES: Final = {"string": "ARGV[{}]", "number": "tonumber(ARGV[{}])", "boolean": "ARGV[{}] == '1'"}


class Argument(NamedTuple):
    """One argument of a script."""

    name: str
    type: str


def declared_arguments(header: str) -> list[Argument]:
    """Return the arguments that the header of a script declares."""
    return [Argument(*found) for found in _PARAM.findall(header)]


def declared_fields(header: str) -> list[Argument]:
    """Return the fields of the items of a list that the header of a script declares."""
    return [Argument(*found) for found in _ITEM_FIELD.findall(header)]


def is_item_list(argument: Argument) -> bool:
    """Return whether an argument is a list of items with fields."""
    return argument.type.endswith("[]") and argument.type != LIST


def field_bindings(fields: Sequence[Argument]) -> str:
    """Return the Lua statement that binds the fields of the item at `at` to locals of their names."""
    values = [_VALUES[type_].format(f"at + {place}") for place, (_, type_) in enumerate(fields)]
    return f"local {', '.join(name for name, _ in fields)} = {', '.join(values)}"


def argument_bindings(arguments: Sequence[Argument], field_count: int) -> str:
    """Return the Lua statements that bind the arguments to locals of their names, one on each line.

    Args:
        arguments: The arguments.
        field_count: How many fields an item of a list has.
    """
    lines, before, at = list[str](), "", 1
    for argument in arguments:
        name, type_ = argument
        if is_item_list(argument):
            lines.append(f"local {name}_step, {name}_first = {field_count}, {before}{at + 1}")
            lines.append(f"local {name}_last = {name}_first + (ARGV[{before}{at}] - 1) * {name}_step")
            before, at = f"{name}_last + ", field_count
        elif type_ == LIST:
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
