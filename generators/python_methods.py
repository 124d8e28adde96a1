"""The methods of the Python client: one for each RPC, and for each list also one for a page of it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from generators.contract import BATCH, DECISIONS, Field, Method, first_sentence, snake, wrapped
from generators.python_values import HEADER, Values, constant, docstring, shadowing

_BY_HAND = {*DECISIONS, BATCH, "VerifyAudit"}
"""RPCs whose methods take or return something else than the messages have."""
_HOOKS = {"GenerateCallbackUrl": ("_generate", "GeneratedCallback"), "WatchCalls": ("_watch_calls", '"AsyncCallWatch"')}
"""RPCs that a method of the transport sends, with what that returns."""
_TRACEPARENT = (
    "The W3C trace context of your program, as the header `traceparent` has it. A server that traces keeps it, and "
    "links the calls to it. Default: none."
)
"""An argument that a request has as metadata."""
_TIMEOUTS = {
    "": "Timeout in seconds. Default: that of the client.",
    "list": "Timeout of each page in seconds. Default: that of the client.",
    "WatchCalls": "How long to try to reconnect after each lost connection, in seconds. `math.inf` never gives up. "
    "Default: that of the client.",
}


def methods_module(values: Values) -> str:
    """Return the source of the methods, for asyncio."""
    return "\n".join(_Methods(values).lines()) + "\n"


class _Methods:
    def __init__(self, values: Values) -> None:
        self._values = values
        self._contract = values.contract

    def lines(self) -> Iterator[str]:
        values = self._values
        modules = sorted({f"{each.request.module}_pb2" for each in self._contract.methods})
        yield f'"""Methods of the client that are as the contract has them.\n\n{HEADER}\n"""\n'
        yield "from collections.abc import AsyncIterator, Collection, Mapping"
        yield "from datetime import datetime, timedelta\n"
        yield "from callback import _checks as checks"
        yield "from callback._conversion import from_timestamp, to_duration, to_timestamp"
        yield f"from callback._converters import {', '.join(values.conversions)}"
        yield f"from callback._enums import {', '.join(each.name for each in values.enums)}"
        yield f"from callback._values import {', '.join(each.name for each in values.classes)}"
        yield "from callback.client._arguments import message"
        yield "from callback.client._async_transport import AsyncCallWatch, AsyncTransport"
        yield "from callback.client._page import Page"
        yield f"from callback.v1 import {', '.join(modules)}"
        for service in sorted({each.service for each in self._contract.methods}):
            module = self._contract.services[service].module
            yield f"from callback.v1.{module}_pb2_grpc import {service}Stub"
        yield "\n\nclass AsyncMethods(AsyncTransport):"
        yield '    """The methods for which a request and its response are as the contract has them."""'
        for method in self._contract.methods:
            if method.name not in _BY_HAND:
                yield from self._list(method) if method.is_paged else self._single(method)

    def _single(self, method: Method) -> Iterator[str]:
        hook, returned = _HOOKS.get(method.name, ("", self._returned(method)))
        extra = ("traceparent",) if method.name == "GenerateCallbackUrl" else ()
        keyword = "def" if method.is_response_stream else "async def"
        yield from self._head(keyword, snake(method.name), method, method.request.fields, returned, extra)
        yield from self._docstring(method, method.request.fields, extra)
        yield from self._request(method)
        sent = f"await self._call({_stub(method)}, request, self._backoff(timeout))"
        if hook:
            wait = "" if method.is_response_stream else "await "
            yield f"        return {wait}self.{hook}({', '.join(['request', *extra, 'timeout'])})"
        elif returned == "None":
            yield f"        {sent}"
        else:
            yield f"        reply = {sent}"
            yield f"        return {self._result(method)}"

    def _list(self, method: Method) -> Iterator[str]:
        name, (item, *_) = snake(method.name), method.response.fields
        kind = self._values.one_type(item)
        size, token = (method.request.field(each) for each in ("page_size", "page_token"))
        ordered = [*(each for each in method.request.fields if each not in (size, token)), size]
        yield from self._head("async def", name, method, ordered, f"AsyncIterator[{kind}]")
        yield from self._docstring(method, ordered, kind="list")
        given = ", ".join(_passed(each) for each in ordered)
        yield '        token = ""'
        yield "        while True:"
        yield f"            page = await self.{name}_page({given}, page_token=token, timeout=timeout)"
        yield "            for each in page.items:\n                yield each"
        yield "            token = page.next_page_token"
        yield "            if not token:\n                return"
        ordered.append(token)
        yield from self._head("async def", f"{name}_page", method, ordered, f"Page[{kind}]")
        yield from self._docstring(method, ordered, kind="page")
        yield from self._request(method)
        yield f"        reply = await self._call({_stub(method)}, request, self._backoff(timeout))"
        rest = [f"{each.short_name}={self._values.read(each, 'reply')}" for each in method.page_fields]
        yield f"        return Page({', '.join([self._values.read(item, 'reply'), 'reply.next_page_token', *rest])})"

    def _head(
        self, keyword: str, name: str, method: Method, fields: Iterable[Field], returned: str, extra: Iterable[str] = ()
    ) -> Iterator[str]:
        """Yield the signature. What a request needs can be given by position."""
        fields = [*fields]
        yield f"\n    {keyword} {name}(\n        self,"
        for each in fields:
            if each.is_required:
                yield f"        {each.short_name}: {self._parameter(each)},{shadowing(each.short_name)}"
        yield "        *,"
        for each in fields:
            if not each.is_required:
                default = self._argument_default(each)
                yield f"        {each.short_name}: {self._parameter(each)} = {default},{shadowing(each.short_name)}"
        yield from (f'        {each}: str = "",' for each in extra)
        yield f"        timeout: float | None = None,\n    ) -> {returned}:"

    def _parameter(self, field: Field) -> str:
        """Return the type of a parameter."""
        kind = self._values.one_type(field)
        if field.is_repeated:
            return f"Collection[{kind}]"
        if field.kind == "map":
            return "Mapping[str, str] | None"
        return kind if field.is_required or _has_zero(field) else f"{kind} | None"

    def _argument_default(self, field: Field) -> str:
        if field.is_repeated:
            return "()"
        return {"str": '""', "bool": "False", "bytes": 'b""', "int": "0"}.get(self._parameter(field), "None")

    def _request(self, method: Method) -> Iterator[str]:
        """Yield the lines that make the request."""
        yield f"        request = {self._values.pb(method.request.name)}("
        for each in method.request.fields:
            yield f"            {each.name}={self._argument(each)},"
        yield "        )"

    def _argument(self, field: Field) -> str:
        """Return the expression for a field of a request, which checks the argument."""
        name = field.short_name
        if field.kind == "map":
            return f'checks.texts("{name}", {name})'
        if field.is_repeated:
            return f"[{self._one_argument(field, 'each')} for each in checks.several('{name}', {name})]"
        one = self._one_argument(field, name)
        takes_it = field.is_required or field.kind == "enum" or _has_zero(field)
        return one if takes_it else f"None if {name} is None else {one}"

    def _one_argument(self, field: Field, given: str) -> str:
        name, kind = field.short_name, self._values.one_type(field)
        if field.kind == "enum":
            return f'{constant(field.type)}.argument("{name}", {given})'
        if field.kind in ("time", "duration"):
            return f'to_{field.type.lower()}(checks.{field.kind}("{name}", {given}))'
        if field.kind == "message":
            return f'message("{name}", {given}, {kind}, {snake(kind)}_to_proto)'
        return f'checks.text("{name}", {given})' if kind == "str" else given

    def _returned(self, method: Method) -> str:
        if field := method.result:
            kind = self._values.one_type(field)
            return f"tuple[{kind}, ...]" if field.is_repeated else kind
        return method.response.value_name if method.response.is_value else "None"

    def _result(self, method: Method) -> str:
        if field := method.result:
            return self._values.read(replace(field, is_always_set=True), "reply")
        return f"{snake(method.response.value_name)}_from_proto(reply)"

    def _docstring(
        self, method: Method, fields: Iterable[Field], extra: Iterable[str] = (), kind: str = ""
    ) -> Iterator[str]:
        text = self._values.text(_imperative(method.summary))
        if kind:
            text = text.replace("Return", "Yield", 1)
            if kind == "page":
                text = f"Return one page of `{snake(method.name)}`. {text.removeprefix(first_sentence(text)).strip()}"
        lines = docstring(text.strip(), "        ")
        lines[-1] = lines[-1].removesuffix('"""')
        yield from lines if lines[-1].strip() else lines[:-1]
        yield "\n        Args:"
        described = [
            (each.short_name, self._described(each)) for each in sorted(fields, key=lambda f: not f.is_required)
        ]
        described += [(each, _TRACEPARENT) for each in extra]
        described.append(("timeout", _TIMEOUTS.get(method.name) or _TIMEOUTS.get(kind, _TIMEOUTS[""])))
        for name, words in described:
            yield from _entry(name, words)
        raised = self._raised(method)
        if raised:
            yield "\n        Raises:"
        for name, words in raised:
            yield from _entry(name, words)
        yield '        """'

    def _described(self, field: Field) -> str:
        return re.sub(r"\s*\bRequired\.", "", self._values.text(field.comment, field.name, field.unset))

    def _raised(self, method: Method) -> list[tuple[str, str]]:
        """Return each class of errors, and when it is raised."""
        reasons = {each.word: each for each in self._contract.reasons}
        found: dict[str, list[str]] = {}
        for each in method.reasons:
            said = self._values.text(first_sentence(reasons[each].comment), reasons[each].name)
            found.setdefault(self._contract.error_of(each), []).append(said)
        return [(name, " Or: ".join(said)) for name, said in found.items()]


def _has_zero(field: Field) -> bool:
    """Return whether a field that is not set is zero or empty, and not None."""
    return field.kind == "scalar" and not field.is_optional


def _stub(method: Method) -> str:
    return f"lambda channel: {method.service}Stub(channel).{method.name}"


def _passed(field: Field) -> str:
    return field.short_name if field.is_required else f"{field.short_name}={field.short_name}"


def _entry(name: str, words: str) -> list[str]:
    first, *rest = wrapped(f"{name}: {words}", "", 120 - 16)
    return [f"            {first}", *(f"                {each}" for each in rest)]


def _imperative(text: str) -> str:
    """Return a sentence that begins with a verb in the third person as an imperative: `closes …` is `Close …`."""
    verb, _, rest = text.partition(" ")
    for ending, base in (("ies", "y"), ("ches", "ch"), ("sses", "ss"), ("oes", "o"), ("s", "")):
        if verb.endswith(ending):
            verb = verb.removesuffix(ending) + base
            break
    first = first_sentence(rest)
    return f"{verb.capitalize()} {first.replace(' and returns ', ' and return ')}{rest.removeprefix(first)}"
