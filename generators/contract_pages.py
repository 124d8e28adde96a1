"""The reference of the contract as Markdown: a page for each file, made from its comments."""

from collections.abc import Iterator, Mapping

from generators.contract import INTERNAL, Contract, ContractFile, Enum, Field, Message, Method

_GOOGLE = "https://protobuf.dev/reference/protobuf/google.protobuf/"
_WELL_KNOWN = ("Duration", "FieldMask", "Timestamp")


def contract_pages(contract: Contract) -> dict[str, str]:
    """Return the pages by the name of the file without its extension, such as `worker_service`."""
    public = [file for file in contract.files if file.module not in INTERNAL]
    named: list[Message | Enum] = [*contract.messages.values(), *contract.enums.values()]
    pages = {each.name: each.module for each in named if each.module not in INTERNAL}
    return {file.module: "\n\n".join(_page(file, contract, pages)) + "\n" for file in public}


def _page(file: ContractFile, contract: Contract, pages: Mapping[str, str]) -> Iterator[str]:
    yield f"# {file.module}.proto"
    for place, service in enumerate(each for each in contract.services.values() if each.module == file.module):
        yield f"## {service.name} {{ #{service.name} }}"
        yield file.text(6, place)
        for index, method in enumerate(service.methods):
            yield f"### {method.name} {{ #{service.name}.{method.name} }}"
            yield _signature(method, file.module, pages)
            yield file.text(6, place, 2, index)
            if method.reasons:
                yield f"Fails with {', '.join(f'`{each}`' for each in method.reasons)}."
    for place, message in enumerate(each for each in contract.messages.values() if each.module == file.module):
        yield f"## {message.name} {{ #{message.name} }}"
        yield file.text(4, place)
        yield "\n".join(_fields(file, place, message, pages))
    for place, enum in enumerate(each for each in contract.enums.values() if each.module == file.module):
        yield f"## {enum.name} {{ #{enum.name} }}"
        yield file.text(5, place)
        yield "\n".join(_values(file, place, enum))


def _signature(method: Method, page: str, pages: Mapping[str, str]) -> str:
    taken = ("stream of " if method.is_request_stream else "") + _link(method.request.name, page, pages)
    given = ("stream of " if method.is_response_stream else "") + _link(method.response.name, page, pages)
    return f"{taken} → {given}"


def _fields(file: ContractFile, place: int, message: Message, pages: Mapping[str, str]) -> Iterator[str]:
    for index, field in enumerate(message.fields):
        kind = _kind(field, file.module, pages)
        yield f"- **`{field.name}`** ({kind}, {field.number})\n\n{_indented(file.text(4, place, 2, index))}\n"


def _values(file: ContractFile, place: int, enum: Enum) -> Iterator[str]:
    for index, value in enumerate(enum.values):
        facts = "".join(f", {each}" for each in (value.grpc_code, value.http_status) if each)
        text = _indented(file.text(5, place, 2, index))
        yield f"- **`{value.name}`** ({value.number}{facts})\n\n{text}\n"


def _kind(field: Field, page: str, pages: Mapping[str, str]) -> str:
    kind = field.type if field.kind == "scalar" else _link(field.type, page, pages)
    if field.kind == "map":
        return f"map of string to {field.type}"
    return ("repeated " if field.is_repeated else "") + kind


def _link(name: str, page: str, pages: Mapping[str, str]) -> str:
    if name in _WELL_KNOWN or name not in pages:
        return f"[{name}]({_GOOGLE}#{name.lower()})"
    return f"[{name}]({'' if pages[name] == page else f'{pages[name]}.md'}#{name})"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
