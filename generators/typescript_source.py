"""The modules of `clients/typescript/src/contract`: what the TypeScript client has of the contract, as readable source.

Every field is handled by its type and its options. By hand stay the classes that do more than to hold fields
(`Response`, `Request`), and the methods that do more than to send a request (`_BY_HAND`).
"""

import re
from collections.abc import Iterable, Iterator

from generators.contract import Contract, Enum, Field, Message, Method, camel, renamed, snake, statement, wrapped

_SERVICES = ("CallbacksService", "OperationsService", "AuditService")
_INCOMING = "HandleCallbackRequest"
_BY_HAND = {"GenerateCallbackUrl", "SetResponse", "AnswerCall", "ResolveCallback", "WatchCalls"}
"""RPCs whose method in the client is written by hand."""
_DECISIONS = {"SetResponse", "AnswerCall", "ResolveCallback"}
"""RPCs whose request is written by hand, too: it depends on which attributes are given, or on a decision."""
_OPTIONS = {"GenerateCallbackUrl": "GenerateOptions", "PauseActivity": "PauseOptions", "WatchCalls": "WatchOptions"}
"""Names of options that are shorter than those of their methods."""
_OPTION_BASES = {"WatchCalls": ("WatchingOptions", "WATCHING")}
"""What other options than those of a request a method has, and their checks."""
_PAIRS = {"Header": "Headers", "QueryParameter": "Query", "ResponseHeader": "Headers", "ResponseHeaders": "Headers"}
"""Messages that are a name and a value, or a list of them, with the class of their list."""
_CLASS_BASES = {"Call": "Request", "IncomingCall": "Request", "Response": "Concealing"}
_URLS = {"response_redirect_url", "response_link_url"}
"""URLs that can carry a code. A page shows them, so they are no secrets of the contract; debug output conceals them."""
_OMITTED = {"HandleCallbackRequest.timeout", "HandleCallbackRequest.verified"}
"""Fields of which something else is made: the deadline, and a getter that recorded calls have, too."""
_DEADLINE = "HandleCallbackRequest.deadline"
_DEADLINE_COMMENT = "deadline is the time at which the signal of the handler aborts, by the clock of this machine."
_DEFAULTS = {"attempt": "1", "request_method": '"get"', "deadline": "LATEST"}
"""What the call of a test has if it does not say more."""
_NUMBERS = {"int32", "int64", "uint64", "Duration"}


