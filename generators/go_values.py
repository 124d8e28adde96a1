"""The enums, values and converters of the Go client."""

from collections.abc import Iterator
from dataclasses import replace

from generators.contract import CALL, CALL_COMMENTS, NOT_OF_VALUES, Contract, EnumValue, Field, Message
from generators.go_names import Names, block, returns_value, stub

_ADDED = {
    "WatchCallsRequest": (
        "// ReconnectTimeout is how long to try to reconnect after each lost connection. 0: the timeout of the\n"
        "// client. Negative: until the context ends.\nReconnectTimeout time.Duration"
    )
}
"""What values have beyond the contract."""
_SHOWN = {"activity", "case_id", "method"}
"""Texts that debug output of a value with secrets shows, by their short names. It also shows the first field, an id."""
_ATTRIBUTES = {"bool": "Bool", "int": "Int", "int64": "Int64", "time.Time": "Time", "string": "String"}
"""Functions of log/slog for types of fields that debug output of a value with secrets can show."""
_MASKED = """

// String describes the value without its secrets.
func (v {type}) String() string {{ return textOf("{type}", v.attributes()) }}

// Format writes the same as String for every verb.
func (v {type}) Format(state fmt.State, _ rune) {{ write(state, v) }}

// MarshalText returns the same as String. To store the value, take its fields.
func (v {type}) MarshalText() ([]byte, error) {{ return []byte(v.String()), nil }}

// LogValue describes the value without its secrets.
func (v *{type}) LogValue() slog.Value {{
	if v == nil {{
		return slog.Value{{}}
	}}
	return slog.GroupValue(v.attributes()...)
}}

func (v {type}) attributes() []slog.Attr {{
	return {present}
}}"""


