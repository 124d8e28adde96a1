"""Generates URLs: one batch of requests of an owner at a time, of which GenerateCallbackUrl has one.

A batch costs the store one script for each partition that it has cases in. It lets the calls of this process go on each
`TURN_S`, however long its requests take to check. Each request has a result of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from callback.v1 import callbacks_service_pb2 as pb2
from callback_process.logs import get_logger
from callback_server import errors
from callback_server.access.roles import Principal
from callback_server.calls.call_statistics import minute_now
from callback_server.contract.conversion import to_message
from callback_server.domain import ids
from callback_server.domain.case import AnswerMode, NewCase
from callback_server.domain.features import needs_of
from callback_server.domain.own_profile import is_own
from callback_server.domain.url import callback_url
from callback_server.handlers.served import ActivityKind, ServedActivities
from callback_server.limits.open_cases import OpenCaseQuota
from callback_server.profiles.own_profiles import OwnProfiles
from callback_server.rpc.new_case import Policy, known_state, new_case
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.features import unavailable_features
from callback_server.store.queries.read import known_pointers
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.create_cases import (
    CaseStored,
    CorrelationKeyInUse,
    CreateResult,
    KnownRequest,
    RequestConflict,
    create_cases,
)

log = get_logger()

TURN_S: Final = 0.005
"""How long requests are made cases, or cases replies, before others have a turn."""

Failure = Exception
"""Why a request has no URL: a `CallbackError`, a `StoreError`, or a fault of this server."""


@dataclass(eq=False)
class UrlGenerator:
    """Stores the cases of requests, and returns their URLs."""

    scripts: Scripts
    policy: Policy
    served: ServedActivities
    open_case_quota: OpenCaseQuota | None
    profiles: OwnProfiles
    recording: Recording

    async def generate(
        self, requests: Sequence[pb2.GenerateCallbackUrlRequest], caller: Principal
    ) -> list[pb2.GenerateCallbackUrlResponse | Failure]:
        """Return the response to each request, or why there is none.

        Raises:
            StoreError: The open cases could not be counted, the servers not be seen, or a profile not be read. No case
                was stored.
        """
        results: dict[int, pb2.GenerateCallbackUrlResponse | Failure] = {}
        new: dict[int, tuple[NewCase, str]] = {}
        turns = _Turns()
        own_profiles = await self._own_profiles(requests, caller)
        for place, request in enumerate(requests):
            await turns.take()
            try:
                new[place] = self._new_case(request, caller, own_profiles)
            except errors.CallbackError as error:
                results[place] = error
        if needed := {name for case, _ in new.values() for name in needs_of(case)}:
            unavailable = await unavailable_features(self.scripts, needed, minute=minute_now())
            for place, (case, _) in [*new.items()]:
                if missing := unavailable.intersection(needs_of(case)):
                    results[place] = errors.FeatureUnavailableError(min(missing))
                    del new[place]
        created = await self._create([case for case, _ in new.values()]) if new else []
        warnings: dict[tuple[str, AnswerMode, bool], list[pb2.Warning]] = {}
        for (place, (case, state)), made in zip(new.items(), created, strict=True):
            await turns.take()
            if isinstance(made, RequestConflict):
                results[place] = errors.RequestIdReusedError()
            elif isinstance(made, CorrelationKeyInUse):
                results[place] = errors.CorrelationKeyInUseError(made.case_id)
            elif isinstance(made, CaseStored | KnownRequest):
                kind = (case.activity, case.answer_mode, bool(case.notify))
                if kind not in warnings:
                    warnings[kind] = await self._warnings(case)
                results[place] = self._response(requests[place], case, state, made, warnings[kind])
            else:
                results[place] = made
        return [results[place] for place in range(len(requests))]

    async def _own_profiles(
        self, requests: Sequence[pb2.GenerateCallbackUrlRequest], caller: Principal
    ) -> Collection[str]:
        """Return the names of those profiles of the owner that requests name."""
        named = {each.verification_profile for each in requests if is_own(each.verification_profile)}
        return {name for name in named if await self.profiles.exists(caller.name, name)}

    def _new_case(
        self, request: pb2.GenerateCallbackUrlRequest, caller: Principal, own_profiles: Collection[str]
    ) -> tuple[NewCase, str]:
        """Return the case that a request describes, and its state. Raises CallbackError."""
        case, state = new_case(request, self.policy, owner=caller.name, own_profiles=own_profiles)
        if not caller.may_generate(case.activity):
            raise errors.ActivityNotAllowedError(caller.name, case.activity, purpose="generate callbacks of")
        return case, state

    def _response(
        self,
        request: pb2.GenerateCallbackUrlRequest,
        case: NewCase,
        state: str,
        made: CaseStored | KnownRequest,
        warnings: list[pb2.Warning],
    ) -> pb2.GenerateCallbackUrlResponse:
        case_id = case.id
        if isinstance(made, KnownRequest):
            state = known_state(request, self.policy, case, nonce=made.nonce)
            case_id = ids.case_id_of(ids.state_hash(state))
        else:
            log.info("case_created", case_id=case_id, owner=case.owner, activity=case.activity)
        base = case.settings.alternative_domain or self.policy.settings.box_url
        return to_message(
            pb2.GenerateCallbackUrlResponse,
            made,
            url=callback_url(base, state, request.state_query_parameter) if case.has_url else "",
            state=state if case.has_url else "",
            case_id=case_id,
            warnings=warnings,
        )

    async def _warnings(self, case: NewCase) -> list[pb2.Warning]:
        """Return what keeps a new case from doing what it is for."""
        warnings = []
        if case.answer_mode is not AnswerMode.HOLD and not await self.served.takes_calls(case.activity):
            until = "its calls wait" if case.answer_mode is AnswerMode.ACK else "callers get a 503"
            text = (
                f"no worker serves the activity {case.activity} now: {until} until you start one or configure a target"
            )
            warnings.append(pb2.Warning(reason=pb2.WARNING_REASON_ACTIVITY_NOT_SERVED, text=text))
        if case.notify and not await self.served.takes_notifications(case.activity):
            if self.served.kind(case.activity) is ActivityKind.PUSH:
                text = (
                    f"the HTTP handler of the activity {case.activity} takes no notifications: "
                    "they wait until its setting http.notifications is true"
                )
            else:
                text = (
                    f"no worker takes the notifications of the activity {case.activity} now: "
                    "they wait until you start one or configure a target"
                )
            warnings.append(pb2.Warning(reason=pb2.WARNING_REASON_NOTIFICATIONS_NOT_SERVED, text=text))
        return warnings

    async def _create(self, cases: Sequence[NewCase]) -> list[CreateResult | Failure]:
        """Store those cases that the quota of their owner allows."""
        quota = self.open_case_quota
        if quota is None:
            return await self._store(cases)
        owner = cases[0].owner
        # Requests with one request id make one case at most.
        wanted = dict.fromkeys(_maker(case) for case in cases)
        allowed = {*wanted}
        reserved = await quota.reserve(owner, len(wanted), or_none=True)
        if not reserved:
            # A retried request makes no new case. So it needs no quota, and takes none from others while it runs.
            known = await known_pointers(self.scripts, cases)
            unknown = [each for each in wanted if each not in known]
            reserved = await quota.reserve(owner, len(unknown))
            allowed = {*known, *unknown[:reserved]}
        created = reserved  # unless the store says that they were not
        try:
            stored = [case for case in cases if _maker(case) in allowed]
            results = iter(await self._store(stored) if stored else ())
            refused = errors.TooManyOpenCasesError(quota.limit, owner)
            found = [next(results) if _maker(case) in allowed else refused for case in cases]
            created = len(
                {
                    _maker(case)
                    for case, result in zip(cases, found, strict=True)
                    if isinstance(result, CaseStored) or (isinstance(result, Exception) and _maybe_done(result))
                }
            )
            return found
        finally:
            quota.settle(owner, reserved=reserved, created=created)

    async def _store(self, cases: Sequence[NewCase]) -> list[CreateResult | Failure]:
        """Store cases by one script for each partition, and return what became of each."""
        by_partition = defaultdict[int, list[int]](list)
        for place, case in enumerate(cases):
            by_partition[keys.partition_of(case.id)].append(place)
        results: dict[int, CreateResult | Failure] = {}

        async def store(places: Sequence[int]) -> None:
            made = await self._store_in_partition([cases[place] for place in places])
            results.update(zip(places, made, strict=True))

        first, *others = by_partition.values()
        if others:
            await asyncio.gather(*map(store, by_partition.values()))
        else:  # without a task
            await store(first)
        return [results[place] for place in range(len(cases))]

    async def _store_in_partition(self, cases: Sequence[NewCase]) -> Sequence[CreateResult | Failure]:
        """Store cases of one partition by one script, or by one for each if a fault of one case ends that script."""
        try:
            return await resend(lambda: create_cases(self.scripts, cases, recording=self.recording))
        except StoreError as error:
            return [error] * len(cases)
        except Exception as error:  # such as a key of the wrong type
            if len(cases) == 1:
                return [error]
        results: list[CreateResult | Failure] = []
        for case in cases:
            results += await self._store_in_partition([case])
            if isinstance(results[-1], StoreError):  # none behind it has to wait for the store as long again
                return results + results[-1:] * (len(cases) - len(results))
        return results


def _maybe_done(error: Exception) -> bool:
    """Return whether a case may be stored although there is an error."""
    return error.maybe_done if isinstance(error, StoreError) else not isinstance(error, errors.CallbackError)


def _maker(case: NewCase) -> str:
    """Return what only requests that make the same case have in common."""
    return case.pointer or case.id


class _Turns:
    """The turns of a batch on the event loop."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def take(self) -> None:
        """Let others have a turn, if it is time for that."""
        if time.monotonic() - self._began > TURN_S:
            await asyncio.sleep(0)
            self._began = time.monotonic()
