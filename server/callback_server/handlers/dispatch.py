"""Send calls to their handlers, and turn their failures into outcomes.

If the handler provably did not get the call, the call is NOT_STARTED. If the handler may have got it, the call is never
NOT_STARTED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_process.logs import get_logger
from callback_server.domain.activity import LEASE_SLACK_MS, Activity, deadline_ms
from callback_server.domain.call import CallFailure, CallStatus, Decision, Grant, Outcome, Request, failed
from callback_server.domain.cookies import cookie_problems
from callback_server.domain.notification import CallReason
from callback_server.domain.rendering import ResponseRenderer, invalid
from callback_server.handlers.handler import Handler, HandlerError, Reply
from callback_server.handlers.messages import decision

log = get_logger()

LATE_S: Final = 2.0
"""How long after the deadline to wait for a handler that should have ended by itself, in seconds: within the lease."""


class HandlerResult(msgspec.Struct, frozen=True):
    """What a handler decided on a call, or why it did not."""

    decision: Decision | Outcome
    """The decision. An outcome: the call or notification ends so, whatever the response of the case is."""
    reply: Reply | None = None
    """What the handler replied. None: nothing, or nothing valid."""
    worker: str = ""
    """The name of the worker that had the call. Empty: none had it, or it has no name."""

    @property
    def is_merged(self) -> bool:
        """Whether the outcome depends on the response of the case."""
        return isinstance(self.decision, Decision) and self.decision.accepted


Attempt = Callable[[Grant, Request], Coroutine[Any, Any, HandlerResult]]
"""Asks the handler of a call for its decision."""
AroundAttempt = Callable[[Attempt, Grant, Request], Coroutine[Any, Any, HandlerResult]]
"""Makes an attempt, and returns its result."""


class HandlerDispatcher:
    """Finds the handler of a call, and asks it for its decision."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        workers: Handler,
        activities: Mapping[str, Activity],
        renderer: ResponseRenderer,
        around: AroundAttempt | None = None,
    ) -> None:
        """Create a dispatcher.

        Args:
            handlers: The push handlers by activity.
            workers: The handler of every other activity.
            activities: The declared activities, with their deadlines.
            renderer: Knows on which hosts a decision may set cookies.
            around: Makes each attempt by `dispatch`, with a span around it, for example. None: there is none.
        """
        if around is not None:
            self.dispatch = partial(around, self.dispatch)  # type: ignore[method-assign]  # it takes the same arguments
        self._handlers = handlers
        self._workers = workers
        self._activities = activities
        self._renderer = renderer

    def timeout_s(self, grant: Grant) -> float:
        """Return the seconds left for the decision of a handler; 0 or less if none are left."""
        deadline = deadline_ms(self._activities, grant.activity)
        return min(deadline, grant.lease_left_ms - LEASE_SLACK_MS) / 1000

    async def dispatch(self, grant: Grant, request: Request) -> HandlerResult:
        """Ask the handler of a call for its decision, within the deadline and the lease."""
        handler = self._handlers.get(grant.activity, self._workers)
        timeout_s = self.timeout_s(grant)
        if timeout_s <= 0:
            return HandlerResult(
                failed(CallFailure.HANDLER_UNREACHABLE, "the store replied too late to start the handler")
            )
        reply: Reply | None = None
        worker = ""
        try:
            async with asyncio.timeout(timeout_s + LATE_S):
                reply = await handler.handle(grant, request, timeout_s=timeout_s)
            worker = reply.worker
            decided = decision(reply.answer)
            if grant.reason is not CallReason.CALL:
                status = CallStatus.SUCCEEDED if decided.accepted else CallStatus.REJECTED
                return HandlerResult(Outcome(status, close=decided.accepted and decided.close), reply, worker)
            cookie_host = self._renderer.cookie_host(grant.settings.alternative_domain, grant.owner)
            broken = cookie_problems(decided.override, cookie_host)
            return HandlerResult(invalid(broken) if broken else decided, reply, worker)
        except HandlerError as error:
            outcome, worker = failed(error.failure, error.detail), error.worker
        except TimeoutError:
            outcome = failed(CallFailure.DEADLINE_EXCEEDED, "the handler did not end at its deadline")
        except Exception:
            log.exception("handler_fault", call_id=grant.call_id, activity=grant.activity)
            outcome = failed(CallFailure.HANDLER_ERROR, "internal error; the log of the server has the details")
        return HandlerResult(outcome, reply, worker)

    def report(self, grant: Grant, result: HandlerResult, outcome: Outcome) -> None:
        """Tell the handler of a call whose outcome it is that its decision cannot be rendered, if that is so."""
        if result.reply is not None and outcome.failure is CallFailure.INVALID_RESPONSE:
            refusal = handler_pb2.RefuseAnswerRequest(
                call_id=grant.call_id, callback_activity=grant.activity, problem=outcome.failure_detail
            )
            result.reply.refuse(refusal)