class Values:
    """Makes the enums, values and converters.

    Args:
        contract: The contract.
        names: Its names in Go.
    """

    def __init__(self, contract: Contract, names: Names) -> None:
        self._contract = contract
        self._names = names
        whole = (method.response.name for method in names.methods if returns_value(method))
        self._answers = dict.fromkeys([*contract.returned, *whole])

    @property
    def queries(self) -> list[Message]:
        """The requests that are values."""
        paged = [method.request for method in self._names.methods if method.is_paged]
        return [*paged, self._contract.messages["WatchCallsRequest"]]

    @property
    def results(self) -> list[tuple[str, str, Message]]:
        """The values that are made of messages: the type, its comment, and the message with the fields of the value."""
        return [each for name in self._answers if name in self._contract.messages for each in self._views(name)]

    @property
    def arguments(self) -> list[Message]:
        """The messages that are made of values, except whole requests."""
        return [self._contract.messages[name] for name in self._contract.given if name in self._contract.messages]

    def _views(self, name: str) -> Iterator[tuple[str, str, Message]]:
        message = self._contract.messages[name]
        if name == CALL:
            fields = tuple(each for each in message.fields if each.name not in ("reason", "verified", *NOT_OF_VALUES))
            comment = CALL_COMMENTS["IncomingCall"].replace("IncomingCall", "Call")
            yield "Call", f"// {comment}", replace(message, fields=fields)
            fields = self._contract.notification_fields
            yield "Notification", f"// {CALL_COMMENTS['Notification']}", replace(message, fields=fields)
        else:
            type_name = self._names.type(message)
            yield type_name, self._names.comment(message.comment, name, type_name), message

    def enums(self) -> str:
        """Return the declarations of the enums."""
        used = dict.fromkeys([*self._answers, *self._contract.given])
        return "\n\n".join(self._enum(name) for name in used if name in self._contract.enums)

    def _enum(self, name: str) -> str:
        enum = self._contract.enums[name]
        type_name = self._names.type(enum)
        words = [self._constant(type_name, word) for word in enum.words]
        if name in self._answers:
            comment = f"// {type_name}Unknown is one that this version does not know."
            words.append(f"{comment}\n{type_name}Unknown {type_name} = unknown")
        comment = self._names.comment(enum.comment, name, type_name)
        return block(f"{comment}\ntype {type_name} string\n\nconst", words, "()")

    def _constant(self, type_name: str, word: EnumValue) -> str:
        name = self._names.constant(type_name, word.word)
        return f'{self._names.comment(word.comment, word.name, name)}\n{name} {type_name} = "{word.word}"'

    def values(self) -> str:
        """Return the declarations of the values."""
        return "\n\n".join(self._value(*each) for each in self.results)

    def _value(self, type_name: str, comment: str, message: Message) -> str:
        is_masked = any(field.is_secret for field in message.fields)
        fields = [
            self._declaration(message, field) + (' `json:"-" xml:"-"`' if is_masked and self._is_hidden(field) else "")
            for field in message.fields
        ]
        added = ""
        if _is_partial(message):
            kind = f"{type_name}Field"
            fields.append(
                "// Empty names texts that are empty on purpose. Any other empty text is not given. "
                f"A field that is no text, and\n// a text that has a value, are refused.\nEmpty []{kind}"
            )
            names = [
                f'{self._names.constant(kind, field.short_name)} {kind} = "{field.name}"' for field in message.fields
            ]
            comment_of_kind = f"// {kind} is a field of [{type_name}], by its name in the contract."
            added = block(
                f"\n\n{comment_of_kind}\ntype {kind} string\n\n// The fields of [{type_name}].\nconst", names, "()"
            )
        if is_masked:
            shown = [self._attribute(message, field) for field in message.fields]
            added += _MASKED.format(
                type=type_name, present=block("present", [f"{each}," for each in shown if each], "()")
            )
        return block(f"{comment}\ntype {type_name} struct", fields) + added

    def _declaration(self, message: Message, field: Field) -> str:
        comment = self._names.field_comment(message, field)
        return f"{comment}\n{self._names.field(message, field)} {self._names.field_type(field)}"

    def _is_hidden(self, field: Field) -> bool:
        """Return whether debug output of a value with secrets does not have the value of a field."""
        is_id = field.number == 1 or field.short_name in _SHOWN
        return field.is_secret or field.content > 0 or (self._names.field_type(field) == "string" and not is_id)

    def _attribute(self, message: Message, field: Field) -> str:
        """Return the attribute for debug output of a field of a value with secrets. Empty: there is none."""
        name, type_name = f"v.{self._names.field(message, field)}", self._names.field_type(field)
        if type_name == "[]byte":
            return f'slog.Int("{field.short_name}_bytes", len({name}))'
        if self._is_hidden(field):
            return ""
        if field.kind == "enum" and not field.is_repeated:
            return f'slog.String("{field.short_name}", string({name}))'
        make = _ATTRIBUTES.get(type_name)
        return f'slog.{make}("{field.short_name}", {name})' if make else ""

    def queries_with_messages(self) -> str:
        """Return the declarations of the queries, each with the method that makes its request."""
        declared = []
        for message in self.queries:
            type_name = self._names.type(message)
            fields = [self._declaration(message, field) for field in message.fields]
            fields += [_ADDED[message.name]] if message.name in _ADDED else []
            comment = self._names.comment(message.comment, message.name, type_name)
            declared.append(block(f"{comment}\ntype {type_name} struct", fields))
            made = f"return {self._literal(message, 'q')}"
            declared.append(block(f"func (q {type_name}) message() *v1.{message.name}", [made]))
        return "\n\n".join(declared)

    def converters(self) -> str:
        """Return the functions that make values of messages, and messages of values."""
        functions = []
        for type_name, _, message in self.results:
            fields = [f"{self._names.field(message, field)}: {self._of(field)}," for field in message.fields]
            head = f"func {of_function(type_name)}(message *v1.{message.name}) *{type_name}"
            functions.append(block(head, [block(f"return &{type_name}", fields)]))
        for message in self.arguments:
            type_name, made = self._names.type(message), self._literal(message, "value")
            made = f"withEmpty({made}, value.Empty)" if _is_partial(message) else made
            head = f"func {message_function(type_name)}(value *{type_name}) *v1.{message.name}"
            functions.append(block(head, [f"return {made}"]))
        return "\n\n".join(functions)

    def _literal(self, message: Message, value: str) -> str:
        """Return a message that is made of the fields of a value."""
        fields = [(field, f"{value}.{self._names.field(message, field)}") for field in message.fields]
        return block(f"&v1.{message.name}", [f"{stub(field.name)}: {self.made(field, of)}," for field, of in fields])

    def reply(self, field: Field) -> str:
        """Return the result of a method whose response has one field."""
        return self._of(replace(field, is_always_set=True), "reply")

    def _of(self, field: Field, message: str = "message") -> str:
        """Return the value of a field of a message."""
        get = f"{message}.Get{stub(field.name)}()"
        if field.kind == "pairs":
            return f"{'pairsOf' if field.is_repeated else 'headersOf'}({get})"
        type_name = self._names.type(field.type)
        convert = {
            "enum": f"wordOf[{type_name}]",
            "time": "timeOf",
            "duration": "(*durationpb.Duration).AsDuration",
            "message": of_function(type_name),
        }.get(field.kind, "")
        if field.is_repeated:
            return f"each({get}, {convert})" if convert else get
        if field.kind == "enum":
            default = self._names.constant(type_name, field.unset) if field.unset not in ("", "UNKNOWN") else ""
            default = default or (f"{type_name}Unknown" if field.unset or field.is_always_set else "")
            return f"or({convert}({get}), {default})" if default else f"{convert}({get})"
        if field.kind == "duration":
            return f"{get}.AsDuration()"
        if field.kind == "message":
            return f"{convert}({get})" if field.is_always_set else f"ifSet({get}, {convert})"
        return f"int({get})" if field.type == "int32" else f"{convert}({get})" if convert else get

    def made(self, field: Field, value: str, *, is_given: bool = False) -> str:
        """Return the field of a message that is made of a value.

        Args:
            field: The field.
            value: The value, as an expression.
            is_given: Whether a value that is zero is one.
        """
        if field.kind == "pairs":
            return f"headersMessage({value})"
        convert = {
            "enum": f"numberOf[v1.{field.type}]",
            "time": "timestamppb.New",
            "duration": "durationpb.New",
            "message": message_function(self._names.type(field.type)),
            "scalar": f"proto.{field.type.capitalize()}" if field.is_optional and field.type != "bytes" else "",
        }.get(field.kind, "")
        if field.is_repeated:
            return f"each({value}, {convert})" if convert else value
        if field.kind == "enum":
            return f"{convert}({value})"
        if field.type == "int32":
            value = f"int32Of({value})"
        if not convert:
            return value
        if is_given and field.kind in ("scalar", "duration"):
            return f"{convert}({value})"
        return f"timestampOf({value})" if field.kind == "time" else f"ifSet({value}, {convert})"


def _is_partial(message: Message) -> bool:
    """Return whether a message can have a part of its fields, so that a field that is empty differs from none."""
    return any(field.is_optional for field in message.fields)


def of_function(type_name: str) -> str:
    """Return the name of the function that makes a value of a message."""
    return f"{type_name[0].lower()}{type_name[1:]}Of"


def message_function(type_name: str) -> str:
    """Return the name of the function that makes a message of a value."""
    return f"{type_name[0].lower()}{type_name[1:]}Message"
