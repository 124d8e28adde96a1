"""The methods, options and reasons of the Go client, and what its tests need to know of the contract."""

from collections.abc import Iterable

from generators.contract import Contract, Field, Message, Method
from generators.go_names import (
    SERVICES,
    Names,
    exported,
    is_paged,
    listed,
    method_name,
    returns_value,
    stub,
    unexported,
)
from generators.go_values import Values, message_function, of_function

_LIST = """
{comment}
func (c *Client) {name}(ctx context.Context, query {query}) iter.Seq2[{item}, error] {{
	return allPages(query.PageToken, func(token string) ([]{item}, string, error) {{
		query.PageToken = token
		page, err := c.{name}Page(ctx, query)
		if err != nil {{
			return nil, "", err
		}}
		return page.{items}, page.NextPageToken, nil
	}})
}}

// {name}Page returns one page of {name}.
func (c *Client) {name}Page(ctx context.Context, query {query}) (*{page}, error) {{
	reply, err := invoke(ctx, c, c.{service}.{rpc}, query.message(), c.connection.retry)
	if err != nil {{
		return nil, err
	}}
	return {convert}(reply), nil
}}
"""
_METHOD = """
{comment}
func (c *Client) {name}(ctx context.Context{given}) {results} {{
	request := &v1.{request}{{{fields}}}
	{reply}, err := invoke(ctx, c, c.{service}.{rpc}, request, c.connection.retry)
	{returned}
}}
"""
_CHECKED = "if err != nil {{\nreturn nil, err\n}}\nreturn {}, nil"
_SAMPLES = {
    "bool": "", "bytes": '[]byte("a")', "int32": "1", "int64": "1", "Duration": "1", "Timestamp": "time.Now()"
}  # fmt: skip
"""Arguments of options for tests, by the type of the field. Default: a text."""
_PAGES = "It requests pages as needed, from the one of PageToken on."


