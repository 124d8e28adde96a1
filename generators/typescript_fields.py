"""What a field of the contract is in TypeScript, by its type and its options.

That is its name, its type, its default, its check, and the expressions that convert it.
"""

from generators.contract import Contract, Field, Message, camel, snake

INCOMING = "HandleCallbackRequest"
PAIRS = {"Header": "Headers", "QueryParameter": "Query", "ResponseHeader": "Headers", "ResponseHeaders": "Headers"}
"""Messages that are a name and a value, or a list of them, with the class of their list."""
DEADLINE = f"{INCOMING}.deadline"
_OMITTED = {f"{INCOMING}.timeout", f"{INCOMING}.verified"}
"""Fields of which something else is made: the deadline, and a getter that recorded calls have, too."""
_DEFAULTS = {"attempt": "1", "request_method": '"get"', "deadline": "LATEST"}
"""What the call of a test has if it does not say more."""
_TYPES = {"string": "string", "bool": "boolean", "bytes": "Uint8Array", "Timestamp": "Date"}
"""Types that are not numbers."""
_EMPTY = {"string": '""', "boolean": "false", "Uint8Array": "new Uint8Array()", "Date": "new Date(0)", "number": "0"}
_LONG = {"int64", "uint64"}
_FROM = {
    "Timestamp": ("dateOf({})", "timestampDate"),
    "Duration": ("msOf({})", "durationMs"),
    **dict.fromkeys(_LONG, ("Number({})", "Number")),
}
"""The converters from types of protobuf: of one value, and of each value of a list."""
_TO = {
    "Timestamp": ("{0} && timestampFromDate({0})", "timestampFromDate"),
    "Duration": ("durationOf({})", "durationFromMs"),
    **dict.fromkeys(_LONG, ("longOf({})", "BigInt")),
}
_CHECKS = {
    "string": "text",
    "bool": "boolean",
    "bytes": "bytes",
    "int32": "whole32",
    "Timestamp": "date",
    "Duration": "someMs",
    **dict.fromkeys(_LONG, "whole64"),
}


