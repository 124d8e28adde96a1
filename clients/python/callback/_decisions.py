"""What is decided on a call: by a handler, or by whoever answers a call that is held."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from callback._converters import response_to_proto
from callback._values import IncomingCall, Response
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2


@dataclass(frozen=True, slots=True)
class Accept:
    """The data was accepted.

    Args:
        response: What overrides the case's response. None keeps it.
        keep_open: The call succeeded, but it was not yet the one: a single-use case is open again.
    """

    response: Response | None = None
    keep_open: bool = False


class Reject(Exception):  # noqa: N818 - it is a handler's answer, not a fault
    """Incorrect data was sent. A handler raises it.

    Args:
        response: What the caller gets; text or bytes are the body of a response. Default an empty one. Its code is by
            default 422. Nothing of the case's own response is used.
    """

    def __init__(self, response: Response | bytes | str | None = None) -> None:
        super().__init__()
        self.response = Response(response) if isinstance(response, bytes | str) else response


Answer = Response | Accept | None
"""What a handler returns."""

Handler = Callable[[IncomingCall], Awaitable[Answer]]
"""A coroutine function that decides what happens on a call."""


def decision(answer: Answer | Reject) -> messages.HandleCallbackResponse:
    """Return the message of an answer.

    Raises:
        TypeError: It is none.
    """
    if isinstance(answer, Reject):
        return messages.HandleCallbackResponse(
            verdict=messages.VERDICT_REJECTED, response=_response("Reject takes", answer.response)
        )
    accept = answer if isinstance(answer, Accept) else Accept(answer)
    return messages.HandleCallbackResponse(
        verdict=messages.VERDICT_ACCEPTED,
        response=_response("an answer is an Accept,", accept.response),
        keep_open=accept.keep_open,
    )


def _response(who: str, response: Response | None) -> callback_pb2.Response | None:
    if response is None:
        return None
    if not isinstance(response, Response):
        raise TypeError(f"{who} a Response or None, not {type(response).__name__}")
    return response_to_proto(response)
