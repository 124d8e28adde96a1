"""The path of a call: check and claim, decide, finish.

1. The claim is durable before a handler starts. The end is durable before the caller gets its response.
2. A call runs in a task of its own. A caller that disconnects, an edge that dies or a deadline of the edge does not
   cancel it; only the end of this process does.
3. Claim and finish are sent again, with the same call_id, until the store replies or the lease ends. If the response
   of the case was replaced meanwhile, the decision is merged with the new one, and the finish is sent again.
4. A handler that provably did not get the call makes it NOT_STARTED. A handler that may have got it never does.
5. The handler decides, or, for a held call, the person or program that answers it. In an ACK case the claim stores the
   whole call, and its delivery starts.
6. At the answer deadline the caller gets the fallback, unless the call has ended or the caller is known to be gone.
   That is durable before the fallback is sent. The call continues. After a fallback that accepts the request (2xx or
   3xx) the call has a delivery, and this attempt is its first one: a handler that was not asked is asked later, and
   one that failed may be asked again.
7. A repeat is no call: it waits with the call that it repeats, or gets its answer (see `repeats`).
8. The body of a request is in memory only while its call needs it here, and its bytes count against limits.
9. A call with a large body waits for a turn before its claim, and before a large answer leaves. It has none while a
   handler or person decides, and a large fallback leaves without one. Before the claim, few of the slots of calls may
   wait for turns, which owners share as they share the slots.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_process.tasks import cancel_all
from callback_server import errors, metrics
from callback_server.calls.active_call import NO_ANSWER, ActiveCall, CallAnswer, failed_error
from callback_server.calls.attempts import HandlerAttempts
from callback_server.calls.claims import Claims, EventUnmatched, refusal_of
from callback_server.calls.deliveries import Deliveries
from callback_server.calls.held import HeldCalls
from callback_server.calls.marks import CallerMarks, may_be_delivered
from callback_server.calls.pending_call import PendingCall, pending_call
from callback_server.calls.repeats import Repeats
from callback_server.calls.transition_log import log_call_ended
from callback_server.calls.waiting import first_of, told_to_wait_after_ms
from callback_server.domain.call import CallStatus, DeliveryStatus, Grant, Outcome, Request
from callback_server.domain.case import AnswerMode, Settings
from callback_server.domain.delivery_attempt import DeliveryAttempt
from callback_server.domain.ids import case_id_of_call, is_state
from callback_server.domain.rendering import ResponseRenderer
from callback_server.domain.response import BARE_REJECTION, Response, complete
from callback_server.handlers.dispatch import HandlerDispatcher
from callback_server.limits.body_bytes import BodyBytes, BodyReservation
from callback_server.limits.call_slots import CallSlot, CallSlots
from callback_server.limits.large_turns import LARGE_BYTES, LargeCases, LargeTurn
from callback_server.limits.owner_rate import OwnerRateLimit
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import log_store_error
from callback_server.store.queries.read import HeldCall
from callback_server.store.transitions.claim_call import (
    CaseClosed,
    ClaimRefusal,
    ConfirmationRequired,
    EarlierCallEnded,
    EarlierCallRuns,
)

log = get_logger()

T = TypeVar("T")
_Running = dict[asyncio.Task[CallAnswer], ActiveCall]
AroundCall = Callable[..., ActiveCall]
"""Starts a call. Its arguments are the method `invoke` or `invoke_event`, and the arguments of that method."""


class CallInvoker:
    """Runs calls from the request to the recorded end."""

    def __init__(
        self,
        *,
        claims: Claims,
        dispatcher: HandlerDispatcher,
        renderer: ResponseRenderer,
        held: HeldCalls,
        repeats: Repeats,
        attempts: HandlerAttempts,
        deliveries: Deliveries,
        marks: CallerMarks,
        owner_rate: OwnerRateLimit,
        calls: CallSlots,
        held_calls: CallSlots,
        turn_waits: CallSlots,
        waits: CallSlots,
        body_bytes: BodyBytes,
        around: AroundCall | None = None,
        on_claim: Callable[[ActiveCall, Grant], None] | None = None,
    ) -> None:
        """Create an invoker.

        Args:
            claims: Claims the cases for requests.
            dispatcher: Asks the handlers.
            renderer: Renders responses.
            held: The held calls.
            repeats: The requests that wait for the answer to another one.
            attempts: Records the ends of calls that handlers decide.
            deliveries: Runs the deliveries of ACK cases.
            marks: Records what callers get before the ends of their calls, and that they are gone.
            owner_rate: The limit on the calls of an owner in a minute.
            calls: The slots of calls that run, and of look-ups.
            held_calls: The slots of held calls whose callers wait.
            turn_waits: The slots of calls that wait for turns before their claims.
            waits: The slots of requests that wait for the answers of other calls.
            body_bytes: The limit on the bytes of bodies.
            around: Starts each call by `invoke` or `invoke_event`, with a span around it, for example. None: there is
                none.
            on_claim: Called with each request that has become a call, in its task. None: nothing is.
        """
        if around is not None:
            self.invoke = partial(around, self.invoke)  # type: ignore[method-assign]  # it takes the same arguments
            self.invoke_event = partial(around, self.invoke_event)  # type: ignore[method-assign]  # as above
        self._claims = claims
        self._dispatcher = dispatcher
        self._renderer = renderer
        self._held = held
        self._repeats = repeats
        self._attempts = attempts
        self._deliveries = deliveries
        self._marks = marks
        self._owner_rate = owner_rate
        self._body_bytes = body_bytes
        self._call_slots = calls
        self._held_slots = held_calls
        self._turn_slots = turn_waits
        self._wait_slots = waits
        self._on_claim = on_claim
        self._running: _Running = {}
        """The calls, and the requests that wait for the answers of calls."""
        self._large_cases = LargeCases()
        self._look_ups: set[asyncio.Task[Any]] = set()
        self._decisions: set[asyncio.Task[Outcome]] = set()
        """The decisions of handlers on calls whose callers get something before: each continues after that."""
        for gauge, slots in (
            (metrics.CALLS_IN_FLIGHT, calls),
            (metrics.HELD_CALLS_IN_FLIGHT, held_calls),
            (metrics.WAITS_IN_FLIGHT, waits),
        ):
            gauge.set_function(partial(getattr, slots, "taken"))
        self._is_stopping = False

    def invoke(self, state: str, parameter: str, request: Request, *, prefers_page: bool = False) -> ActiveCall:
        """Start the call of the case that `state` reaches.

        Args:
            state: The state in the URL of the request.
            parameter: The query parameter that holds the state; empty if the state is in the path.
            request: The request.
            prefers_page: Whether the caller is a browser, which shows a page while it waits.

        Returns:
            The call, with its answer.

        Raises:
            CallbackError: The call was not started.
        """
        slot = self._reserve(state)
        return self._invoke(pending_call(state, parameter, request), slot, prefers_page=prefers_page)

    def invoke_event(self, endpoint: str, path: str, request: Request, *, prefers_page: bool = False) -> ActiveCall:
        """Start the call of the case that waits for an event.

        Args:
            endpoint: The name of the endpoint in the URL of the event.
            path: What stands in the URL behind that, as it was sent.
            request: The event.
            prefers_page: As for `invoke`.

        Returns:
            The call, with its answer: if no case waits for the event, with that of the endpoint.

        Raises:
            CallbackError: The call was not started.
        """
        self._check_running()
        pending = self._claims.pending_event(endpoint, path, request)
        return self._invoke(pending, self._call_slots.reserve(), prefers_page=prefers_page)

    def _invoke(self, pending: PendingCall, slot: CallSlot, *, prefers_page: bool) -> ActiveCall:
        try:
            reservation = self._body_bytes.reserve(len(pending.request.body))
        except errors.CallbackError:
            slot.free()
            raise
        call = ActiveCall(pending.call_id, slot, method=pending.request.method, prefers_page=prefers_page)
        self._start(self._run(pending, reservation, call), call, reservation)
        return call

    def wait(self, call_id: str, token: str, *, without_answer: bool = False) -> ActiveCall:
        """Start to wait for the answer to a call whose caller was told to wait. This makes no call.

        Args:
            call_id: The call.
            token: The token in the address of the call.
            without_answer: Whether to wait only for the end of the call, and to return an empty answer.

        Returns:
            The wait, with the answer, or with the path where to wait again.

        Raises:
            CallbackError: The wait was not started.
        """
        self._check_running()
        call = ActiveCall(call_id, self._wait_slots.reserve())
        self._start(self._wait(call, token, without_answer=without_answer), call, None)
        return call

    def look_up(self, state: str, parameter: str, request: Request) -> asyncio.Future[None]:
        """Start the look-up of a request whose body was not read.

        Args:
            state: As for `invoke`.
            parameter: As for `invoke`.
            request: The request without its body.

        Returns:
            A future that ends once the body may decide. It fails with the CallbackError that refuses the request
            whatever its body is.

        Raises:
            CallbackError: The look-up was not started.
        """
        slot = self._reserve(state)
        return self._start_look_up(self._claims.look_up(pending_call(state, parameter, request)), slot)

    def settings(self, state: str, parameter: str) -> asyncio.Future[Settings]:
        """Start to read the settings of the case that `state` reaches.

        Returns:
            A future with them. It fails with a CallbackError if there is no such case.

        Raises:
            CallbackError: The read was not started.
        """
        slot = self._reserve(state)
        return self._start_look_up(self._claims.settings(state, parameter), slot)

    def settings_of_wait(self, call_id: str, token: str) -> asyncio.Future[Settings]:
        """Start to read the settings of the case of a call as `settings` does, for a caller at the address of the call.

        Args:
            call_id: The call.
            token: The token in the address of the call.
        """
        self._check_running()
        slot = self._call_slots.reserve()
        return self._start_look_up(self._claims.settings_of_wait(call_id, token), slot)

    def _start_look_up(self, work: Coroutine[Any, Any, T], slot: CallSlot) -> asyncio.Future[T]:
        task = asyncio.create_task(work)
        self._look_ups.add(task)
        task.add_done_callback(self._look_ups.discard)
        task.add_done_callback(lambda _: slot.free())
        return task

    def _reserve(self, state: str) -> CallSlot:
        self._check_running()
        slot = self._call_slots.reserve()
        if not is_state(state):
            slot.free()
            raise errors.StateUnknownError
        return slot

    def _check_running(self) -> None:
        if self._is_stopping:
            raise errors.ServerStoppingError

    def caller_gone(self, call: ActiveCall) -> None:
        """Mark that the caller of a call will not get its answer, as soon as the request is a call."""
        if not call.is_caller_gone:
            call.is_caller_gone = True
            call.release()
            if call.is_claimed:
                self._marks.start_gone(call.call_id)

    async def drain(self) -> None:
        """Refuse new calls, tell the callers of held calls to wait elsewhere, and wait for the calls that run."""
        self._is_stopping = True
        for call in self._running.values():
            call.release()
        while running := {*self._running, *self._look_ups}:
            await asyncio.wait(running)

    async def cancel(self) -> None:
        """Cancel the calls that run, and mark their callers as gone. Each keeps its lease, so that a sweep ends it."""
        for call in self._running.values():
            if not call.answer.done():  # with the fallback
                self.caller_gone(call)
        # The decisions too: a call that is cancelled while it waits for its answer deadline does not cancel its own.
        await cancel_all({*self._running, *self._look_ups, *self._decisions})
        await self._marks.wait()

    def _start(self, work: Coroutine[Any, Any, CallAnswer], call: ActiveCall, body: BodyReservation | None) -> None:
        task = asyncio.create_task(work)
        self._running[task] = call  # the loop itself holds tasks only weakly
        task.add_done_callback(partial(self._ended, body))

    def _ended(self, body: BodyReservation | None, task: asyncio.Task[CallAnswer]) -> None:
        call = self._running.pop(task)
        call.slot.free()
        if body is not None:
            body.free()
        answer = call.answer
        error = None if task.cancelled() else task.exception()
        # A refusal was logged where it was raised. Any other exception is a bug of this server.
        if error is not None and not isinstance(error, errors.CallbackError):
            log.error("call_fault", exc_info=error)
        if error is not None:
            # The error refers to the frames that it has passed, and through them to itself and to the body of the
            # request. They would stay in memory until the garbage collector runs.
            error.__traceback__ = error.__cause__ = error.__context__ = None
        if answer.done():  # with the fallback, or the address where to wait
            return
        is_marked = call.is_claimed and call.is_caller_gone
        if isinstance(error, errors.OutcomeUnknownError) and error.call_id and not is_marked:
            self._marks.start_gone(error.call_id)  # the caller gets a 503, whatever is recorded
        if task.cancelled():
            answer.cancel()
        elif error is not None:
            answer.set_exception(error)
            answer.exception()  # marks it as retrieved: the stream that waited for it may be gone
        else:
            answer.set_result(task.result())

    async def _wait(self, call: ActiveCall, token: str, *, without_answer: bool) -> CallAnswer:
        return await self._in_turn(await self._repeats.wait(call, token, without_answer=without_answer), call)

    async def _run(self, pending: PendingCall, reservation: BodyReservation, call: ActiveCall) -> CallAnswer:
        if call.turn is not None:
            await self._take_turn(call.turn, pending)
        return await self._in_turn(await self._claim_and_answer(pending, reservation, call), call)

    async def _take_turn(self, turn: LargeTurn, pending: PendingCall) -> None:
        """Wait for the turn of a call before its claim.

        Raises:
            CallbackError: Too many calls wait, or too many of its owner, if that is known.
        """
        group, size = self._large_cases.group_of(pending.case_id, len(pending.request.body))
        if not size:
            return
        owner = pending.event.endpoint.owner if pending.event else self._large_cases.owner_of(pending.case_id)
        if owner:
            self._turn_slots.check(owner)
        slot = self._turn_slots.take(owner) if owner else self._turn_slots.reserve()
        try:
            await turn.take(group, size)
        finally:
            slot.free()

    async def _in_turn(self, answer: CallAnswer, call: ActiveCall) -> CallAnswer:
        """Wait for the turn of a large answer, and return it."""
        size = len(answer.response.body or b"")
        if size > LARGE_BYTES and call.turn is not None and not call.answer.done():
            await call.turn.take(*self._large_cases.group_of(case_id_of_call(call.call_id), size))
        return answer

    async def _claim_and_answer(
        self, pending: PendingCall, reservation: BodyReservation, call: ActiveCall
    ) -> CallAnswer:
        pending, result = await self._claims.claim(pending)
        if pending.event is not None:
            call.call_id = pending.call_id
        if isinstance(result, EventUnmatched):
            metrics.EVENTS_UNMATCHED.labels(result.endpoint.name, result.reason).inc()
            log.info("event_unmatched", endpoint=result.endpoint.name, reason=result.reason)
            return CallAnswer("", complete(Response(code=result.endpoint.unmatched_code), platform_url=None))
        waits = isinstance(result, EarlierCallRuns) or (isinstance(result, Grant) and not result.ended_at_claim)
        if waits and call.turn is not None:
            call.turn.free()
        if isinstance(result, Grant):
            answer_size, request_size = len(result.response.body or b""), len(pending.request.body)
            self._large_cases.learn(pending.case_id, result.owner, answer_size, request_size=request_size)
            call.is_claimed = True
            if call.is_caller_gone:
                self._marks.start_gone(call.call_id)
            self._owner_rate.charge(result.owner)
            call.slot.charge(result.owner)
            if self._on_claim is not None:
                self._on_claim(call, result)
            reservation.charge(result.owner)
            request = pending.request
            del pending
            if result.answer_mode is AnswerMode.HOLD:  # the body is in the store, and no handler needs it here
                request = replace(request, body=b"")
                reservation.free()
                if not result.ended_at_claim:
                    call.wait_at(self._held_slots.take(result.owner))
            return await self._call(result, request, call)
        if isinstance(result, EarlierCallRuns | EarlierCallEnded):
            metrics.REPEATS.labels(metrics.profile_label(pending.verification.profile)).inc()
            log.info("request_repeated", call_id=result.call_id, case_id=pending.case_id)
            del pending
            reservation.free()
            return await self._repeats.answer(result, call)
        if result is ClaimRefusal.HANDSHAKE and pending.handshake is not None:
            metrics.HANDSHAKES.labels(metrics.profile_label(pending.verification.profile)).inc()
            log.info("handshake_answered", **pending.log_fields, profile=pending.verification.profile)
            return CallAnswer("", complete(pending.handshake, platform_url=None))
        if isinstance(result, CaseClosed) and result.response is not None:
            return self._answer_closed(pending, result, result.response)
        if isinstance(result, ConfirmationRequired) and pending.request.method != "get":
            raise errors.ChoiceRequiredError
        raise refusal_of(result, "" if pending.event else pending.call_id)

    def _answer_closed(self, pending: PendingCall, closed: CaseClosed, response: Response) -> CallAnswer:
        if self._renderer.problems(response):  # a `/path`, and this server has no platform_url any more
            raise refusal_of(closed, pending.call_id)
        cookie_host = self._renderer.cookie_host(closed.alternative_domain, closed.owner)
        return CallAnswer("", self._renderer.complete(response), cookie_host)

    async def _call(self, grant: Grant, request: Request, call: ActiveCall) -> CallAnswer:
        if grant.ended_at_claim:
            outcome = grant.resolved or self._renderer.outcome_at_claim(grant.response)
            log_call_ended(grant.call_id, grant.activity, outcome, grant.effect, owner=grant.owner)
            if grant.lease_left_ms:
                self._deliveries.start_first_attempt(grant, request)
        else:
            log.info(
                "call_started",
                call_id=grant.call_id,
                case_id=case_id_of_call(grant.call_id),
                activity=grant.activity,
                call_number=grant.call_number,
            )
            decided = await self._by_answer_deadline(grant, request, call)
            if decided is None:
                return NO_ANSWER
            outcome = decided
        if outcome.response is None and grant.resolved is not None:
            raise errors.AnswerNotRepeatedError  # it was erased
        if outcome.response is None:
            raise failed_error(outcome.failure, grant.call_id)
        return CallAnswer(
            grant.call_id,
            outcome.response,
            self._renderer.cookie_host(grant.settings.alternative_domain, grant.owner),
            rejected_without_response=outcome.status is CallStatus.REJECTED and outcome.response == BARE_REJECTION,
        )

    async def _by_answer_deadline(self, grant: Grant, request: Request, call: ActiveCall) -> Outcome | None:
        """Return the outcome of a call. At the answer deadline, give the caller the fallback, or tell it to wait.

        The call continues then. A held call does so in the store, and nothing here waits for its end (None), also once
        its caller is known to be gone. Such a caller gets neither, and any other call ends as if there were no
        deadline.
        The caller of a held call is told to wait earlier if this process or the edge stops.
        """
        fallback = grant.fallback
        if fallback is not None and self._renderer.problems(fallback.response):
            fallback = None
        after_ms = told_to_wait_after_ms(grant, prefers_page=call.prefers_page)
        if fallback is not None:
            after_ms = fallback.after_ms
        is_held = grant.answer_mode is AnswerMode.HOLD
        if after_ms is None and not is_held:
            return await self._decide_and_finish(grant, request)
        task = asyncio.create_task(self._decide_and_finish(grant, request))
        if not is_held:
            self._decisions.add(task)
            task.add_done_callback(self._decisions.discard)
        try:
            await first_of(task, call.released if is_held else None, after_ms)
            if not task.done() and not call.is_caller_gone:
                if fallback is None or (is_held and call.released.done()):
                    if path := await self._marks.mark_waiting(grant.call_id, call, task, decides_here=not is_held):
                        call.answer.set_result(CallAnswer(grant.call_id, Response(), wait_path=path))
                elif await self._marks.mark_fallback(grant, request, call, task, decides_here=not is_held):
                    log.info("fallback_sent", call_id=grant.call_id, case_id=case_id_of_call(grant.call_id))
                    response = self._renderer.complete(fallback.response)
                    cookie_host = self._renderer.cookie_host(grant.settings.alternative_domain, grant.owner)
                    call.answer.set_result(CallAnswer(grant.call_id, response, cookie_host))
            if is_held and not task.done() and (call.answer.done() or call.is_caller_gone):
                return None
            return await task
        finally:
            if is_held:
                task.cancel()

    async def _decide_and_finish(self, grant: Grant, request: Request) -> Outcome:
        """Wait for the decision on a call, and record it."""
        if grant.answer_mode is AnswerMode.HOLD:
            held = await self._held.wait(grant.call_id, hold_time_left_s=grant.lease_left_ms / 1000)
            return _outcome_of_held(grant.call_id, held)
        lease_end = time.monotonic() + grant.lease_left_ms / 1000
        with metrics.HANDLER_SECONDS.time():
            result = await self._dispatcher.dispatch(grant, request)
        # A delivery begins when the caller gets the fallback.
        fallback_ms = grant.fallback.after_ms if grant.fallback is not None else 0
        attempt = DeliveryAttempt(grant, request, fencing_token=1, age_ms=-fallback_ms, is_call_running=True)
        is_last = not may_be_delivered(grant)
        try:
            with metrics.FINISH_SECONDS.time():
                outcome, finished = await self._attempts.finish(attempt, result, lease_end, is_last=is_last)
        except StoreError as error:
            log_store_error("finish_not_confirmed", error, call_id=grant.call_id)
            raise errors.OutcomeUnknownError(grant.call_id) from error
        if finished is None:
            log.error("finish_too_late", call_id=grant.call_id, status=outcome.status)
            raise errors.OutcomeUnknownError(grant.call_id)
        if finished.delivery is DeliveryStatus.PENDING:
            raise errors.OutcomeUnknownError(grant.call_id)
        if outcome.response is None:
            raise failed_error(outcome.failure, grant.call_id, is_open=finished.is_open)
        return outcome


def _outcome_of_held(call_id: str, held: HeldCall) -> Outcome:
    # There is neither if the store was unreachable so long that the answer is no longer kept.
    if held.answer is None and held.failure is None:
        raise errors.OutcomeUnknownError(call_id)
    if held.answer is None:
        raise failed_error(held.failure, call_id, is_held=True, is_open=held.is_open)
    return Outcome(held.status, held.answer)
