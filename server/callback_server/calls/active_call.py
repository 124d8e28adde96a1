"""A request on its way to its answer, as the invoker returns it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from callback_server import errors
from callback_server.domain.call import CallFailure
from callback_server.domain.response import Response
from callback_server.limits.call_slots import CallSlot
from callback_server.limits.large_turns import LargeTurn

_FAILURES: Final[Mapping[CallFailure, type[errors.CallFailedError]]] = {
    CallFailure.HANDLER_ERROR: errors.HandlerFailedError,
    CallFailure.HANDLER_LOST: errors.HandlerLostError,
    CallFailure.DEADLINE_EXCEEDED: errors.HandlerDeadlineExceededError,
    CallFailure.INVALID_RESPONSE: errors.ResponseInvalidError,
    CallFailure.HANDLER_UNREACHABLE: errors.HandlerNotStartedError,
    CallFailure.TOO_LARGE: errors.HandlerNotStartedError,
    CallFailure.WORKERS_LOST: errors.HandlerLostError,
}


class CallAnswer(msgspec.Struct, frozen=True):
    """The complete response to a caller."""

    call_id: str
    """Empty for a handshake or a repeat, which are not calls."""
    response: Response
    cookie_host: str = ""
    """The host on which the response may set cookies. Empty: nowhere."""
    rejected_without_response: bool = False
    """Whether the data was rejected, and the edge says so in its own words."""
    wait_path: str = ""
    """The path of the address where the caller waits for the response, which is empty then. Empty: there is one."""
    request_method: str = ""
    """The method of the request that the answer is for, if it is not the present one: that of the call which is
    repeated. It decides the code of a redirect."""
    repeated_call_id: str = ""
    """The call that is repeated. Empty: the request is no repeat."""


NO_ANSWER: Final = CallAnswer("", Response())
"""What a request ends with that waits for no answer: for the end of a call alone, or its caller is gone."""


class ActiveCall:
    """A request between its arrival and its answer."""

    __slots__ = (
        "answer",
        "call_id",
        "creator_traceparent",
        "is_caller_gone",
        "is_claimed",
        "method",
        "on_waiting",
        "prefers_page",
        "released",
        "slot",
        "turn",
    )  # fmt: skip

    def __init__(self, call_id: str, slot: CallSlot, *, method: str = "get", prefers_page: bool = False) -> None:
        self.call_id = call_id
        self.slot = slot
        """Its slot among the calls of its kind."""
        self.on_waiting: Callable[[], None] = lambda: None
        """Called once it waits for an answer, and takes no slot of a call that runs."""
        self.method = method
        """The method of the request as it was sent: of a confirmation, as it was posted."""
        self.prefers_page = prefers_page
        """Whether the caller is a browser, which shows a page while it waits."""
        self.released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once this process or the edge stops, so that the caller is told to wait elsewhere, or it is gone."""
        self.answer: asyncio.Future[CallAnswer] = asyncio.get_running_loop().create_future()
        """The answer. It fails with a CallbackError that says why there is none, and whether the caller may retry."""
        self.is_claimed = False
        """Whether the request has become a call."""
        self.is_caller_gone = False
        """Whether it is known that the caller will not get the answer."""
        self.turn: LargeTurn | None = None
        """Its turn among the calls with large bodies. None: it needs none."""
        self.creator_traceparent = ""
        """The trace context that generated the case, for the edge. Empty: none, or this process does not trace."""

    def wait_at(self, slot: CallSlot) -> None:
        """Take the slot of a request that waits, in place of its own."""
        self.slot.free()
        self.slot = slot
        self.on_waiting()

    def release(self) -> None:
        """Let the caller of a held call, or one that waits for another call, wait elsewhere: nowhere if it is gone."""
        if not self.released.done():
            self.released.set_result(None)


def failed_error(
    failure: CallFailure | None, call_id: str, *, is_held: bool = False, is_open: bool = False
) -> errors.CallFailedError:
    """Return the error that a caller gets in place of the answer of a failed call.

    Args:
        failure: Why the call has no answer. None: it could not be rendered.
        call_id: The call. Empty for a request that is not the call itself.
        is_held: Whether the call waited for a person or program.
        is_open: Whether its case is open, so that the caller may call it again.
    """
    if is_held and failure is CallFailure.DEADLINE_EXCEEDED:
        return errors.CallNotAnsweredError(call_id, is_open=is_open)
    return _FAILURES[failure or CallFailure.INVALID_RESPONSE](call_id, is_open=is_open)
