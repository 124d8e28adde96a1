"""`CallbackService`: what internal services do with their cases."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callback_pb2 as pb
from callback.v1 import callback_service_pb2 as pb2
from callback.v1 import callback_service_pb2_grpc as pb2_grpc
from callback_process.logs import get_logger
from callback_server import errors
from callback_server.domain import ids
from callback_server.domain.activity import Activity, deadline_ms
from callback_server.domain.call import Call, DeliveryStatus
from callback_server.domain.case import FORM, RECORD, AnswerMode, Case, CloseReason, Mode, NewCase, Settings, WayOut
from callback_server.domain.event import Filter
from callback_server.domain.guard import CONFIRM_PARAMETER
from callback_server.domain.principal import Principal, Role
from callback_server.domain.response import FIELDS, Response, masked_overlay, problems
from callback_server.domain.url import callback_url
from callback_server.errors import InvalidRequestError, Violation
from callback_server.feed import Feed
from callback_server.handlers.handler import Decision
from callback_server.held import HeldCalls
from callback_server.quota import Quota
from callback_server.rpc.access import Access
from callback_server.rpc.method import Caller, require_valid, rpc, rpc_stream
from callback_server.store.claim_call import Closed
from callback_server.store.client import StoreError
from callback_server.store.close_case import Close, close_case
from callback_server.store.count_open_cases import count_open_cases
from callback_server.store.create_case import Created, create_case
from callback_server.store.erase_calls import Erased, erase_calls
from callback_server.store.list_cases import Place, list_cases
from callback_server.store.list_marked import CallPlace, Mark, list_marked
from callback_server.store.paused import is_paused, pause_activity, paused_activities, resume_activity
from callback_server.store.read import list_calls, read_call, read_calls, read_case, read_cases
from callback_server.store.read_events import Token
from callback_server.store.replay_call import Replayed, replay_call
from callback_server.store.resend import resend, resend_knowing
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.set_response import ResponseSet, set_response
from callback_server.wire import converters
from callback_server.wire.validation import violations

log = get_logger()
T = TypeVar("T")

DEFAULT_PAGE_SIZE: Final = 50
RESEND_S: Final = 3.0
"""How long a method waits for a store that does not answer, in seconds; its caller can send it again."""


_MARKS: Final[Mapping[int, Mark]] = {pb2.CALL_FILTER_WAITING: Mark.WAITING, pb2.CALL_FILTER_DEAD: Mark.DEAD}
_NOT_REPLAYABLE: Final[Mapping[Replayed, str]] = {
    Replayed.RUNNING: "it is running",
    Replayed.LOST: "its request is not kept whole",
    Replayed.UNHANDLED: "its activity, record or form, has no handler",
}
_ERASED: Final = "what was recorded of it was erased"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator says about the cases that are made."""

    box_url: str
    platform_url: str | None
    alternative_domains: Collection[str] | None
    """None: any."""
    activities: Mapping[str, Activity]
    """Those that are declared."""
    profiles: Collection[str]
    """The verification profiles that are declared."""
    state_key: bytes | None = field(repr=False)
    default_time_to_live_s: int | None
    max_time_to_live_s: int | None
    max_open_cases_per_owner: int | None
    """None: any number."""

    def deadline_ms(self, activity: str, mode: AnswerMode) -> int:
        """How long who decides on a call of an activity may take."""
        return deadline_ms(self.activities, activity, held=mode is AnswerMode.HOLD)


