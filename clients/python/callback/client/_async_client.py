"""The client of `CallbacksService`: make a URL, decide its answer, close it, look at what came in.

This is the source of both clients: `python3 tasks.py generate` makes `_sync_client.py`, with `CallbackClient`, from it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import grpc

from callback._converters import call_from_proto, callback_from_proto, event_from_proto
from callback._decisions import Answer, Reject
from callback._errors import CallbackError, RequestIdUnsupportedError, UnavailableError, from_rpc_error
from callback._values import (
    AnswerMode,
    Call,
    Callback,
    CallbackStatus,
    CallEvent,
    CallFilter,
    GeneratedCallback,
    GetGuard,
    Page,
    Response,
)
from callback.client import _requests
from callback.connection._backoff import (
    DEFAULT_TIMEOUT_S,
    Backoff,
    can_resume_watch,
    finite_timeout,
    is_retryable,
    wait_backoff,
)
from callback.connection._cancellation import is_being_cancelled
from callback.connection._channel_options import CHANNEL_OPTIONS
from callback.connection._credentials import Tls, TlsFiles, bearer, warn_of_plain_text
from callback.targets import DEFAULT_TARGET, check_target
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub

if TYPE_CHECKING:
    from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceAsyncStub  # a type only, not there at run time

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class AsyncCallbackClient:
    """An asyncio client of one Callback server.

    ::

        async with AsyncCallbackClient("127.0.0.1:50051") as client:
            callback = await client.generate_callback_url("order-paid", Redirect("/page/thankyou"))
            print(callback.url)

    It connects with the first call, and again by itself. One client serves any number of calls at the same time, all
    on the event loop of the first one.

    Every method takes a `timeout` in seconds and raises `CallbackError` or one of its kinds, nothing else of gRPC's.
    While the server or its store can not be reached, a request is sent again, after pauses that grow, until the timeout
    would be over; then `UnavailableError` is raised. All requests are safe to send twice (for `generate_callback_url`
    see there). A value of the wrong type is a `TypeError` that names it.

    Args:
        target: `host:port`, or another gRPC target such as `dns:///callback:50051` or `unix:/run/callback.sock`.
        tls: Whom to trust, and which certificate to show. Default: no TLS. A token can then be read on the way, which
            is logged once as a warning, unless the target is on this machine.
        token: The bearer token that proves who asks, or a function that returns it and is called with every request.
        token_file: A file with that token, read with every request, so that a new one holds without a restart; the last
            one while there is none in it.
        timeout: How long an answer may take, in seconds, unless a call says otherwise.
        retry: False sends every request once, and says at once that nobody is there: for programs with a person who
            waits.

    Raises:
        ValueError: The target has no port, or is none, the timeout is not a positive, finite number, `token` and
            `token_file` are both given, the token is none, or there is nothing in a file of `tls` that can be used.
            Raised by a call: what a function returns is no token.
        OSError: `token_file` or a file of `tls` can not be read.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        token: str | Callable[[], str] | None = None,
        token_file: str | PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retry: bool = True,
    ) -> None:
        check_target(target)
        self._target = target
        self._tls = None if tls is None else TlsFiles(tls)
        self._proof = bearer(token, token_file)
        self._timeout = finite_timeout(timeout)
        self._retry = retry
        self._channel: grpc.aio.Channel | None = None
        self._opening = threading.Lock()
        self._closed = False
        warn_of_plain_text(target, tls, has_token=token is not None or token_file is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Closing twice is fine.

        Calls that wait for an answer, and those that are made later, raise a `CallbackError` of the code CANCELLED.
        """
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def generate_callback_url(
        self,
        activity: str,
        response: Response,
        *,
        activity_case: str = "",
        state_query_parameter: str = "",
        retryable_after_error: bool = False,
        allow_multiple_calls: bool = False,
        alternative_domain: str = "",
        request_id: str = "",
        time_to_live: timedelta | None = None,
        labels: Mapping[str, str] | None = None,
        verification_profile: str = "",
        get_guard: GetGuard = GetGuard.OFF,
        answer_mode: AnswerMode | None = None,
        answer_deadline: timedelta | None = None,
        fallback: Response | None = None,
        ordered: bool = False,
        timeout: float | None = None,
    ) -> GeneratedCallback:
        """Store a case, durably, and return its URL.

        Without a `request_id` the client makes one, so that a request whose answer is lost can be sent again and still
        makes one case. That holds for the one call of this method: to be safe over a restart of your program, give a
        `request_id` of your own, such as the order's number.

        A server without a `state_key` refuses such ids. Then the request is sent without one, a second time, and not
        again: if that answer is lost there may be a case whose URL nobody knows, which a `time_to_live` closes.

        Args:
            activity: Who decides what happens on a call: `record`, `form`, or an activity of handlers.
            response: What a call is answered with, unless its handler overrides it.
            activity_case: Handed to the handler unchanged.
            state_query_parameter: Makes the URL `/cbq/{param}?{param}={state}`, for OAuth, SAML and the like.
            retryable_after_error: Leaves a single-use case open after a rejected or failed call.
            allow_multiple_calls: Leaves the case open, whatever becomes of its calls, until it is closed.
            alternative_domain: `https://host[:port]` for the URL, instead of the server's own.
            request_id: The same id and content give the same URL for as long as the case is kept. Default: a new one.
            time_to_live: Closes the case after this time. Default: what the operator says, else never.
            labels: Pairs of the owner's own, to find the case again.
            verification_profile: What every call must pass: a profile that the server declares. Default: none, so that
                whoever knows the URL can make the call.
            get_guard: What becomes of a GET that may not be a person's. CONFIRM excludes a `verification_profile`.
            answer_mode: Who answers a call, and when. Default: the handler, while the caller waits; for `form`, HOLD.
            answer_deadline: After how long a caller gets `fallback`, while the call goes on. Default: it waits.
            fallback: What a caller gets then. Together with `answer_deadline`.
            ordered: Has the calls of an ACK case handled one after the other, in their order.
            timeout: Seconds; default the client's.

        Raises:
            InvalidRequestError: The violations name every bad field; nothing was stored.
            RequestIdReusedError: A case with this request id and other content exists.
            RequestIdUnsupportedError: A request id was given, and the server has no `state_key`.
            TooManyOpenCallbacksError: The owner has as many as it may.
            UnavailableError: No answer. Safe to send again with a `request_id`.
        """
        request = _requests.generate_request(
            activity,
            response,
            activity_case=activity_case,
            state_query_parameter=state_query_parameter,
            retryable_after_error=retryable_after_error,
            allow_multiple_calls=allow_multiple_calls,
            alternative_domain=alternative_domain,
            request_id=request_id or (_requests.new_request_id() if self._retry else ""),
            time_to_live=time_to_live,
            labels=labels,
            verification_profile=verification_profile,
            get_guard=get_guard,
            answer_mode=answer_mode,
            answer_deadline=answer_deadline,
            fallback=fallback,
            ordered=ordered,
        )
        backoff = self._backoff(timeout)
        try:
            answer = await self._ask(lambda stub: stub.GenerateCallbackUrl, request, backoff)
        except RequestIdUnsupportedError:
            if request_id:
                raise
            request.request_id = ""
            answer = await self._ask(lambda stub: stub.GenerateCallbackUrl, request, backoff, once=True)
        return GeneratedCallback(url=answer.callback_url, state=answer.callback_state, case_id=answer.callback_case_id)

    async def set_response(
        self, case_id: str, response: Response, *, reset: Collection[str] = (), timeout: float | None = None
    ) -> Callback:
        """Replace attributes of the response of a case that is not closed, and return the case.

        A call that is already running keeps the response as it was when the call began.

        Args:
            case_id: The case.
            response: What to replace: each attribute that is not None, the type included. `Response(type=None, …)`
                keeps the case's type.
            reset: Names of attributes that go back to their default: `redirect_url`, `body`, `code`, `headers`.
            timeout: Seconds; default the client's.

        Raises:
            InvalidRequestError: The response that would result is not valid.
            NotFoundError: There is no such case.
            CallbackClosedError: It is closed.
            UnavailableError: No answer. Safe to send again.
            ValueError: `reset` names something else, or what `response` sets.
        """
        request = _requests.set_response_request(case_id, response, reset)
        answer = await self._ask(lambda stub: stub.SetResponse, request, self._backoff(timeout))
        return callback_from_proto(answer.callback)

    async def answer_call(self, call_id: str, answer: Answer | Reject = None, *, timeout: float | None = None) -> Call:
        """Answer a call that is held (answer mode HOLD, activity `form`), and return it.

        ::

            async for call in client.list_owner_calls(CallFilter.WAITING):
                await client.answer_call(call.call_id, Redirect("/page/thankyou"))

        The same answer again is fine. It works after the case was closed, too.

        Args:
            call_id: The call.
            answer: What a handler would return, or the `Reject` that it would raise: a `Response` overrides that of the
                case, attribute by attribute; None keeps it; `Accept` can keep the case open.
            timeout: Seconds; default the client's.

        Raises:
            InvalidRequestError: The response that would result is not valid.
            NotFoundError: There is no such call.
            CallAnsweredError: It has another answer, or ended without one.
            CallNotHeldError: Its handler answers it.
            UnavailableError: No answer. Safe to send again.
        """
        request = _requests.answer_call_request(call_id, answer)
        result = await self._ask(lambda stub: stub.AnswerCall, request, self._backoff(timeout))
        return call_from_proto(result.call)

    async def close_callback(self, case_id: str, *, timeout: float | None = None) -> Callback:
        """Close a case at once, whatever its status, and return it.

        Calls that run go on and are answered. Closing a closed case changes nothing.

        Raises:
            NotFoundError: There is no such case.
            UnavailableError: No answer. Safe to send again.
        """
        request = messages.CloseCallbackRequest(callback_case_id=_requests.require_text("case_id", case_id))
        answer = await self._ask(lambda stub: stub.CloseCallback, request, self._backoff(timeout))
        return callback_from_proto(answer.callback)

    async def erase_calls(self, case_id: str, *, timeout: float | None = None) -> int:
        """Erase, for good, what was recorded of a case's calls, and return how many had something until now.

        Headers, query, body, client address, what went wrong and what was answered are gone; the case, its response and
        labels stay, and so do the calls' ids, times and status. Of a call that is running nothing will be recorded.

        Where an answer was lost and the request sent again, the number is that of the last time, so it can be 0.

        Raises:
            NotFoundError: There is no such case.
            UnavailableError: No answer. Safe to send again.
        """
        request = messages.EraseCallsRequest(callback_case_id=_requests.require_text("case_id", case_id))
        answer = await self._ask(lambda stub: stub.EraseCalls, request, self._backoff(timeout))
        return answer.erased_call_count

    async def get_callback(self, case_id: str, *, timeout: float | None = None) -> Callback:
        """Return a case.

        Raises:
            NotFoundError: There is no such case.
            UnavailableError: No answer.
        """
        request = messages.GetCallbackRequest(callback_case_id=_requests.require_text("case_id", case_id))
        answer = await self._ask(lambda stub: stub.GetCallback, request, self._backoff(timeout))
        return callback_from_proto(answer.callback)

    async def list_callbacks(
        self,
        *,
        status: CallbackStatus | None = None,
        activity: str = "",
        labels: Mapping[str, str] | None = None,
        owner: str = "",
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Callback]:
        """Yield cases, newest first, page by page as they are consumed, without their bodies.

        ::

            async for callback in client.list_callbacks(status=CallbackStatus.OPEN, labels={"order": "5"}):
                print(callback.case_id)

        Args:
            status: Only cases in this status.
            activity: Only cases of this activity.
            labels: Only cases that have all of these labels.
            owner: Whose cases. Default: the caller's own. Those of others are for an administrator.
            page_size: How many to ask for at a time. Default (0) 50. The server returns at most 1,000.
            timeout: Seconds for each page; default the client's.

        Raises:
            InvalidRequestError: An argument is out of its bounds.
            PermissionDeniedError: The owner is somebody else, and the caller no administrator.
            UnavailableError: No answer.
            ValueError: The status is UNKNOWN.
        """
        token = ""
        while True:
            page = await self.list_callbacks_page(
                status=status,
                activity=activity,
                labels=labels,
                owner=owner,
                page_size=page_size,
                page_token=token,
                timeout=timeout,
            )
            for callback in page.items:
                yield callback
            token = page.next_page_token
            if not token:
                return

    async def list_callbacks_page(
        self,
        *,
        status: CallbackStatus | None = None,
        activity: str = "",
        labels: Mapping[str, str] | None = None,
        owner: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Callback]:
        """Return one page of `list_callbacks`.

        Args:
            status: As there, and the same for every page of one list; so are `activity`, `labels` and `owner`.
            activity: As there.
            labels: As there.
            owner: As there.
            page_size: As there.
            page_token: `next_page_token` of the page before. Default: the first page.
            timeout: Seconds; default the client's.
        """
        request = _requests.list_callbacks_request(
            status=status, activity=activity, labels=labels, owner=owner, page_size=page_size, page_token=page_token
        )
        answer = await self._ask(lambda stub: stub.ListCallbacks, request, self._backoff(timeout))
        return Page(tuple(map(callback_from_proto, answer.callbacks)), answer.next_page_token)

    async def get_call(self, call_id: str, *, timeout: float | None = None) -> Call:
        """Return a recorded call, with its body.

        Raises:
            NotFoundError: There is no such call, or it is no longer kept.
            UnavailableError: No answer.
        """
        request = messages.GetCallRequest(call_id=_requests.require_text("call_id", call_id))
        answer = await self._ask(lambda stub: stub.GetCall, request, self._backoff(timeout))
        return call_from_proto(answer.call)

    async def list_calls(
        self, case_id: str, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Call]:
        """Yield the recorded calls of a case, newest first, page by page as they are consumed, without their bodies.

        Args:
            case_id: The case.
            page_size: How many calls to request at a time. Default (0) 50. The server returns at most 100.
            timeout: Seconds for each page; default the client's.

        Raises:
            InvalidRequestError: An argument is out of its bounds.
            NotFoundError: There is no such case.
            UnavailableError: No answer.
        """
        token = ""
        while True:
            page = await self.list_calls_page(case_id, page_size=page_size, page_token=token, timeout=timeout)
            for call in page.items:
                yield call
            token = page.next_page_token
            if not token:
                return

    async def list_calls_page(
        self, case_id: str, *, page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> Page[Call]:
        """Return one page of `list_calls`.

        Args:
            case_id: The case; the same for every page of one list.
            page_size: As in `list_calls`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Seconds; default the client's.
        """
        request = _requests.list_calls_request(case_id, page_size=page_size, page_token=page_token)
        answer = await self._ask(lambda stub: stub.ListCalls, request, self._backoff(timeout))
        return Page(tuple(map(call_from_proto, answer.calls)), answer.next_page_token)

    async def list_owner_calls(
        self, only: CallFilter, *, owner: str = "", page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Call]:
        """Yield calls of all cases of an owner, newest first, page by page as they are consumed, without their bodies.

        Args:
            only: Which calls: those that wait for an answer, or those whose delivery is dead.
            owner: The owner of the cases. Default: the caller. Another owner is for an administrator.
            page_size: How many calls to request at a time. Default (0) 50. The server returns at most 100.
            timeout: Seconds for each page; default the client's.

        Raises:
            InvalidRequestError: An argument is out of its bounds.
            PermissionDeniedError: The owner is not the caller, and the caller is not an administrator.
            UnavailableError: No answer.
            ValueError: The filter is UNKNOWN.
        """
        token = ""
        while True:
            page = await self.list_owner_calls_page(
                only, owner=owner, page_size=page_size, page_token=token, timeout=timeout
            )
            for call in page.items:
                yield call
            token = page.next_page_token
            if not token:
                return

    async def list_owner_calls_page(
        self,
        only: CallFilter,
        *,
        owner: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Call]:
        """Return one page of `list_owner_calls`.

        Args:
            only: As in `list_owner_calls`; the same for every page of one list, and so is `owner`.
            owner: As in `list_owner_calls`.
            page_size: As in `list_owner_calls`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Seconds; default the client's.
        """
        request = _requests.list_owner_calls_request(only, owner=owner, page_size=page_size, page_token=page_token)
        answer = await self._ask(lambda stub: stub.ListOwnerCalls, request, self._backoff(timeout))
        return Page(tuple(map(call_from_proto, answer.calls)), answer.next_page_token)

    async def replay_call(self, call_id: str, *, timeout: float | None = None) -> Call:
        """Have the handler of a recorded call decide on it again, soon, and return the call as it is now.

        Nothing changes for its caller and its case. `delivery` says what becomes of it: it is tried again until it
        works, as in ACK mode. A delivery that waits for its next attempt gets it now.

        Raises:
            NotFoundError: There is no such call, or it is no longer kept.
            CallNotReplayableError: It is running, its request is not kept whole or was erased, or its activity has no
                handler.
            UnavailableError: No answer. Safe to send again, though it may then be handled twice.
        """
        request = messages.ReplayCallRequest(call_id=_requests.require_text("call_id", call_id))
        answer = await self._ask(lambda stub: stub.ReplayCall, request, self._backoff(timeout))
        return call_from_proto(answer.call)

    async def pause_activity(self, activity: str, *, timeout: float | None = None) -> None:
        """Keep the deliveries of an activity (ACK mode and replays) from being tried, until it is resumed.

        None begins after this; those at work end. Calls whose caller waits go on. For administrators.

        Raises:
            InvalidRequestError: Nothing of this activity is ever delivered.
            PermissionDeniedError: The caller is none.
            UnavailableError: No answer. Safe to send again.
        """
        request = messages.PauseActivityRequest(callback_activity=_requests.require_text("activity", activity))
        await self._ask(lambda stub: stub.PauseActivity, request, self._backoff(timeout))

    async def resume_activity(self, activity: str, *, timeout: float | None = None) -> None:
        """Undo `pause_activity`. For administrators.

        Raises:
            PermissionDeniedError: The caller is none.
            UnavailableError: No answer. Safe to send again.
        """
        request = messages.ResumeActivityRequest(callback_activity=_requests.require_text("activity", activity))
        await self._ask(lambda stub: stub.ResumeActivity, request, self._backoff(timeout))

    async def list_paused_activities(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Return the activities that are paused, in the order of their names. For administrators.

        Raises:
            PermissionDeniedError: The caller is none.
            UnavailableError: No answer. Safe to send again.
        """
        request = messages.ListPausedActivitiesRequest()
        answer = await self._ask(lambda stub: stub.ListPausedActivities, request, self._backoff(timeout))
        return tuple(answer.callback_activities)

    def watch_calls(
        self,
        *,
        activity: str = "",
        labels: Mapping[str, str] | None = None,
        case_id: str = "",
        resume_token: str = "",
        timeout: float | None = None,
    ) -> "AsyncCallWatch":
        """Watch cases and calls: an event for each change of the caller's own; for an administrator, of everyone's.

        ::

            async with client.watch_calls(activity="order-paid") as watch:
                async for event in watch:
                    print(event.type, event.case_id)

        Args:
            activity: Only events of this activity.
            labels: Only events of cases that have all of these labels.
            case_id: Only events of this case.
            resume_token: `resume_token` of an event, or of a watch, with the same filter: to go on after it. The case
                may be gone by then, so one that never was is no error, and has no events. Default: from now on.
            timeout: How long to look for a server that is lost, each time, in seconds; default the client's.
                `math.inf` never gives up.

        Raises:
            ValueError: The timeout is not a positive number.
        """
        request = _requests.watch_calls_request(
            activity=activity, labels=labels, case_id=case_id, resume_token=resume_token
        )
        timeout = self._timeout if timeout is None else timeout
        wait_backoff(timeout, longest=1.0)
        return AsyncCallWatch(self, request, timeout)

    async def wait_for_call(self, case_id: str, *, after: int = 0, timeout: float) -> Call:
        """Wait until a call on a case has ended, and return it with its body.

        ::

            made = await client.generate_callback_url("record", Response("thank you"))
            …  # hand out made.url
            call = await client.wait_for_call(made.case_id, timeout=3600)

        Nothing is missed between making the URL and waiting: a call that came before is returned at once. To wait for
        the next one, give the last one's number as `after`.

        Args:
            case_id: The case.
            after: Only calls whose `attempt` is greater: 0 for the first, `call.attempt` for the one after `call`. If
                several have ended, the earliest that is still kept is returned.
            timeout: How long to wait, in seconds. `math.inf` waits for as long as it takes.

        Raises:
            TimeoutError: No such call has ended by then.
            CallbackClosedError: The case is closed, and there is no such call.
            NotFoundError: There is no such case.
            UnavailableError: No answer for as long as one may take (the client's `timeout`).
            ValueError: The timeout is not a positive number.
        """
        backoff = wait_backoff(timeout, longest=1.0)
        while True:
            each = min(self._timeout, max(backoff.remaining, 0.1))
            callback = await self.get_callback(case_id, timeout=each)
            calls: list[Call] = []
            if callback.call_count > after:
                async for call in self.list_calls(case_id, page_size=100, timeout=each):
                    if call.attempt <= after:
                        break
                    calls.append(call)
            if found := _requests.find_awaited_call(callback, calls):
                return await self.get_call(found.call_id, timeout=each)
            if backoff.remaining <= 0:
                raise TimeoutError(f"no call on the callback {case_id} in {timeout:g} s")
            await asyncio.sleep(min(backoff.next_pause(), max(backoff.remaining, 0)))

    def _connection(self) -> grpc.aio.Channel:
        """The channel: made with the first call, and again where the files of `tls` have changed.

        One that was replaced goes by itself, when the calls that wait on it have ended.
        """
        if self._closed:
            raise self._closed_error()
        with self._opening:  # threads may share a synchronous client
            # Not in the constructor: a channel belongs to the event loop that runs when it is made.
            if self._tls is not None and (self._tls.have_changed() or self._channel is None):
                options = (*CHANNEL_OPTIONS, *self._tls.channel_options)
                self._channel = grpc.aio.secure_channel(self._target, self._tls.credentials, options=options)
            elif self._channel is None:
                self._channel = grpc.aio.insecure_channel(self._target, options=CHANNEL_OPTIONS)
            return self._channel

    def _watch(
        self, request: messages.WatchCallsRequest
    ) -> "grpc.aio.UnaryStreamCall[messages.WatchCallsRequest, messages.WatchCallsResponse]":
        stub: CallbacksServiceAsyncStub = CallbacksServiceStub(self._connection())
        return stub.WatchCalls(request, metadata=self._proof())

    def _judge(self, failure: grpc.RpcError, backoff: Backoff) -> None:
        """Raise what a broken watch stands for, unless it may go on and there is time for that."""
        error = from_rpc_error(failure, self._target)
        if not self._retry or not can_resume_watch(error) or backoff.remaining <= 0:
            raise error from failure

    def _closed_error(self) -> CallbackError:
        return CallbackError(f"this {type(self).__name__} is closed", code=grpc.StatusCode.CANCELLED)

    def _backoff(self, timeout: float | None) -> Backoff:
        return Backoff(self._timeout if timeout is None else finite_timeout(timeout))

    async def _ask(
        self,
        method: Callable[["CallbacksServiceAsyncStub"], "grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer]"],
        request: _Request,
        backoff: Backoff,
        *,
        once: bool = False,
    ) -> _Answer:
        """Send a request until it is answered or its time is over; every failure of gRPC becomes a `CallbackError`."""
        while True:
            ask = method(CallbacksServiceStub(self._connection()))
            try:
                return await ask(request, timeout=backoff.remaining, metadata=self._proof())
            except asyncio.CancelledError as failure:  # gRPC's own, where the channel is closed meanwhile
                if not self._closed or is_being_cancelled():
                    raise
                raise self._closed_error() from failure
            except grpc.RpcError as failure:
                error = from_rpc_error(failure, self._target)
                pause = backoff.next_pause(error.retry_after)
                if once or not self._retry or not is_retryable(error) or pause >= backoff.remaining:
                    raise error from failure
            await asyncio.sleep(pause)


class AsyncCallWatch(AsyncIterator[CallEvent]):
    """The events of a watch, in their order for each case, for as long as one iterates. `watch_calls` makes it.

    Inside an `async with` block nothing is missed that happens after its first line. Where the server is lost, or this
    watch is too slow for it, it goes on from where it was, without a gap: there, if a server is found in time.

    Raises, while one iterates or at the start of the block:
        WatchPositionLostError: It was away too long, and events that it did not get are no longer kept. Read the state
            with `list_callbacks` and `list_calls`, then watch without a token.
        TooManyWatchersError: The server has as many as it may.
        NotFoundError: There is no such case, where only one is watched.
        InvalidRequestError: An argument is out of its bounds.
        UnavailableError: No server was found in time.
    """

    def __init__(self, client: AsyncCallbackClient, request: messages.WatchCallsRequest, timeout: float) -> None:
        self._client = client
        self._request = request
        self._timeout = timeout
        self._stream: grpc.aio.UnaryStreamCall[messages.WatchCallsRequest, messages.WatchCallsResponse] | None = None
        self._events: deque[CallEvent] = deque()
        self._closed = False

    @property
    def resume_token(self) -> str:
        """Where to go on: after the last event that was given, and what has happened since that was not asked for.

        Inside the block there is one before the first event, too.
        """
        return self._request.resume_token

    async def __aenter__(self) -> Self:
        await self._receive()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CallEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            await self._receive()
        return self._given()

    async def receive(self) -> list[CallEvent]:
        """Return the events that come next, in place of iterating; none where `resume_token` alone has moved on.

        It does so where nothing happens that was asked for. Once the watch is closed, there are none.
        """
        if not self._events:
            await self._receive()
        return [self._given() for _ in range(len(self._events))]

    def close(self) -> None:
        """End the watch. Closing twice is fine."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    def _given(self) -> CallEvent:
        event = self._events.popleft()
        if event.resume_token:
            self._request.resume_token = event.resume_token
        return event

    async def _receive(self) -> None:
        """Take the next message; where the stream breaks, from another one that goes on there."""
        backoff = wait_backoff(self._timeout, longest=1.0)
        while not self._closed:
            try:
                if self._stream is None:
                    self._stream = self._client._watch(self._request)  # noqa: SLF001 - it is a part of the client
                message = await anext(aiter(self._stream), None)
            except asyncio.CancelledError as failure:  # gRPC's own, where stream or channel is closed meanwhile
                if not (self._closed or self._client._closed) or is_being_cancelled():  # noqa: SLF001
                    raise
                if self._closed:
                    return
                raise self._client._closed_error() from failure  # noqa: SLF001
            except grpc.RpcError as failure:
                self._stream = None
                if self._closed:
                    return
                self._client._judge(failure, backoff)  # noqa: SLF001
            else:
                if message is not None:
                    if message.events and not message.events[-1].resume_token:  # of a server of the release before
                        message.events[-1].resume_token = message.resume_token
                    self._events.extend(map(event_from_proto, message.events))
                    if not self._events:
                        self._request.resume_token = message.resume_token
                    return
                self._stream = None
                if backoff.remaining <= 0:
                    raise UnavailableError("the server ends the watch", code=grpc.StatusCode.UNAVAILABLE)
            await asyncio.sleep(min(backoff.next_pause(), max(backoff.remaining, 0)))
