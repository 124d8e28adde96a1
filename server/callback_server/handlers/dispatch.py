"""Has handlers decide, and says what their decision, or that there is none, makes of a call.

A handler that was provably not asked is NOT_STARTED; one that may have been asked never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback_process.logs import get_logger
from callback_server.domain.activity import LEASE_SLACK_MS, Activity, deadline_ms
from callback_server.domain.call import CallFailure, CallStatus, Grant, Outcome, Request
from callback_server.domain.response import REJECTION, Response, complete, overlay, problems
from callback_server.errors import Violation
from callback_server.handlers.handler import Decision, Handler, HandlerError, Reply
from callback_server.handlers.messages import decision

log = get_logger()

LATE_S: Final = 2.0
"""How long after its deadline a handler is given up that should have ended by itself, in seconds: well in the lease."""
_NOT_STARTED: Final = (CallFailure.HANDLER_UNREACHABLE, CallFailure.NO_HANDLER)


class HandlerDispatcher:
    """Knows who handles an activity, and what is an answer."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        workers: Handler,
        activities: Mapping[str, Activity],
        platform_url: str | None,
    ) -> None:
        """`workers` handle what no push handler does."""
        self._handlers = handlers
        self._workers = workers
        self._activities = activities
        self._platform_url = platform_url

    def timeout_s(self, grant: Grant, *, held: bool = False) -> float:
        """The time that its deadline and its lease leave to who decides on a call; 0 or less: none."""
        deadline = deadline_ms(self._activities, grant.activity, held=held)
        return min(deadline, grant.lease_left_ms - LEASE_SLACK_MS) / 1000

    async def ask(self, grant: Grant, request: Request) -> Outcome:
        """Has the handler decide, in the time that its deadline and the lease leave."""
        handler = self._handlers.get(grant.activity, self._workers)
        timeout_s = self.timeout_s(grant)
        if timeout_s <= 0:
            return failed(CallFailure.HANDLER_UNREACHABLE, "the store answered too late for the handler to be asked")
        reply: Reply | None = None
        try:
            async with asyncio.timeout(timeout_s + LATE_S):
                reply = await handler.handle(grant, request, timeout_s=timeout_s)
            outcome = self.decided(grant.response, decision(reply.answer))
        except HandlerError as error:
            outcome = failed(error.failure, error.detail)
        except TimeoutError:
            outcome = failed(CallFailure.DEADLINE_EXCEEDED, "the handler did not end at its deadline")
        except Exception:
            log.exception("handler_fault", call_id=grant.call_id, activity=grant.activity)
            outcome = failed(CallFailure.HANDLER_ERROR, "a fault of the server; its log says more")
        if reply is not None and outcome.failure is CallFailure.INVALID_RESPONSE:
            refusal = handler_pb2.RefuseAnswerRequest(
                call_id=grant.call_id, callback_activity=grant.activity, problem=outcome.detail
            )
            reply.refuse(refusal)
        return outcome

    def decided(self, base: Response, decision: Decision) -> Outcome:
        """What a decision makes of a call whose case answers `base`."""
        if decision.accepted:
            return self.answered(overlay(base, decision.override), keep_open=decision.keep_open)
        return self.answered(overlay(REJECTION, decision.override), CallStatus.REJECTED)

    def answered(
        self, response: Response, status: CallStatus = CallStatus.SUCCEEDED, *, keep_open: bool = False
    ) -> Outcome:
        """What becomes of a call with an effective response; one that can not be rendered is a failure."""
        broken = self.problems(response)
        if broken:
            return failed(CallFailure.INVALID_RESPONSE, "; ".join(f"{each.field}: {each.message}" for each in broken))
        return Outcome(status, self.complete(response), keep_open=keep_open)

    def problems(self, response: Response) -> list[Violation]:
        """Why an effective response can not be rendered; nothing if it can."""
        return problems(response, platform_url=self._platform_url, needs_url=True)

    def complete(self, response: Response) -> Response:
        """The answer as it is sent. `response` has no problems."""
        return complete(response, platform_url=self._platform_url)


def failed(failure: CallFailure, detail: str) -> Outcome:
    """The end of a call without a decision."""
    status = CallStatus.NOT_STARTED if failure in _NOT_STARTED else CallStatus.FAILED
    return Outcome(status, failure=failure, detail=detail[:500])
