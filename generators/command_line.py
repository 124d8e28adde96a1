"""What the command line has from the contract: the fields of all messages of its services, for options and texts.

Only fields of requests have a help text, and only the words of their enums are choices. Everything else of an option is
in `callback_cli.request_options`.
"""

import re
from pathlib import Path

from generators.contract import BATCH, Contract, Field, first_sentence, statement, wrapped
from generators.descriptors import ROOT
from generators.python import formatted

PACKAGE = ROOT / "clients" / "cli" / "callback_cli"
_KINDS = {
    "string": "text", "int32": "number", "int64": "number", "uint64": "number", "FieldMask": "mask",
    "PromptChoice": "pairs",
}  # fmt: skip
"""The kind of a field of each type. Default: the type of a scalar, or its kind in the contract."""
_DEFAULT = re.compile(r"\bDefault:? (?!empty|false|none|all|UNSPECIFIED|\(0\)|0:)([^.]+)")
"""The default in a comment, unless it is what an option without a value means anyway."""


def client_files(contract: Contract) -> dict[Path, bytes]:
    """Return the content of the generated file."""
    methods = [method for method in contract.methods if method.name != BATCH]
    asked = [method.request.name for method in methods]
    requests = contract.reachable(*asked)
    values = contract.reachable(*(method.response.name for method in methods))
    wrappers = {method.response.name for method in methods if not method.response.is_value}
    lines = [
        '"""The fields of the messages of the contract. Generated from it: `python3 tasks.py generate`."""\n',
        "from callback_cli.fields import Field\n",
        "MESSAGES = {",
    ]
    for name in dict.fromkeys(requests + values):
        message = contract.messages.get(name)
        if message and message.fields and name not in wrappers:
            fields = (_field(contract, field, has_help=name in requests) for field in message.fields)
            key = name if name in asked else message.value_name
            lines.append(f'    "{key}": ({", ".join(fields)},),')
    return formatted({PACKAGE / "_contract.py": "\n".join([*lines, "}", ""])})


def _field(contract: Contract, field: Field, *, has_help: bool) -> str:
    """Return the expression for a field. Arguments that have the default of `Field` are left out."""
    kind = field.type if field.kind == "scalar" else field.kind
    kind = kind if kind == "map" else _KINDS.get(field.type, kind)
    default = _DEFAULT.search(field.comment)
    given = {
        "of": contract.messages[field.type].value_name if kind == "message" else field.type if kind == "enum" else "",
        "is_repeated": field.is_repeated and kind != "pairs",
        "is_required": field.is_required,
        "is_secret": field.is_secret,
        "unset": field.unset,
    }
    if has_help:
        words = contract.enums[field.type].words if kind == "enum" else ()
        given["words"] = tuple(each.word.lower() for each in words)
        given |= {"help": _help(field), "default": default[1] if default else ""}
    arguments = [*map(repr, (field.name, field.short_name, kind))]
    arguments += [f"{name}={_literal(value)}" for name, value in given.items() if value]
    return f"Field({', '.join(arguments)},)"


def _literal(value: object) -> str:
    """Return a literal. That of a long text has several parts."""
    if not isinstance(value, str):
        return repr(value)
    pieces = wrapped(value, "", 100)
    return " ".join(repr(each) for each in (*(f"{each} " for each in pieces[:-1]), pieces[-1]))


def _help(field: Field) -> str:
    """Return the first sentence about a field. In the command line, a case is a callback."""
    text = first_sentence(statement(field.comment, field.name)).lstrip(", ").replace("–", "-")  # noqa: RUF001  # a range
    text = re.sub(r"^Selects (?!how|which|the)", "Only ", text[:1].upper() + text[1:])
    return re.sub(r"(?<!-)\b([Cc])ase(?=s?\b)", r"\1allback", text)
