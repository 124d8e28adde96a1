"""The reference of the contract as Markdown: a page for each file, made from its comments."""

from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

from generators.contract import ContractFile

INTERNAL: Final = {"callback/v1/edge_service.proto", "callback/v1/rules.proto"}
"""Files that clients, handlers and workers do not use."""
_GOOGLE: Final = "https://protobuf.dev/reference/protobuf/google.protobuf/"


def contract_pages(contract: FileDescriptorSet) -> dict[str, str]:
    """Return the pages by the name of the file without its extension, such as `worker_service`.

    Args:
        contract: The files of the contract, with their comments.
    """
    public = [
        ContractFile(file) for file in contract.file if file.package == "callback.v1" and file.name not in INTERNAL
    ]
    pages = {
        f".{file.package}.{name}": _page_name(file)
        for file in public
        for name in (*(each.name for each in file.messages), *(each.name for each in file.enums))
    }
    return {_page_name(file): "\n\n".join(_page(file, pages)) + "\n" for file in public}


def _page_name(file: ContractFile) -> str:
    return file.descriptor.name.rpartition("/")[2].removesuffix(".proto")


def _page(file: ContractFile, pages: Mapping[str, str]) -> Iterator[str]:
    name = _page_name(file)
    yield f"# {name}.proto"
    for place, service in enumerate(file.descriptor.service):
        yield f"## {service.name} {{ #{service.name} }}"
        yield file.text(6, place)
        for index, method in enumerate(service.method):
            yield f"### {method.name} {{ #{service.name}.{method.name} }}"
            taken = ("stream of " if method.client_streaming else "") + _link(method.input_type, name, pages)
            given = ("stream of " if method.server_streaming else "") + _link(method.output_type, name, pages)
            yield f"{taken} → {given}"
            yield file.text(6, place, 2, index)
    for place, message in enumerate(file.messages):
        yield f"## {message.name} {{ #{message.name} }}"
        yield file.text(4, place)
        yield "\n".join(_fields(file, place, message, name, pages))
    for place, enum in enumerate(file.enums):
        yield f"## {enum.name} {{ #{enum.name} }}"
        yield file.text(5, place)
        yield "\n".join(_values(file, place, enum))


def _fields(
    file: ContractFile, place: int, message: DescriptorProto, page: str, pages: Mapping[str, str]
) -> Iterator[str]:
    entries = {f".{file.package}.{message.name}.{each.name}": each for each in message.nested_type}
    for index, field in enumerate(message.field):
        if entry := entries.get(field.type_name):
            kind = f"map of {_kind(entry.field[0], page, pages)} to {_kind(entry.field[1], page, pages)}"
        else:
            kind = ("repeated " if field.label == field.LABEL_REPEATED else "") + _kind(field, page, pages)
        yield f"- **`{field.name}`** ({kind}, {field.number})\n\n{_indented(file.text(4, place, 2, index))}\n"


def _values(file: ContractFile, place: int, enum: EnumDescriptorProto) -> Iterator[str]:
    for index, value in enumerate(enum.value):
        yield f"- **`{value.name}`** ({value.number})\n\n{_indented(file.text(5, place, 2, index))}\n"


def _kind(field: FieldDescriptorProto, page: str, pages: Mapping[str, str]) -> str:
    if field.type_name:
        return _link(field.type_name, page, pages)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str, page: str, pages: Mapping[str, str]) -> str:
    short = type_name.rpartition(".")[2]
    if type_name.startswith(".google.protobuf."):
        return f"[{short}]({_GOOGLE}#{short.lower()})"
    to = pages[type_name]
    return f"[{short}]({'' if to == page else f'{to}.md'}#{short})"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
