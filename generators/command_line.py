"""What the command line has from the contract: the fields of all messages of its services, for options and texts.

Only fields of requests have a help text, and only the words of their enums are choices. Everything else of an option is
in `callback_cli.request_options`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from generators.contract import Contract, Field, first_sentence, statement, wrapped
from generators.descriptors import ROOT

PACKAGE = ROOT / "clients" / "cli" / "callback_cli"
SERVICES = ("AuditService", "CallbacksService", "OperationsService")
"""The services that commands use."""
_KINDS = {
    "string": "text", "int32": "number", "int64": "number", "uint64": "number", "Duration": "duration",
    "Timestamp": "time", "FieldMask": "mask",
}  # fmt: skip
"""The kind of a field of each type. The kind of any other scalar is its type."""
_DEFAULT = re.compile(r"\bDefault:? (?!empty|false|none|all|UNSPECIFIED|\(0\)|0:)([^.]+)")
"""The default in a comment, unless it is what an option without a value means anyway."""


def client_files(contract: Contract) -> dict[Path, bytes]:
    """Return the content of the generated file."""
    methods = [method for name in SERVICES for method in contract.services[name].methods]
    requests = contract.reachable(*(method.request.name for method in methods))
    values = contract.reachable(*(method.response.name for method in methods))
    lines = [
        '"""The fields of the messages of the contract. Generated from it: `python3 tasks.py generate`."""',
        "",
        "from callback_cli.fields import Field",
        "",
        "MESSAGES = {",
    ]
    wrappers = {method.response.name for method in methods if method.response.value_name == method.response.name}
    for name in dict.fromkeys(requests + values):
        message = contract.messages.get(name)
        if message and message.fields and name not in wrappers:
            lines.append(f'    "{message.value_name}": (')
            for field in message.fields:
                lines += _field(contract, field, has_help=name in requests)
            lines.append("    ),")
    return {PACKAGE / "_contract.py": "\n".join([*lines, "}", ""]).encode()}


def _field(contract: Contract, field: Field, *, has_help: bool) -> Iterator[str]:
    """Yield the lines of a field. Arguments that have the default of `Field` are left out."""
    kind, of = _kind(contract, field)
    yield "        Field("
    yield f'            "{field.name}",'
    yield f'            "{field.short_name}",'
    yield f'            "{kind}",'
    if of:
        yield f'            of="{of}",'
    if field.is_repeated and kind != "pairs":
        yield "            is_repeated=True,"
    if field.is_required:
        yield "            is_required=True,"
    if field.is_secret:
        yield "            is_secret=True,"
    if field.unset:
        yield f'            unset="{field.unset}",'
    if has_help and kind == "enum":
        yield "            words=("
        yield from (f'                "{each.word.lower()}",' for each in contract.enums[field.type].words)
        yield "            ),"
    if has_help:
        default = _DEFAULT.search(field.comment)
        yield from _argument("help", _help(field))
        yield from _argument("default", default[1]) if default else ()
    yield "        ),"


def _argument(name: str, text: str) -> Iterator[str]:
    """Yield the lines of an argument, as ruff formats it."""
    pieces = [_quoted(each) for each in wrapped(text, "", 100)]
    pieces = [f"{each[:-1]} {each[-1]}" for each in pieces[:-1]] + pieces[-1:]
    yield "\n".join(f"            {line}" for line in (f"{name}={pieces[0]}", *pieces[1:])) + ","


def _kind(contract: Contract, field: Field) -> tuple[str, str]:
    """Return the kind of a field, and the class of its values in the client, if it has one.

    A list of messages of two texts, such as header fields, has the kind `pairs`, also inside of a message of its own.
    """
    if field.kind == "map":
        return "map", ""
    message = contract.messages.get(field.type)
    if message is None:
        return _KINDS.get(field.type, field.type if field.kind == "scalar" else field.kind), (
            field.type if field.kind == "enum" else ""
        )
    if _is_pair_list(contract, field) or (len(message.fields) == 1 and _is_pair_list(contract, message.fields[0])):
        return "pairs", ""
    return "message", message.value_name


def _is_pair_list(contract: Contract, field: Field) -> bool:
    message = contract.messages.get(field.type)
    types = [each.type for each in message.fields] if message else []
    return field.is_repeated and types == ["string", "string"]


def _help(field: Field) -> str:
    """Return the first sentence about a field. In the command line, a case is a callback."""
    text = first_sentence(statement(field.comment, field.name)).lstrip(", ").replace("–", "-")  # noqa: RUF001  # a range
    text = re.sub(r"^Selects (?!how|which|the)", "Only ", text[:1].upper() + text[1:])
    return re.sub(r"(?<!-)\b([Cc])ase(?=s?\b)", r"\1allback", text)


def _quoted(text: str) -> str:
    """Return a literal as ruff formats it."""
    escaped = text.replace("\\", "\\\\")
    return f"'{escaped}'" if '"' in text and "'" not in text else '"' + escaped.replace('"', '\\"') + '"'
