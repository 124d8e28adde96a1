"""Decisions on a call: those that a handler makes, and those that `answer_call` sends for a held call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, overload

from callback._converters import response_from_proto, response_to_proto
from callback._value import CONVERSIONS, Conversion, Value
from callback._values import IncomingCall, Notification, Response
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2


@dataclass(frozen=True, slots=True)
class Accept(Value):
    """The decision to accept a call.

    Args:
        response: Overrides the case's response. None keeps the case's response.
        keep_open: Leaves a single-use case open, so that it can be called again after this success.
        close: Closes the case with this success, also where it allows multiple calls. Not together with `keep_open`.
        no_repeat: Gives this answer only once: the same request again gets a 410.
    """

    response: Response | None = None
    keep_open: bool = False
    close: bool = False
    no_repeat: bool = False

    def __post_init__(self) -> None:
        """Check that the decision does not contradict itself."""
        if self.close and self.keep_open:
            raise ValueError("an answer cannot both close a callback and keep it open")


class Reject(Exception):  # noqa: N818  # a handler's decision, not an error
    """The decision to reject a call because its data is incorrect. A handler raises it.

    Args:
        response: The response to the caller; text or bytes become its body. The default code is 422. Default: a page or
            a problem of the edge with this code. The case's own response is not used.
        no_repeat: Gives this answer only once: the same request again gets a 410.
    """

    def __init__(self, response: Response | bytes | str | None = None, *, no_repeat: bool = False) -> None:
        super().__init__()
        self.no_repeat = no_repeat
        self.response = Response(response) if isinstance(response, bytes | str) else response


Answer = Response | Accept | None
"""The types that a handler may return."""

Handler = Callable[[IncomingCall], Awaitable[Answer] | Answer]
"""A function that decides on a call: a coroutine function, or a plain function, which runs in a thread."""

NotificationHandler = Callable[[Notification], Awaitable[Answer] | Answer]
"""A function that takes a notification: a coroutine function, or a plain function, which runs in a thread."""


class _HandlerFunction(Protocol):
    def __call__(self, call: IncomingCall, /) -> Awaitable[Answer] | Answer: ...


class _NotificationFunction(Protocol):
    def __call__(self, notification: Notification, /) -> Awaitable[Answer] | Answer: ...


_Handler = TypeVar("_Handler", bound=_HandlerFunction)
_NotificationHandler = TypeVar("_NotificationHandler", bound=_NotificationFunction)


class HandlerDecorator(Protocol):
    """A decorator that registers a handler, and returns it unchanged.

    The second overload never matches: with it, mypy says which type a function has that is no handler, and which type a
    handler has. Otherwise it names a type variable. This takes a bound that is a protocol.
    """

    @overload
    def __call__(self, function: _Handler, /) -> _Handler: ...
    @overload
    def __call__(self, function: Handler, /) -> Handler: ...  # type: ignore[overload-cannot-match]  # see above


class NotificationHandlerDecorator(Protocol):
    """As `HandlerDecorator`, for a handler of notifications."""

    @overload
    def __call__(self, function: _NotificationHandler, /) -> _NotificationHandler: ...
    @overload
    def __call__(self, function: NotificationHandler, /) -> NotificationHandler: ...  # type: ignore[overload-cannot-match]  # see above


def decision_to_proto(answer: Answer | Reject) -> messages.HandleCallbackResponse:
    """Return the protobuf message of a decision.

    Raises:
        TypeError: The answer is not a `Response`, `Accept`, `Reject` or None.
    """
    if isinstance(answer, Reject):
        return messages.HandleCallbackResponse(
            verdict=messages.VERDICT_REJECTED,
            response=_response("a Reject takes a Response, text, bytes or None", answer.response),
            no_repeat=answer.no_repeat,
        )
    if isinstance(answer, Accept):
        return _accept_to_proto(answer)
    if answer is not None and not isinstance(answer, Response):
        raise TypeError(f"an answer must be a Response, an Accept or None, not {type(answer).__name__}")
    return _accept_to_proto(Accept(answer))


def _accept_to_proto(accept: Accept) -> messages.HandleCallbackResponse:
    return messages.HandleCallbackResponse(
        verdict=messages.VERDICT_ACCEPTED,
        response=_response("an Accept takes a Response or None", accept.response),
        keep_open=accept.keep_open,
        close=accept.close,
        no_repeat=accept.no_repeat,
    )


def _accept_from_proto(message: messages.HandleCallbackResponse) -> Accept:
    return Accept(
        response_from_proto(message.response) if message.HasField("response") else None,
        keep_open=message.keep_open,
        close=message.close,
        no_repeat=message.no_repeat,
    )


CONVERSIONS[Accept] = Conversion(messages.HandleCallbackResponse, _accept_from_proto, _accept_to_proto)


def _response(expected: str, response: Response | None) -> callback_pb2.Response | None:
    if response is None:
        return None
    if not isinstance(response, Response):
        raise TypeError(f"{expected}, not {type(response).__name__}")
    return response_to_proto(response)
