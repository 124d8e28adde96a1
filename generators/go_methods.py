"""The methods, options and reasons of the Go client, and what its tests need to know of the contract."""

from generators.contract import Contract, Field, Message, Method
from generators.go_names import Names, block, exported, method_name, returns_value, stub, unexported
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
	reply, err := invoke(ctx, c, {stub}, query.message(), c.connection.retry)
	if err != nil {{
		return nil, err
	}}
	return {convert}(reply), nil
}}
"""
_METHOD = """
{comment}
func (c *Client) {name}(ctx context.Context{given}) {results} {{
	request := {request}
	{reply}, err := invoke(ctx, c, {stub}, request, c.connection.retry)
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
        name, response = method_name(method), self._names.type(method.response)
        comment = f"{method.comment} {_PAGES}" if method.is_paged else method.comment
        common = {
            "comment": self._names.comment(comment, method.name, name),
            "name": name,
            "stub": f"c.{method.service_name}.{method.name}",
        }
        if method.is_paged:
            items = method.response.fields[0]
            return _LIST.format(
                **common,
                query=self._names.type(method.request),
                item=self._names.field_type(items).removeprefix("[]"),
                items=self._names.field(method.response, items),
                page=response,
                convert=of_function(response),
            )
        given = {unexported(field.short_name): field for field in method.request.fields}
        made = [f"{stub(field.name)}: {self._values.made(field, each)}," for each, field in given.items()]
        reply, results, returned = self._result(method)
        return _METHOD.format(
            **common,
            given="".join(f", {each} {self._names.field_type(field)}" for each, field in given.items()),
            results=results,
            request=block(f"&v1.{method.request.name}", made),
            reply=reply,
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
        returned = _CHECKED.format(value) if type_name.startswith("*") else f"return {value}, err"
        return "reply", f"({type_name}, error)", returned

    def options(self) -> str:
        """Return the options of GenerateCallbackURL."""
        return "\n\n".join(map(self._option, self._options))

    def _option(self, field: Field) -> str:
        type_name, name = self._names.field_type(field), f"request.{stub(field.name)}"
        given, made = f"value {type_name}", self._values.made(field, "value", is_given=True)
        sets, refused = f"{name} = {made}", "value.checkEmpty()" if "responseMessage" in made else "nil"
        if field.type == "bool":
            given, sets = "", f"{name} = true"
        elif field.kind == "map":
            given = f"name string, value {type_name.removeprefix('map[string]')}"
            sets = f"if {name} == nil {{\n{name} = {type_name}{{}}\n}}\n{name}[name] = value"
        elif field.is_repeated:
            given, made = f"values ...{type_name.removeprefix('[]')}", self._values.made(field, "values")
            sets = f"{name} = append({name}, {made}...)"
        comment = self._names.option_comment(self._generate, field)
        head = f"{comment}\nfunc {self._names.option(field)}({given}) GenerateOption"
        made = f"return generateOption(func(request *v1.{self._generate.name}) *Error"
        body = block(made, [sets, f"return {refused}"])
        return block(head, [f"{body})"])

    def reasons(self) -> str:
        """Return the reasons of errors."""
        constants, facts = [], []
        for reason in self._contract.reasons:
            name = self._names.constant("Reason", reason.word)
            comment = reason.comment.replace("Metadata:", "Facts:")
            comment = self._names.comment(comment, reason.name, f"{name} ({reason.grpc_code})")
            constants.append(f'{comment}\n{name} Reason = "{reason.word}"')
            facts.append(f'{name}: {{codes.{exported(reason.grpc_code)}, "{reason.title}"}},')
        head = (
            "// The reasons for which a server refuses a request, each with the gRPC status that it comes with.\nconst"
        )
        table = block("var reasonFacts = map[Reason]reasonFact", facts)
        return f"{block(head, constants, '()')}\n\n{table}"

    def samples(self) -> str:
        """Return what the tests walk: each conversion, each option, and the fields with secrets."""
        messages = [message_function(self._names.type(each)) for each in self._values.arguments]
        messages += [f"(*{self._names.type(each)}).message" for each in self._values.queries]
        public = self._contract.messages.values()
        secrets = [f"{message.name}.{field.name}" for message in public for field in message.fields if field.is_secret]
        tables = {
            "valuesOf are the functions that make values of messages, each with what the value does not have.": (
                "[]conversion", [self._value(message, type_name) for type_name, _, message in self._values.results]
            ),
            "messagesOf are the functions that make messages of values.": (
                "[]conversion", [f"convertedBy({each})," for each in messages]
            ),
            "optionsOf has the option for each field of a request for a URL.": (
                "map[string]GenerateOption", [self._sample(field) for field in self._options]
            ),
            "secretFields are the fields that debug output does not show.": (
                "map[string]bool", [f'"{each}": true,' for each in secrets]
            ),
        }  # fmt: skip
        return "\n\n".join(
            block(f"// {comment}\nvar {comment.split()[0]} = {type_name}", lines)
            for comment, (type_name, lines) in tables.items()
        )

    def _value(self, message: Message, type_name: str) -> str:
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
