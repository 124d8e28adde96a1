"""Client of the gRPC `CallbacksService`: generate URLs, set responses, answer calls, read and watch what arrived.

`_sync_client.py` is generated from `_async_client.py`: run `python3 tasks.py generate` after each change.
"""

import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from os import PathLike
from types import TracebackType
from typing import Self, TypeVar

import grpc

from callback._converters import (
    activity_from_proto,
    audit_chain_from_proto,
    audit_entry_from_proto,
    call_from_proto,
    callback_from_proto,
    event_from_proto,
    finding_from_proto,
    generated_from_proto,
    paused_from_proto,
    searched_to_from_proto,
    statistics_from_proto,
)
from callback._decisions import Answer, Reject
from callback._errors import (
    CallbackError,
    DeadlineExceededError,
    RequestIdUnsupportedError,
    UnavailableError,
    from_rpc_error,
)
from callback._values import (
    Activity,
    AnswerMode,
    AuditAction,
    AuditChain,
    AuditEntry,
    AuditHead,
    Call,
    Callback,
    CallbackStatus,
    CallEvent,
    CallFilter,
    CallReason,
    CallStatus,
    Finding,
    GeneratedCallback,
    GetGuard,
    Page,
    PausedActivity,
    Prompt,
    Response,
    Statistics,
)
from callback.client import _async_grpc as grpc_io
from callback.client import _requests
from callback.connection._backoff import (
    DEFAULT_TIMEOUT_S,
    Backoff,
    can_resume_watch,
    finite_timeout,
    is_retryable,
    wait_backoff,
)
from callback.connection._bearer_token import token_metadata, warn_of_plain_text
from callback.connection._channel_options import CHANNEL_OPTIONS
from callback.connection._tls import Tls, TlsFiles
from callback.targets import DEFAULT_TARGET, channel_target, check_target
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import operations_service_pb2

_log = logging.getLogger("callback.client")
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