class Source:
    """Writes the modules.

    Args:
        contract: The contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._methods = [each for name in _SERVICES for each in contract.services[name].methods]
        self._requests = [each for each in self._methods if each.name not in _DECISIONS]
        results = [
            name
            for method in self._methods
            for name in (
                [method.response.name] if _is_value(method.response) else [each.type for each in method.response.fields]
            )
        ]
        found = set(contract.reachable(_INCOMING, *results)) - set(_PAIRS)
        self._values = [each for name, each in contract.messages.items() if name in found]
        sent = set(contract.reachable(*(each.type for method in self._requests for each in method.request.fields)))
        self._inputs = [contract.messages[each] for each in sent & set(contract.messages) if each not in _PAIRS]
        self._inputs.sort(key=lambda each: (len(contract.reachable(each.name)), each.name))
        self._enums = {name: name in found for name in contract.enums if name in found | sent}
        self._names = {
            field.name: _name(field)
            for message in contract.messages.values()
            if message in self._values or any(message in (each.request, each.response) for each in self._methods)
            for field in message.fields
        }

    def modules(self) -> dict[str, str]:
        """Return the source of each module by its name, with more imports than it uses, and not formatted."""
        return {
            name: "\n".join(lines)
            for name, lines in {
                "client": self._client(),
                "converters": self._converters(),
                "enums": self._enum_module(),
                "options": self._option_module(),
                "reasons": self._reasons(),
                "requests": self._request_module(),
                "response": self._response_module(),
                "values": self._value_module(),
            }.items()
        }

    # Comments

    def _text(self, comment: str, name: str, message: Message | None = None, unset: str = "") -> str:
        """Return a comment of the contract with the names of TypeScript."""
        own = {each.name: _name(each) for each in message.fields} if message else {}
        methods = {each.name: camel(snake(each.name)) for each in self._methods}

        def rename(text: str) -> str | None:
            parts = [own.get(each) or self._names.get(each) or methods.get(each) or each for each in text.split(".")]
            new = ".".join(parts)
            return None if new == text else new

        text = renamed(statement(comment, name), rename)
        return re.sub(r"\b(?<!Default )(Unset|UNSPECIFIED)\b", unset or "Undefined", text).replace(
            "Default UNSPECIFIED", "Default undefined"
        )

    def _field_text(self, field: Field, message: Message) -> str:
        comment = _DEADLINE_COMMENT if _key(message, field) == _DEADLINE else field.comment
        text = self._text(comment, field.name, message, field.unset)
        return text + " Concealed in debug output." if _is_concealed(field) else text

    # Enums and reasons

    def _enum_module(self) -> Iterator[str]:
        for name, is_received in self._enums.items():
            yield from self._enum(self._contract.enums[name], is_received)

    def _enum(self, enum: Enum, is_received: bool) -> Iterator[str]:
        yield from _doc(self._text(enum.comment, enum.name))
        yield f"export const {enum.name} = {{"
        for value in enum.words:
            yield from _doc(self._text(value.comment, value.name))
            yield f'{value.word}: "{value.word}",'
        if is_received:
            yield from _doc("A value that this version of the client does not know.")
            yield 'UNKNOWN: "UNKNOWN",'
        yield "} as const;"
        yield f"export type {enum.name} = (typeof {enum.name})[keyof typeof {enum.name}];\n"

    def _reasons(self) -> Iterator[str]:
        yield from _doc("Every reason for a refusal, with what happened and the gRPC status that it comes with.")
        yield "export const ErrorReason = {"
        for reason in self._contract.reasons:
            what = self._text(reason.comment, reason.name).replace("Metadata:", "Facts:")
            yield from _doc(f"{reason.title} ({reason.grpc_code}). {what}")
            yield f'{reason.word}: "{reason.word}",'
        yield "} as const;\n\nexport type ErrorReason = (typeof ErrorReason)[keyof typeof ErrorReason];"

    # Values

    def _value_module(self) -> Iterator[str]:
        yield f'import type {{ {", ".join(self._enums)} }} from "./enums.js";'
        yield 'import { Concealing, conceal, type Given, secretOf } from "../concealing.js";'
        yield 'import { bytesOf } from "../messages.js";'
        yield 'import type { Page } from "../paging.js";'
        yield 'import { Headers, Query } from "../pairs.js";'
        yield 'import { LATEST, Request, type RequestAttributes } from "../request.js";'
        yield 'import { Response } from "../response.js";\n'
        for message in self._values:
            if _is_class(message):
                yield from self._class(message, message.value_name) if message.name != "Response" else ()
            else:
                yield from _doc(self._text(message.comment, message.name, message))
                yield from self._interface(f"interface {message.value_name}", message, message.fields)
        for method in self._methods:
            more = _page_fields(method.response)
            if _is_paged(method) and more:
                item = self._type(_result(method)).removeprefix("readonly ").removesuffix("[]")
                yield from _doc(f"One page of `{camel(snake(method.name))}`.")
                yield from self._interface(
                    f"interface {method.name}Page extends Page<{item}>", method.response, more
                )

    def _response_module(self) -> Iterator[str]:
        message = self._contract.messages["Response"]
        yield 'import * as checks from "../checks.js";'
        yield 'import { Concealing, conceal, type Given, secretOf } from "../concealing.js";'
        yield 'import { bytesOf } from "../messages.js";'
        yield 'import { checkPairs, Headers } from "../pairs.js";'
        yield 'import { ResponseType } from "./enums.js";\n'
        yield from _doc("The name of each attribute of a response in the contract.")
        yield "export const RESPONSE_FIELDS = {"
        yield from (f'{_name(field)}: "{field.name}",' for field in message.fields)
        yield "} as const;\n"
        yield from _doc("The checks of the attributes of a response.")
        yield from self._checks("export const RESPONSE", message.fields)
        yield from self._class(message, "ResponseFields", "abstract ")

    def _interface(self, head: str, message: Message, fields: Iterable[Field]) -> Iterator[str]:
        yield f"export {head} {{"
        for field in fields:
            yield from _doc(self._field_text(field, message))
            yield f"readonly {_name(field)}: {self._type(field)};"
        yield "}\n"

    def _class(self, message: Message, name: str, kind: str = "") -> Iterator[str]:
        base = _CLASS_BASES.get(message.value_name, "Concealing")
        given = "RequestAttributes" if base == "Request" else "Given"
        fields = _fields(message)
        yield from _doc(self._text(message.comment, message.name, message))
        yield f"export {kind}class {name} extends {base} {{"
        for field in fields:
            if not _is_concealed(field):
                yield from _doc(self._field_text(field, message))
                yield f"readonly {_name(field)}: {self._type(field)};"
        yield "\n/** @param attributes The attributes. Each has a default. */"
        yield f"constructor(attributes: {given}<{name}> = {{}}) {{ super();"
        yield from (f"this.{_name(each)} = {self._given(each)};" for each in fields if not _is_concealed(each))
        yield "conceal(this, {"
        yield from (f"{_name(each)}: {self._given(each)}," for each in fields if _is_concealed(each))
        yield "});}\n"
        for field in fields:
            if _is_concealed(field):
                yield from _doc(self._field_text(field, message))
                yield f'get {_name(field)}(): {self._type(field)} {{ return secretOf(this, "{_name(field)}"); }}\n'
        yield "}\n"

    def _given(self, field: Field) -> str:
        """Return the expression of an attribute, with its default."""
        source = f"attributes.{_name(field)}"
        if field.type in _PAIRS:
            made = f"new {_PAIRS[field.type]}({source})"
            return f"{source} && {made}" if _may_be_absent(field) else made
        source = f"bytesOf({source})" if field.type == "bytes" else source
        return source if _may_be_absent(field) else f"{source} ?? {_DEFAULTS.get(field.name) or self._default(field)}"

    def _default(self, field: Field) -> str:
        if field.is_repeated:
            return "[]"
        if field.kind == "map":
            return "{}"
        if field.kind == "enum":
            return f'"{field.unset or "UNKNOWN"}"'
        plain = {"string": '""', "bool": "false", "bytes": "new Uint8Array()", "Timestamp": "new Date(0)"}
        return plain.get(field.type) or ("0" if field.type in _NUMBERS else f"new {self._type(field)}()")

    def _type(self, field: Field, is_option: bool = False) -> str:
        """Return the type of a field: in a value, or as an option."""
        plain = {"string": "string", "bool": "boolean", "bytes": "Uint8Array", "Timestamp": "Date"}
        if field.type in _PAIRS:
            made = _PAIRS[field.type]
        elif field.type in self._contract.messages:
            made = self._contract.messages[field.type].value_name
            made = self._input_type(field.type) if is_option else made
        elif field.kind == "enum":
            is_narrowed = is_option and self._enums[field.type]
            made = f'Exclude<{field.type}, "UNKNOWN">' if is_narrowed else field.type
        else:
            made = plain.get(field.type) or "number"
        if field.kind == "map":
            return f"Readonly<Record<string, {made}>>"
        if field.is_repeated and field.type not in _PAIRS:
            return f"readonly {made}[]"
        return f"{made} | undefined" if _may_be_absent(field) and not is_option else made

    def _input_type(self, name: str) -> str:
        """Return the type of a message that a program passes."""
        message = self._contract.messages[name]
        required = " | ".join(f'"{_name(each)}"' for each in message.fields if each.is_required)
        if _is_class(message):
            return message.value_name
        return f"Given<{message.value_name}{', ' + required if required else ''}>"

    # Converters

    def _message_imports(self) -> Iterator[str]:
        files = {message.file for message in self._contract.messages.values()}
        modules = [each.module for each in self._contract.files if each.name in files]
        yield from (f'import * as {camel(each)} from "../gen/callback/v1/{each}_pb.js";' for each in modules)
        names = {message.value_name for message in self._values} - {"Response"}
        yield f'import {{ {", ".join(sorted(names))} }} from "./values.js";'
        yield 'import { create } from "@bufbuild/protobuf";'
        yield 'import { durationMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";'
        yield 'import type { Given } from "../concealing.js";'
        helpers = "dateOf, deadlineOf, durationFromMs, durationOf, longOf, messagesOf, msOf, numberOf, pairsOf, wordOf"
        yield f'import {{ {helpers} }} from "../messages.js";'
        yield 'import { receivedResponse, Response } from "../response.js";'

    def _converters(self) -> Iterator[str]:
        yield from self._message_imports()
        yield ""
        for message in self._values:
            name, type_name = message.value_name, self._pb(message.name)
            maker = "receivedResponse" if name == "Response" else f"new {name}"
            start, end = (f"{maker}({{", "})") if _is_class(message) else ("{", "}")
            yield f"export function {_camel(name)}From(message: {type_name}): {name} {{ return {start}"
            yield from (f"{_name(each)}: {self._from(each, message)}," for each in _fields(message))
            yield f"{end};}}\n"
        for message in self._inputs:
            parameter = _camel(message.value_name)
            yield f"export function {parameter}To({parameter}: {self._input_type(message.name)}): {self._pb(message.name)} {{"
            yield f"return create({self._pb(message.name)}Schema, {{"
            yield from (f"{each.json_name}: {self._to(each, f'{parameter}.{_name(each)}')}," for each in message.fields)
            yield "});}\n"

    def _pb(self, name: str) -> str:
        """Return the name of a generated message or enum, with its module."""
        element = self._contract.messages.get(name) or self._contract.enums[name]
        module = next(each.module for each in self._contract.files if each.name == element.file)
        return f"{camel(module)}.{name}"

    def _from(self, field: Field, message: Message) -> str:
        """Return the expression that makes the attribute of a field."""
        source = f"message.{field.json_name}"
        if _key(message, field) == _DEADLINE:
            return "deadlineOf(message)"
        if field.type in _PAIRS:
            return f"pairsOf({source})" if field.is_repeated else f"{source} && pairsOf({source}.headers)"
        if field.kind == "map":
            return f"{{ ...{source} }}"
        if field.type in self._contract.messages:
            convert = _camel(self._contract.messages[field.type].value_name) + "From"
            if field.is_repeated:
                return f"{source}.map({convert})"
            if field.is_always_set:
                return f"{convert}({source} ?? create({self._pb(field.type)}Schema))"
            return f"{source} && {convert}({source})"
        if field.kind == "enum":
            word = f'wordOf({self._pb(field.type)}, {"each" if field.is_repeated else source})'
            word = word if _may_be_absent(field) else f'{word} ?? "{field.unset or "UNKNOWN"}"'
            return f"{source}.map((each) => {word})" if field.is_repeated else word
        converters = {"Timestamp": ("dateOf", "timestampDate"), "Duration": ("msOf", "durationMs")}
        if field.type in converters:
            one, each = converters[field.type]
            made = f"{source}.map({each})" if field.is_repeated else f"{one}({source})"
            return made if field.is_repeated or _may_be_absent(field) else f"{made} ?? {self._default(field)}"
        if field.type in {"int64", "uint64"}:
            made = f"{source}.map(Number)" if field.is_repeated else f"Number({source})"
            return f"{source} === undefined ? undefined : {made}" if field.has_presence else made
        return source

    def _to(self, field: Field, source: str) -> str:
        """Return the expression that makes a field of a message from a value that may be undefined."""
        if field.type in _PAIRS:
            made = f"messagesOf({source})"
            return f"{source} && {made if field.is_repeated else '{ headers: ' + made + ' }'}"
        if field.kind == "map":
            return f"{{ ...{source} }}"
        convert = {
            "Timestamp": "timestampFromDate",
            "Duration": "durationFromMs" if field.is_repeated else "durationOf",
            "int64": "longOf",
            "uint64": "longOf",
        }.get(field.type)
        if field.type in self._contract.messages:
            convert = _camel(self._contract.messages[field.type].value_name) + "To"
        if field.kind == "enum":
            number = f"numberOf({self._pb(field.type)}, {'each' if field.is_repeated else source})"
            return f"{source}?.map((each) => {number})" if field.is_repeated else number
        if convert is None:
            return f"{source} && [...{source}]" if field.is_repeated else source
        if field.is_repeated:
            return f"{source}?.map({convert})"
        is_total = convert in {"durationOf", "longOf"} or "." not in source
        return f"{convert}({source})" if is_total else f"{source} && {convert}({source})"

    # Options, requests and methods

    def _option_module(self) -> Iterator[str]:
        yield f'import type {{ {", ".join(self._enums)} }} from "./enums.js";'
        inputs = [each.value_name for each in self._inputs if not _is_class(each)]
        yield f'import type {{ {", ".join(inputs)} }} from "./values.js";'
        yield 'import type { Given } from "../concealing.js";'
        yield 'import type { RequestOptions, WatchingOptions } from "../options.js";'
        yield 'import type { Response } from "../response.js";\n'
        for method in self._requests:
            base, _ = _OPTION_BASES.get(method.name, ("RequestOptions", ""))
            options = _options(method)
            if options:
                yield from _doc(f"The options of `{camel(snake(method.name))}`.")
                yield f"export interface {_options_name(method)} extends {base} {{"
                for field in options:
                    yield from _doc(self._field_text(field, method.request))
                    yield f"readonly {_name(field)}?: {self._type(field, is_option=True)} | undefined;"
                yield "}\n"

    def _request_module(self) -> Iterator[str]:
        yield from self._message_imports()
        yield f'import {{ {", ".join(f"{_camel(each.value_name)}To" for each in self._inputs)} }} from "./converters.js";'
        yield from self._option_imports()
        yield 'import * as enums from "./enums.js";'
        yield 'import * as checks from "../checks.js";'
        yield 'import { REQUEST, WATCHING } from "../option-checks.js";'
        yield 'import { checkSent } from "../response.js";\n'
        for message in self._inputs:
            if not _is_class(message):
                yield from self._checks(f"const {_constant(message.name)}", message.fields, message.value_name)
        for method in self._requests:
            yield from self._request(method)

    def _option_imports(self) -> Iterator[str]:
        names = sorted({_options_name(each) for each in self._requests} - {"RequestOptions"})
        yield f'import type {{ {", ".join(names)} }} from "./options.js";'
        yield 'import type { RequestOptions } from "../options.js";'
        yield f'import type {{ {", ".join(self._enums)} }} from "./enums.js";'

    def _request(self, method: Method) -> Iterator[str]:
        name, request = camel(snake(method.name)), self._pb(method.request.name)
        _, table = _OPTION_BASES.get(method.name, ("", "REQUEST"))
        options = _options(method)
        if options:
            checks = _constant(method.name)
            yield from self._checks(f"const {checks}", options, _options_name(method), f"...{table}, ")
            table = checks
        yield f"export function {name}Request({self._parameters(method)}options: {_options_name(method)}): {request} {{"
        yield from (f'{self._check(each)}("{_name(each)}", {_name(each)});' for each in _required(method))
        yield f'checks.checkOptions("{name}", options, {table});'
        yield f"return create({request}Schema, {{"
        for field in method.request.fields:
            source = _name(field) if field.is_required else f"options.{_name(field)}"
            sent = self._to(field, source)
            yield f"{sent}," if sent == field.json_name else f"{field.json_name}: {sent},"
        yield "});}\n"

    def _parameters(self, method: Method) -> str:
        return "".join(f"{_name(each)}: {self._type(each, is_option=True)}, " for each in _required(method))

    def _checks(self, head: str, fields: Iterable[Field], of: str = "", base: str = "") -> Iterator[str]:
        checks = "".join(f"{_name(each)}: {self._check(each)}, " for each in fields)
        yield f"{head} = {{ {base}{checks}}}{f' satisfies checks.Checks<{of}>' if of else ''};\n"

    def _check(self, field: Field) -> str:
        """Return the check of an option."""
        checks = {
            "string": "text", "bool": "boolean", "bytes": "bytes", "int32": "whole32", "int64": "whole64",
            "uint64": "whole64", "Timestamp": "date", "Duration": "someMs",
        }  # fmt: skip
        if field.kind == "map":
            return "checks.texts"
        if field.type in _PAIRS:
            return "checkPairs"
        if field.kind == "enum":
            check = f"checks.wordOf({'' if field.type == 'ResponseType' else 'enums.'}{field.type})"
        elif field.type == "Response":
            check = "checkSent"
        elif field.type in self._contract.messages:
            fields = self._contract.messages[field.type].fields
            required = ", ".join(f'"{_name(each)}"' for each in fields if each.is_required)
            more = f", [{required}]" if required else ""
            check = f'checks.nested({_constant(field.type)}, "{{ {_name(fields[0])}: … }}"{more})'
        else:
            check = f"checks.{checks[field.type]}"
        return f"checks.arrayOf({check})" if field.is_repeated else check

    def _client(self) -> Iterator[str]:
        yield from self._message_imports()
        yield from self._option_imports()
        yield f'import {{ {", ".join(f"{_camel(each.value_name)}From" for each in self._values)} }} from "./converters.js";'
        pages = [f"{each.name}Page" for each in self._methods if _is_paged(each) and _page_fields(each.response)]
        yield f'import type {{ {", ".join(pages)} }} from "./values.js";'
        yield 'import * as requests from "./requests.js";'
        yield 'import { present } from "../messages.js";'
        yield 'import { itemsOf, type Page } from "../paging.js";'
        yield 'import type { Connection } from "../rpc.js";\n'
        for name in _SERVICES:
            module = self._pb(self._contract.services[name].methods[0].request.name).partition(".")[0]
            yield f"const {{ method: {_methods_name(name)} }} = {module}.{name};"
        yield ""
        yield from _doc("The requests of a client that the contract describes completely.")
        yield "export abstract class ContractClient { readonly #connection: Connection;\n"
        yield "/** @internal */\nconstructor(connection: Connection) { this.#connection = connection; }\n"
        for method in self._methods:
            if method.name not in _BY_HAND:
                yield from self._paged_method(method) if _is_paged(method) else self._method(method)
        yield "}"

    def _method_doc(self, method: Method, head: str = "") -> list[str]:
        text, _, reasons = self._text(method.comment, method.name).partition(" Fails with ")
        lines = [head + re.sub(r"^(\w+?)s\b", r"\1", text)]
        parameters = ((_name(each), self._field_text(each, method.request)) for each in _required(method))
        lines += [f"@param {name} {text.replace('Required. ', '').removesuffix(' Required.')}" for name, text in parameters]
        if reasons:
            lines.append(f"@throws CallbackError: With the reason {reasons}")
        return _doc(*lines)

    def _method(self, method: Method) -> Iterator[str]:
        result = _result(method)
        kind = method.response.value_name if _is_value(method.response) else "void"
        kind = self._type(result).removesuffix(" | undefined").removeprefix("readonly ") if result else kind
        yield from self._method_doc(method)
        yield f"async {camel(snake(method.name))}({self._signature(method)}): Promise<{kind}> {{"
        yield from self._send(method, "const reply = " if kind != "void" else "")
        if result and result.type in self._contract.messages and not result.is_repeated:
            convert = _camel(self._contract.messages[result.type].value_name) + "From"
            yield f'return {convert}(present("{_name(result)}", reply.{result.json_name}));'
        elif result:
            yield f"return {self._from(result, method.response).replace('message.', 'reply.')};"
        elif kind != "void":
            yield f"return {_camel(kind)}From(reply);"
        yield "}\n"

    def _paged_method(self, method: Method) -> Iterator[str]:
        name, result, more = camel(snake(method.name)), _result(method), _page_fields(method.response)
        assert result is not None  # noqa: S101  # for mypy: a page has items
        item = self._type(result).removeprefix("readonly ").removesuffix("[]")
        given = "".join(f"{_name(each)}, " for each in _required(method))
        yield from self._method_doc(method)
        yield f"{name}({self._signature(method)}): AsyncGenerator<{item}, void, undefined> {{"
        yield f"return itemsOf((page) => this.{name}Page({given}page), options); }}\n"
        yield from _doc(f"Return one page of `{name}`.")
        page = f"{method.name}Page" if more else f"Page<{item}>"
        yield f"async {name}Page({self._signature(method)}): Promise<{page}> {{"
        yield from self._send(method, "const reply = ")
        fields = [("items", result), *((_name(each), each) for each in method.response.fields if each is not result)]
        expressions = (f"{key}: {self._from(each, method.response)}" for key, each in fields)
        yield f"return {{ {', '.join(expressions).replace('message.', 'reply.')} }}; }}\n"

    def _signature(self, method: Method) -> str:
        return f"{self._parameters(method)}options: {_options_name(method)} = {{}}"

    def _send(self, method: Method, start: str) -> Iterator[str]:
        name, given = camel(snake(method.name)), "".join(f"{_name(each)}, " for each in _required(method))
        yield f"const request = requests.{name}Request({given}options);"
        yield f"{start}await this.#connection.request({_methods_name(method.service)}.{name}, request, options);"


def _name(field: Field) -> str:
    """Return the name of a field in TypeScript. Durations are numbers of milliseconds."""
    return camel(field.short_name) + ("Ms" if field.type == "Duration" else "")


def _key(message: Message, field: Field) -> str:
    return f"{message.name}.{field.name}"


def _fields(message: Message) -> list[Field]:
    """Return the fields that a value has."""
    return [each for each in message.fields if _key(message, each) not in _OMITTED]


def _is_value(response: Message) -> bool:
    """Return whether a response is a value itself, and not the place of one."""
    return response.value_name != response.name


def _is_concealed(field: Field) -> bool:
    return field.is_secret or field.name in _URLS


def _is_class(message: Message) -> bool:
    return any(_is_concealed(each) or each.type in _PAIRS for each in message.fields)


def _may_be_absent(field: Field) -> bool:
    is_single = not field.is_repeated and field.kind != "map"
    return is_single and not field.is_always_set and not field.unset and (field.has_presence or field.kind == "enum")


def _is_paged(method: Method) -> bool:
    return any(each.name == "next_page_token" for each in method.response.fields)


def _result(method: Method) -> Field | None:
    """Return the field of a response that a method returns: the first one. None: there is none, or it returns all."""
    return None if _is_value(method.response) else next(iter(method.response.fields), None)


def _page_fields(response: Message) -> list[Field]:
    """Return what a page has beside its items and the token of the next page."""
    return [each for each in response.fields[1:] if each.name != "next_page_token"]


def _required(method: Method) -> list[Field]:
    return [each for each in method.request.fields if each.is_required]


def _options(method: Method) -> list[Field]:
    return [each for each in method.request.fields if not each.is_required]


def _options_name(method: Method) -> str:
    return _OPTIONS.get(method.name, f"{method.name}Options") if _options(method) else "RequestOptions"


def _methods_name(service: str) -> str:
    return service.removesuffix("Service").lower()


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _constant(name: str) -> str:
    return snake(name).upper()


def _doc(*paragraphs: str) -> list[str]:
    """Return a comment. A paragraph that begins with a tag follows without an empty line."""
    if len(paragraphs) == 1 and len(paragraphs[0]) < 100:
        return [f"/** {paragraphs[0]} */"]
    lines = ["/**"]
    for index, text in enumerate(paragraphs):
        if index == 1:
            lines.append(" *")
        first, *others = wrapped(text, "", 112)
        lines += [f" * {first}", *(f" * {'  ' if text.startswith('@') else ''}{each}" for each in others)]
    return [*lines, " */"]
