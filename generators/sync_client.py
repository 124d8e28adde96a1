"""The synchronous client, made from the syntax tree of the asyncio client."""

import re
from typing import TypeVar

import libcst as cst

NAMES = {
    "AsyncCallbackClient": "CallbackClient",
    "AsyncCallWatch": "CallWatch",
    "AsyncMethods": "Methods",
    "AsyncTransport": "Transport",
    "AsyncIterator": "Iterator",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aiter": "iter",
    "anext": "next",
    "_async_grpc": "_sync_grpc",
    "_async_methods": "_sync_methods",
    "_async_transport": "_sync_transport",
}
"""Names of asyncio, and their synchronous counterparts."""
PHRASES = {
    "An asyncio client": "A client",
    "an `async with`": "a `with`",
    "Source of `_sync_client.py`": "Generated from the asyncio one",
    "Source of `_sync_transport.py`": "Generated from the asyncio one",
}
"""The same for the text of docstrings."""

_Asynchronous = TypeVar("_Asynchronous", cst.FunctionDef, cst.For, cst.With, cst.CompFor)


def synchronous(source: str) -> str:
    """Return the source of an asyncio module without `async` and `await`, in code and docstrings."""
    return cst.parse_module(source).visit(_Synchronous()).code


class _Synchronous(cst.CSTTransformer):
    def leave_Await(self, original_node: cst.Await, updated_node: cst.Await) -> cst.BaseExpression:
        return updated_node.expression

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        return updated_node.with_changes(value=NAMES.get(updated_node.value, updated_node.value))

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        """Change a docstring, with the code in it, or a type in quotes."""
        text = updated_node.value
        for phrase, counterpart in PHRASES.items():
            text = text.replace(phrase, counterpart)
        text = re.sub(r"\b(async|await) ", "", text)
        return updated_node.with_changes(value=re.sub(r"\w+", lambda word: NAMES.get(word[0], word[0]), text))

    def _without_async(self, original_node: _Asynchronous, updated_node: _Asynchronous) -> _Asynchronous:
        return updated_node.with_changes(asynchronous=None)

    leave_FunctionDef = leave_For = leave_With = leave_CompFor = _without_async
