"""The modules of `clients/typescript/src/contract`: what the TypeScript client has of the contract, as readable source.

By hand stay the classes that do more than to hold fields (`Response`, `Request`), and the methods that do more than to
send a request (`_BY_HAND`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from generators.contract import (
    BATCH,
    DECISIONS,
    FACT_TYPES,
    Contract,
    EnumValue,
    Field,
    Message,
    Method,
    camel,
    described,
    refusal,
    snake,
    wrapped,
)
from generators.typescript_fields import (
    DEADLINE,
    Fields,
    constant,
    converter,
    given_type,
    is_class,
    key_of,
    lower,
    name_of,
    value_fields,
)

_BY_HAND = {*DECISIONS, "GenerateCallbackUrl", BATCH, "WatchCalls"}
"""RPCs whose method in the client is written by hand. Of DECISIONS and BATCH, the request is, too."""
_OPTIONS = {"GenerateCallbackUrl": "GenerateOptions", "PauseActivity": "PauseOptions", "WatchCalls": "WatchOptions"}
"""Names of options that are shorter than those of their methods."""
_OPTION_BASES = {"WatchCalls": ("WatchingOptions", "WATCHING")}
"""What other options than those of a request a method has, and their checks."""
_CLASS_BASES = {"Call": "Request", "IncomingCall": "Request"}
_EXPORT = re.compile(r"^export (?:abstract |async )?(?:class|const|function\*?|interface|type) (\w+)", re.MULTILINE)


class Modules:
    """Writes the modules.

    Args:
        contract: The contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._fields = Fields(contract)
        self._requests = [each for each in contract.methods if each.name not in {*DECISIONS, BATCH}]
        self._values = [each for name, each in contract.messages.items() if name in contract.returned]
        self._inputs = [each for name, each in contract.messages.items() if name in contract.given]
        self._inputs.sort(key=lambda each: len(contract.reachable(each.name)))  # one that has others after them
        used = {*contract.returned, *contract.given}
        self._enums = [each for name, each in contract.enums.items() if name in used]
        self._used = {*used, *(each.request.name for each in contract.methods)}
        requests = [each.request for each in contract.methods]
        messages = [*self._values, *requests, *(each.response for each in contract.methods)]
        self._names = {field.name: name_of(field) for message in messages for field in message.fields}
        self._names |= {each.name: _method_name(each) for each in contract.methods}

    def modules(self, by_hand: Path) -> dict[str, str]:
        """Return the source of each module by its name: not formatted, and with imports that it does not use.

        Args:
            by_hand: The folder of the modules that are written by hand.
        """
        lines = {
            "client": self._client(),
            "converters": self._converters(),
            "enums": self._enum_module(),
            "errors": self._errors(),
            "options": self._option_module(),
            "reasons": self._reasons(),
            "requests": self._request_module(),
            "response": self._response(),
            "values": self._value_module(),
        }
        modules = {name: "\n".join(each) for name, each in lines.items()}
        sources = {f"./{name}.js": source for name, source in modules.items()}
        sources |= {f"../{path.stem}.js": path.read_text() for path in sorted(by_hand.glob("*.ts"))}
        exports = {path: dict.fromkeys(_EXPORT.findall(source)) for path, source in sources.items()}
        return {name: "\n".join([*self._imports(f"./{name}.js", exports), source]) for name, source in modules.items()}

    def _imports(self, own: str, exports: Mapping[str, Iterable[str]]) -> Iterator[str]:
        """Yield the imports of a module: all that others export."""
        yield 'import { create } from "@bufbuild/protobuf";'
        yield 'import { durationMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";'
        for module in {self._fields.pb(each).partition(".")[0] for each in self._used}:
            yield f'import * as {module} from "../gen/callback/v1/{snake(module)}_pb.js";'
        for name, path in {"checks": "../checks.js", "enums": "./enums.js", "requests": "./requests.js"}.items():
            yield f'import * as {name} from "{path}";'
        yield from (f'import {{ {", ".join(names)} }} from "{path}";' for path, names in exports.items() if path != own)
        yield ""

    def _text(self, comment: str, name: str, unset: str = "") -> str:
        """Return a comment of the contract with the names of TypeScript."""
        return described(comment, name, self._names, unset or "Undefined")

    def _field_text(self, field: Field) -> str:
        concealed = " Concealed in debug output." if field.is_secret else ""
        return self._text(field.comment, field.name, field.unset) + concealed

    def _enum_module(self) -> Iterator[str]:
        for enum in self._enums:
            words = [(each.word, self._text(each.comment, each.name)) for each in enum.words]
            if enum.name in self._contract.returned:
                words.append(("UNKNOWN", "A value that this version of the client does not know."))
            yield from _words(enum.name, self._text(enum.comment, enum.name), words)

    def _reasons(self) -> Iterator[str]:
        what = "Every reason for a refusal, with what happened and the gRPC status that it comes with."
        yield from _words(
            "ErrorReason", what, ((each.word, self._reason_text(each)) for each in self._contract.reasons)
        )

    def _reason_text(self, reason: EnumValue) -> str:
        return f"{reason.title} ({reason.grpc_code}). {refusal(reason, self._names)}"

    def _errors(self) -> Iterator[str]:
        """Yield the classes of errors for one reason."""
        for name, reason in self._contract.own_errors.items():
            yield from _doc(self._reason_text(reason))
            yield f'export class {name} extends CallbackError {{ override readonly name = "{name}";\n'
            yield f"/** @internal */\nstatic readonly reason: ErrorReason = ErrorReason.{reason.word};\n"
            for fact in reason.facts:
                made, kind = f'this.facts["{fact}"]', FACT_TYPES.get(fact, "string")
                value = {"string": f'{made} ?? ""', "int": f"countOf({made})"}.get(kind) or f"factOf({kind}, {made})"
                kind = "number | undefined" if kind == "int" else kind
                yield from _doc(f"The fact `{fact}`.")
                yield f"get {camel(fact)}(): {kind} {{ return {value}; }}\n"
            yield "}\n"

    def _value_module(self) -> Iterator[str]:
        for message in self._values:
            if not is_class(message):
                yield from _doc(self._text(message.comment, message.name))
                yield from self._interface(message.value_name, message.fields)
            elif message.value_name != "Response":
                yield from self._class(message, f"class {message.value_name}", _CLASS_BASES.get(message.value_name))
        for method in self._contract.methods:
            if more := method.page_fields:
                item = self._fields.item_type(method.response.fields[0])
                yield from _doc(f"One page of `{_method_name(method)}`.")
                yield from self._interface(f"{_page_name(method)} extends Page<{item}>", more)

    def _response(self) -> Iterator[str]:
        """Yield what `Response`, which is written by hand, has of the contract."""
        message = self._contract.messages["Response"]
        yield from _doc("The name of each attribute of a response in the contract.")
        yield "export const RESPONSE_FIELDS = {"
        yield from (f'{name_of(each)}: "{each.name}",' for each in message.fields)
        yield "} as const;\n"
        yield from _doc("The checks of the attributes of a response.")
        yield self._checks("export const RESPONSE", message.fields)
        yield from self._class(message, "abstract class ResponseFields")

    def _interface(self, head: str, fields: Iterable[Field]) -> Iterator[str]:
        yield f"export interface {head} {{"
        for field in fields:
            yield from _doc(self._field_text(field))
            yield f"readonly {name_of(field)}: {self._fields.type(field)};"
        yield "}\n"

    def _class(self, message: Message, head: str, base: str | None = None) -> Iterator[str]:
        shown = [each for each in value_fields(message) if not each.is_secret]
        concealed = [each for each in value_fields(message) if each.is_secret]
        yield from _doc(self._text(message.comment, message.name))
        yield f"export {head} extends {base or 'Concealing'} {{"
        for field in shown:
            yield from _doc(self._field_text(field))
            yield f"readonly {name_of(field)}: {self._fields.type(field)};"
        given = f"{'RequestAttributes' if base else 'Given'}<{head.rpartition(' ')[2]}>"
        yield "\n/** @param attributes The attributes. Each has a default. */"
        yield f"constructor(attributes: {given} = {{}}) {{ super();"
        yield from (f"this.{name_of(each)} = {self._fields.attribute(each)};" for each in shown)
        yield "conceal(this, {"
        yield from (f"{name_of(each)}: {self._fields.attribute(each)}," for each in concealed)
        yield "});}\n"
        for field in concealed:
            name = name_of(field)
            yield from _doc(self._field_text(field))
            yield f'get {name}(): {self._fields.type(field)} {{ return secretOf(this, "{name}"); }}\n'
        yield "}\n"

    def _converters(self) -> Iterator[str]:
        for message in self._values:
            name = message.value_name
            made = "receivedResponse" if name == "Response" else f"new {name}"
            start, end = (f"{made}({{", "})") if is_class(message) else ("{", "}")
            yield f"export function {converter(message, 'From')}(message: {self._fields.pb(message.name)}): {name} {{"
            yield f"return {start}"
            for field in value_fields(message):
                is_deadline = key_of(message, field) == DEADLINE
                source = f"message.{field.json_name}"
                value = "deadlineOf(message)" if is_deadline else self._fields.received_value(field, source)
                yield f"{name_of(field)}: {value},"
            yield f"{end};}}\n"
        for message in self._inputs:
            value, made = lower(message.value_name), self._fields.pb(message.name)
            yield f"export function {converter(message, 'To')}({value}: {given_type(message)}): {made} {{"
            yield f"return create({made}Schema, {{"
            for field in message.fields:
                yield f"{field.json_name}: {self._fields.sent_value(field, f'{value}.{name_of(field)}')},"
            yield "});}\n"

    def _option_module(self) -> Iterator[str]:
        for method in self._requests:
            if options := method.request.optional:
                base, _ = _OPTION_BASES.get(method.name, ("RequestOptions", ""))
                yield from _doc(f"The options of `{_method_name(method)}`.")
                yield f"export interface {_options_name(method)} extends {base} {{"
                for field in options:
                    yield from _doc(self._field_text(field))
                    yield f"readonly {name_of(field)}?: {self._fields.type(field, is_option=True)} | undefined;"
                yield "}\n"

    def _request_module(self) -> Iterator[str]:
        for message in self._inputs:
            if not is_class(message):
                yield self._checks(f"const {constant(message.name)}", message.fields, message.value_name)
        for method in self._requests:
            name, request, checks = _method_name(method), self._fields.pb(method.request.name), "REQUEST"
            if options := method.request.optional:
                _, base = _OPTION_BASES.get(method.name, ("", checks))
                checks = constant(method.name)
                yield self._checks(f"export const {checks}", options, _options_name(method), f"...{base}, ")
            parameters = f"{self._parameters(method)}options: {_options_name(method)}"
            yield f"export function {name}Request({parameters}): {request} {{"
            yield from (
                f'{self._fields.check(each)}("{name_of(each)}", {name_of(each)});' for each in method.request.required
            )
            yield f'checks.checkOptions("{name}", options, {checks});'
            yield f"return create({request}Schema, {{"
            for field in method.request.fields:
                source = name_of(field) if field.is_required else f"options.{name_of(field)}"
                value = self._fields.sent_value(field, source)
                yield f"{value}," if value == field.json_name else f"{field.json_name}: {value},"
            yield "});}\n"

    def _checks(self, head: str, fields: Iterable[Field], of: str = "", base: str = "") -> str:
        checks = "".join(f"{name_of(each)}: {self._fields.check(each)}, " for each in fields)
        return f"{head} = {{ {base}{checks}}}{f' satisfies checks.Checks<{of}>' if of else ''};\n"

    def _parameters(self, method: Method) -> str:
        required = method.request.required
        return "".join(f"{name_of(each)}: {self._fields.type(each, is_option=True)}, " for each in required)

    def _client(self) -> Iterator[str]:
        for method in {each.service: each for each in self._contract.methods}.values():
            module = self._fields.pb(method.request.name).partition(".")[0]
            yield f"const {{ method: {method.service_name} }} = {module}.{method.service};"
        yield from ("", *_doc("The requests of a client that the contract describes completely."))
        yield "export abstract class ContractClient { readonly #connection: Connection;\n"
        yield "/** @internal */\nconstructor(connection: Connection) { this.#connection = connection; }\n"
        for method in self._contract.methods:
            if method.name not in _BY_HAND:
                yield from self._paged_method(method) if method.is_paged else self._method(method)
        yield "}"

    def _method_doc(self, method: Method) -> list[str]:
        paragraphs = [re.sub(r"^(\w+?)s\b", r"\1", self._text(method.summary, ""))]
        for field in method.request.required:
            about = self._field_text(field).replace(" Required.", "")
            paragraphs.append(f"@param {name_of(field)} {about}")
        raised = f"@throws CallbackError: With the reason {', '.join(method.reasons)}."
        return _doc(*paragraphs, *([raised] if method.reasons else []))

    def _method(self, method: Method) -> Iterator[str]:
        """Yield a method that returns the first field of the response, or the whole one if that is a value."""
        kind, result = "void", ""
        if method.response.is_value:
            kind, result = method.response.value_name, f"{converter(method.response, 'From')}(reply)"
        elif field := method.result:
            kind = self._fields.type(field).removesuffix(" | undefined").removeprefix("readonly ")
            source, value = f"reply.{field.json_name}", self._fields.value_of(field)
            result = self._fields.received_value(field, source)
            if value and not field.is_repeated:
                result = f'{converter(value, "From")}(present("{name_of(field)}", {source}))'
        yield from self._method_doc(method)
        yield f"async {_method_name(method)}({self._signature(method)}): Promise<{kind}> {{"
        yield from self._send(method, "const reply = " if result else "")
        yield f"return {result}; }}\n" if result else "}\n"

    def _paged_method(self, method: Method) -> Iterator[str]:
        name, (items, *others) = _method_name(method), method.response.fields
        item = self._fields.item_type(items)
        yield from self._method_doc(method)
        yield f"{name}({self._signature(method)}): AsyncGenerator<{item}, void, undefined> {{"
        yield f"return itemsOf((page) => this.{name}Page({_arguments(method)}page), options); }}\n"
        yield from _doc(f"Return one page of `{name}`.")
        page = _page_name(method) if method.page_fields else f"Page<{item}>"
        yield f"async {name}Page({self._signature(method)}): Promise<{page}> {{"
        yield from self._send(method, "const reply = ")
        named = [("items", items), *((name_of(each), each) for each in others)]
        values = (f"{key}: {self._fields.received_value(each, f'reply.{each.json_name}')}" for key, each in named)
        yield f"return {{ {', '.join(values)} }}; }}\n"

    def _signature(self, method: Method) -> str:
        return f"{self._parameters(method)}options: {_options_name(method)} = {{}}"

    def _send(self, method: Method, start: str) -> Iterator[str]:
        name = _method_name(method)
        yield f"const request = requests.{name}Request({_arguments(method)}options);"
        yield f"{start}await this.#connection.request({method.service_name}.{name}, request, options);"


def _method_name(method: Method) -> str:
    return lower(method.name)


def _options_name(method: Method) -> str:
    return _OPTIONS.get(method.name, f"{method.name}Options") if method.request.optional else "RequestOptions"


def _page_name(method: Method) -> str:
    return f"{method.name}Page"


def _arguments(method: Method) -> str:
    return "".join(f"{name_of(each)}, " for each in method.request.required)


def _words(name: str, comment: str, words: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield an enum, whose values are plain text."""
    yield from _doc(comment)
    yield f"export const {name} = {{"
    for word, text in words:
        yield from _doc(text)
        yield f'{word}: "{word}",'
    yield "} as const;"
    yield f"export type {name} = (typeof {name})[keyof typeof {name}];\n"


def _doc(text: str, *tags: str) -> list[str]:
    """Return a comment."""
    if not tags and len(text) < 100:
        return [f"/** {text} */"]
    lines = ["/**", *wrapped(text, " * ", 116), *([" *"] if tags else [])]
    for tag in tags:
        first, *others = wrapped(tag, "", 112)
        lines += [f" * {first}", *(f" *   {each}" for each in others)]
    return [*lines, " */"]
