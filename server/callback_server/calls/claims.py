"""Claims: how a request becomes a call, or is refused.

1. A claim is sent again, with the same call_id, until the store replies or the lease ends.
2. The first claim has passed no checks, because only the store knows what a case requires. A claim without a required
   check changes nothing; it is made again once the check has passed.
3. A request with a large body is looked up first, so that its body goes to the store once, and not at all if the
   request is refused.
4. An event passes the verification of its endpoint before its correlation key is looked for. The claim finds the case
   by that key, and so an event is claimed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_server import errors, metrics
from callback_server.calls.pending_call import PendingCall, pending_event
from callback_server.calls.preconditions import PreconditionChecker
from callback_server.calls.recorded_bytes import RecordedBytes
from callback_server.calls.waiting import wait_hash
from callback_server.domain.activity import Leases
from callback_server.domain.call import Grant, Request
from callback_server.domain.case import Settings
from callback_server.domain.endpoint import Endpoint, EventTarget, UnmatchedReason
from callback_server.domain.guard import RequestIntent
from callback_server.domain.ids import case_id_of_call, of_case, state_hash
from callback_server.handlers.http.request import is_query_too_long
from callback_server.limits.body_bytes import BodyBytes
from callback_server.limits.call_slots import CallSlots, refusal_by
from callback_server.limits.owner_rate import OwnerRateLimit
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.correlation import CorrelationNames
from callback_server.store.failure_log import log_store_error
from callback_server.store.queries.look_up_request import look_up_request
from callback_server.store.queries.read import read_settings, read_settings_of_wait
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import (
    CaseClosed,
    ClaimRefusal,
    ClaimResult,
    ConfirmationRequired,
    EarlierCallEnded,
    EarlierCallRuns,
    FeatureUnknown,
    LimitedOwner,
    LookUpRefusal,
    RateLimited,
    VerificationRequired,
    claim_call,
)

log = get_logger()

_LARGE_BODY_BYTES: Final = 64 * 1024
"""A request with a larger body is looked up before its claim."""
UNSENT_S: Final = 2.0
"""How long a call waits for a store that cannot be reached at all, in seconds."""

_REFUSALS: Final[Mapping[ClaimRefusal, Callable[[], errors.CallbackError]]] = {
    ClaimRefusal.UNKNOWN: errors.StateUnknownError,
    ClaimRefusal.BUSY: errors.CallInProgressError,
    ClaimRefusal.AGENT: errors.AgentDetectedError,
    ClaimRefusal.LONG_QUERY: errors.QueryTooLongError,
}


@dataclass(frozen=True, slots=True)
class EventUnmatched:
    """No case gets a verified event."""

    endpoint: Endpoint
    reason: UnmatchedReason


class Claims:
    """Claims cases for requests, as the limits and the checks of this process allow."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        preconditions: PreconditionChecker,
        leases: Leases,
        recording: Recording,
        platform_url: str | None,
        owner_rate: OwnerRateLimit,
        calls: CallSlots,
        held_calls: CallSlots,
        body_bytes: BodyBytes,
        recorded_bytes: RecordedBytes,
        max_per_minute_per_case: int | None,
        replica: str,
        can_deliver: Callable[[], bool],
        endpoints: Mapping[str, Endpoint],
        correlation_names: CorrelationNames,
        http_activities: Collection[str] = (),
    ) -> None:
        """Create the claims of a process.

        Args:
            scripts: The scripts on the store.
            preconditions: Checks the preconditions of a claim.
            leases: How long a call may hold its case.
            recording: What is recorded of calls.
            platform_url: The target of redirects to `/path`. None: such redirects are refused.
            owner_rate: The limit on the calls of an owner in a minute.
            calls: The slots of calls that run.
            held_calls: The slots of held calls.
            body_bytes: The limit on the bytes of bodies.
            recorded_bytes: The limit on the bytes of calls that are kept.
            max_per_minute_per_case: Maximum number of calls on a case in a minute. None: no limit.
            replica: The id of this process, which gets a message at the end of each call that it waits for.
            can_deliver: Returns whether this process can run one more delivery.
            endpoints: The endpoints by name.
            correlation_names: The names of correlation keys in the store.
            http_activities: The activities whose handler is a URL.
        """
        self._scripts = scripts
        self._preconditions = preconditions
        self._leases = leases
        self._recording = recording
        self._platform_url = platform_url
        self._owner_rate = owner_rate
        self._calls = calls
        self._held_calls = held_calls
        self._body_bytes = body_bytes
        self._recorded_bytes = recorded_bytes
        self._max_per_minute_per_case = max_per_minute_per_case
        self._replica = replica
        self._can_deliver = can_deliver
        self._endpoints = endpoints
        self._correlation_names = correlation_names
        self._http_activities = http_activities

    def pending_event(self, endpoint: str, path: str, request: Request) -> PendingCall:
        """Return an event at an endpoint, before its claim.

        Raises:
            StateUnknownError: There is no such endpoint.
        """
        if (found := self._endpoints.get(endpoint)) is None:
            raise errors.StateUnknownError
        return pending_event(EventTarget(found, path), request)

    async def look_up(self, pending: PendingCall) -> None:
        """Look a request up whose body was not read.

        Raises:
            CallbackError: The request is refused, whatever its body is.
        """
        result = await self._look_up_once(pending)
        if isinstance(result, VerificationRequired):
            verified = await self._preconditions.check_head(pending, result)
            result = None if verified is None else await self._look_up_once(verified)
        if result is not None and not isinstance(result, VerificationRequired):
            raise refusal_of(result, pending.call_id)

    async def _look_up_once(self, pending: PendingCall) -> LookUpRefusal | None:
        try:
            return await resend(
                lambda: look_up_request(
                    self._scripts,
                    state_sha256=pending.state_sha256,
                    parameter=pending.parameter,
                    profile=pending.verification.profile,
                    calls_per_minute=self._max_per_minute_per_case,
                    limited_owners=self._limited_owners(has_body=True),
                ),
                unsent_s=UNSENT_S,
                unsure_s=UNSENT_S,
            )
        except StoreError as error:
            log_store_error("request_not_looked_up", error, call_id=pending.call_id)
            raise errors.StoreUnavailableError(is_full=error.is_full) from error

    async def settings(self, state: str, parameter: str) -> Settings:
        """Return the settings of the case that `state` reaches, whatever its status.

        Raises:
            CallbackError: There is no such case, or the store did not reply.
        """
        return await _read(lambda: read_settings(self._scripts, state_hash(state), parameter))

    async def settings_of_wait(self, call_id: str, token: str) -> Settings:
        """Return the settings of the case of a call, for a caller at the address of the call.

        Raises:
            CallbackError: The call has no such address, its case is deleted, or the store did not reply.
        """
        return await _read(lambda: read_settings_of_wait(self._scripts, call_id, wait_hash(token)))

    def _limited_owners(self, *, has_body: bool) -> Sequence[LimitedOwner]:
        """Return the owners over a limit. One that has used its share of bytes still gets requests without a body."""
        of_rate = self._owner_rate.limited()
        of_bytes = self._body_bytes.limited() if has_body else ()
        limits = (of_rate, "max_calls_per_minute_per_owner"), (of_bytes, "max_body_bytes_in_flight_per_owner")
        slots = (self._calls, "OTHER"), (self._held_calls, "HELD")
        return [
            *((*owner, limit, "") for owners, limit in limits for owner in owners),
            *((*owner, "") for owner in self._recorded_bytes.limited()),
            *((*owner, kind) for each, kind in slots for owner in each.limited()),
        ]

    async def claim(self, pending: PendingCall) -> tuple[PendingCall, ClaimResult | EventUnmatched]:
        """Claim the case; while the store requires a check, run it and claim again.

        Returns:
            The request with the checks that it has passed, and the result of the last claim; or why no case gets an
            event.

        Raises:
            CallbackError: A check failed, or the store did not reply.
        """
        if pending.event is not None:
            return await self._claim_for_event(pending, pending.event)
        if len(pending.request.body) > _LARGE_BODY_BYTES:
            refusal = await self._look_up_once(pending)
            if isinstance(refusal, VerificationRequired):
                pending = await self._preconditions.check(pending, refusal) or pending
            elif refusal is not None:
                return pending, refusal
        while True:  # it ends, because each check runs once
            result = await self._claim(pending)
            checked = await self._preconditions.check(pending, result)
            if checked is None:
                return pending, result
            pending = checked

    async def _claim_for_event(
        self, pending: PendingCall, target: EventTarget
    ) -> tuple[PendingCall, ClaimResult | EventUnmatched]:
        endpoint, sent = target.endpoint, pending.request
        pending = await self._preconditions.check_event(pending, target)
        if pending.handshake is not None:
            return pending, ClaimRefusal.HANDSHAKE
        key = endpoint.correlation_key(sent, target.segments)
        if not key:
            return pending, EventUnmatched(endpoint, UnmatchedReason.NO_KEY)
        name = self._correlation_names.name(
            owner=endpoint.owner, endpoint=endpoint.name, profile="", correlation_key=key
        )
        request = replace(pending.request, endpoint=endpoint.name, correlation_key=key)
        pending = replace(
            pending, call_id=of_case(pending.call_id, name), request=request, intent=RequestIntent.CONFIRMED
        )
        result = await self._claim(pending)
        if result is ClaimRefusal.UNKNOWN:
            return pending, EventUnmatched(endpoint, UnmatchedReason.NO_CASE)
        if isinstance(result, CaseClosed):
            return pending, EventUnmatched(endpoint, UnmatchedReason.LATE)
        if isinstance(result, Grant | EarlierCallRuns | EarlierCallEnded):
            pending = replace(pending, call_id=of_case(pending.call_id, case_id_of_call(result.call_id)))
        return pending, result

    def _activities_refusing(self, pending: PendingCall) -> Collection[str]:
        """Return the activities whose handlers cannot get the query of a request."""
        if not self._http_activities or not is_query_too_long(pending.request, pending.case_id):
            return ()
        return self._http_activities

    async def _claim(self, pending: PendingCall) -> ClaimResult:
        began = time.perf_counter()
        try:
            return await resend(
                lambda: claim_call(
                    self._scripts,
                    call_id=pending.call_id,
                    state_sha256=pending.state_sha256,
                    parameter=pending.parameter,
                    request=pending.request,
                    sent=pending.sent,
                    intent=pending.intent,
                    verification=pending.verification,
                    leases=self._leases,
                    recording=self._recording,
                    platform_url=self._platform_url,
                    calls_per_minute=self._max_per_minute_per_case,
                    limited_owners=self._limited_owners(has_body=bool(pending.request.body)),
                    replica=self._replica,
                    can_deliver=self._can_deliver(),
                    refused_activities=self._activities_refusing(pending),
                    is_event=pending.event is not None,
                ),
                unsent_s=UNSENT_S,
                unsure_s=self._leases.longest_ms / 1000,
            )
        except StoreError as error:
            log_store_error("claim_not_confirmed", error, call_id=pending.call_id, maybe_done=error.maybe_done)
            if error.maybe_done:  # the case that an event may have reached is not known
                raise errors.OutcomeUnknownError("" if pending.event else pending.call_id) from error
            raise errors.StoreUnavailableError(is_full=error.is_full) from error
        finally:
            metrics.CLAIM_SECONDS.observe(time.perf_counter() - began)