class AsyncCallbackClient:
    """An asyncio client of one Callback server.

        async with AsyncCallbackClient("127.0.0.1:50051") as client:
            callback = await client.generate_callback_url("order-paid", Redirect("/page/thankyou"))
            print(callback.url)

    The client connects with its first request, and reconnects by itself. It serves any number of concurrent requests:
    an asyncio client on the event loop of the first one, a synchronous client from any thread.

    Every method takes a `timeout` in seconds, and raises `CallbackError` or a subclass, never an error of gRPC. While
    the server or its store is unreachable, the client sends the request again with exponential backoff until the
    timeout; then it raises `UnavailableError`. All requests are safe to send twice (see `generate_callback_url` for its
    condition). A value of the wrong type raises a `TypeError` that names it.

    Args:
        target: `host:port`, or another gRPC target such as `dns:///callback:50051` or `unix:/run/callback.sock`. With
            several, as in `a:50051,b:50051`, it uses the first one that it can reach; names are looked up once.
        tls: The authorities to trust, and the client's certificate. Default: no TLS. A token then crosses the network
            in plain text, which is logged once as a warning unless the target is on this machine.
        token: The bearer token, or a function that returns it and is called with every request.
        token_file: A file with the bearer token. It is read with every request, so that a new token takes effect
            without a restart. While the file is unusable, the last token stays in use.
        timeout: The timeout of each request in seconds, unless a method is given another one.
        retry: False sends every request once, and raises at once if the server is unreachable: for interactive
            programs.

    Raises:
        ValueError: The target is not valid or has no port, the timeout is not a positive, finite number, `token` and
            `token_file` are both given, the token is malformed, or a file of `tls` has no usable content. A method
            raises it if a token function returns a malformed token.
        OSError: `token_file` or a file of `tls` cannot be read.
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
        check_target(target, needs_name=tls is not None and tls.server_name is None)
        self._target = target
        self._tls = None if tls is None else TlsFiles(tls)
        self._metadata = token_metadata(token, token_file)
        self._timeout = finite_timeout(timeout)
        self._retry = retry
        self._channel: grpc_io.Channel | None = None
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
        """Close the connection. Closing twice has no effect.

        Requests in progress, and later ones, raise a `CallbackError` with the code CANCELLED.
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
        hold_time: timedelta | None = None,
        repeat_window: timedelta | None = None,
        no_repeat: bool = False,
        prompt: Prompt | None = None,
        closed_response: Response | None = None,
        remind_after: Collection[timedelta] = (),
        notify: Collection[CallReason] = (),
        traceparent: str = "",
        timeout: float | None = None,
    ) -> GeneratedCallback:
        """Store a case durably, and return its URL.

        Without a `request_id` the client generates one, so that it can send the request again after a lost response
        without creating a second case. That covers this one call of the method: to be safe across a restart of your
        program, give a `request_id` of your own, such as the order number.

        A server without a `state_key` refuses request ids. The client then sends the request without one, once: if that
        response is lost, a case may exist whose URL is lost too. A `time_to_live` closes such a case.

        Args:
            activity: Decides what happens on a call: `record`, `form`, or an activity of your handlers.
            response: The response to a call, unless its handler overrides it.
            activity_case: Passed to the handler unchanged.
            state_query_parameter: Makes the URL `/cbq/{param}?{param}={state}`, for OAuth, SAML and similar protocols.
            retryable_after_error: Leaves a single-use case (a case without `allow_multiple_calls`) open after a
                rejected, failed or interrupted call.
            allow_multiple_calls: Accepts any number of calls, whatever their results, until the case is closed or
                expires. Default: one call at a time. A success closes the case; without `retryable_after_error`, so
                does a rejected, failed or interrupted call.
            alternative_domain: `https://host[:port]` of the URL, instead of the server's own.
            request_id: The same id and content return the same URL for as long as the case is stored. After that, they
                create a case with another URL. Default: a new id.
            time_to_live: Closes the case after this time. Default: the server's setting, otherwise never.
            labels: Names and values of your choice, by which to find the case.
            verification_profile: The profile, declared in the server's configuration, that every request must pass.
                Default: none, so that everyone who knows the URL can make the call.
            get_guard: How to treat a GET that may not come from a person. CONFIRM excludes a `verification_profile`.
            answer_mode: How a call gets its response. Default: from the handler, while the caller waits; for `form`,
                HOLD.
            answer_deadline: The time after which the caller gets `fallback` while the call continues, or without one is
                told to wait. Default: 2 seconds for a browser, 5 minutes for any other caller of a held call.
            fallback: The response at the answer deadline. Requires `answer_deadline`.
            ordered: Handles the calls of an ACK case one after the other, in their order.
            hold_time: How long a held call waits for its answer, before it fails. Only for HOLD. Default: 5 minutes.
            repeat_window: How long after the end of a call the same request (method, query and body) gets the answer of
                that call, in place of making another call. Default: 2 minutes; none if `allow_multiple_calls` is set.
            no_repeat: Gives no answer twice: the same request again gets a 410.
            prompt: What the page of the guard CONFIRM asks: a title, a text and choices. Default: whether to continue.
            closed_response: The response to requests after the case is closed, such as a page "already done". Default:
                a 410, or a 404 on `/cbq/`.
            remind_after: Up to 10 times after the creation of the case at which its handler of notifications gets a
                reminder, until the case is closed or resolved. Requires REMINDER in `notify`.
            notify: The notifications that the handler gets (`Handlers.notification`): REMINDER, EXPIRY, or both.
                Default: none.
            traceparent: The W3C trace context of your program, as the header `traceparent` has it. A server that traces
                keeps it, and links the calls to it. Default: none.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: A field is not valid. `violations` names every such field; nothing was stored.
            RequestIdReusedError: A case with this request id and different content exists.
            RequestIdUnsupportedError: A request id was given, and the server has no `state_key`.
            TooManyOpenCallbacksError: The owner has reached its quota of open cases.
            UnavailableError: No response arrived. Safe to send again with a `request_id`.
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
            hold_time=hold_time,
            repeat_window=repeat_window,
            no_repeat=no_repeat,
            prompt=prompt,
            closed_response=closed_response,
            remind_after=remind_after,
            notify=notify,
        )
        backoff = self._backoff(timeout)
        try:
            reply = await self._call(
                lambda channel: grpc_io.callbacks(channel).GenerateCallbackUrl,
                request,
                backoff,
                traceparent=traceparent,
            )
        except RequestIdUnsupportedError:
            if request_id:
                raise
            request.request_id = ""
            reply = await self._call(
                lambda channel: grpc_io.callbacks(channel).GenerateCallbackUrl,
                request,
                backoff,
                once=True,
                traceparent=traceparent,
            )
        made = generated_from_proto(reply)
        for warning in made.warnings:
            _log.warning("callback_warning case_id=%s text=%s", made.case_id, warning.text)
        return made

    async def set_response(
        self, case_id: str, response: Response, *, reset: Collection[str] = (), timeout: float | None = None
    ) -> Callback:
        """Replace attributes of the response of a case that is not closed, and return the case.

        A call that runs or is held is answered with the new response, if it is accepted. So a handler can set the
        response of its own call.

        Args:
            case_id: The case.
            response: The attributes to replace: each one that is not None, including the type. `Response(type=None, …)`
                keeps the case's type.
            reset: Names of attributes to reset to their default: `redirect_url`, `body`, `code`, `headers`,
                `heading`, `text`, `link_label`, `link_url`.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The resulting response is not valid.
            NotFoundError: The case does not exist.
            CallbackClosedError: The case is closed.
            UnavailableError: No response arrived. Safe to send again.
            ValueError: `reset` names another attribute, or one that `response` sets.
        """
        request = _requests.set_response_request(case_id, response, reset)
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).SetResponse, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def answer_call(self, call_id: str, answer: Answer | Reject = None, *, timeout: float | None = None) -> Call:
        """Answer a held call (answer mode HOLD, activity `form`), and return it.

            async for call in client.list_owner_calls(CallFilter.WAITING):
                await client.answer_call(call.call_id, Redirect("/page/thankyou"))

        Sending the same answer again has no effect. A call can be answered after its case was closed.

        Args:
            call_id: The call.
            answer: The decision, as a handler makes it: a `Response` overrides that of the case, attribute by
                attribute; None keeps it; `Accept` can keep the case open, or close it; `Reject` rejects the call.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The resulting response is not valid.
            NotFoundError: The call does not exist.
            CallAnsweredError: The call already has another answer, or ended without one.
            CallNotHeldError: The handler decides on the call.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = _requests.answer_call_request(call_id, answer)
        reply = await self._call(lambda channel: grpc_io.callbacks(channel).AnswerCall, request, self._backoff(timeout))
        return call_from_proto(reply.call)

    async def resolve_callback(
        self, case_id: str, answer: Answer | Reject = None, *, timeout: float | None = None
    ) -> Callback:
        """Give a case that holds calls (answer mode HOLD, activity `form`) its answer, and return the case.

        The calls that are held now get the answer, and so does each later call, at once. So a webhook can answer the
        visitor, whichever of the two comes first:

            await client.resolve_callback(visitor_case_id, Redirect("/page/thankyou"))

        Sending the same answer again has no effect. A closed case still answers the calls that it holds. A `Reject` of
        a case with `retryable_after_error` answers only the calls that are held now.

        Args:
            case_id: The case.
            answer: The decision, as a handler makes it: a `Response` overrides that of the case, attribute by
                attribute; None keeps it; `Reject` rejects the calls.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The resulting response is not valid.
            NotFoundError: The case does not exist.
            CallNotHeldError: The handler decides on the calls of the case.
            CallbackResolvedError: The case already has another answer.
            CallbackClosedError: The case is closed and holds no calls.
            UnavailableError: No response arrived. Safe to send again, except that a `Reject` of a case with
                `retryable_after_error` rejects the call that is held then.
            ValueError: The answer keeps the case open, or closes it.
        """
        request = _requests.resolve_callback_request(case_id, answer)
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).ResolveCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def close_callback(self, case_id: str, *, timeout: float | None = None) -> Callback:
        """Close a case immediately, in any status, and return it.

        Running calls continue, and their callers get a response. Closing a closed case has no effect.

        Raises:
            NotFoundError: The case does not exist.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = messages.CloseCallbackRequest(callback_case_id=_requests.require_text("case_id", case_id))
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).CloseCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def extend_callback(self, case_id: str, expire_time: datetime, *, timeout: float | None = None) -> Callback:
        """Set the time at which a case expires, later or earlier than before, and return the case.

        Args:
            case_id: The case.
            expire_time: The time, with its time zone: later than now, and within the maximum of the server.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The time is not later than now, or too late.
            NotFoundError: The case does not exist.
            CallbackClosedError: The case is closed.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = _requests.extend_callback_request(case_id, expire_time)
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).ExtendCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def erase_calls(self, case_id: str, *, timeout: float | None = None) -> int:
        """Erase the recorded content of all calls of a case permanently, and return how many calls had content.

        The headers, query, body, client address, failure detail and response of each call are deleted. The case with
        its response and labels stays, and so do the ids, times and status of the calls. One exception: a pending
        delivery becomes DEAD, and after a fallback of 2xx or 3xx this ends its call and changes the case. Nothing will
        be recorded of a call that is running.

        If the client sent the request again after a lost response, the number is that of the last attempt and can be 0.

        Raises:
            NotFoundError: The case does not exist.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = messages.EraseCallsRequest(callback_case_id=_requests.require_text("case_id", case_id))
        reply = await self._call(lambda channel: grpc_io.callbacks(channel).EraseCalls, request, self._backoff(timeout))
        return reply.erased_call_count

    async def get_callback(self, case_id: str, *, timeout: float | None = None) -> Callback:
        """Return a case.

        Raises:
            NotFoundError: The case does not exist.
            UnavailableError: No response arrived.
        """
        request = messages.GetCallbackRequest(callback_case_id=_requests.require_text("case_id", case_id))
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).GetCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def list_callbacks(
        self,
        *,
        status: CallbackStatus | None = None,
        activity: str = "",
        labels: Mapping[str, str] | None = None,
        owner: str = "",
        last_call_status: CallStatus | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Callback]:
        """Yield cases, newest first, without their bodies. Pages are requested as needed.

            async for callback in client.list_callbacks(status=CallbackStatus.OPEN, labels={"order": "5"}):
                print(callback.case_id)

        Args:
            status: Only cases in this status.
            activity: Only cases of this activity.
            labels: Only cases that have all of these labels.
            owner: Only cases of this owner. Default: your own callbacks. Other owners require the role admin.
            last_call_status: Only cases whose newest recorded call has this status. No index helps here: the server
                looks at the calls of each case.
            created_after: Only cases that were created at this time or later, with its time zone.
            created_before: Only cases that were created earlier than this time, with its time zone.
            page_size: The number of cases per page. Default (0): 50. The server returns at most 1,000.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: An argument is out of range.
            PermissionDeniedError: The owner is another one, and the principal lacks the role admin.
            UnavailableError: No response arrived.
            ValueError: A status is UNKNOWN, or a time has no time zone.
        """
        token = ""
        while True:
            page = await self.list_callbacks_page(
                status=status,
                activity=activity,
                labels=labels,
                owner=owner,
                last_call_status=last_call_status,
                created_after=created_after,
                created_before=created_before,
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
        last_call_status: CallStatus | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Callback]:
        """Return one page of `list_callbacks`.

        Args:
            status: As in `list_callbacks`. All pages of one list take the same filters.
            activity: As in `list_callbacks`.
            labels: As in `list_callbacks`.
            owner: As in `list_callbacks`.
            last_call_status: As in `list_callbacks`.
            created_after: As in `list_callbacks`.
            created_before: As in `list_callbacks`.
            page_size: As in `list_callbacks`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Timeout in seconds. Default: that of the client.
        """
        request = _requests.list_callbacks_request(
            status=status,
            activity=activity,
            labels=labels,
            owner=owner,
            last_call_status=last_call_status,
            created_after=created_after,
            created_before=created_before,
            page_size=page_size,
            page_token=page_token,
        )
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).ListCallbacks, request, self._backoff(timeout)
        )
        return Page(
            tuple(map(callback_from_proto, reply.callbacks)), reply.next_page_token, searched_to_from_proto(reply)
        )

    async def get_call(self, call_id: str, *, timeout: float | None = None) -> Call:
        """Return a recorded call, with its body.

        Raises:
            NotFoundError: The call does not exist, or is past its retention.
            UnavailableError: No response arrived.
        """
        request = messages.GetCallRequest(call_id=_requests.require_text("call_id", call_id))
        reply = await self._call(lambda channel: grpc_io.callbacks(channel).GetCall, request, self._backoff(timeout))
        return call_from_proto(reply.call)

    async def list_calls(
        self, case_id: str, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Call]:
        """Yield the recorded calls of a case, newest first, without their bodies. Pages are requested as needed.

        Args:
            case_id: The case.
            page_size: The number of calls per page. Default (0): 50. The server returns at most 100.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: An argument is out of range.
            NotFoundError: The case does not exist.
            UnavailableError: No response arrived.
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
            case_id: The case. All pages of one list take the same one.
            page_size: As in `list_calls`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Timeout in seconds. Default: that of the client.
        """
        request = _requests.list_calls_request(case_id, page_size=page_size, page_token=page_token)
        reply = await self._call(lambda channel: grpc_io.callbacks(channel).ListCalls, request, self._backoff(timeout))
        return Page(tuple(map(call_from_proto, reply.calls)), reply.next_page_token)

    async def list_owner_calls(
        self,
        only: CallFilter,
        *,
        owner: str = "",
        activity: str = "",
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Call]:
        """Yield calls of all cases of an owner, newest first, without their bodies. Pages are requested as needed.

        Args:
            only: The calls to list: held calls that wait for their answer, or those whose delivery is dead.
            owner: Only calls of this owner. Default: your own. Other owners require the role admin, or a worker with
                `answers`, which must name an owner.
            activity: Only calls of this activity. Default: all.
            page_size: The number of calls per page. Default (0): 50. The server returns at most 100.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: An argument is out of range.
            PermissionDeniedError: The principal may not list for the owner.
            UnavailableError: No response arrived.
            ValueError: The filter is UNKNOWN.
        """
        token = ""
        while True:
            page = await self.list_owner_calls_page(
                only, owner=owner, activity=activity, page_size=page_size, page_token=token, timeout=timeout
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
        activity: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Call]:
        """Return one page of `list_owner_calls`.

        Args:
            only: As in `list_owner_calls`. All pages of one list take the same `only`, `owner` and `activity`.
            owner: As in `list_owner_calls`.
            activity: As in `list_owner_calls`.
            page_size: As in `list_owner_calls`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Timeout in seconds. Default: that of the client.
        """
        request = _requests.list_owner_calls_request(
            only, owner=owner, activity=activity, page_size=page_size, page_token=page_token
        )
        reply = await self._call(
            lambda channel: grpc_io.callbacks(channel).ListOwnerCalls, request, self._backoff(timeout)
        )
        return Page(tuple(map(call_from_proto, reply.calls)), reply.next_page_token)

    async def replay_call(self, call_id: str, *, timeout: float | None = None) -> Call:
        """Run the handler of a recorded call again in the background, and return the call in its current state.

        The replay does not change what the caller got, nor the case unless the handler closes it. `delivery` shows its
        progress: as in ACK mode, the server retries until the handler succeeds. A delivery that waits for its next
        attempt is attempted now; after a fallback of 2xx or 3xx, that attempt can end the call and change the case.

        Raises:
            NotFoundError: The call does not exist, or is past its retention.
            CallNotReplayableError: The call is running, its stored request is not complete or was erased, or its
                activity has no handler.
            UnavailableError: No response arrived. Safe to send again, but the call may then be handled twice.
        """
        request = messages.ReplayCallRequest(call_id=_requests.require_text("call_id", call_id))
        reply = await self._call(lambda channel: grpc_io.callbacks(channel).ReplayCall, request, self._backoff(timeout))
        return call_from_proto(reply.call)

    async def pause_activity(self, activity: str, *, reason: str = "", timeout: float | None = None) -> None:
        """Pause the deliveries of an activity (ACK mode and replays), until it is resumed. Requires the role admin.

        No delivery starts after this; running ones finish. Calls with a waiting caller are not affected.

        Args:
            activity: The name of the activity.
            reason: Why, for other administrators: one line of at most 200 characters.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The activity never has deliveries, or the reason is too long.
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = operations_service_pb2.PauseActivityRequest(
            callback_activity=_requests.require_text("activity", activity),
            reason=_requests.require_text("reason", reason),
        )
        await self._call(lambda channel: grpc_io.operations(channel).PauseActivity, request, self._backoff(timeout))

    async def resume_activity(self, activity: str, *, timeout: float | None = None) -> None:
        """Resume the deliveries of an activity after `pause_activity`. Requires the role admin.

        Raises:
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = operations_service_pb2.ResumeActivityRequest(
            callback_activity=_requests.require_text("activity", activity)
        )
        await self._call(lambda channel: grpc_io.operations(channel).ResumeActivity, request, self._backoff(timeout))

    async def list_activities(
        self, *, owner: str = "", page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Activity]:
        """Yield the activities that are served, by name, with what waits for each. Pages are requested as needed.

        Activities that nothing serves are yielded, too, if a callback of the owner for them is open or, for an
        administrator, if a delivery waits.

        Args:
            owner: The owner whose open callbacks are counted. Default: your own. Other owners require the role admin,
                or a worker with `answers`.
            page_size: The number of activities per page. Default (0): 50. The server returns at most 100.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: An argument is out of range.
            PermissionDeniedError: The principal may not list for the owner.
            UnavailableError: No response arrived.
        """
        token = ""
        while True:
            page = await self.list_activities_page(owner=owner, page_size=page_size, page_token=token, timeout=timeout)
            for activity in page.items:
                yield activity
            token = page.next_page_token
            if not token:
                return

    async def list_activities_page(
        self, *, owner: str = "", page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> Page[Activity]:
        """Return one page of `list_activities`.

        Args:
            owner: As in `list_activities`. All pages of one list take the same `owner`.
            page_size: As in `list_activities`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Timeout in seconds. Default: that of the client.
        """
        request = operations_service_pb2.ListActivitiesRequest(
            owner=_requests.require_text("owner", owner),
            page_size=page_size,
            page_token=_requests.require_text("page_token", page_token),
        )
        reply = await self._call(
            lambda channel: grpc_io.operations(channel).ListActivities, request, self._backoff(timeout)
        )
        return Page(tuple(map(activity_from_proto, reply.activities)), reply.next_page_token)

    async def list_paused_activities(self, *, timeout: float | None = None) -> tuple[PausedActivity, ...]:
        """Return the paused activities, sorted by name, with who paused each, and why. Requires the role admin.

        Raises:
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = operations_service_pb2.ListPausedActivitiesRequest()
        reply = await self._call(
            lambda channel: grpc_io.operations(channel).ListPausedActivities, request, self._backoff(timeout)
        )
        return tuple(map(paused_from_proto, reply.paused_activities))

    async def get_statistics(self, *, timeout: float | None = None) -> Statistics:
        """Return what the servers have done in the last hour, and what waits now. Requires the role admin.

        Raises:
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived.
        """
        request = operations_service_pb2.GetStatisticsRequest()
        reply = await self._call(
            lambda channel: grpc_io.operations(channel).GetStatistics, request, self._backoff(timeout)
        )
        return statistics_from_proto(reply)

    async def list_findings(self, *, timeout: float | None = None) -> tuple[Finding, ...]:
        """Return what the server that responds finds in a check of itself, its store and its targets.

        The findings are at most a minute old. Requires the role admin.

        Raises:
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived.
        """
        request = operations_service_pb2.ListFindingsRequest()
        reply = await self._call(
            lambda channel: grpc_io.operations(channel).ListFindings, request, self._backoff(timeout)
        )
        return tuple(map(finding_from_proto, reply.findings))

    async def list_audit_entries(
        self,
        *,
        owner: str = "",
        actor: str = "",
        action: AuditAction | None = None,
        case_id: str = "",
        activity: str = "",
        recorded_after: datetime | None = None,
        recorded_before: datetime | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[AuditEntry]:
        """Yield entries of the audit, newest first: who changed what, and when. Pages are requested as needed.

        Args:
            owner: Only entries about callbacks of this owner. Default: all that you may see. Other owners than
                yourself require the role admin, or a worker with `answers`.
            actor: Only changes by this principal. Default: by every one.
            action: Only changes of this kind. Default: every kind.
            case_id: Only changes of this callback, also after it was deleted. Default: every one.
            activity: Only changes of this activity and its callbacks. Default: every one.
            recorded_after: Only entries of this time or later, with its time zone.
            recorded_before: Only entries of an earlier time than this, with its time zone.
            page_size: The number of entries per page. Default (0): 50. The server returns at most 1,000.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: An argument is out of range.
            PermissionDeniedError: The principal may not list for the owner.
            UnavailableError: No response arrived.
        """
        token = ""
        while True:
            page = await self.list_audit_entries_page(
                owner=owner,
                actor=actor,
                action=action,
                case_id=case_id,
                activity=activity,
                recorded_after=recorded_after,
                recorded_before=recorded_before,
                page_size=page_size,
                page_token=token,
                timeout=timeout,
            )
            for entry in page.items:
                yield entry
            token = page.next_page_token
            if not token:
                return

    async def list_audit_entries_page(
        self,
        *,
        owner: str = "",
        actor: str = "",
        action: AuditAction | None = None,
        case_id: str = "",
        activity: str = "",
        recorded_after: datetime | None = None,
        recorded_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[AuditEntry]:
        """Return one page of `list_audit_entries`.

        Args:
            owner: As in `list_audit_entries`.
            actor: As in `list_audit_entries`.
            action: As in `list_audit_entries`.
            case_id: As in `list_audit_entries`.
            activity: As in `list_audit_entries`.
            recorded_after: As in `list_audit_entries`.
            recorded_before: As in `list_audit_entries`.
            page_size: As in `list_audit_entries`.
            page_token: `next_page_token` of the previous page. Default: the first page.
            timeout: Timeout in seconds. Default: that of the client.
        """
        request = _requests.list_audit_entries_request(
            owner=owner,
            actor=actor,
            action=action,
            case_id=case_id,
            activity=activity,
            recorded_after=recorded_after,
            recorded_before=recorded_before,
            page_size=page_size,
            page_token=page_token,
        )
        reply = await self._call(
            lambda channel: grpc_io.audit(channel).ListAuditEntries, request, self._backoff(timeout)
        )
        return Page(tuple(map(audit_entry_from_proto, reply.entries)), reply.next_page_token)

    async def verify_audit(
        self, heads: Iterable[AuditHead] = (), *, timeout: float | None = None
    ) -> tuple[AuditChain, ...]:
        """Verify the audit: find entries that were altered, removed, inserted or moved. Requires the role admin.

        Args:
            heads: Heads of an earlier verification, kept outside of the store. Newest entries that were removed are
                found by them.
            timeout: Timeout of each page of chains in seconds. Default: that of the client.

        Returns:
            The result of each chain.

        Raises:
            InvalidRequestError: A head is none.
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived.
        """
        kept, chains, token = [*heads], list[AuditChain](), ""
        while True:
            request = _requests.verify_audit_request(kept, page_token=token)
            reply = await self._call(
                lambda channel: grpc_io.audit(channel).VerifyAudit, request, self._backoff(timeout)
            )
            chains += map(audit_chain_from_proto, reply.chains)
            token = reply.next_page_token
            if not token:
                return tuple(chains)

    def watch_calls(
        self,
        *,
        activity: str = "",
        labels: Mapping[str, str] | None = None,
        case_id: str = "",
        resume_token: str = "",
        latest_only: bool = False,
        timeout: float | None = None,
    ) -> "AsyncCallWatch":
        """Watch cases and calls: receive an event for each change.

        A principal with the role admin receives the events of all owners, any other principal those of its own
        callbacks.

            async with client.watch_calls(activity="order-paid") as watch:
                async for event in watch:
                    print(event.type, event.case_id)

        Args:
            activity: Only events of this activity.
            labels: Only events of cases that have all of these labels.
            case_id: Only events of this case.
            resume_token: `resume_token` of an event or of a watch with the same filter. The watch continues after it. A
                `case_id` that does not exist is then not an error, because the case may have been deleted. Default:
                start now.
            latest_only: Receive only the latest event, at most about one in 0.7 seconds. For a program that only needs
                to know that something has changed.
            timeout: How long to try to reconnect after each lost connection, in seconds. `math.inf` never gives up.
                Default: the timeout of the client.

        Raises:
            ValueError: The timeout is not a positive number.
        """
        request = _requests.watch_calls_request(
            activity=activity, labels=labels, case_id=case_id, resume_token=resume_token, latest_only=latest_only
        )
        timeout = self._timeout if timeout is None else timeout
        wait_backoff(timeout, longest=1.0)
        return AsyncCallWatch(self, request, timeout)

    async def wait_for_call(self, case_id: str, *, after: int = 0, timeout: float) -> Call:
        """Wait for a call of a case to end, and return it with its body.

            made = await client.generate_callback_url("record", Response("thank you"))
            …  # give made.url to the outside system
            call = await client.wait_for_call(made.case_id, timeout=3600)

        No call is missed between generating the URL and waiting: a call that ended before is returned at once. To wait
        for the next call, pass the number of the last one as `after`.

        Args:
            case_id: The case.
            after: Only calls with a greater `attempt`: 0 for the first call, `call.attempt` for the one after `call`.
                If several have ended, the earliest one that is still stored is returned.
            timeout: How long to wait, in seconds. `math.inf` waits without a limit.

        Raises:
            TimeoutError: No such call ended in time.
            CallbackClosedError: The case is closed, and has no such call.
            NotFoundError: The case does not exist.
            UnavailableError: No response arrived within the timeout of the client.
            ValueError: The timeout is not a positive number.
        """
        backoff = wait_backoff(timeout, longest=1.0)
        while True:
            remaining = max(backoff.remaining, 0.1)
            try:
                if call := await self._find_ended_call(case_id, after, timeout=min(self._timeout, remaining)):
                    return call
            except DeadlineExceededError:  # at the end of the wait, its own error says more
                if remaining > self._timeout:
                    raise
            if backoff.remaining <= 0:
                raise TimeoutError(f"no call of the callback {case_id} ended within {timeout:g} s")
            await grpc_io.sleep(min(backoff.next_pause(), max(backoff.remaining, 0)))

    async def _find_ended_call(self, case_id: str, after: int, *, timeout: float) -> Call | None:
        """Return the earliest stored call after the number `after` that has ended, with its body; None if none has."""
        callback = await self.get_callback(case_id, timeout=timeout)
        calls: list[Call] = []
        if callback.call_count > after:
            async for call in self.list_calls(case_id, page_size=100, timeout=timeout):
                if call.attempt <= after:
                    break
                calls.append(call)
        found = _requests.find_awaited_call(callback, calls)
        return await self.get_call(found.call_id, timeout=timeout) if found else None

    def _connection(self) -> grpc_io.Channel:
        """Return the channel. The first request creates it, and changed files of `tls` replace it.

        gRPC closes a replaced channel once its requests have ended.
        """
        if self._closed:
            raise self._closed_error()
        with self._opening:  # threads may share a synchronous client
            # Not in the constructor: a channel does not survive a fork of its process, and a channel of asyncio belongs
            # to the event loop that runs when it is created.
            if self._tls is not None and (self._tls.reload_if_changed() or self._channel is None):
                options = (*CHANNEL_OPTIONS, *self._tls.channel_options)
                self._channel = grpc_io.secure_channel(
                    channel_target(self._target), self._tls.credentials, options=options
                )
            elif self._channel is None:
                self._channel = grpc_io.insecure_channel(channel_target(self._target), options=CHANNEL_OPTIONS)
            return self._channel

    def _watch(self, request: messages.WatchCallsRequest) -> "grpc_io.WatchStream":
        return grpc_io.callbacks(self._connection()).WatchCalls(request, metadata=self._metadata())

    def _raise_unless_resumable(self, failure: grpc.RpcError, backoff: Backoff) -> float:
        """Return the pause before a broken watch resumes, in seconds, or raise its error if it cannot in time."""
        error = from_rpc_error(failure, self._target)
        if not self._retry or not can_resume_watch(error) or backoff.remaining <= 0:
            raise error from failure
        return backoff.next_pause(error.retry_after)

    def _closed_error(self) -> CallbackError:
        return CallbackError(f"this {type(self).__name__} is closed", code=grpc.StatusCode.CANCELLED)

    def _backoff(self, timeout: float | None) -> Backoff:
        return Backoff(self._timeout if timeout is None else finite_timeout(timeout))

    async def _call(
        self,
        method: Callable[[grpc_io.Channel], "grpc_io.UnaryMethod[_Request, _Reply]"],
        request: _Request,
        backoff: Backoff,
        *,
        once: bool = False,
        traceparent: str = "",
    ) -> _Reply:
        """Send a request, with retries until its timeout. Raise every gRPC error as a `CallbackError`."""
        traced = (("traceparent", traceparent),) if traceparent else ()
        while True:
            rpc = method(self._connection())
            try:
                return await rpc(request, timeout=backoff.remaining, metadata=(*self._metadata(), *traced))
            except grpc_io.CANCELLED as failure:
                if not self._closed or grpc_io.is_being_cancelled():
                    raise
                raise self._closed_error() from failure
            except grpc.RpcError as failure:
                if self._closed:
                    raise self._closed_error() from failure
                error = from_rpc_error(failure, self._target)
                pause = backoff.next_pause(error.retry_after)
                if once or not self._retry or not is_retryable(error) or pause >= backoff.remaining:
                    raise error from failure
            await grpc_io.sleep(pause)


class AsyncCallWatch(AsyncIterator[CallEvent]):
    """An iterator over the events of a watch, in order for each case. `watch_calls` returns it.

    Inside an `async with` block, the watch misses no event that happens after the start of the block. If the connection
    breaks, or the watch is too slow for the server, it reconnects and continues from its position without a gap.

    Raises, during the iteration or at the start of the block:
        WatchPositionLostError: The watch was disconnected for too long, and the missed events are no longer stored.
            List the current state with `list_callbacks` and `list_calls`, then watch without a token.
        TooManyWatchersError: The server has reached its limit of watchers.
        NotFoundError: The watched case does not exist.
        InvalidRequestError: An argument is out of range.
        UnavailableError: No server was reachable in time.
    """

    def __init__(self, client: AsyncCallbackClient, request: messages.WatchCallsRequest, timeout: float) -> None:
        self._client = client
        self._request = request
        self._timeout = timeout
        self._stream: grpc_io.WatchStream | None = None
        self._events: deque[CallEvent] = deque()
        self._closed = False

    @property
    def resume_token(self) -> str:
        """The position of the watch: after the last returned event, and after later events that the filter excludes.

        Inside the block it is set before the first event.
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
        return self._next_event()

    async def receive(self) -> list[CallEvent]:
        """Return the next events, as an alternative to iteration.

        The list is empty if only `resume_token` advanced, because no event matched the filter, and after the watch is
        closed.
        """
        if not self._events:
            await self._receive()
        return [self._next_event() for _ in range(len(self._events))]

    def close(self) -> None:
        """End the watch. Closing twice has no effect."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    def _next_event(self) -> CallEvent:
        event = self._events.popleft()
        if event.resume_token:
            self._request.resume_token = event.resume_token
        return event

    async def _receive(self) -> None:
        """Receive the next message. If the stream breaks, open another one from the current position."""
        backoff: Backoff | None = None  # from the loss of the connection: a watch can be silent for a long time
        while not self._closed:
            try:
                if self._stream is None:
                    self._stream = self._client._watch(self._request)  # noqa: SLF001  # same module
                message = await anext(aiter(self._stream), None)
            except grpc_io.CANCELLED as failure:
                if not (self._closed or self._client._closed) or grpc_io.is_being_cancelled():  # noqa: SLF001  # same module
                    raise
                if self._closed:
                    return
                raise self._client._closed_error() from failure  # noqa: SLF001  # same module
            except grpc.RpcError as failure:
                self._stream = None
                if self._closed:
                    return
                backoff = backoff or wait_backoff(self._timeout, longest=1.0)
                pause = self._client._raise_unless_resumable(failure, backoff)  # noqa: SLF001  # same module
            else:
                if message is not None:
                    self._events.extend(map(event_from_proto, message.events))
                    if not self._events:
                        self._request.resume_token = message.resume_token
                    return
                self._stream = None
                backoff = backoff or wait_backoff(self._timeout, longest=1.0)
                if backoff.remaining <= 0:
                    raise UnavailableError("the server ended the watch", code=grpc.StatusCode.UNAVAILABLE)
                pause = backoff.next_pause()
            await grpc_io.sleep(min(pause, max(backoff.remaining, 0)))