class CallbackServicer(pb2_grpc.CallbackServiceServicer):
    """Makes, changes and shows cases."""

    def __init__(
        self, scripts: Scripts, policy: Policy, retention: Retention, access: Access, held: HeldCalls, feed: Feed
    ) -> None:
        self.access = access
        self._scripts = scripts
        self._policy = policy
        self._retention = retention
        self._held = held
        self._feed = feed
        limit = policy.max_open_cases_per_owner
        self._quota = None if limit is None else Quota(limit, self._count_open_cases)
        self._listing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By principal: one that asks for many pages at once waits for itself, and keeps nobody else from the store."""

    @rpc(Role.OWNER)
    async def GenerateCallbackUrl(  # noqa: N802  # gRPC's name
        self, request: pb2.GenerateCallbackUrlRequest, caller: Principal
    ) -> pb2.GenerateCallbackUrlResponse:
        """Stores a case and returns its URL."""
        response = converters.response_from(request.response)
        # One violation a field: what breaks a rule of its own need not be told what else it can not be.
        broken = {each.field: each for each in [*self._generate_problems(request, response), *violations(request)]}
        if broken:
            raise InvalidRequestError(list(broken.values()))
        if not request.request_id:
            state = ids.new_state()
        elif self._policy.state_key is not None:
            state = ids.derived_state(self._policy.state_key, owner=caller.name, request_id=request.request_id)
        else:
            raise errors.RequestIdUnsupportedError
        case = self._new_case(request, response, state, owner=caller.name)
        created = await self._create(case)
        if created is Created.CONFLICT:
            raise errors.RequestIdReusedError
        if created is Created.OK:
            log.info("case_created", case_id=case.id, owner=case.owner, activity=case.activity)
        return pb2.GenerateCallbackUrlResponse(
            callback_url=callback_url(
                request.alternative_domain or self._policy.box_url, state, request.state_query_parameter
            ),
            callback_state=state,
            callback_case_id=case.id,
        )

    async def _create(self, case: NewCase) -> Created:
        """Stores a case, if its owner may have another one."""
        if self._quota is None:
            return await self._store(case)
        try:
            await self._quota.take(case.owner)
        except errors.TooManyOpenCasesError:
            if await read_cases(self._scripts, [case.id], bodies=False) == [None]:
                raise
            return await self._store(case)  # the same request again, which makes nothing new
        made = True  # unless it is known that it was not
        try:
            created = await self._store(case)
            made = created is Created.OK
        except StoreError as error:
            made = error.maybe_done
            raise
        finally:
            self._quota.settle(case.owner, made=made)
        return created

    async def _store(self, case: NewCase) -> Created:
        created, unsure = await _resent_knowing(lambda: create_case(self._scripts, case))
        return Created.OK if created is Created.KNOWN and unsure else created

    async def _count_open_cases(self, owner: str) -> int:
        return await _resent(lambda: count_open_cases(self._scripts, owner))

    def _generate_problems(self, request: pb2.GenerateCallbackUrlRequest, response: Response) -> list[Violation]:
        """What the operator's policy and the rules between fields forbid."""
        policy, found = self._policy, []
        if (
            request.alternative_domain
            and policy.alternative_domains is not None
            and request.alternative_domain not in policy.alternative_domains
        ):
            found.append(Violation("alternative_domain", "not_allowed", "is not among the allowed domains"))
        profile = request.verification_profile
        if profile and request.get_guard == pb.GET_GUARD_CONFIRM:
            found.append(Violation("get_guard", "exclusive", "CONFIRM needs a person, and no person can sign"))
            found.append(Violation("verification_profile", "exclusive", "excludes the get_guard CONFIRM"))
        if request.get_guard == pb.GET_GUARD_CONFIRM and request.state_query_parameter == CONFIRM_PARAMETER:
            found.append(Violation("state_query_parameter", "reserved", "is what the page of CONFIRM sends"))
        if profile and profile not in policy.profiles:
            declared = ", ".join(sorted(policy.profiles)) or "none"
            found.append(
                Violation("verification_profile", "profile_unknown", f"is not declared; declared: {declared}"[:300])
            )
        longest = policy.max_time_to_live_s
        if longest is not None and request.time_to_live.ToMilliseconds() > longest * 1000:
            found.append(Violation("time_to_live", "too_long", f"must be at most {longest} s"))
        mode = _answer_mode(request)
        if request.HasField("response"):
            found += _response_problems(response, policy.platform_url, request.callback_activity, mode)
        return [*found, *self._answer_problems(request, mode)]

    def _answer_problems(self, request: pb2.GenerateCallbackUrlRequest, mode: AnswerMode) -> list[Violation]:
        """What does not go together of who answers, and when."""
        found, activity = [], request.callback_activity
        if activity == FORM and mode is not AnswerMode.HOLD:
            found.append(Violation("answer_mode", "activity", "calls of the activity form are held: must be HOLD"))
        if activity == RECORD and mode is not AnswerMode.HANDLER:
            found.append(Violation("answer_mode", "activity", "the activity record answers by itself"))
        if request.ordered and mode is not AnswerMode.ACK:
            found.append(Violation("ordered", "answer_mode", "belongs to the answer_mode ACK"))
        if request.HasField("answer_deadline") != request.HasField("fallback"):
            missing, told = (
                ("answer_deadline", "is missing: it says when the caller gets the fallback")
                if request.HasField("fallback")
                else ("fallback", "is missing: it is what the caller gets at the answer_deadline")
            )
            found.append(Violation(missing, "required", told))
        longest_ms = self._policy.deadline_ms(activity, mode)
        if request.answer_deadline.ToMilliseconds() > longest_ms:
            told = f"must be at most {longest_ms / 1000:g} s, the deadline of the activity"
            if activity not in (RECORD, FORM):
                told += f", which the server's operator sets: deadline_s in [activities.{activity}]"
            found.append(Violation("answer_deadline", "too_long", told))
        if request.HasField("fallback"):
            fallback = converters.response_from(request.fallback)
            found += [
                Violation(f"fallback.{each.field}", each.rule, each.message)
                for each in problems(fallback, platform_url=self._policy.platform_url, needs_url=True)
            ]
        return found

    def _new_case(
        self, request: pb2.GenerateCallbackUrlRequest, response: Response, state: str, *, owner: str
    ) -> NewCase:
        state_sha256 = ids.state_hash(state)
        content = pb2.GenerateCallbackUrlRequest()
        content.CopyFrom(request)
        content.ClearField("request_id")
        if content.get_guard == pb.GET_GUARD_OFF:
            content.ClearField("get_guard")  # it is the default: the same content as where nothing was said
        if _answer_mode(content) is _default_mode(content.callback_activity):
            content.ClearField("answer_mode")
        return NewCase(
            id=ids.case_id_of(state_sha256),
            state_sha256=state_sha256,
            fingerprint=hashlib.sha256(content.SerializeToString(deterministic=True)).digest(),
            owner=owner,
            activity=request.callback_activity,
            mode=_mode(request),
            parameter=request.state_query_parameter,
            time_to_live_ms=self._time_to_live_ms(request),
            settings=Settings(
                activity_case=request.callback_activity_case,
                alternative_domain=request.alternative_domain,
                labels=dict(request.labels),
                retryable=request.retryable_after_error,
            ),
            response=response,
            profile=request.verification_profile,
            guard=converters.guard_from(request.get_guard),
            answer=_answer_mode(request),
            ordered=request.ordered,
            way_out=WayOut(request.answer_deadline.ToMilliseconds(), converters.response_from(request.fallback))
            if request.HasField("fallback")
            else None,
        )

    def _time_to_live_ms(self, request: pb2.GenerateCallbackUrlRequest) -> int | None:
        if request.HasField("time_to_live"):
            return request.time_to_live.ToMilliseconds()
        bounds = [self._policy.default_time_to_live_s, self._policy.max_time_to_live_s]
        given = [bound for bound in bounds if bound is not None]
        return min(given) * 1000 if given else None

    @rpc(Role.OWNER)
    async def SetResponse(  # noqa: N802  # gRPC's name
        self, request: pb2.SetResponseRequest, caller: Principal
    ) -> pb2.SetResponseResponse:
        """Replaces attributes of a case's response, or answers a held call."""
        require_valid(request)
        if request.call_id:
            return await self._answer(request, caller)
        new = converters.response_from(request.response)
        names = list(request.update_mask.paths) or [name for name in FIELDS if _given(new, name)]
        again = False
        while True:
            case = await self._case(request.callback_case_id, caller)
            merged = masked_overlay(case.response, new, names)
            if again and merged == case.response:
                break  # it was us: the store's first answer was lost
            broken = _response_problems(merged, self._policy.platform_url, case.activity, case.answer)
            if broken:
                raise InvalidRequestError(broken)
            reply = await self._set(case, merged, caller)
            if isinstance(reply, Closed):
                raise errors.CaseClosedError(reply.reason)
            if reply is ResponseSet.OK:
                break
            again = True  # somebody else was faster: decide again, on what the case is now
        log.info("response_set", case_id=case.id, attributes=names, principal=caller.name)
        return pb2.SetResponseResponse(callback=converters.case_to(await self._case(case.id, caller)))

    async def _answer(self, request: pb2.SetResponseRequest, caller: Principal) -> pb2.SetResponseResponse:
        call_id = request.call_id
        case_id = ids.case_id_of_call(call_id)
        case, _ = await self._call(call_id, caller)
        decision = Decision(
            accepted=request.verdict != handler_pb2.VERDICT_REJECTED,
            override=converters.response_from(request.response),
            keep_open=request.keep_open,
        )
        await self._held.answer(call_id, decision, activity=case.activity)
        log.info("call_answered", call_id=call_id, case_id=case_id, principal=caller.name)
        call = await self._shown_call(call_id, caller)
        return pb2.SetResponseResponse(callback=converters.case_to(await self._case(case_id, caller)), call=call)

    async def _set(self, case: Case, response: Response, caller: Principal) -> ResponseSet | Closed:
        return await _resent(
            lambda: set_response(self._scripts, case, response, owner=caller.reach, retention=self._retention)
        )

    @rpc(Role.OWNER)
    async def CloseCallback(  # noqa: N802  # gRPC's name
        self, request: pb2.CloseCallbackRequest, caller: Principal
    ) -> pb2.CloseCallbackResponse:
        """Closes a case."""
        require_valid(request)
        case_id = request.callback_case_id
        closed, unsure = await _resent_knowing(
            lambda: close_case(self._scripts, case_id, owner=caller.reach, retention=self._retention)
        )
        if closed is Close.UNKNOWN:
            raise errors.CaseNotFoundError
        if closed is Close.OK or unsure:
            log.info("case_closed", case_id=case_id, close_reason=CloseReason.CLOSED_BY_OWNER, principal=caller.name)
        case = await self._case(case_id, caller)
        return pb2.CloseCallbackResponse(callback=converters.case_to(case))

    @rpc(Role.OWNER)
    async def GetCallback(  # noqa: N802  # gRPC's name
        self, request: pb2.GetCallbackRequest, caller: Principal
    ) -> pb2.GetCallbackResponse:
        """Shows a case."""
        require_valid(request)
        return pb2.GetCallbackResponse(callback=converters.case_to(await self._case(request.callback_case_id, caller)))

    @rpc(Role.OWNER)
    async def ListCallbacks(  # noqa: N802  # gRPC's name
        self, request: pb2.ListCallbacksRequest, caller: Principal
    ) -> pb2.ListCallbacksResponse:
        """Shows a page of cases."""
        require_valid(request)
        owner = _owner(request.owner, caller)
        status = converters.status_from(request.status)
        after = _token(Place.from_token, request.page_token)
        async with self._listing[caller.name]:
            case_ids, more = await list_cases(
                self._scripts,
                owner=owner,
                activity=request.callback_activity or None,
                status=status,
                labels=request.labels,
                after=after,
                limit=request.page_size or DEFAULT_PAGE_SIZE,
            )
            cases = await read_cases(self._scripts, case_ids, bodies=False)
        return pb2.ListCallbacksResponse(
            # One that was dropped or moved on since the index was read is not what was asked for.
            callbacks=[converters.case_to(case) for case in cases if case and status in (None, case.status)],
            next_page_token=more.token() if more else "",
        )

    @rpc(Role.OWNER)
    async def GetCall(  # noqa: N802  # gRPC's name
        self, request: pb2.GetCallRequest, caller: Principal
    ) -> pb2.GetCallResponse:
        """Shows a call."""
        require_valid(request)
        return pb2.GetCallResponse(call=await self._shown_call(request.call_id, caller))

    @rpc(Role.OWNER)
    async def ListCalls(  # noqa: N802  # gRPC's name
        self, request: pb2.ListCallsRequest, caller: Principal
    ) -> pb2.ListCallsResponse:
        """Shows a page of a case's calls."""
        require_valid(request)
        if request.filter:
            return await self._list_marked(request, caller)
        case = await self._case(request.callback_case_id, caller)
        calls, more = await list_calls(
            self._scripts,
            case.id,
            before=_token(_attempt, request.page_token),
            limit=request.page_size or DEFAULT_PAGE_SIZE,
        )
        return pb2.ListCallsResponse(
            calls=await self._shown(case, calls),
            next_page_token=str(more) if more else "",
        )

    async def _list_marked(self, request: pb2.ListCallsRequest, caller: Principal) -> pb2.ListCallsResponse:
        owner = _owner(request.owner, caller)
        after = _token(CallPlace.from_token, request.page_token)
        async with self._listing[caller.name]:
            call_ids, more = await list_marked(
                self._scripts,
                _MARKS[request.filter],
                owner=owner,
                after=after,
                limit=request.page_size or DEFAULT_PAGE_SIZE,
            )
            calls = await read_calls(self._scripts, call_ids)
        return pb2.ListCallsResponse(
            calls=[converters.call_to(call) for call in calls],
            next_page_token=more.token() if more else "",
        )

    @rpc(Role.OWNER)
    async def EraseCalls(  # noqa: N802  # gRPC's name
        self, request: pb2.EraseCallsRequest, caller: Principal
    ) -> pb2.EraseCallsResponse:
        """Erases what was recorded of a case's calls."""
        require_valid(request)
        case_id = request.callback_case_id
        erasure = secrets.token_hex(8)
        calls, before = 0, None
        while True:
            erased = await self._erase(case_id, erasure, before, caller)
            calls, before = calls + erased.calls, erased.before
            if before is None:
                break
        if calls:
            log.info("calls_erased", case_id=case_id, calls=calls, principal=caller.name)
        return pb2.EraseCallsResponse(erased_call_count=calls)

    async def _erase(self, case_id: str, erasure: str, before: int | None, caller: Principal) -> Erased:
        erased = await _resent(
            lambda: erase_calls(self._scripts, case_id, owner=caller.reach, erasure=erasure, before=before)
        )
        if erased is None:
            raise errors.CaseNotFoundError
        return erased

    @rpc(Role.OWNER)
    async def ReplayCall(  # noqa: N802  # gRPC's name
        self, request: pb2.ReplayCallRequest, caller: Principal
    ) -> pb2.ReplayCallResponse:
        """Has the handler of a call decide again."""
        require_valid(request)
        call_id = request.call_id
        _, call = await self._call(call_id, caller)
        if _is_cut(call):
            raise errors.CallNotReplayableError(_NOT_REPLAYABLE[Replayed.LOST])
        replayed, unsure = await _resent_knowing(lambda: replay_call(self._scripts, call_id, owner=caller.reach))
        if replayed is Replayed.UNKNOWN:
            raise errors.CallNotFoundError
        if replayed is not Replayed.OK and not (unsure and replayed is Replayed.RUNNING):
            erased = replayed is Replayed.LOST and call.erased
            raise errors.CallNotReplayableError(_ERASED if erased else _NOT_REPLAYABLE[replayed])
        log.info("call_replayed", call_id=call_id, case_id=ids.case_id_of_call(call_id), principal=caller.name)
        return pb2.ReplayCallResponse(call=await self._shown_call(call_id, caller))

    @rpc(Role.ADMIN)
    async def PauseActivity(  # noqa: N802  # gRPC's name
        self, request: pb2.PauseActivityRequest, caller: Principal
    ) -> pb2.PauseActivityResponse:
        """Keeps the deliveries of an activity from being tried."""
        require_valid(request)
        activity = request.callback_activity
        await _resent(lambda: pause_activity(self._scripts.client, activity))
        log.info("activity_paused", activity=activity, principal=caller.name)
        return pb2.PauseActivityResponse()

    @rpc(Role.ADMIN)
    async def ResumeActivity(  # noqa: N802  # gRPC's name
        self, request: pb2.ResumeActivityRequest, caller: Principal
    ) -> pb2.ResumeActivityResponse:
        """Lets the deliveries of an activity be tried again."""
        require_valid(request)
        activity = request.callback_activity
        await _resent(lambda: resume_activity(self._scripts.client, activity))
        log.info("activity_resumed", activity=activity, principal=caller.name)
        return pb2.ResumeActivityResponse()

    @rpc(Role.ADMIN)
    async def ListPausedActivities(  # noqa: N802  # gRPC's name
        self, request: pb2.ListPausedActivitiesRequest, caller: Principal
    ) -> pb2.ListPausedActivitiesResponse:
        """Shows which activities are paused."""
        require_valid(request)
        return pb2.ListPausedActivitiesResponse(callback_activities=await paused_activities(self._scripts.client))

    @rpc_stream(Role.OWNER)
    async def WatchCalls(  # noqa: N802  # gRPC's name
        self, request: pb2.WatchCallsRequest, caller: Caller
    ) -> AsyncGenerator[pb2.WatchCallsResponse, None]:
        """Sends an event for each change."""
        require_valid(request)
        principal = caller()
        if request.callback_case_id and not request.resume_token:  # else the last of one that is gone may be due
            await self._case(request.callback_case_id, principal)
        keeps = Filter(
            owner=principal.reach,
            activity=request.callback_activity,
            labels=request.labels,
            case_id=request.callback_case_id,
        )
        resumed = _token(Token.from_text, request.resume_token, field="resume_token")
        async with contextlib.aclosing(self._feed.watch(principal.name, keeps, resumed)) as told:
            async for events, token in told:
                if caller().reach != principal.reach:
                    return  # who watches again gets what it may see by now
                yield pb2.WatchCallsResponse(
                    events=[converters.event_to(*event) for event in events], resume_token=token
                )

    async def _shown_call(self, call_id: str, caller: Principal) -> pb.Call:
        case, call = await self._call(call_id, caller)
        return (await self._shown(case, [call]))[0]

    async def _shown(self, case: Case, calls: Sequence[Call]) -> list[pb.Call]:
        """Calls of a case, each of which says whether it is paused."""
        waits = any(call.delivery and call.delivery.status is DeliveryStatus.PENDING for call in calls)
        paused = waits and await is_paused(self._scripts.client, case.activity, case.id)
        return [converters.call_to(call, paused=paused) for call in calls]

    async def _call(self, call_id: str, caller: Principal) -> tuple[Case, Call]:
        (case,) = await read_cases(self._scripts, [ids.case_id_of_call(call_id)], bodies=False)
        call = await read_call(self._scripts, call_id) if case and _reaches(caller, case) else None
        if case is None or call is None:
            raise errors.CallNotFoundError
        return case, call

    async def _case(self, case_id: str, caller: Principal) -> Case:
        case = await read_case(self._scripts, case_id)
        if case is None or not _reaches(caller, case):
            raise errors.CaseNotFoundError
        return case


