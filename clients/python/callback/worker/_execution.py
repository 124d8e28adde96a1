"""Execution of a handler: from the request of the server to the decision, or to a failure that reveals nothing."""

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from callback._behavior import NotJsonError
from callback._converters import incoming_call_from_proto, notification_from_proto
from callback._decisions import Handler, NotificationHandler, Reject, decision_to_proto
from callback._forms import NotFormError
from callback._values import Response
from callback.connection._cancellation import is_being_cancelled
from callback.connection._channel_options import MAX_MESSAGE_BYTES
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2
from callback.worker._threads import HandlerThreads, PlainFunction

MAX_ANSWER_BYTES = MAX_MESSAGE_BYTES - 1024
"""The largest answer, in bytes. The server accepts no larger message: it would end the stream."""

CLOCK: Callable[[], float] = time.monotonic
"""Returns the time by which it is seen that a handler blocks, in seconds."""

BLOCKED_S = 1.0
"""How long a coroutine function may run without giving way to others before that is logged, in seconds."""

_log = logging.getLogger("callback.handlers")


MAX_REPORTED_CHARACTERS = 400
"""How much of the error of a handler is sent. With the name of its worker, it fits into the `failure_detail`."""


class HandlerFailedError(Exception):
    """A handler failed. Its exception is in the log, and in this error only if the server records errors."""


async def decide(
    handler: Handler | NotificationHandler, request: messages.HandleCallbackRequest, threads: HandlerThreads
) -> messages.HandleCallbackResponse:
    """Run a handler of calls, or of notifications, and return its decision. A plain function runs in a thread.

    Raises:
        HandlerFailedError: The handler made no decision, or one that cannot be sent.
    """
    activity, call_id = request.callback_activity, request.call_id
    failure = "the handler failed"
    try:
        answer = await _decision(handler, request, threads)
    except asyncio.CancelledError:
        if is_being_cancelled():  # by the deadline, a stop, or a lost connection
            _log.warning("handler_cancelled activity=%r call_id=%s", activity, call_id)
            raise
        # The handler itself raised it. Passing it on would send no answer, and the server would wait to its deadline.
        _log.exception("handler_failed activity=%r call_id=%s", activity, call_id)
    except (Exception, SystemExit) as error:  # a library that exits in one call must not end the others
        _log.exception("handler_failed activity=%r call_id=%s", activity, call_id)
        if request.report_error:
            failure = _reported(error)
    else:
        if answer.ByteSize() <= MAX_ANSWER_BYTES:
            return answer
        _log.error("answer_too_large activity=%r call_id=%s bytes=%d", activity, call_id, answer.ByteSize())
        failure = "the handler's answer is larger than a message can be"
    raise HandlerFailedError(failure)  # here, so that it does not refer to the exception and what that holds


def _reported(error: BaseException) -> str:
    """Return the class and the message of an error, cut and without what is no Unicode."""
    text = traceback.format_exception_only(error)[-1].strip()
    return text[:MAX_REPORTED_CHARACTERS].encode(errors="backslashreplace").decode()


def is_notification(request: messages.HandleCallbackRequest) -> bool:
    """Return whether a request of the server is a notification."""
    return request.reason not in (callback_pb2.CALL_REASON_UNSPECIFIED, callback_pb2.CALL_REASON_CALL)


def log_answer_refused(refusal: messages.RefuseAnswerRequest) -> None:
    """Log that the server cannot render an answer, so that the call failed."""
    _log.error(
        "answer_refused activity=%r call_id=%s problem=%s", refusal.callback_activity, refusal.call_id, refusal.problem
    )


class _Stepped:
    """The coroutine of a handler, run step by step, so that one that blocks the event loop is found."""

    def __init__(self, coroutine: Awaitable[Any], request: messages.HandleCallbackRequest) -> None:
        self._coroutine = coroutine
        self._request = request

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        step: Callable[[Any], Any] = steps.send
        argument: Any = None
        try:
            while True:
                began = CLOCK()
                try:
                    awaited = step(argument)
                finally:
                    argument = None  # an error that passes here refers to this frame, which would refer to the error
                    self._log_if_blocked(CLOCK() - began)
                try:
                    step, argument = steps.send, (yield awaited)
                except GeneratorExit:
                    raise
                except BaseException as error:  # such as a cancellation, which is the handler's to take
                    step, argument = steps.throw, error
                del awaited  # a future, which refers to the error with which it ended
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def _log_if_blocked(self, seconds: float) -> None:
        if seconds >= BLOCKED_S:
            _log.warning(
                "handler_blocked activity=%r call_id=%s seconds=%.1f hint=%s",
                self._request.callback_activity,
                self._request.call_id,
                seconds,
                "use a plain function (def), or asyncio.to_thread, for code that blocks",
            )


async def _decision(
    handler: Any, request: messages.HandleCallbackRequest, threads: HandlerThreads
) -> messages.HandleCallbackResponse:
    try:
        given = notification_from_proto(request) if is_notification(request) else incoming_call_from_proto(request)
        if type(handler) is PlainFunction:
            answer = await threads.run(handler, given)
        else:
            answer = await _Stepped(handler(given), request)
    except Reject as rejection:
        return decision_to_proto(rejection)
    except (NotFormError, NotJsonError) as error:
        return decision_to_proto(Reject(Response(str(error), code=400)))
    if isinstance(answer, Reject):
        raise TypeError("a handler must raise a Reject, not return it")
    return decision_to_proto(answer)