class Fields:
    """Writes fields.

    Args:
        contract: The contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.received: set[str] = set()
        """The enums of values, which can have words that this client does not know."""

    def pb(self, name: str) -> str:
        """Return the name of a generated message or enum, with its module."""
        element: Message | None = self._contract.messages.get(name)
        file = element.file if element else self._contract.enums[name].file
        module = next(each.module for each in self._contract.files if each.name == file)
        return f"{camel(module)}.{name}"

    def value_of(self, field: Field) -> Message | None:
        """Return the message of a field that has a value of its own."""
        return None if field.type in PAIRS else self._contract.messages.get(field.type)

    def type(self, field: Field, is_option: bool = False) -> str:
        """Return the type of a field: in a value, or as an option."""
        if field.type in PAIRS:
            item = PAIRS[field.type]
        elif value := self.value_of(field):
            item = given_type(value) if is_option else value.value_name
        elif field.kind == "enum":
            item = f'Exclude<{field.type}, "UNKNOWN">' if is_option and field.type in self.received else field.type
        else:
            item = _TYPES.get(field.type, "number")
        if field.kind == "map":
            return f"Readonly<Record<string, {item}>>"
        if field.is_repeated and field.type not in PAIRS:
            return f"readonly {item}[]"
        return f"{item} | undefined" if may_be_absent(field) and not is_option else item

    def item_type(self, field: Field) -> str:
        """Return the type of one item of a list."""
        return self.type(field).removeprefix("readonly ").removesuffix("[]")

    def attribute(self, field: Field) -> str:
        """Return the expression that makes an attribute from a given one, or from its default."""
        source = f"attributes.{name_of(field)}"
        if field.type in PAIRS:
            made = f"new {PAIRS[field.type]}({source})"
            return f"{source} && {made}" if may_be_absent(field) else made
        source = f"bytesOf({source})" if field.type == "bytes" else source
        return source if may_be_absent(field) else f"{source} ?? {_DEFAULTS.get(field.name) or self._empty(field)}"

    def _empty(self, field: Field) -> str:
        if field.is_repeated or field.kind == "map":
            return "[]" if field.is_repeated else "{}"
        if field.kind == "enum":
            return f'"{field.unset or "UNKNOWN"}"'
        return _EMPTY.get(self.type(field)) or f"new {self.type(field)}()"

    def received_value(self, field: Field, source: str) -> str:
        """Return the expression that makes an attribute from a field of a message."""
        if field.type in PAIRS:
            return f"pairsOf({source})" if field.is_repeated else f"{source} && pairsOf({source}.headers)"
        if field.kind == "map":
            return f"{{ ...{source} }}"
        if value := self.value_of(field):
            convert = converter(value, "From")
            if field.is_repeated:
                return f"{source}.map({convert})"
            made = f"{convert}({source} ?? create({self.pb(field.type)}Schema))"
            return made if field.is_always_set else f"{source} && {convert}({source})"
        one, each = _FROM.get(field.type, ("{}", ""))
        if field.kind == "enum":
            one, each = (f"wordOf({self.pb(field.type)}, {word})" for word in ("{}", "each"))
            each = f'(each) => {each} ?? "UNKNOWN"'
        made = one.format(source)
        if field.is_repeated:
            return f"{source}.map({each})" if each else source
        if field.type in _LONG and field.has_presence:
            return f"{source} === undefined ? undefined : {made}"
        can_be_unset = field.kind == "enum" or field.type in {"Timestamp", "Duration"}
        return f"{made} ?? {self._empty(field)}" if can_be_unset and not may_be_absent(field) else made

    def sent_value(self, field: Field, source: str) -> str:
        """Return the expression that makes a field of a message from an attribute that may be undefined."""
        if field.type in PAIRS:
            made = f"messagesOf({source})"
            return f"{source} && {made if field.is_repeated else '{ headers: ' + made + ' }'}"
        if field.kind == "map":
            return f"{{ ...{source} }}"
        if field.kind == "enum":
            number = f"numberOf({self.pb(field.type)}, {'each' if field.is_repeated else source})"
            return f"{source}?.map((each) => {number})" if field.is_repeated else number
        one, each = _TO.get(field.type, ("{}", ""))
        if value := self.value_of(field):
            each = converter(value, "To")
            one = f"{{0}} && {each}({{0}})"
        if field.is_repeated:
            return f"{source}?.map({each})" if each else f"{source} && [...{source}]"
        return f"{each}({source})" if field.is_required and each else one.format(source)

    def check(self, field: Field) -> str:
        """Return the check of an option."""
        if field.kind == "map" or field.type in PAIRS:
            return "checks.texts" if field.kind == "map" else "checkPairs"
        if field.kind == "enum":
            check = f"checks.wordOf(enums.{field.type})"
        elif field.type == "Response":
            check = "checkSent"
        elif value := self.value_of(field):
            required = ", ".join(f'"{name_of(each)}"' for each in value.fields if each.is_required)
            more = f", [{required}]" if required else ""
            check = f'checks.nested({constant(field.type)}, "{{ {name_of(value.fields[0])}: … }}"{more})'
        else:
            check = f"checks.{_CHECKS[field.type]}"
        return f"checks.arrayOf({check})" if field.is_repeated else check


def name_of(field: Field) -> str:
    """Return the name of a field in TypeScript. Durations are numbers of milliseconds."""
    return camel(field.short_name) + ("Ms" if field.type == "Duration" else "")


def key_of(message: Message, field: Field) -> str:
    """Return the name of a field with that of its message."""
    return f"{message.name}.{field.name}"


def value_fields(message: Message) -> list[Field]:
    """Return the fields that a value has."""
    return [each for each in message.fields if key_of(message, each) not in _OMITTED]


def given_type(message: Message) -> str:
    """Return the type of a message that a program passes."""
    if is_class(message):
        return message.value_name
    required = " | ".join(f'"{name_of(each)}"' for each in message.fields if each.is_required)
    return f"Given<{message.value_name}{', ' + required if required else ''}>"


def is_value(response: Message) -> bool:
    """Return whether a response is a value itself, and not the place of one."""
    return response.value_name != response.name


def is_class(message: Message) -> bool:
    """Return whether the value is a class, and not an interface: it conceals fields, or makes them."""
    return any(each.is_secret or each.type in PAIRS for each in message.fields)


def may_be_absent(field: Field) -> bool:
    """Return whether an attribute can be undefined."""
    is_single = not field.is_repeated and field.kind != "map"
    return is_single and not field.is_always_set and not field.unset and (field.has_presence or field.kind == "enum")


def converter(message: Message, direction: str) -> str:
    """Return the name of the function that converts a message (`From`), or makes it (`To`)."""
    return lower(message.value_name) + direction


def lower(name: str) -> str:
    """Return a name in UpperCamelCase in lowerCamelCase."""
    return name[:1].lower() + name[1:]


def constant(name: str) -> str:
    """Return a name in CamelCase as that of a constant."""
    return snake(name).upper()