def _is_cut(call: Call) -> bool:
    """Whether a body was not kept: releases before this one have not said so otherwise."""
    return not call.erased and call.request_body_size != len(call.request.body)


async def _resent(send: Callable[[], Awaitable[T]]) -> T:
    return await resend(send, unsent_s=RESEND_S, unsure_s=RESEND_S)


async def _resent_knowing(send: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
    return await resend_knowing(send, unsent_s=RESEND_S, unsure_s=RESEND_S)


def _reaches(caller: Principal, case: Case) -> bool:
    """Whether a case exists for who asks. Somebody else's does not."""
    return caller.reach in (None, case.owner)


def _owner(named: str, caller: Principal) -> str:
    """Whose things are listed."""
    owner = named or caller.name
    if owner != caller.name and not caller.is_admin:
        raise errors.RoleMissingError(caller.name, Role.ADMIN)
    return owner


def _response_problems(
    response: Response, platform_url: str | None, activity: str, mode: AnswerMode
) -> list[Violation]:
    """Those of a case's response; where the case itself answers, nobody else fills in the URL of a redirect."""
    needs_url = activity == RECORD or mode is AnswerMode.ACK
    return [
        Violation(f"response.{each.field}", each.rule, each.message)
        for each in problems(response, platform_url=platform_url, needs_url=needs_url)
    ]


def _answer_mode(request: pb2.GenerateCallbackUrlRequest) -> AnswerMode:
    return converters.answer_mode_from(request.answer_mode) or _default_mode(request.callback_activity)


def _default_mode(activity: str) -> AnswerMode:
    return AnswerMode.HOLD if activity == FORM else AnswerMode.HANDLER


def _mode(request: pb2.GenerateCallbackUrlRequest) -> Mode:
    if request.allow_multiple_calls:
        return Mode.MULTIPLE
    return Mode.RETRYABLE if request.retryable_after_error else Mode.SINGLE


def _given(response: Response, name: str) -> bool:
    return getattr(response, FIELDS[name]) is not None


def _attempt(token: str) -> int:
    """The place in a case's calls that a token names. Raises ValueError if it is none of ours."""
    if not re.fullmatch("[1-9][0-9]{0,15}", token):
        raise ValueError("not a page token")
    return int(token)


def _token(read: Callable[[str], T], token: str, *, field: str = "page_token") -> T | None:
    if not token:
        return None
    try:
        return read(token)
    except ValueError:
        violation = Violation(field, field, "is not a token of an earlier answer")
        raise InvalidRequestError([violation]) from None
