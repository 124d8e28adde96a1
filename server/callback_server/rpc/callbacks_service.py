"""The servicer of `CallbacksService`: owners generate, change and read their callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callbacks_service_pb2 as pb2
from callback.v1 import callbacks_service_pb2_grpc as pb2_grpc
from callback_process.logs import get_logger
from callback_server import errors
from callback_server.access.audit_log import AuditLog
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.calls.case_changes import erase_all_calls, replace_attributes
from callback_server.calls.held import HeldCalls
from callback_server.calls.watch import WatchHub
from callback_server.contract import converters
from callback_server.contract.conversion import member_of, to_message, word_of
from callback_server.domain import ids
from callback_server.domain.audit import AuditAction, Change
from callback_server.domain.call import CallStatus, Decision
from callback_server.domain.case import Case, CaseStatus, CloseReason
from callback_server.domain.cookies import cookie_problems
from callback_server.domain.event import EventFilter
from callback_server.domain.response import FIELDS, in_field
from callback_server.errors import InvalidRequestError, Violation
from callback_server.handlers.messages import decision_from
from callback_server.rpc.grpc_aio.batcher import AdmissionBatcher
from callback_server.rpc.method import Authenticate, error_status, require_valid, rpc, rpc_stream
from callback_server.rpc.new_case import Policy
from callback_server.rpc.paging import (
    ListQueue,
    call_number,
    milliseconds,
    page_that_fits,
    page_token,
    read_page_token,
    read_token,
)
from callback_server.rpc.url_generator import UrlGenerator
from callback_server.rpc.visible_cases import VisibleCases, require_visible_owner
from callback_server.store.queries.list_cases import PageCursor, list_cases
from callback_server.store.queries.list_owner_calls import CallCursor, CallFilter, list_owner_calls
from callback_server.store.queries.read import list_calls, read_calls, read_cases
from callback_server.store.queries.read_events import ResumeToken
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.close_case import CloseResult, close_case
from callback_server.store.transitions.extend_case import ExtendResult, extend_case
from callback_server.store.transitions.replay_call import ReplayResult, replay_call

log = get_logger()

MAX_CASES_PER_PAGE: Final = 1000
MAX_CALLS_PER_PAGE: Final = 100
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of the requests of a batch together, in bytes."""
MAX_TIME_TO_LIVE_S: Final = 315_360_000
"""How far from now a case may expire where the configuration does not say, in seconds: as in the contract."""

_NOT_REPLAYABLE: Final[Mapping[ReplayResult, str]] = {
    ReplayResult.RUNNING: "it is running",
    ReplayResult.INCOMPLETE: "its request is not kept whole",
    ReplayResult.OBSOLETE: "it is a reminder, and its callback is closed or resolved",
}
_ERASED: Final = "its recorded data was erased"


