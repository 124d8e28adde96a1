"""The path of a call: claim, handler, finish. From the claim on, nothing but the end of this process stops it.

A claim comes with nothing established. Where the case asks for more, a verification or a person's confirmation, the
store says so and changes nothing; what was asked for is looked at here, and the claim comes a second time with it.

1. The claim is durable before a handler starts; the end is durable before anyone is answered.
2. A call runs in a task of its own. A caller that hangs up, an edge that dies or a deadline there does not cancel it.
3. Claim and finish are sent again, with the same call_id, until the store answers or the lease is over.
4. A handler that was provably not asked is NOT_STARTED; one that may have been asked never is.
5. Nobody passes a verification because something broke. It is done on the event loop: over the largest body that an
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_server import errors, metrics
from callback_server.domain.activity import DEFAULT_DEADLINE_MS, LEASE_SLACK_MS, Activity
from callback_server.domain.call import CallFailure, CallStatus, Grant, Outcome, Request
from callback_server.domain.guard import Asking, asking_of, by_agent, confirmed
from callback_server.domain.ids import case_id_of, case_id_of_call, is_state, new_call_id, state_hash
from callback_server.domain.response import REJECTION, Response, ResponseType, complete, overlay, problems
from callback_server.domain.url import request_url
from callback_server.events import consequence_fields
from callback_server.handlers.handler import Decision, Handler, HandlerError
from callback_server.pace import Pace
from callback_server.store.claim_call import (
    NOTHING,
    Claimed,
    Closed,
    Leases,
    Limited,
    Proven,
    Refused,
    Repeated,
    Unverified,
    claim_call,
)
from callback_server.store.client import StoreError
from callback_server.store.finish_call import Finished, finish_call
from callback_server.store.resend import resend
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.verification.profile import ForgedError, Profile

log = get_logger()

LATE_S: Final = 2.0
"""How long after its deadline a handler is given up that should have ended by itself, in seconds: well in the lease."""
UNSENT_S: Final = 2.0
"""How long a call waits for a store that can not be reached at all, in seconds."""

_REFUSALS: Final[Mapping[Refused, Callable[[], errors.CallbackError]]] = {
    Refused.UNKNOWN: errors.StateUnknownError,
    Refused.BUSY: errors.CallInProgressError,
    Refused.CONFIRM: errors.ConfirmationRequiredError,
    Refused.AGENT: errors.AgentDetectedError,
}
_NOT_STARTED: Final = (CallFailure.HANDLER_UNREACHABLE, CallFailure.NO_HANDLER)
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
class _Coming:
    """A request on its way to become a call, and what is established of it by now."""

    call_id: str
    state: str
    parameter: str
    request: Request
    asking: Asking
    proven: Proven = NOTHING
    handshake: Response | None = None
    """What it is answered if it is no call, but a sender that asks whether this URL wants to be called."""

    @property
    def case_id(self) -> str:
        return case_id_of_call(self.call_id)


class Calls:
    """Runs calls, and waits for those that run when it is asked to stop."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        handlers: Mapping[str, Handler],
        activities: Mapping[str, Activity],
        profiles: Mapping[str, Profile],
        retention: Retention,
        box_url: str,
        platform_url: str | None,
        max_in_flight: int,
        max_per_minute_per_case: int | None,
        max_per_minute_per_owner: int | None,
    ) -> None:
        self._scripts = scripts
        self._handlers = handlers
        self._activities = activities
        self._leases = Leases(activities)
        self._profiles = profiles
        self._retention = retention
        self._box_url = box_url
        self._platform_url = platform_url
        self._max_in_flight = max_in_flight
        self._max_per_minute_per_case = max_per_minute_per_case
        self._pace = None if max_per_minute_per_owner is None else Pace(max_per_minute_per_owner)
        self._running: set[asyncio.Task[Answer]] = set()
        self._stopping = False

    async def invoke(self, state: str, parameter: str, request: Request) -> Answer:
        """Makes the call: `request` reached the case of `state`, in the form that `parameter` says.

        Raises:
            CallbackError: there is no answer of a handler; it says why, and whether the caller may come again.
        """
        if self._stopping:
            raise errors.ServerStoppingError
        if len(self._running) >= self._max_in_flight:
            raise errors.TooManyCallsError
        if not is_state(state):
            raise errors.StateUnknownError
        call_id = new_call_id(case_id_of(state_hash(state)))
        task = asyncio.create_task(self._run(_Coming(call_id, state, parameter, request, asking_of(request))))
        self._running.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._ended)
        metrics.CALLS_IN_FLIGHT.inc()
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Takes no new calls, and returns when those that run have ended."""
        self._stopping = True
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._running.discard(task)
        metrics.CALLS_IN_FLIGHT.dec()
        # Whoever waited for it may be gone. A refusal was logged where it was known; anything else is a fault of ours.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, errors.CallbackError):
            log.error("call_fault", exc_info=error)

    async def _run(self, coming: _Coming) -> Answer:
        claimed = await self._claim(coming)
        if isinstance(claimed, Unverified):
            with metrics.VERIFY_SECONDS.time():
                coming = self._verified(coming, claimed)
            claimed = await self._claim(coming)
        if claimed is Refused.CONFIRM and coming.asking is Asking.FORM:
            coming = dataclasses.replace(coming, request=confirmed(coming.request), asking=Asking.CONFIRMED)
            claimed = await self._claim(coming)
        elif claimed is Refused.AGENT and not by_agent(coming.request):
            coming = dataclasses.replace(coming, asking=Asking.PERSON)
            claimed = await self._claim(coming)
        if isinstance(claimed, Grant):
            if self._pace is not None:
                self._pace.charge(claimed.owner)
            return await self._call(claimed, coming.request)
        if isinstance(claimed, Repeated):
            metrics.MESSAGES_REPEATED.labels(coming.proven.profile).inc()
            return _answered_again(claimed)
        if claimed is Refused.HANDSHAKE and coming.handshake is not None:
            metrics.HANDSHAKES.labels(coming.proven.profile).inc()
            log.info("handshake_answered", case_id=coming.case_id, profile=coming.proven.profile)
            return Answer("", complete(coming.handshake, platform_url=None))
        raise _refusal(claimed, coming.call_id)

    def _verified(self, coming: _Coming, asked: Unverified) -> _Coming:
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
        except ForgedError as error:
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

    async def _call(self, grant: Grant, request: Request) -> Answer:
        call_id, case_id = grant.call_id, case_id_of_call(grant.call_id)
        lease_end = time.monotonic() + grant.lease_left_ms / 1000
        if grant.recorded:
            # The claim decided by the same rule: no /path without a platform.
            outcome = self._answered(grant.response, CallStatus.SUCCEEDED, keep_open=False)
            consequence = grant.consequence
        else:
            log.info("call_started", call_id=call_id, case_id=case_id, activity=grant.activity, attempt=grant.attempt)
            with metrics.HANDLER_SECONDS.time():
                outcome = await self._ask(grant, request)
            with metrics.FINISH_SECONDS.time():
                consequence = (await self._finish(call_id, outcome, lease_end)).consequence
        metrics.CALLS.labels(outcome.status, outcome.failure or "").inc()
        log.info(
            "call_ended",
            call_id=call_id,
            case_id=case_id,
            activity=grant.activity,
            status=outcome.status,
            **consequence_fields(consequence),
            **({"failure": outcome.failure, "detail": outcome.detail} if outcome.failure else {}),
        )
        if outcome.response is None:
            raise _FAILURES[outcome.failure or CallFailure.INVALID_RESPONSE](call_id)
        return Answer(call_id, outcome.response)

    async def _claim(self, coming: _Coming) -> Claimed:
        try:
            with metrics.CLAIM_SECONDS.time():
                return await resend(
                    lambda: claim_call(
                        self._scripts,
                        call_id=coming.call_id,
                        state_sha256=state_hash(coming.state),
                        parameter=coming.parameter,
                        request=coming.request,
                        asking=coming.asking,
                        proven=coming.proven,
                        leases=self._leases,
                        retention=self._retention,
                        platform_url=self._platform_url,
                        calls_per_minute=self._max_per_minute_per_case,
                        owners_over=() if self._pace is None else self._pace.over(),
                    ),
                    unsent_s=UNSENT_S,
                    unsure_s=self._leases.longest_ms / 1000,
                )
        except StoreError as error:
            log.error("claim_unanswered", call_id=coming.call_id, error=str(error), maybe_done=error.maybe_done)
            if error.maybe_done:
                raise errors.OutcomeUnknownError(coming.call_id) from error
            raise errors.StoreUnavailableError from error

    async def _finish(self, call_id: str, outcome: Outcome, lease_end: float) -> Finished:
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

    async def _ask(self, grant: Grant, request: Request) -> Outcome:
        """Has the handler decide, in the time that its deadline and the lease leave."""
        handler = self._handlers.get(grant.activity)
        if handler is None:
            return _failed(CallFailure.NO_HANDLER, f"no handler is configured for {grant.activity}")
        activity = self._activities.get(grant.activity)
        deadline_ms = activity.deadline_ms if activity else DEFAULT_DEADLINE_MS
        timeout_ms = min(deadline_ms, grant.lease_left_ms - LEASE_SLACK_MS)
        if timeout_ms <= 0:
            return _failed(CallFailure.HANDLER_UNREACHABLE, "the store answered too late for the handler to be asked")
        try:
            async with asyncio.timeout(timeout_ms / 1000 + LATE_S):
                decision = await handler.handle(grant, request, timeout_s=timeout_ms / 1000)
        except HandlerError as error:
            return _failed(error.failure, error.detail)
        except TimeoutError:
            return _failed(CallFailure.DEADLINE_EXCEEDED, "the handler did not end at its deadline")
        except Exception:
            log.exception("handler_fault", call_id=grant.call_id, activity=grant.activity)
            return _failed(CallFailure.HANDLER_ERROR, "a fault of the server; its log says more")
        return self._decided(grant, decision)

    def _decided(self, grant: Grant, decision: Decision) -> Outcome:
        if decision.accepted:
            response = overlay(grant.response, decision.override)
            return self._answered(response, CallStatus.SUCCEEDED, keep_open=decision.keep_open)
        return self._answered(overlay(REJECTION, decision.override), CallStatus.REJECTED, keep_open=False)

    def _answered(self, response: Response, status: CallStatus, *, keep_open: bool) -> Outcome:
        broken = problems(response, platform_url=self._platform_url, needs_url=True)
        if broken:
            return _failed(CallFailure.INVALID_RESPONSE, "; ".join(f"{each.field}: {each.message}" for each in broken))
        return Outcome(status, complete(response, platform_url=self._platform_url), keep_open=keep_open)


def _failed(failure: CallFailure, detail: str) -> Outcome:
    status = CallStatus.NOT_STARTED if failure in _NOT_STARTED else CallStatus.FAILED
    return Outcome(status, failure=failure, detail=detail[:500])


def _shown(coming: _Coming, name: str, profile: Profile, url: str) -> _Coming:
    """What comes, with what it proves to the profile of this name. Raises ForgedError, as the profile does."""
    handshake = profile.handshake(coming.request, url)
    if handshake is not None:
        return dataclasses.replace(coming, asking=Asking.HANDSHAKE, proven=Proven(profile=name), handshake=handshake)
    if coming.asking is Asking.OPTIONS:
        return dataclasses.replace(coming, proven=Proven(profile=name))
    verified = profile.verify(coming.request, url)
    request = replace(profile.redacted(coming.request), verification_profile=name, message_id=verified.message_id)
    if not verified.message_id or verified.window_ms <= 0:
        return dataclasses.replace(coming, request=request, proven=Proven(profile=name))
    message = hashlib.sha256(verified.message_id.encode()).hexdigest()
    return dataclasses.replace(coming, request=request, proven=Proven(name, message, verified.window_ms))


def _answered_again(repeated: Repeated) -> Answer:
    log.info("message_repeated", call_id=repeated.call_id, case_id=case_id_of_call(repeated.call_id))
    response, platform_url = repeated.response, repeated.platform_url or None
    if problems(response, platform_url=platform_url, needs_url=True):
        response = Response(type=ResponseType.RESPONSE)  # a case's own, which its handler completes
    return Answer(repeated.call_id, complete(response, platform_url=platform_url))


def _refusal(claimed: Closed | Unverified | Limited | Refused, call_id: str) -> errors.CallbackError:
    match claimed:
        case Closed(reason):
            return errors.CaseClosedError(reason)
        case Limited(wait_ms):
            return errors.TooManyRequestsError(math.ceil(wait_ms / 1000))
        case Unverified():  # by another profile: its URL was made anew meanwhile
            return errors.VerificationUnavailableError()
        case Refused.STALE | Refused.HANDSHAKE:
            log.error("claim_answered_too_late", call_id=call_id)
            return errors.OutcomeUnknownError(call_id)
        case Refused():
            return _REFUSALS[claimed]()
    assert_never(claimed)
