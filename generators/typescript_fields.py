"""What a field of the contract is in TypeScript, by its type and its options.

That is its name, its type, its default, its check, and the expressions that convert it.
"""

from generators.contract import CALL, NOT_OF_VALUES, Contract, Field, Message, camel, snake

DEADLINE = f"{CALL}.deadline"
_OMITTED = {f"{CALL}.{each}" for each in (*NOT_OF_VALUES, "verified")}
"""Fields that are no property of the value, and `verified`, a getter that recorded calls have, too."""
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

    def pb(self, name: str) -> str:
        """Return the name of a generated message or enum, with its module."""
        return f"{camel(self._contract.element(name).module)}.{name}"

    def value_of(self, field: Field) -> Message | None:
        """Return the message of a field that has a value of its own."""
        return self._contract.messages[field.type] if field.kind == "message" else None

    def type(self, field: Field, is_option: bool = False) -> str:
        """Return the type of a field: in a value, or as an option."""
        if field.kind == "pairs":
            item = field.pairs
        elif value := self.value_of(field):
            item = given_type(value) if is_option else value.value_name
        elif field.kind == "enum":
            is_known = is_option and field.type in self._contract.returned
            item = f'Exclude<{field.type}, "UNKNOWN">' if is_known else field.type
        else:
            item = _TYPES.get(field.type, "number")
        if field.kind == "map":
            return f"Readonly<Record<string, {item}>>"
        if field.is_list:
            return f"readonly {item}[]"
        return f"{item} | undefined" if field.may_be_absent and not is_option else item

    def item_type(self, field: Field) -> str:
        """Return the type of one item of a list."""
        return self.type(field).removeprefix("readonly ").removesuffix("[]")

    def attribute(self, field: Field) -> str:
        """Return the expression that makes an attribute from a given one, or from its default."""
        source = f"attributes.{name_of(field)}"
        if field.kind == "pairs":
            made = f"new {field.pairs}({source})"
            return f"{source} && {made}" if field.may_be_absent else made
        source = f"bytesOf({source})" if field.type == "bytes" else source
        return source if field.may_be_absent else f"{source} ?? {_DEFAULTS.get(field.name) or self._empty(field)}"

    def _empty(self, field: Field) -> str:
        if field.is_repeated or field.kind == "map":
            return "[]" if field.is_repeated else "{}"
        if field.kind == "enum":
            return f'"{field.unset or "UNKNOWN"}"'
        return _EMPTY.get(self.type(field)) or f"new {self.type(field)}()"

    def received_value(self, field: Field, source: str) -> str:
        """Return the expression that makes an attribute from a field of a message."""
        if field.kind == "pairs":
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
        can_be_unset = field.kind in ("enum", "time", "duration")
        return f"{made} ?? {self._empty(field)}" if can_be_unset and not field.may_be_absent else made

    def sent_value(self, field: Field, source: str) -> str:
        """Return the expression that makes a field of a message from an attribute that may be undefined."""
        if field.kind == "pairs":
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
        if field.kind == "map" or field.kind == "pairs":
            return "checks.texts" if field.kind == "map" else "checkPairs"
        if field.kind == "enum":
            check = f"checks.wordOf(enums.{field.type})"
        elif field.type == "Response":
            check = "checkSent"
        elif value := self.value_of(field):
            required = ", ".join(f'"{name_of(each)}"' for each in value.required)
            more = f", [{required}]" if required else ""
            check = f'checks.nested({constant(field.type)}, "{{ {name_of(value.fields[0])}: … }}"{more})'
        else:
            check = f"checks.{_CHECKS[field.type]}"
        return f"checks.arrayOf({check})" if field.is_repeated else check


def name_of(field: Field) -> str:
    """Return the name of a field in TypeScript. Durations are numbers of milliseconds."""
    return camel(field.short_name) + ("Ms" if field.kind == "duration" else "")


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
    required = " | ".join(f'"{name_of(each)}"' for each in message.required)
    return f"Given<{message.value_name}{', ' + required if required else ''}>"


def is_class(message: Message) -> bool:
    """Return whether the value is a class, and not an interface: it conceals fields, or makes them."""
    return any(each.is_secret or each.kind == "pairs" for each in message.fields)


def converter(message: Message, direction: str) -> str:
    """Return the name of the function that converts a message (`From`), or makes it (`To`)."""
    return lower(message.value_name) + direction


def lower(name: str) -> str:
    """Return a name in UpperCamelCase in lowerCamelCase."""
    return name[:1].lower() + name[1:]


def constant(name: str) -> str:
    """Return a name in CamelCase as that of a constant."""
    return snake(name).upper()