@dataclass(eq=False)
class CallbacksServicer(pb2_grpc.CallbacksServiceServicer):
    """Generates, changes and reads cases and their calls."""

    scripts: Scripts
    policy: Policy
    generator: UrlGenerator
    recording: Recording
    authenticator: Authenticator
    held: HeldCalls
    audit: AuditLog
    watch_hub: WatchHub
    lists: ListQueue

    def __post_init__(self) -> None:
        self._visible = VisibleCases(self.scripts)
        self._batcher = AdmissionBatcher()

    @rpc(Role.OWNER, validates=False)
    async def GenerateCallbackUrl(
        self, request: pb2.GenerateCallbackUrlRequest, caller: Principal
    ) -> pb2.GenerateCallbackUrlResponse:
        """Store a case and return its URL."""
        async with self._batcher:
            (result,) = await self.generator.generate([request], caller)
        if isinstance(result, Exception):
            raise result
        return result

    @rpc(Role.OWNER)
    async def GenerateCallbackUrls(
        self, request: pb2.GenerateCallbackUrlsRequest, caller: Principal
    ) -> pb2.GenerateCallbackUrlsResponse:
        """Store cases and return their URLs."""
        if request.ByteSize() > MAX_BATCH_BYTES:
            problem = f"must have at most {MAX_BATCH_BYTES // 1024**2} MiB together"
            raise InvalidRequestError([Violation("requests", "too_large", problem)])
        results = []
        logged = set[str]()
        for each in await self.generator.generate(request.requests, caller):
            if isinstance(each, Exception):
                status = error_status(each, "GenerateCallbackUrls", logs_fault=repr(each) not in logged)
                logged.add(repr(each))
                results.append(pb2.GenerateCallbackUrlResult(problem=status))
            else:
                results.append(pb2.GenerateCallbackUrlResult(generated=each))
        return pb2.GenerateCallbackUrlsResponse(results=results)

    @rpc(Role.OWNER, or_answers=True)
    async def SetResponse(self, request: pb2.SetResponseRequest, caller: Principal) -> pb2.SetResponseResponse:
        """Replace attributes of the response of a case."""
        new = converters.response_from(request.response)
        names = list(request.update_mask.paths) or [
            name for name, attribute in FIELDS.items() if getattr(new, attribute) is not None
        ]
        if not FIELDS.keys() >= {*names}:
            problem = f"must name fields of Response: {', '.join(FIELDS)}"
            raise InvalidRequestError([Violation("update_mask", "update_mask", problem)])
        case_id = request.callback_case_id
        await replace_attributes(
            self.scripts,
            self.audit,
            case_id,
            new,
            names,
            actor=caller.name,
            owner=(await self._visible.case(case_id, caller)).owner,
            platform_url=self.policy.settings.platform_url,
            redirect_schemes=self.policy.settings.redirect_schemes,
            cookie_domains=self.policy.cookie_domains,
            recording=self.recording,
        )
        log.info("response_set", case_id=case_id, attributes=names, principal=caller.name)
        return pb2.SetResponseResponse(callback=await self._visible.shown_case(case_id, caller))

    @rpc(Role.OWNER, or_answers=True)
    async def AnswerCall(self, request: pb2.AnswerCallRequest, caller: Principal) -> pb2.AnswerCallResponse:
        """Answer a held call."""
        call_id = request.call_id
        case_id = ids.case_id_of_call(call_id)
        await self._visible.call(call_id, caller, also_deleted=True)
        decision = decision_from(request, accepted=request.verdict != handler_pb2.VERDICT_REJECTED)
        if broken := decision.problems():
            raise InvalidRequestError(broken)
        case = await self._visible.case(case_id, caller)
        self._check_cookies(decision, case)
        await self.held.answer(call_id, decision, case, answered_by=caller.name)
        log.info("call_answered", call_id=call_id, case_id=case_id, principal=caller.name)
        # The end of a call deletes it if the case has newer ones, as many as are kept.
        call = await self._visible.shown_call(call_id, caller, also_deleted=True)
        return pb2.AnswerCallResponse(callback=await self._visible.shown_case(case_id, caller), call=call)

    @rpc(Role.OWNER, or_answers=True)
    async def ResolveCallback(
        self, request: pb2.ResolveCallbackRequest, caller: Principal
    ) -> pb2.ResolveCallbackResponse:
        """Give a case its answer, for the calls that it holds and for later ones."""
        case_id = request.callback_case_id
        decision = decision_from(request, accepted=request.verdict != handler_pb2.VERDICT_REJECTED)
        case = await self._visible.case(case_id, caller)
        self._check_cookies(decision, case)
        count = await self.held.resolve(case, decision, answered_by=caller.name)
        log.info("callback_resolved", case_id=case_id, ended_calls=count, principal=caller.name)
        callback = await self._visible.shown_case(case_id, caller)
        return pb2.ResolveCallbackResponse(callback=callback, ended_call_count=count)

    @rpc(Role.OWNER, or_answers=True)
    async def CloseCallback(self, request: pb2.CloseCallbackRequest, caller: Principal) -> pb2.CloseCallbackResponse:
        """Close a case."""
        case_id = request.callback_case_id
        case = await self._visible.case(case_id, caller)
        closed, unsure = await self.audit.record_knowing(
            Change.of_case(AuditAction.CALLBACK_CLOSED, caller.name, case),
            partial(close_case, self.scripts, case_id, owner=case.owner, recording=self.recording),
            is_recorded=lambda result: result is CloseResult.OK,
        )
        if closed is CloseResult.UNKNOWN:
            raise errors.CaseNotFoundError
        if closed is CloseResult.OK or unsure:
            log.info("case_closed", case_id=case_id, close_reason=CloseReason.CLOSED_BY_OWNER, principal=caller.name)
        return pb2.CloseCallbackResponse(callback=await self._visible.shown_case(case_id, caller))

    @rpc(Role.OWNER)
    async def ExtendCallback(self, request: pb2.ExtendCallbackRequest, caller: Principal) -> pb2.ExtendCallbackResponse:
        """Set the time at which a case expires."""
        case_id, expires_ms = request.callback_case_id, milliseconds(request.expire_time, "expire_time")
        case = await self._visible.owned_case(case_id, caller)
        details = {"expire_time": request.expire_time.ToJsonString()}
        extended = await self.audit.record(
            Change.of_case(AuditAction.CALLBACK_EXTENDED, caller.name, case, details=details),
            partial(
                extend_case,
                self.scripts,
                case_id,
                owner=case.owner,
                expires_ms=expires_ms,
                max_ms=(self.policy.settings.max_time_to_live_s or MAX_TIME_TO_LIVE_S) * 1000,
                recording=self.recording,
            ),
            is_recorded=lambda result: result is ExtendResult.OK,
        )
        if isinstance(extended, CaseClosed):
            raise errors.CaseClosedError(extended.reason)
        if extended is ExtendResult.UNKNOWN:
            raise errors.CaseNotFoundError
        if extended not in (ExtendResult.OK, ExtendResult.SAME):
            longest = self.policy.settings.max_time_to_live_s or MAX_TIME_TO_LIVE_S
            problem = (
                "must be later than now" if extended is ExtendResult.PAST else f"must be within {longest} s from now"
            )
            raise InvalidRequestError([Violation("expire_time", extended.name.lower(), problem)])
        log.info("case_extended", case_id=case_id, principal=caller.name)
        return pb2.ExtendCallbackResponse(callback=await self._visible.shown_case(case_id, caller))

    @rpc(Role.OWNER, or_answers=True)
    async def GetCallback(self, request: pb2.GetCallbackRequest, caller: Principal) -> pb2.GetCallbackResponse:
        """Return a case."""
        return pb2.GetCallbackResponse(callback=await self._visible.shown_case(request.callback_case_id, caller))

    @rpc(Role.OWNER, or_answers=True)
    async def ListCallbacks(self, request: pb2.ListCallbacksRequest, caller: Principal) -> pb2.ListCallbacksResponse:
        """Return a page of cases."""
        owner = _owner(request.owner, caller)
        status = member_of(CaseStatus, request, "status")
        after = read_page_token(PageCursor.from_token, request.page_token, request)
        created_after_us, created_before_us = (
            1000 * milliseconds(getattr(request, name), name) if request.HasField(name) else None
            for name in ("created_after", "created_before")
        )
        if request.callback_activity and not caller.may_generate(request.callback_activity):
            return pb2.ListCallbacksResponse()

        async def read(limit: int) -> pb2.ListCallbacksResponse:
            case_ids, more = await list_cases(
                self.scripts,
                owner=owner,
                activities=[request.callback_activity] if request.callback_activity else caller.limit or (),
                status=status,
                labels=request.labels,
                after=after,
                limit=limit,
                last_call=member_of(CallStatus, request, "last_call_status"),
                id_prefix=request.case_id_prefix,
                created_after_us=created_after_us or 0,
                created_before_us=created_before_us,
            )
            cases = await read_cases(self.scripts, case_ids, bodies=False)
            return to_message(
                pb2.ListCallbacksResponse,
                # A case that was deleted or changed its status since the index was read does not match any more.
                callbacks=[converters.case_to(case) for case in cases if case and status in (None, case.status)],
                next_page_token=page_token(request, more.token() if more else ""),
                searched_to_ms=more.created_us // 1000 if more else None,
            )

        async with self.lists.turn(caller):
            return await page_that_fits(read, request.page_size, MAX_CASES_PER_PAGE, lambda page: page.callbacks)

    @rpc(Role.OWNER, or_answers=True)
    async def GetCall(self, request: pb2.GetCallRequest, caller: Principal) -> pb2.GetCallResponse:
        """Return a call."""
        return pb2.GetCallResponse(call=await self._visible.shown_call(request.call_id, caller))

    @rpc(Role.OWNER, or_answers=True)
    async def ListCalls(self, request: pb2.ListCallsRequest, caller: Principal) -> pb2.ListCallsResponse:
        """Return a page of the calls of a case."""
        case = await self._visible.case(request.callback_case_id, caller)
        before = read_page_token(call_number, request.page_token, request)

        async def read(limit: int) -> pb2.ListCallsResponse:
            calls, more = await list_calls(self.scripts, case.id, before=before, limit=limit)
            shown = await self._visible.shown(case, calls)
            return pb2.ListCallsResponse(calls=shown, next_page_token=page_token(request, str(more or "")))

        return await page_that_fits(read, request.page_size, MAX_CALLS_PER_PAGE, lambda page: page.calls)

    @rpc(Role.OWNER, or_answers=True)
    async def ListOwnerCalls(self, request: pb2.ListOwnerCallsRequest, caller: Principal) -> pb2.ListOwnerCallsResponse:
        """Return a page of the calls of an owner that a filter selects."""
        selected = CallFilter(word_of(request, "filter"))
        if selected is CallFilter.PENDING and not request.callback_activity:
            problem = "is required: deliveries that wait are listed by activity"
            raise InvalidRequestError([Violation("callback_activity", "required", problem)])
        ended_after_ms = None
        if request.HasField("ended_after"):
            if selected is not CallFilter.ENDED:
                problem = "requires the filter CALL_FILTER_ENDED"
                raise InvalidRequestError([Violation("ended_after", "filter", problem)])
            ended_after_ms = milliseconds(request.ended_after, "ended_after")
        owner = _owner(request.owner, caller)
        after = read_page_token(CallCursor.from_token, request.page_token, request)
        if request.callback_activity and not caller.may_generate(request.callback_activity):
            return pb2.ListOwnerCallsResponse()

        async def read(limit: int) -> pb2.ListOwnerCallsResponse:
            call_ids, more = await list_owner_calls(
                self.scripts,
                selected,
                owner=owner,
                activities=[request.callback_activity] if request.callback_activity else caller.limit or (),
                ended_after_ms=ended_after_ms,
                after=after,
                limit=limit,
            )
            calls = await read_calls(self.scripts, call_ids)
            return pb2.ListOwnerCallsResponse(
                calls=[converters.call_to(call) for call in calls],
                next_page_token=page_token(request, more.token() if more else ""),
            )

        async with self.lists.turn(caller):
            return await page_that_fits(read, request.page_size, MAX_CALLS_PER_PAGE, lambda page: page.calls)

    @rpc(Role.OWNER)
    async def EraseCalls(self, request: pb2.EraseCallsRequest, caller: Principal) -> pb2.EraseCallsResponse:
        """Erase the recorded data of the calls of a case."""
        case_id = request.callback_case_id
        case = await self._visible.owned_case(case_id, caller)
        calls = await erase_all_calls(self.scripts, self.audit, case, actor=caller.name)
        if calls:
            log.info("calls_erased", case_id=case_id, calls=calls, principal=caller.name)
        return pb2.EraseCallsResponse(erased_call_count=calls)

    @rpc(Role.OWNER)
    async def ReplayCall(self, request: pb2.ReplayCallRequest, caller: Principal) -> pb2.ReplayCallResponse:
        """Replay a call."""
        call_id = request.call_id
        case, call = await self._visible.call(call_id, caller)
        if not caller.owns(case.owner, case.activity):
            raise errors.CallNotFoundError
        replayed, unsure = await self.audit.record_knowing(
            Change.of_case(AuditAction.CALL_REPLAYED, caller.name, case, call_id=call_id),
            partial(replay_call, self.scripts, call_id, owner=case.owner),
            is_recorded=lambda result: result is ReplayResult.OK,
        )
        if replayed is ReplayResult.UNKNOWN:
            raise errors.CallNotFoundError
        if replayed is ReplayResult.UNHANDLED:
            raise errors.CallNotReplayableError(f"its activity, {case.activity}, has no handler")
        if replayed is not ReplayResult.OK and not (unsure and replayed is ReplayResult.RUNNING):
            erased = replayed is ReplayResult.INCOMPLETE and call.erased
            raise errors.CallNotReplayableError(_ERASED if erased else _NOT_REPLAYABLE[replayed])
        log.info("call_replayed", call_id=call_id, case_id=ids.case_id_of_call(call_id), principal=caller.name)
        return pb2.ReplayCallResponse(call=await self._visible.shown_call(call_id, caller))

    @rpc_stream(Role.OWNER, or_answers=True)
    async def WatchCalls(
        self, request: pb2.WatchCallsRequest, authenticate: Authenticate
    ) -> AsyncGenerator[pb2.WatchCallsResponse, None]:
        """Stream an event for each change."""
        require_valid(request)
        principal = authenticate()
        # With a token, the case may be deleted already, and its last events still to come.
        if request.callback_case_id and not request.resume_token:
            await self._visible.case(request.callback_case_id, principal)
        keeps = EventFilter(
            owner=None if principal.sees_other_owners else principal.name,
            activity=request.callback_activity,
            labels=request.labels,
            case_id=request.callback_case_id,
            sees=principal.sees,
        )
        resumed = read_token(ResumeToken.from_text, request.resume_token, field="resume_token")
        watch = self.watch_hub.watch(principal.name, keeps, resumed, latest_only=request.latest_only)
        async with contextlib.aclosing(watch) as batches:
            async for batch in batches:
                if authenticate() != principal:
                    return  # the client watches again, and gets the events that it may see now
                if batch is not None:
                    events, token = batch
                    yield pb2.WatchCallsResponse(
                        events=[to_message(pb2.CallEvent, event, resume_token=each) for event, each in events],
                        resume_token=token,
                    )

    def _check_cookies(self, decision: Decision, case: Case) -> None:
        cookie_host = self.policy.cookie_domains.host(case.settings.alternative_domain, case.owner)
        if broken := in_field("response", cookie_problems(decision.override, cookie_host)):
            raise InvalidRequestError(broken)


def _owner(named: str, caller: Principal) -> str:
    """Return the owner to list for.

    Raises:
        InvalidRequestError: The caller has no cases of its own, and named no owner.
        RoleMissingError: The caller may not list for this owner.
    """
    if not named and not caller.has(Role.OWNER):
        raise InvalidRequestError([Violation("owner", "required", "is required: a worker has no callbacks of its own")])
    owner = named or caller.name
    require_visible_owner(caller, owner)
    return owner
