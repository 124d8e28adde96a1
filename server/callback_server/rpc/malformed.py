"""Requests that are refused before they are a message: their bytes are none, or have more fields than any request.

If the function that parses a request raises, grpc.aio logs its exception with a traceback, and answers INTERNAL, before
or beside the method of the servicer. So this one does not raise: the method gets a `Malformed`, and refuses it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from callback.v1.callbacks_service_pb2 import GenerateCallbackUrlsRequest
from callback_server.errors import InvalidRequestError, Violation
from callback_shared.wire_fields import MAX_FIELDS, MAX_FIELDS_OF_LISTS, has_too_many_fields

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a request that is no message."""

    problem: str
    """A sentence."""
    field: str = ""
    """The field that it is about. '' = the whole request."""


_NO_MESSAGE: Final = Malformed("the bytes of the request are no message of its type")
_TOO_MANY_FIELDS: Final = Malformed("the request has more fields than any request of the contract")
_TOO_MANY_IN_BATCH: Final = Malformed(
    f"must have at most {MAX_FIELDS_OF_LISTS} fields together, with those of their headers and labels, and "
    f"{MAX_FIELDS} each: send fewer requests at a time",
    field="requests",
)


def lenient(parse: Callable[[bytes], Any], limited: Descriptor | None) -> Callable[[bytes], Any]:
    """Return a function that parses as this one does, and returns a `Malformed` where there is no message.

    Args:
        parse: Returns a message, or raises DecodeError.
        limited: The type of the messages, if their fields are counted first.
    """
    return functools.partial(_parse, parse, limited)


def _parse(parse: Callable[[bytes], Any], limited: Descriptor | None, data: bytes) -> Any:
    if limited is not None and has_too_many_fields(data, limited):
        return _TOO_MANY_IN_BATCH if limited is GenerateCallbackUrlsRequest.DESCRIPTOR else _TOO_MANY_FIELDS
    try:
        return parse(data)
    except DecodeError:
        return _NO_MESSAGE


def require_message(request: object) -> None:
    """Check that a request is a message.

    Raises:
        InvalidRequestError: It is a `Malformed`.
    """
    if isinstance(request, Malformed):
        raise InvalidRequestError([Violation(request.field, "malformed", request.problem)])


class Messages(AsyncIterator[T]):
    """The requests of a stream, each of which is a message. It raises what `require_message` raises."""

    def __init__(self, requests: AsyncIterator[T]) -> None:
        self._next = requests.__anext__

    async def __anext__(self) -> T:
        request = await self._next()
        require_message(request)
        return request
