"""The path of a call: claim, decision, finish. From the claim on, nothing but the end of this process stops it.

A claim comes with nothing established. Where the case asks for more, a verification or a person's confirmation, the
store says so and changes nothing; what was asked for is looked at here, and the claim comes a second time with it.

1. The claim is durable before a handler starts; the end is durable before anyone is answered.
2. A call runs in a task of its own. A caller that hangs up, an edge that dies or a deadline there does not cancel it.
3. Claim and finish are sent again, with the same call_id, until the store answers or the lease is over.
4. A handler that was provably not asked is NOT_STARTED; one that may have been asked never is.
5. Who decides is the handler; or whoever answers the call, if it is held. Of an ACK case the claim was all, and its
   delivery begins.
6. A caller that has waited for as long as the case says gets the fallback. The call goes on.
7. Nobody passes a verification because something broke. It is done on the event loop: over the largest body that an
   edge takes, 8 MiB, an HMAC is a matter of milliseconds, and so is the look into its JSON for an id: that is only done
   where the signature is right, and makes nothing of all else that is in it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import math
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_process.tasks import cancel_all
from callback_server import errors, metrics
from callback_server.calls.deliveries import Deliveries
from callback_server.calls.held import HeldCalls
from callback_server.domain.call import CallFailure, Grant, Outcome, Request
from callback_server.domain.case import AnswerMode
from callback_server.domain.guard import RequestIntent, by_agent, confirmed, intent_of
from callback_server.domain.ids import case_id_of, case_id_of_call, is_state, new_call_id, state_hash
from callback_server.domain.response import Response, ResponseType, complete, problems
from callback_server.domain.url import request_url
from callback_server.handlers.dispatch import HandlerDispatcher, failed
from callback_server.limits.owner_rate import OwnerRateLimit
from callback_server.store.connection.client import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.queries.read import HeldCall
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import (
    UNVERIFIED,
    CaseClosed,
    ClaimRefusal,
    ClaimResult,
    Leases,
    RateLimited,
    RepeatedMessage,
    Verification,
    VerificationRequired,
    claim_call,
)
from callback_server.store.transitions.finish_call import FinishResult, finish_call
from callback_server.store.transitions.mark_call import CallMark, mark_call
from callback_server.transition_log import log_call_ended
from callback_server.verification.profile import Profile, VerificationError

log = get_logger()

UNSENT_S: Final = 2.0
"""How long a call waits for a store that can not be reached at all, in seconds."""

_REFUSALS: Final[Mapping[ClaimRefusal, Callable[[], errors.CallbackError]]] = {
    ClaimRefusal.UNKNOWN: errors.StateUnknownError,
    ClaimRefusal.BUSY: errors.CallInProgressError,
    ClaimRefusal.CONFIRM: errors.ConfirmationRequiredError,
    ClaimRefusal.AGENT: errors.AgentDetectedError,
}
_FAILURES: Final[Mapping[CallFailure, type[errors.CallFailedError]]] = {
    CallFailure.HANDLER_ERROR: errors.HandlerFailedError,
    CallFailure.HANDLER_LOST: errors.HandlerLostError,
    CallFailure.DEADLINE_EXCEEDED: errors.HandlerDeadlineExceededError,
    CallFailure.INVALID_RESPONSE: errors.ResponseInvalidError,
    CallFailure.HANDLER_UNREACHABLE: errors.HandlerNotStartedError,
    CallFailure.NO_HANDLER: errors.HandlerNotStartedError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered with, complete."""

    call_id: str
    """Empty for a handshake, which is no call."""
    response: Response


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A request on its way to become a call, and what is established of it by now."""

    call_id: str
    state: str
    parameter: str
    request: Request
    intent: RequestIntent
    verification: Verification = UNVERIFIED
    handshake: Response | None = None
    """What it is answered if it is no call, but a sender that asks whether this URL wants to be called."""

    @property
    def case_id(self) -> str:
        """The case that it reaches."""
        return case_id_of_call(self.call_id)


class Calls:
    """Runs calls, and waits for those that run when it is asked to stop."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        dispatcher: HandlerDispatcher,
        held: HeldCalls,
        inbox: Deliveries,
        leases: Leases,
        profiles: Mapping[str, Profile],
        retention: Retention,
        box_url: str,
        platform_url: str | None,
        max_in_flight: int,
        max_per_minute_per_case: int | None,
        max_per_minute_per_owner: int | None,
    ) -> None:
        self._scripts = scripts
        self._dispatcher = dispatcher
        self._held = held
        self._deliveries = inbox
        self._leases = leases
        self._profiles = profiles
        self._retention = retention
        self._box_url = box_url
        self._platform_url = platform_url
        self._max_in_flight = max_in_flight
        self._max_per_minute_per_case = max_per_minute_per_case
        self._owner_rate = None if max_per_minute_per_owner is None else OwnerRateLimit(max_per_minute_per_owner)
        self._running: set[asyncio.Task[Answer]] = set()
        metrics.CALLS_IN_FLIGHT.set_function(lambda: len(self._running))
        self._stopping = False

    def invoke(self, state: str, parameter: str, request: Request) -> asyncio.Future[Answer]:
        """Makes the call: `request` reached the case of `state`, in the form that `parameter` says.

        Raises:
            CallbackError: it is not made. That of the future: there is no answer of a handler. It says why, and whether
                the caller may come again.
        """
        if self._stopping:
            raise errors.ServerStoppingError
        if len(self._running) >= self._max_in_flight:
            raise errors.TooManyCallsError
        if not is_state(state):
            raise errors.StateUnknownError
        call_id = new_call_id(case_id_of(state_hash(state)))
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            self._run(PendingCall(call_id, state, parameter, request, intent_of(request)), answer)
        )
        self._running.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(lambda task: self._ended(task, answer))
        return answer

    async def caller_gone(self, call_id: str) -> None:
        """Records that the caller of a call had hung up before it could be answered.

        Raises:
            StoreError: it is not known whether it was recorded.
        """
        if await mark_call(self._scripts, call_id, CallMark.CALLER_GONE):
            log.info("caller_gone", call_id=call_id, case_id=case_id_of_call(call_id))

    async def drain(self) -> None:
        """Takes no new calls, and returns when those that run have ended."""
        self._stopping = True
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Cancel the calls that run. Each keeps its lease, so that a sweep ends it."""
        await cancel_all(self._running)

    def _ended(self, task: asyncio.Task[Answer], answer: asyncio.Future[Answer]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        # A refusal was logged where it was known; anything else is a fault of ours.
        if error is not None and not isinstance(error, errors.CallbackError):
            log.error("call_fault", exc_info=error)
        if answer.done():  # it was the fallback
            return
        if task.cancelled():
            answer.cancel()
        elif error is not None:
            answer.set_exception(error)
            answer.exception()  # whoever waited for it may be gone
        else:
            answer.set_result(task.result())

    async def _run(self, coming: PendingCall, answer: asyncio.Future[Answer]) -> Answer:
        claimed = await self._claim(coming)
        if isinstance(claimed, VerificationRequired):
            with metrics.VERIFY_SECONDS.time():
                coming = self._verified(coming, claimed)
            claimed = await self._claim(coming)
        if claimed is ClaimRefusal.CONFIRM and coming.intent is RequestIntent.FORM:
            coming = dataclasses.replace(coming, request=confirmed(coming.request), intent=RequestIntent.CONFIRMED)
            claimed = await self._claim(coming)
        elif claimed is ClaimRefusal.AGENT and not by_agent(coming.request):
            coming = dataclasses.replace(coming, intent=RequestIntent.PERSON)
            claimed = await self._claim(coming)
        if isinstance(claimed, Grant):
            if self._owner_rate is not None:
                self._owner_rate.charge(claimed.owner)
            return await self._call(claimed, coming.request, answer)
        if isinstance(claimed, RepeatedMessage):
            metrics.MESSAGES_REPEATED.labels(coming.verification.profile).inc()
            return _answered_again(claimed)
        if claimed is ClaimRefusal.HANDSHAKE and coming.handshake is not None:
            metrics.HANDSHAKES.labels(coming.verification.profile).inc()
            log.info("handshake_answered", case_id=coming.case_id, profile=coming.verification.profile)
            return Answer("", complete(coming.handshake, platform_url=None))
        raise _refusal(claimed, coming.call_id)

    def _verified(self, coming: PendingCall, asked: VerificationRequired) -> PendingCall:
        """What comes, with what it proves of itself.

        Raises:
            VerificationFailedError: it does not pass.
            VerificationUnavailableError: this server does not know the profile.
        """
        name = asked.profile
        profile = self._profiles.get(name)
        if profile is None:
            log.error("profile_missing", case_id=coming.case_id, profile=name)
            raise errors.VerificationUnavailableError
        base = asked.alternative_domain or self._box_url
        url = request_url(base, coming.state, coming.parameter, coming.request.query_string)
        try:
            return _shown(coming, name, profile, url)
        except VerificationError as error:
            log.warning("verification_failed", case_id=coming.case_id, profile=name, why=str(error))
        except Exception as error:  # without its text, which may have something of what was sent
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "verification_fault",
                case_id=coming.case_id,
                profile=name,
                error=type(error).__name__,
                at=f"{frame.filename}:{frame.lineno}",
            )
        metrics.VERIFICATIONS_FAILED.labels(name).inc()
        raise errors.VerificationFailedError(profile.challenge)

    async def _call(self, grant: Grant, request: Request, answer: asyncio.Future[Answer]) -> Answer:
        if grant.recorded:
            # The claim decided by the same rule: no /path without a platform.
            outcome = self._dispatcher.answered(grant.response)
            log_call_ended(grant.call_id, grant.activity, outcome, grant.effect)
            if grant.lease_left_ms:
                self._deliveries.begin(grant, request)
        else:
            log.info(
                "call_started",
                call_id=grant.call_id,
                case_id=case_id_of_call(grant.call_id),
                activity=grant.activity,
                attempt=grant.attempt,
            )
            outcome = await self._with_fallback(grant, answer, self._decide(grant, request))
        if outcome.response is None:
            raise _FAILURES[outcome.failure or CallFailure.INVALID_RESPONSE](grant.call_id)
        return Answer(grant.call_id, outcome.response)

    async def _with_fallback(
        self, grant: Grant, answer: asyncio.Future[Answer], work: Coroutine[Any, Any, Outcome]
    ) -> Outcome:
        """What `work` comes to. If that takes too long, the caller gets the fallback meanwhile."""
        if grant.fallback is None or self._dispatcher.problems(grant.fallback.response):
            return await work
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait([task], timeout=grant.fallback.after_ms / 1000)
        if not done:
            answer.set_result(Answer(grant.call_id, self._dispatcher.complete(grant.fallback.response)))
            await self._mark_fallback(grant)
        return await task

    async def _mark_fallback(self, grant: Grant) -> None:
        left_s = grant.lease_left_ms / 1000
        try:
            await resend(
                lambda: mark_call(self._scripts, grant.call_id, CallMark.FALLBACK_SENT),
                unsent_s=left_s,
                unsure_s=left_s,
            )
        except StoreError as error:
            log.error("fallback_not_recorded", call_id=grant.call_id, error=str(error))
        else:
            log.info("fallback_sent", call_id=grant.call_id, case_id=case_id_of_call(grant.call_id))

    async def _decide(self, grant: Grant, request: Request) -> Outcome:
        """Has whoever decides do so, and records it."""
        lease_end = time.monotonic() + grant.lease_left_ms / 1000
        if grant.answer is AnswerMode.HOLD:
            if held := await self._held.wait(grant.call_id, self._dispatcher.timeout_s(grant, held=True)):
                return _answered_by_somebody(grant.call_id, held)
            outcome = failed(CallFailure.DEADLINE_EXCEEDED, "nobody answered it in time")
        else:
            with metrics.HANDLER_SECONDS.time():
                outcome = await self._dispatcher.ask(grant, request)
        try:
            with metrics.FINISH_SECONDS.time():
                finished = await self._finish(grant.call_id, outcome, lease_end)
        except errors.OutcomeUnknownError:
            if grant.answer is AnswerMode.HOLD and (held := await self._held.ended(grant.call_id)):
                return _answered_by_somebody(grant.call_id, held)  # at the last moment
            raise
        log_call_ended(grant.call_id, grant.activity, outcome, finished.effect)
        return outcome

    async def _claim(self, coming: PendingCall) -> ClaimResult:
        began = time.perf_counter()
        try:
            return await resend(
                lambda: claim_call(
                    self._scripts,
                    call_id=coming.call_id,
                    state_sha256=state_hash(coming.state),
                    parameter=coming.parameter,
                    request=coming.request,
                    intent=coming.intent,
                    verification=coming.verification,
                    leases=self._leases,
                    retention=self._retention,
                    platform_url=self._platform_url,
                    calls_per_minute=self._max_per_minute_per_case,
                    limited_owners=() if self._owner_rate is None else self._owner_rate.over(),
                    replica=self._held.replica,
                    can_deliver=self._deliveries.takes,
                ),
                unsent_s=UNSENT_S,
                unsure_s=self._leases.longest_ms / 1000,
            )
        except StoreError as error:
            log.error("claim_unanswered", call_id=coming.call_id, error=str(error), maybe_done=error.maybe_done)
            if error.maybe_done:
                raise errors.OutcomeUnknownError(coming.call_id) from error
            raise errors.StoreUnavailableError from error
        finally:
            metrics.CLAIM_SECONDS.observe(time.perf_counter() - began)

    async def _finish(self, call_id: str, outcome: Outcome, lease_end: float) -> FinishResult:
        left_s = lease_end - time.monotonic()
        try:
            finished = await resend(
                lambda: finish_call(self._scripts, call_id=call_id, outcome=outcome, retention=self._retention),
                unsent_s=left_s,
                unsure_s=left_s,
            )
        except StoreError as error:
            log.error("finish_unanswered", call_id=call_id, status=outcome.status, error=str(error))
            raise errors.OutcomeUnknownError(call_id) from error
        if finished is None:
            log.error("finish_too_late", call_id=call_id, status=outcome.status)
            raise errors.OutcomeUnknownError(call_id)
        return finished


def _answered_by_somebody(call_id: str, held: HeldCall) -> Outcome:
    if held.answer is None:  # its lease was over; or its answer is no longer kept, for the store was away too long
        raise errors.OutcomeUnknownError(call_id)
    return Outcome(held.status, held.answer)


def _shown(coming: PendingCall, name: str, profile: Profile, url: str) -> PendingCall:
    """What comes, with what it proves to the profile of this name. Raises VerificationError, as the profile does."""
    handshake = profile.handshake(coming.request, url)
    if handshake is not None:
        return dataclasses.replace(
            coming, intent=RequestIntent.HANDSHAKE, verification=Verification(profile=name), handshake=handshake
        )
    if coming.intent is RequestIntent.OPTIONS:
        return dataclasses.replace(coming, verification=Verification(profile=name))
    verified = profile.verify(coming.request, url)
    request = replace(profile.redacted(coming.request), verification_profile=name, message_id=verified.message_id)
    if not verified.message_id or verified.window_ms <= 0:
        return dataclasses.replace(coming, request=request, verification=Verification(profile=name))
    message = hashlib.sha256(verified.message_id.encode()).hexdigest()
    return dataclasses.replace(coming, request=request, verification=Verification(name, message, verified.window_ms))


def _answered_again(repeated: RepeatedMessage) -> Answer:
    log.info("message_repeated", call_id=repeated.call_id, case_id=case_id_of_call(repeated.call_id))
    response, platform_url = repeated.response, repeated.platform_url or None
    if problems(response, platform_url=platform_url, needs_url=True):
        response = Response(type=ResponseType.RESPONSE)  # a case's own, which its handler completes
    return Answer(repeated.call_id, complete(response, platform_url=platform_url))


def _refusal(
    claimed: CaseClosed | VerificationRequired | RateLimited | ClaimRefusal, call_id: str
) -> errors.CallbackError:
    match claimed:
        case CaseClosed(reason):
            return errors.CaseClosedError(reason)
        case RateLimited(wait_ms):
            return errors.TooManyRequestsError(math.ceil(wait_ms / 1000))
        case VerificationRequired():  # by another profile: its URL was made anew meanwhile
            return errors.VerificationUnavailableError()
        case ClaimRefusal.STALE | ClaimRefusal.HANDSHAKE:
            log.error("claim_answered_too_late", call_id=call_id)
            return errors.OutcomeUnknownError(call_id)
        case ClaimRefusal():
            return _REFUSALS[claimed]()
    assert_never(claimed)