class Methods:
    """Makes the methods, options and reasons.

    Args:
        contract: The contract.
        names: Its names in Go.
        values: Its values in Go.
    """

    def __init__(self, contract: Contract, names: Names, values: Values) -> None:
        self._contract = contract
        self._names = names
        self._values = values
        self._generate = contract.messages["GenerateCallbackUrlRequest"]
        own = {"callback_activity", "response"}
        self._options = [field for field in self._generate.fields if field.name not in own]

    def methods(self) -> str:
        """Return the methods of the client."""
        return "\n".join(map(self._method, self._names.methods))

    def _method(self, method: Method) -> str:
        name, service = method_name(method), SERVICES[method.service]
        comment = f"{method.comment} {_PAGES}" if is_paged(method) else method.comment
        comment = self._names.comment(comment, method.name, name)
        response = self._names.type(method.response)
        if is_paged(method):
            items = listed(method)
            return _LIST.format(
                comment=comment,
                name=name,
                query=self._names.type(method.request),
                item=self._names.field_type(items).removeprefix("[]"),
                items=self._names.field(method.response, items),
                page=response,
                service=service,
                rpc=method.name,
                convert=of_function(response),
            )
        given = {unexported(field.short_name): field for field in method.request.fields}
        reply, results, returned = self._result(method)
        return _METHOD.format(
            comment=comment,
            name=name,
            given="".join(f", {argument} {self._names.field_type(field)}" for argument, field in given.items()),
            results=results,
            request=method.request.name,
            fields=_lines(f"{stub(field.name)}: {self._values.made(field, each)}," for each, field in given.items()),
            reply=reply,
            service=service,
            rpc=method.name,
            returned=returned,
        )

    def _result(self, method: Method) -> tuple[str, str, str]:
        """Return the variable for the reply to an RPC, the types that its method returns, and its last statements."""
        if returns_value(method):
            response = self._names.type(method.response)
            return "reply", f"(*{response}, error)", _CHECKED.format(f"{of_function(response)}(reply)")
        if not method.response.fields:
            return "_", "error", "return err"
        (field,) = method.response.fields
        type_name, value = self._names.field_type(field), self._values.reply(field)
        is_message = field.kind == "message" and not field.is_repeated
        return "reply", f"({type_name}, error)", _CHECKED.format(value) if is_message else f"return {value}, err"

    def options(self) -> str:
        """Return the options of GenerateCallbackURL."""
        return "\n".join(map(self._option, self._options))

    def _option(self, field: Field) -> str:
        type_name, name = self._names.field_type(field), f"request.{stub(field.name)}"
        given, made = f"value {type_name}", self._values.made(field, "value", is_given=True)
        sets = f"{name} = {made}"
        if field.type == "bool":
            given, sets = "", f"{name} = true"
        elif field.kind == "map":
            given = f"name string, value {type_name.removeprefix('map[string]')}"
            sets = f"if {name} == nil {{\n{name} = {type_name}{{}}\n}}\n{name}[name] = value"
        elif field.is_repeated:
            given, made = f"values ...{type_name.removeprefix('[]')}", self._values.made(field, "values")
            sets = f"{name} = append({name}, {made}...)"
        comment = self._names.option_comment(self._generate, field)
        return (
            f"{comment}\nfunc {self._names.option(field)}({given}) GenerateOption {{\n"
            f"return generateOption(func(request *v1.{self._generate.name}) {{\n{sets}\n}})\n}}\n"
        )

    def reasons(self) -> str:
        """Return the reasons of errors."""
        constants, facts = [], []
        for reason in self._contract.reasons:
            name = self._names.constant("Reason", reason.word)
            comment = reason.comment.replace("Metadata:", "Facts:")
            comment = self._names.comment(comment, reason.name, f"{name} ({reason.grpc_code})")
            constants.append(f'{comment}\n{name} Reason = "{reason.word}"')
            facts.append(f'{name}: {{codes.{exported(reason.grpc_code)}, "{reason.title}"}},')
        return (
            "// The reasons for which a server refuses a request, each with the gRPC status that it comes with.\n"
            f"const ({_lines(constants)})\n\nvar reasonFacts = map[Reason]reasonFact{{{_lines(facts)}}}\n"
        )

    def samples(self) -> str:
        """Return what the tests walk: each conversion, each option, and the fields with secrets."""
        messages = [message_function(self._names.type(each)) for each in self._values.arguments]
        messages += [f"(*{self._names.type(each)}).message" for each in self._values.queries]
        secrets = [
            f'"{message.name}.{field.name}": true,'
            for message in self._contract.messages.values()
            for field in message.fields
            if field.is_secret
        ]
        return (
            "// valuesOf are the functions that make values of messages, each with what the value does not have.\n"
            f"var valuesOf = []conversion{{{_lines(self._value(*each) for each in self._values.results)}}}\n\n"
            "// messagesOf are the functions that make messages of values.\n"
            f"var messagesOf = []conversion{{{_lines(f'convertedBy({each}),' for each in messages)}}}\n\n"
            "// optionsOf has the option for each field of a request for a URL.\n"
            f"var optionsOf = map[string]GenerateOption{{{_lines(map(self._sample, self._options))}}}\n\n"
            "// secretFields are the fields that debug output does not show.\n"
            f"var secretFields = map[string]bool{{{_lines(secrets)}}}\n"
        )

    def _value(self, type_name: str, _: str, message: Message) -> str:
        kept = {field.name for field in message.fields}
        whole = self._contract.messages[message.name].fields
        omitted = "".join(f', "{each.name}"' for each in whole if each.name not in kept)
        return f"convertedBy({of_function(type_name)}{omitted}),"

    def _sample(self, field: Field) -> str:
        """Return an option with some value."""
        type_name = self._names.field_type(field)
        value = f"&{type_name[1:]}{{}}" if type_name.startswith("*") else _SAMPLES.get(field.type, '"a"')
        value = f'"name", {value}' if field.kind == "map" else value
        return f'"{field.name}": {self._names.option(field)}({value}),'


def _lines(lines: Iterable[str]) -> str:
    """Return lines between two braces. None: empty."""
    return "".join(f"\n{line}" for line in lines) + "\n"