async def _read(read: Callable[[], Awaitable[Settings | None]]) -> Settings:
    try:
        settings = await resend(read, unsent_s=UNSENT_S, unsure_s=UNSENT_S)
    except StoreError as error:
        log_store_error("settings_not_read", error)
        raise errors.StoreUnavailableError(is_full=error.is_full) from error
    if settings is None:
        raise errors.StateUnknownError
    return settings


def refusal_of(result: LookUpRefusal | ConfirmationRequired, call_id: str) -> errors.CallbackError:
    """Return the error that tells the caller why its request became no call."""
    match result:
        case CaseClosed(reason):
            return errors.CaseClosedError(reason)
        case FeatureUnknown(feature):
            log.error("feature_unknown", call_id=call_id, feature=feature)
            return errors.FeatureUnavailableError(feature)
        case ConfirmationRequired(prompt):
            return errors.ConfirmationRequiredError(prompt)
        case RateLimited(retry_after_ms, limit, owner):
            return refusal_by(limit, owner, math.ceil(retry_after_ms / 1000))
        case VerificationRequired():
            # The case has another profile now, because it was generated again after the verification.
            return errors.VerificationUnavailableError()
        case ClaimRefusal.STALE | ClaimRefusal.HANDSHAKE:
            log.error("claim_answered_too_late", call_id=call_id)
            return errors.OutcomeUnknownError(call_id)
        case ClaimRefusal():
            return _REFUSALS[result]()
    assert_never(result)
