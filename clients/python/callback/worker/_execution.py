"""Execution of a handler: from the request of the server to the decision, or to a failure that reveals nothing."""

import asyncio
import logging
from typing import Any

from callback._converters import incoming_call_from_proto, notification_from_proto
from callback._decisions import Handler, NotificationHandler, Reject, decision_to_proto
from callback.connection._cancellation import is_being_cancelled
from callback.connection._channel_options import MAX_MESSAGE_BYTES
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2
from callback.worker._threads import HandlerThreads, PlainFunction

MAX_ANSWER_BYTES = MAX_MESSAGE_BYTES - 1024
"""The largest answer, in bytes. The server accepts no larger message: it would end the stream."""

_log = logging.getLogger("callback.handlers")


class HandlerFailedError(Exception):
    """A handler failed. Its exception is in the log, and not in this error."""

    def __init__(self, message: str = "the handler failed") -> None:
        super().__init__(message)


async def decide(
    handler: Handler | NotificationHandler, request: messages.HandleCallbackRequest, threads: HandlerThreads
) -> messages.HandleCallbackResponse:
    """Run a handler of calls, or of notifications, and return its decision. A plain function runs in a thread.

    Raises:
        HandlerFailedError: The handler made no decision, or one that cannot be sent.
    """
    activity, call_id = request.callback_activity, request.call_id
    try:
        answer = await _decision(handler, request, threads)
    except asyncio.CancelledError:
        if is_being_cancelled():  # by the deadline, a stop, or a lost connection
            _log.warning("handler_cancelled activity=%r call_id=%s", activity, call_id)
            raise
        # The handler itself raised it. Passing it on would send no answer, and the server would wait to its deadline.
        _log.exception("handler_failed activity=%r call_id=%s", activity, call_id)
    except (Exception, SystemExit):  # a library that exits in one call must not end the others
        _log.exception("handler_failed activity=%r call_id=%s", activity, call_id)
    else:
        if answer.ByteSize() <= MAX_ANSWER_BYTES:
            return answer
        _log.error("answer_too_large activity=%r call_id=%s bytes=%d", activity, call_id, answer.ByteSize())
        raise HandlerFailedError("the handler's answer is larger than a message can be")
    raise HandlerFailedError


def is_notification(request: messages.HandleCallbackRequest) -> bool:
    """Return whether a request of the server is a notification."""
    return request.reason not in (callback_pb2.CALL_REASON_UNSPECIFIED, callback_pb2.CALL_REASON_CALL)


def log_answer_refused(refusal: messages.RefuseAnswerRequest) -> None:
    """Log that the server cannot render an answer, so that the call failed."""
    _log.error(
        "answer_refused activity=%r call_id=%s problem=%s", refusal.callback_activity, refusal.call_id, refusal.problem
    )


async def _decision(
    handler: Any, request: messages.HandleCallbackRequest, threads: HandlerThreads
) -> messages.HandleCallbackResponse:
    try:
        given = notification_from_proto(request) if is_notification(request) else incoming_call_from_proto(request)
        answer = await (threads.run(handler, given) if type(handler) is PlainFunction else handler(given))
    except Reject as rejection:
        return decision_to_proto(rejection)
    if isinstance(answer, Reject):
        raise TypeError("a handler must raise a Reject, not return it")
    return decision_to_proto(answer)
