"""Methods of the client that are as the contract has them.

Generated from the contract: `python3 tasks.py generate`.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime, timedelta

from callback import _checks as checks
from callback._conversion import from_timestamp, to_duration, to_timestamp
from callback._converters import (
    ANSWER_MODE,
    AUDIT_ACTION,
    CALL_FILTER,
    CALL_REASON,
    CALL_STATUS,
    CALLBACK_STATUS,
    GET_GUARD,
    activity_from_proto,
    audit_entry_from_proto,
    call_from_proto,
    callback_from_proto,
    findings_from_proto,
    paused_activity_from_proto,
    profile_check_from_proto,
    profile_from_proto,
    prompt_to_proto,
    response_to_proto,
    statistics_from_proto,
)
from callback._enums import (
    AnswerMode,
    AuditAction,
    CallbackStatus,
    CallFilter,
    CallReason,
    CallStatus,
    GetGuard,
)
from callback._values import (
    Activity,
    AuditEntry,
    Call,
    Callback,
    Findings,
    GeneratedCallback,
    PausedActivity,
    Profile,
    ProfileCheck,
    Prompt,
    Response,
    Statistics,
)
from callback.client._arguments import message
from callback.client._async_transport import AsyncCallWatch, AsyncTransport
from callback.client._page import Page
from callback.v1 import audit_service_pb2, callbacks_service_pb2, operations_service_pb2, profiles_service_pb2
from callback.v1.audit_service_pb2_grpc import AuditServiceStub
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback.v1.operations_service_pb2_grpc import OperationsServiceStub
from callback.v1.profiles_service_pb2_grpc import ProfilesServiceStub


class AsyncMethods(AsyncTransport):
    """The methods for which a request and its response are as the contract has them."""

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
        get_guard: GetGuard | None = None,
        answer_mode: AnswerMode | None = None,
        answer_deadline: timedelta | None = None,
        fallback: Response | None = None,
        ordered: bool = False,
        closed_response: Response | None = None,
        prompt: Prompt | None = None,
        hold_time: timedelta | None = None,
        repeat_window: timedelta | None = None,
        no_repeat: bool = False,
        remind_after: Collection[timedelta] = (),
        notify: Collection[CallReason] = (),
        allowed_origins: Collection[str] = (),
        frame_origins: Collection[str] = (),
        endpoint: str = "",
        correlation_key: str = "",
        no_url: bool = False,
        traceparent: str = "",
        timeout: float | None = None,
    ) -> GeneratedCallback:
        """Store a case durably and return its URL.

        A call that arrives before this response is not lost.

        Args:
            activity: Names the activity that decides on a call: `record` (store the call, send the response of the
                case), `form` (hold the call for a person), an activity with a push handler that the configuration of
                the server declares, or any other name, which belongs to the workers that serve it. 1-200 characters, no
                control characters.
            response: The response to a call, unless the handler overrides it. Required, with a `type`.
            activity_case: A text that the handler gets unchanged. Default empty, at most 200 characters.
            state_query_parameter: Makes the URL `{base}/cbq/{param}?{param}={state}`, for systems that only pass a
                state along (OAuth `state`, SAML `RelayState`). A letter, then at most 63 letters, digits, `_`, `.` or
                `-`. Default empty: the URL is `{base}/cb/{state}`.
            retryable_after_error: Keeps a single-use case (a case without `allow_multiple_calls`) open after a
                rejected, failed or interrupted call. Default false.
            allow_multiple_calls: Makes the case accept any number of calls, whatever their results, until it is
                closed or expires. Default false: the case accepts one call at a time. A success closes it; without
                `retryable_after_error`, so does a rejected, failed or interrupted call.
            alternative_domain: The `{base}` of the URL: `https://host` or `https://host:port`, without path, query,
                fragment or user. Upper case and the port 443 are normalized. Default empty: the `box_url` of the
                server. An operator can restrict it to a list, and reserve a domain for one owner.
            request_id: Makes the request safe to retry. The same id with the same content returns the same URL, for
                as long as the case is kept. The same id with other content fails with REQUEST_ID_REUSED. Once the case
                is deleted, the id is free, and the same request creates a case with another URL. Default empty, at most
                200 characters. Fails with REQUEST_ID_UNSUPPORTED where the server has no `state_key`.
            time_to_live: The time after which the case closes with reason EXPIRED. Default: the configuration of
                the server, or never. At least 1 second, at most 10 years or the maximum in the configuration of the
                server.
            labels: Name-value pairs of the owner, to find the case again. At most 16. Names have 1-63 letters,
                digits, `_`, `.`, `/` or `-`; values have at most 200 characters.
            verification_profile: The profile that every request must pass; otherwise the caller gets a 401 and
                nothing changes. It is a profile that the configuration of the server declares, or one of the owner,
                such as `own/shop-17` (`create_profile`); any other is refused. Default empty: everyone who has the URL
                can make the call.
            get_guard: Selects how a GET that may come from a program is handled. Default OFF. CONFIRM together with
                a `verification_profile` is refused: a person cannot sign a request.
            answer_mode: Selects how a call gets its response. Default HANDLER; for the activity `form` it is always
                HOLD.
            answer_deadline: The time after the start of a call at which a caller without a response gets
                `fallback`. Without a fallback it is told to wait: a browser gets a page that becomes the answer, and
                any other caller a 202 with the address of the answer (`Location`, `Retry-After`). The call continues:
                the case stays IN_PROGRESS, and the decision of the handler takes effect when it comes. Default: 2
                seconds for a browser, 300 seconds for any other caller of a held call. From 100 ms to 300 s, and at
                most the deadline of the activity, or `hold_time`.
            fallback: The response that a caller gets at `answer_deadline`. It must be complete, as the response of
                a `record` case must be. Needs `answer_deadline`. One of 2xx or 3xx accepts the request: a call of a
                HANDLER case then has a delivery, and ends when that is DELIVERED or DEAD.
            ordered: Makes the server deliver the calls of an ACK case one after the other, in their order: a call
                waits until the call before it is DELIVERED or DEAD. Default false. Refused with any other
                `answer_mode`.
            closed_response: The response to a request that reaches the case once it is closed and passes the
                verification, until the case is deleted. Such a request is not a call. It must be complete, as the
                response of a `record` case must be. Code 410 is refused together with `state_query_parameter`: that URL
                is shared, and some senders disable it for everyone after a 410. Default: a 410, or a 404 on `/cbq/`.
            prompt: What the page of the guard CONFIRM asks: a title, a text and choices. Default: whether to
                continue. Refused with any other `get_guard`.
            hold_time: How long a call of a HOLD case waits for its answer. After that it is FAILED, and its caller
                gets a 504. Default 300 seconds. At least 100 ms, at most the maximum in the configuration of the server
                (30 days by default). Refused with any other `answer_mode`.
            repeat_window: How long after the end of a call the same request gets the answer of that call again, in
                place of making another call: a reload, a double click, a form that is sent again. A request is the same
                if its method, query and body are. While the call runs, the same request waits with it; at most 16 wait.
                Once the case is closed, it gets the answer or the error of that call. While the case is open, it is
                another call, unless the case allows multiple calls and the call succeeded. A verified message with an
                id is recognized by its id alone, for the time that its verification profile says. Default: 2 minutes; 0
                if `allow_multiple_calls` is set. 0: the same request is another call. At most 7 days.
            no_repeat: Whether no answer is given twice, for example because it contains a secret: a repeat gets a
                410. Default false.
            remind_after: The times after the creation of the case at which the handler of the activity gets a
                REMINDER, if the case is neither closed nor resolved then. Needs REMINDER in `notify`. At most 10, each
                another one, from 1 second to 10 years. Default: none.
            notify: Selects the notifications that the handler of the activity gets. REMINDER: at each time of
                `remind_after`, until the case is closed or resolved. EXPIRY: when the case closes with reason EXPIRED,
                unless it is resolved. A call that runs or is held at that moment still gets its answer. Each is durable
                and has an id of its own (`call_id`). It is delivered with retries, as a call in ACK mode is, and only
                to a handler that takes notifications (see HandleNotification and Hello): until there is one, its
                delivery is PENDING with the failure NO_HANDLER. A REMINDER is dropped when its case closes or is
                resolved. Default: none. REMINDER and EXPIRY, each once; refused for the activities `record` and `form`,
                which have no handler.
            allowed_origins: The origins whose pages may call the URL by a script, and read what it is answered
                (CORS). Each is `scheme://host` or `scheme://host:port`, as a browser sends it in `Origin`; upper case
                and the default port are normalized. `*` alone allows the pages of every origin. No page can call with
                the credentials of the browser, such as cookies. Default empty: none; at most 20. Refused with the
                `get_guard` CONFIRM.
            frame_origins: The origins whose pages may show the URL in a frame: its answers, its errors, and the
                page that waits. The page of the `get_guard` CONFIRM can be in no frame. Each is an origin as in
                `allowed_origins`, but not `*`. Default empty: a request from a frame gets no page that waits, but the
                answer, within the deadline; at most 20.
            endpoint: The name of an endpoint of the owner: one URL, registered with a sender, for the events of
                many cases. The events that have the `correlation_key` are calls of this case, too. Needs
                `correlation_key`. Default empty: none. Any name but one of the owner's fails with ENDPOINT_NOT_FOUND.
            correlation_key: The text by which an event at the endpoint finds the case, such as the id of a payment.
                It is compared byte by byte. One case of a key is open at a time: another Generate fails with
                CORRELATION_KEY_IN_USE until that case is closed. A `request_id` counts within its key. Needs
                `endpoint`. 1-200 bytes.
            no_url: Makes the case without a URL of its own, so that only events reach it: the response has no `url`
                and no `state`. Needs `endpoint`. Default false. Refused with what only holds on such a URL: the state
                query parameter, the alternative domain, the verification profile, the guard, the prompt, the closed
                response, and the origins.
            traceparent: The W3C trace context of your program, as the header `traceparent` has it. A server that
                traces keeps it, and links the calls to it. Default: none.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            RequestIdReusedError: A case with this `request_id` and other content exists.
            RequestIdUnsupportedError: The server has no `state_key`, so it cannot return the same URL twice.
            UnavailableError: The store cannot be reached.
            TooManyOpenCallbacksError: The owner has its maximum number of cases that are not closed.
            PermissionDeniedError: The principal may not serve an activity that the worker announces, or may not
                generate callbacks of the activity.
            FeatureUnavailableError: The callback needs a feature that a server of the store, of an earlier release,
                does not know.
            CorrelationKeyInUseError: Another case with this `endpoint` and `correlation_key` is not closed.
            NotFoundError: There is no such endpoint, or it belongs to another owner.
        """
        request = callbacks_service_pb2.GenerateCallbackUrlRequest(
            callback_activity=checks.text("activity", activity),
            callback_activity_case=checks.text("activity_case", activity_case),
            state_query_parameter=checks.text("state_query_parameter", state_query_parameter),
            retryable_after_error=retryable_after_error,
            allow_multiple_calls=allow_multiple_calls,
            alternative_domain=checks.text("alternative_domain", alternative_domain),
            response=message("response", response, Response, response_to_proto),
            request_id=checks.text("request_id", request_id),
            time_to_live=None if time_to_live is None else to_duration(checks.duration("time_to_live", time_to_live)),
            labels=checks.texts("labels", labels),
            verification_profile=checks.text("verification_profile", verification_profile),
            get_guard=GET_GUARD.argument("get_guard", get_guard),
            answer_mode=ANSWER_MODE.argument("answer_mode", answer_mode),
            answer_deadline=None
            if answer_deadline is None
            else to_duration(checks.duration("answer_deadline", answer_deadline)),
            fallback=None if fallback is None else message("fallback", fallback, Response, response_to_proto),
            ordered=ordered,
            closed_response=None
            if closed_response is None
            else message("closed_response", closed_response, Response, response_to_proto),
            prompt=None if prompt is None else message("prompt", prompt, Prompt, prompt_to_proto),
            hold_time=None if hold_time is None else to_duration(checks.duration("hold_time", hold_time)),
            repeat_window=None
            if repeat_window is None
            else to_duration(checks.duration("repeat_window", repeat_window)),
            no_repeat=no_repeat,
            remind_after=[
                to_duration(checks.duration("remind_after", each))
                for each in checks.several("remind_after", remind_after)
            ],
            notify=[CALL_REASON.argument("notify", each) for each in checks.several("notify", notify)],
            allowed_origins=[
                checks.text("allowed_origins", each) for each in checks.several("allowed_origins", allowed_origins)
            ],
            frame_origins=[
                checks.text("frame_origins", each) for each in checks.several("frame_origins", frame_origins)
            ],
            endpoint=checks.text("endpoint", endpoint),
            correlation_key=checks.text("correlation_key", correlation_key),
            no_url=no_url,
        )
        return await self._generate(request, traceparent, timeout)

    async def close_callback(
        self,
        case_id: str,
        *,
        timeout: float | None = None,
    ) -> Callback:
        """Close a case at once, whatever its status.

        Calls that run continue, and their callers get a response. Closing a closed case has no effect and returns the
        case.

        Args:
            case_id: The case.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            UnavailableError: The store cannot be reached.
        """
        request = callbacks_service_pb2.CloseCallbackRequest(
            callback_case_id=checks.text("case_id", case_id),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).CloseCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def extend_callback(
        self,
        case_id: str,
        expire_time: datetime,
        *,
        timeout: float | None = None,
    ) -> Callback:
        """Set the time at which a case that is not closed expires.

        It can be later or earlier than before, or the first one. A case whose `expire_time` has passed is closed
        already. Reminders stay as they are. Sending the same time again has no effect.

        Args:
            case_id: The case.
            expire_time: The time at which the case closes with reason EXPIRED. Later than now, by the clock of the
                store, and at most 10 years from now or the maximum in the configuration of the server.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            CallbackClosedError: The case is closed.
            UnavailableError: The store cannot be reached.
        """
        request = callbacks_service_pb2.ExtendCallbackRequest(
            callback_case_id=checks.text("case_id", case_id),
            expire_time=to_timestamp(checks.time("expire_time", expire_time)),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).ExtendCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def get_callback(
        self,
        case_id: str,
        *,
        timeout: float | None = None,
    ) -> Callback:
        """Return one case.

        Args:
            case_id: The case.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            UnavailableError: The store cannot be reached.
        """
        request = callbacks_service_pb2.GetCallbackRequest(
            callback_case_id=checks.text("case_id", case_id),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).GetCallback, request, self._backoff(timeout)
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
        case_id_prefix: str = "",
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Callback]:
        """Yield the cases of one owner, newest first.

        Args:
            status: Selects cases in this status. Default: all.
            activity: Selects cases of this activity. Default empty: all.
            labels: Selects cases that have all of these labels. Default empty: all. At most 16.
            owner: The owner of the cases. Default empty: the principal of the request. Any other owner needs the
                role `admin`, or a worker with `answers = true`, which must name an owner; otherwise the RPC fails with
                ROLE_MISSING.
            last_call_status: Selects cases whose newest recorded call has this status. Default: all, also cases
                without calls. No index helps: the server looks at the calls of each case, so a page can be short or
                empty.
            created_after: Selects cases that were created at this time or later. Default: all.
            created_before: Selects cases that were created earlier than this time. Default: all.
            case_id_prefix: Selects cases whose id begins with these 8 to 32 hexadecimal digits, such as those of
                the reference on the page of an error. Default empty: all. No index helps: the server looks at one case
                in 64, so a page can be short or empty.
            page_size: The maximum number of cases to return. Default (0) 50. A value above 1,000 counts as 1,000. A
                negative value is refused.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
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
                case_id_prefix=case_id_prefix,
                page_size=page_size,
                page_token=token,
                timeout=timeout,
            )
            for each in page.items:
                yield each
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
        case_id_prefix: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Callback]:
        """Return one page of `list_callbacks`.

        Args:
            status: Selects cases in this status. Default: all.
            activity: Selects cases of this activity. Default empty: all.
            labels: Selects cases that have all of these labels. Default empty: all. At most 16.
            owner: The owner of the cases. Default empty: the principal of the request. Any other owner needs the
                role `admin`, or a worker with `answers = true`, which must name an owner; otherwise the RPC fails with
                ROLE_MISSING.
            last_call_status: Selects cases whose newest recorded call has this status. Default: all, also cases
                without calls. No index helps: the server looks at the calls of each case, so a page can be short or
                empty.
            created_after: Selects cases that were created at this time or later. Default: all.
            created_before: Selects cases that were created earlier than this time. Default: all.
            case_id_prefix: Selects cases whose id begins with these 8 to 32 hexadecimal digits, such as those of
                the reference on the page of an error. Default empty: all. No index helps: the server looks at one case
                in 64, so a page can be short or empty.
            page_size: The maximum number of cases to return. Default (0) 50. A value above 1,000 counts as 1,000. A
                negative value is refused.
            page_token: The `next_page_token` of the previous page, with the same filter. Default empty: the first
                page.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = callbacks_service_pb2.ListCallbacksRequest(
            page_size=page_size,
            page_token=checks.text("page_token", page_token),
            status=CALLBACK_STATUS.argument("status", status),
            callback_activity=checks.text("activity", activity),
            labels=checks.texts("labels", labels),
            owner=checks.text("owner", owner),
            last_call_status=CALL_STATUS.argument("last_call_status", last_call_status),
            created_after=None if created_after is None else to_timestamp(checks.time("created_after", created_after)),
            created_before=None
            if created_before is None
            else to_timestamp(checks.time("created_before", created_before)),
            case_id_prefix=checks.text("case_id_prefix", case_id_prefix),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).ListCallbacks, request, self._backoff(timeout)
        )
        return Page(
            tuple(callback_from_proto(each) for each in reply.callbacks),
            reply.next_page_token,
            searched_to=from_timestamp(reply.searched_to) if reply.HasField("searched_to") else None,
        )

    async def get_call(
        self,
        call_id: str,
        *,
        timeout: float | None = None,
    ) -> Call:
        """Return one recorded call.

        Args:
            call_id: The call.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such call, it belongs to another owner, or it is no longer kept.
            UnavailableError: The store cannot be reached.
        """
        request = callbacks_service_pb2.GetCallRequest(
            call_id=checks.text("call_id", call_id),
        )
        reply = await self._call(lambda channel: CallbacksServiceStub(channel).GetCall, request, self._backoff(timeout))
        return call_from_proto(reply.call)

    async def list_calls(
        self,
        case_id: str,
        *,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Call]:
        """Yield the recorded calls of one case, newest first.

        Args:
            case_id: The case.
            page_size: The maximum number of calls to return. Default (0) 50. A value above 100 counts as 100. A
                negative value is refused.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            UnavailableError: The store cannot be reached.
        """
        token = ""
        while True:
            page = await self.list_calls_page(case_id, page_size=page_size, page_token=token, timeout=timeout)
            for each in page.items:
                yield each
            token = page.next_page_token
            if not token:
                return

    async def list_calls_page(
        self,
        case_id: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Call]:
        """Return one page of `list_calls`.

        Args:
            case_id: The case.
            page_size: The maximum number of calls to return. Default (0) 50. A value above 100 counts as 100. A
                negative value is refused.
            page_token: The `next_page_token` of the previous page. Default empty: the first page.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            UnavailableError: The store cannot be reached.
        """
        request = callbacks_service_pb2.ListCallsRequest(
            callback_case_id=checks.text("case_id", case_id),
            page_size=page_size,
            page_token=checks.text("page_token", page_token),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).ListCalls, request, self._backoff(timeout)
        )
        return Page(tuple(call_from_proto(each) for each in reply.calls), reply.next_page_token)

    async def list_owner_calls(
        self,
        filter: CallFilter,  # noqa: A002  # the name in the contract
        *,
        owner: str = "",
        activity: str = "",
        ended_after: datetime | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Call]:
        """Yield those calls of all cases of one owner that match a filter, newest first.

        Args:
            filter: Selects the calls.
            owner: The owner of the calls. Default empty: the principal of the request. Any other owner needs the
                role `admin`, or a worker with `answers = true`, which must name an owner; otherwise the RPC fails with
                ROLE_MISSING.
            activity: Selects calls of this activity. Default empty: all. CALL_FILTER_PENDING requires one.
            ended_after: Selects calls that ended at this time or later. Refused unless the filter is
                CALL_FILTER_ENDED. Default: all.
            page_size: The maximum number of calls to return. Default (0) 50. A value above 100 counts as 100. A
                negative value is refused.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        token = ""
        while True:
            page = await self.list_owner_calls_page(
                filter,
                owner=owner,
                activity=activity,
                ended_after=ended_after,
                page_size=page_size,
                page_token=token,
                timeout=timeout,
            )
            for each in page.items:
                yield each
            token = page.next_page_token
            if not token:
                return

    async def list_owner_calls_page(
        self,
        filter: CallFilter,  # noqa: A002  # the name in the contract
        *,
        owner: str = "",
        activity: str = "",
        ended_after: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Call]:
        """Return one page of `list_owner_calls`.

        Args:
            filter: Selects the calls.
            owner: The owner of the calls. Default empty: the principal of the request. Any other owner needs the
                role `admin`, or a worker with `answers = true`, which must name an owner; otherwise the RPC fails with
                ROLE_MISSING.
            activity: Selects calls of this activity. Default empty: all. CALL_FILTER_PENDING requires one.
            ended_after: Selects calls that ended at this time or later. Refused unless the filter is
                CALL_FILTER_ENDED. Default: all.
            page_size: The maximum number of calls to return. Default (0) 50. A value above 100 counts as 100. A
                negative value is refused.
            page_token: The `next_page_token` of the previous page, with the same filter, owner, activity and
                `ended_after`. Default empty: the first page.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = callbacks_service_pb2.ListOwnerCallsRequest(
            filter=CALL_FILTER.argument("filter", filter),
            owner=checks.text("owner", owner),
            page_size=page_size,
            page_token=checks.text("page_token", page_token),
            callback_activity=checks.text("activity", activity),
            ended_after=None if ended_after is None else to_timestamp(checks.time("ended_after", ended_after)),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).ListOwnerCalls, request, self._backoff(timeout)
        )
        return Page(tuple(call_from_proto(each) for each in reply.calls), reply.next_page_token)

    async def erase_calls(
        self,
        case_id: str,
        *,
        timeout: float | None = None,
    ) -> int:
        """Erase the recorded data of the calls of a case permanently.

        Headers, query, body, client address, failure details and responses. The case stays as it is, with its own
        response and labels. The ids, times and statuses of the calls also stay. One exception: a PENDING delivery
        becomes DEAD, and after a fallback of 2xx or 3xx this ends its call and changes the case. For a call that runs,
        no data will be recorded. The append-only file of the store keeps erased data until the file is rewritten;
        backups keep it until they expire.

        Args:
            case_id: The case.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            UnavailableError: The store cannot be reached.
        """
        request = callbacks_service_pb2.EraseCallsRequest(
            callback_case_id=checks.text("case_id", case_id),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).EraseCalls, request, self._backoff(timeout)
        )
        return reply.erased_call_count

    async def replay_call(
        self,
        call_id: str,
        *,
        timeout: float | None = None,
    ) -> Call:
        """Run the handler of a recorded call again in the background, with retries, as in ACK mode.

        The result does not change the response that the caller got, nor the case, unless the handler closes it. The
        `delivery` of the call shows the progress. If the delivery of the call is PENDING, its next attempt becomes due
        now; after a fallback of 2xx or 3xx, that attempt can end the call and change the case. A notification is
        replayed in the same way, by its `call_id`; a REMINDER only while its case is neither closed nor resolved.

        Args:
            call_id: The call.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such call, it belongs to another owner, or it is no longer kept.
            UnavailableError: The store cannot be reached.
            CallNotReplayableError: The call runs, its request is not kept whole or was erased, or its activity has
                no handler.
        """
        request = callbacks_service_pb2.ReplayCallRequest(
            call_id=checks.text("call_id", call_id),
        )
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).ReplayCall, request, self._backoff(timeout)
        )
        return call_from_proto(reply.call)

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
        """Stream an event for each change of a case or call that the principal of the request sees.

        An administrator sees those of every owner. It starts now, or continues after a resume token without a gap. The
        events of one case are in order. After an error, watch again with the last resume token; after
        WATCH_POSITION_LOST, without a token.

        Args:
            activity: Selects events of this activity. Default empty: all.
            labels: Selects events of cases that have all of these labels. Default empty: all. At most 16.
            case_id: Selects events of this case. Default empty: all. Without a `resume_token` the case must exist;
                otherwise the RPC fails with CALLBACK_NOT_FOUND. With a `resume_token` the case may be deleted already:
                the remaining events are still sent.
            resume_token: The token of the last event that the client handled, or of the last message, in a watch
                with the same filter. Default empty: start now. At most 4,000 characters.
            latest_only: For a client that only needs to know that something has changed, such as a page that loads
                again. A message then has the latest event alone; those before it are skipped. The watch pauses after
                each one, for 0.7 seconds, or for up to 10 seconds while there are many such watches. Default false:
                every event is sent.
            timeout: How long to try to reconnect after each lost connection, in seconds. `math.inf` never gives up.
                Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such case, or it belongs to another owner.
            UnavailableError: The store cannot be reached. Or: The server process stops and accepts no new calls,
                workers or watchers.
            WatchPositionLostError: The position of the resume token is lost: its events are no longer kept, the
                store has lost it (a failover, or a restored backup), or a server of a later release made the token.
            WatcherTooSlowError: The watcher reads more slowly than events come.
            TooManyWatchersError: The server process has its maximum number of watchers, in total or of this
                principal.
        """
        request = callbacks_service_pb2.WatchCallsRequest(
            callback_activity=checks.text("activity", activity),
            labels=checks.texts("labels", labels),
            callback_case_id=checks.text("case_id", case_id),
            resume_token=checks.text("resume_token", resume_token),
            latest_only=latest_only,
        )
        return self._watch_calls(request, timeout)

    async def pause_activity(
        self,
        activity: str,
        *,
        reason: str = "",
        timeout: float | None = None,
    ) -> None:
        """Pause the deliveries of an activity until `resume_activity`.

        Deliveries are those of ACK mode, of fallbacks, of replays and of notifications. No attempt starts after this
        response; attempts that run continue. Calls whose caller waits are not paused. The activity does not have to be
        declared in the configuration. At most 1,000 activities are paused at a time. Needs the role `admin`.

        Args:
            activity: The activity. `record` and `form` are refused: their calls are never delivered.
            reason: Why, for other administrators: one line of at most 200 characters. Default empty. Of an activity
                that is paused already, the last request counts.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = operations_service_pb2.PauseActivityRequest(
            callback_activity=checks.text("activity", activity),
            reason=checks.text("reason", reason),
        )
        await self._call(lambda channel: OperationsServiceStub(channel).PauseActivity, request, self._backoff(timeout))

    async def resume_activity(
        self,
        activity: str,
        *,
        timeout: float | None = None,
    ) -> None:
        """Resume the deliveries of an activity after `pause_activity`.

        Needs the role `admin`.

        Args:
            activity: The activity.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = operations_service_pb2.ResumeActivityRequest(
            callback_activity=checks.text("activity", activity),
        )
        await self._call(lambda channel: OperationsServiceStub(channel).ResumeActivity, request, self._backoff(timeout))

    async def list_paused_activities(
        self,
        *,
        timeout: float | None = None,
    ) -> tuple[PausedActivity, ...]:
        """Return the paused activities.

        Needs the role `admin`.

        Args:
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = operations_service_pb2.ListPausedActivitiesRequest()
        reply = await self._call(
            lambda channel: OperationsServiceStub(channel).ListPausedActivities, request, self._backoff(timeout)
        )
        return tuple(paused_activity_from_proto(each) for each in reply.paused_activities)

    async def list_activities(
        self,
        *,
        owner: str = "",
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Activity]:
        """Yield the activities that are served, by name: how, by how many workers, and what waits for them.

        It also returns those that nothing serves and for which a case of the owner is open or, for an administrator, a
        delivery waits. A principal whose entry names activities gets only these.

        Args:
            owner: The owner whose open cases are counted. Default empty: the principal of the request. Any other
                owner needs the role `admin`, or a worker with `answers = true`; otherwise the RPC fails with
                ROLE_MISSING.
            page_size: The maximum number of activities to return. Default (0) 50. A value above 100 counts as 100.
                A negative value is refused.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        token = ""
        while True:
            page = await self.list_activities_page(owner=owner, page_size=page_size, page_token=token, timeout=timeout)
            for each in page.items:
                yield each
            token = page.next_page_token
            if not token:
                return

    async def list_activities_page(
        self,
        *,
        owner: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Activity]:
        """Return one page of `list_activities`.

        It also returns those that nothing serves and for which a case of the owner is open or, for an administrator, a
        delivery waits. A principal whose entry names activities gets only these.

        Args:
            owner: The owner whose open cases are counted. Default empty: the principal of the request. Any other
                owner needs the role `admin`, or a worker with `answers = true`; otherwise the RPC fails with
                ROLE_MISSING.
            page_size: The maximum number of activities to return. Default (0) 50. A value above 100 counts as 100.
                A negative value is refused.
            page_token: The `next_page_token` of the previous page, with the same owner. Default empty: the first
                page.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = operations_service_pb2.ListActivitiesRequest(
            page_size=page_size,
            page_token=checks.text("page_token", page_token),
            owner=checks.text("owner", owner),
        )
        reply = await self._call(
            lambda channel: OperationsServiceStub(channel).ListActivities, request, self._backoff(timeout)
        )
        return Page(tuple(activity_from_proto(each) for each in reply.activities), reply.next_page_token)

    async def get_statistics(
        self,
        *,
        timeout: float | None = None,
    ) -> Statistics:
        """Return what the servers have done in the last hour, and what waits in the store now.

        Needs the role `admin`.

        Args:
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = operations_service_pb2.GetStatisticsRequest()
        reply = await self._call(
            lambda channel: OperationsServiceStub(channel).GetStatistics, request, self._backoff(timeout)
        )
        return statistics_from_proto(reply)

    async def list_findings(
        self,
        *,
        timeout: float | None = None,
    ) -> Findings:
        """Check the server that responds, as `callback doctor` does on its machine.

        Its files, certificates and principals, the store, and the targets of its activities. The findings are at most a
        minute old. Needs the role `admin`.

        Args:
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = operations_service_pb2.ListFindingsRequest()
        reply = await self._call(
            lambda channel: OperationsServiceStub(channel).ListFindings, request, self._backoff(timeout)
        )
        return findings_from_proto(reply)

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
        """Yield the entries of the audit, newest first: what principals have changed, and when.

        An entry and its change are stored together. An administrator gets all entries; any other principal gets those
        about the cases that it sees and, as an owner, about its verification profiles. Making a case has no entry: the
        case itself says who made it, and when.

        Args:
            owner: Selects entries about cases of this owner. Default empty: all that the principal of the request
                sees. Any other owner than that principal needs the role `admin`, or a worker with `answers = true`;
                otherwise the RPC fails with ROLE_MISSING.
            actor: Selects entries of changes by this principal. Default empty: all.
            action: Selects entries of one kind of change. Default: all.
            case_id: Selects entries about this case, also after the case was deleted. Default empty: all.
            activity: Selects entries about this activity and its cases. Default empty: all.
            recorded_after: Selects entries of this time or later. Default: all.
            recorded_before: Selects entries of an earlier time than this. Default: all.
            page_size: The maximum number of entries to return. Default (0) 50. A value above 1,000 counts as 1,000.
                A negative value is refused.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
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
            for each in page.items:
                yield each
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

        An entry and its change are stored together. An administrator gets all entries; any other principal gets those
        about the cases that it sees and, as an owner, about its verification profiles. Making a case has no entry: the
        case itself says who made it, and when.

        Args:
            owner: Selects entries about cases of this owner. Default empty: all that the principal of the request
                sees. Any other owner than that principal needs the role `admin`, or a worker with `answers = true`;
                otherwise the RPC fails with ROLE_MISSING.
            actor: Selects entries of changes by this principal. Default empty: all.
            action: Selects entries of one kind of change. Default: all.
            case_id: Selects entries about this case, also after the case was deleted. Default empty: all.
            activity: Selects entries about this activity and its cases. Default empty: all.
            recorded_after: Selects entries of this time or later. Default: all.
            recorded_before: Selects entries of an earlier time than this. Default: all.
            page_size: The maximum number of entries to return. Default (0) 50. A value above 1,000 counts as 1,000.
                A negative value is refused.
            page_token: The `next_page_token` of the previous page, with the same filters. Default empty: the first
                page.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            PermissionDeniedError: The principal does not have the role that the request needs.
        """
        request = audit_service_pb2.ListAuditEntriesRequest(
            page_size=page_size,
            page_token=checks.text("page_token", page_token),
            owner=checks.text("owner", owner),
            actor=checks.text("actor", actor),
            action=AUDIT_ACTION.argument("action", action),
            callback_case_id=checks.text("case_id", case_id),
            callback_activity=checks.text("activity", activity),
            recorded_after=None
            if recorded_after is None
            else to_timestamp(checks.time("recorded_after", recorded_after)),
            recorded_before=None
            if recorded_before is None
            else to_timestamp(checks.time("recorded_before", recorded_before)),
        )
        reply = await self._call(
            lambda channel: AuditServiceStub(channel).ListAuditEntries, request, self._backoff(timeout)
        )
        return Page(tuple(audit_entry_from_proto(each) for each in reply.entries), reply.next_page_token)

    async def create_profile(
        self,
        name: str,
        kind: str,
        secrets: Collection[str],
        *,
        settings: str = "",
        timeout: float | None = None,
    ) -> Profile:
        """Store a new profile.

        The same request again returns the profile that is there.

        Args:
            name: The name of the profile: `own/`, and 1-63 lower-case letters, digits, `.`, `_` or `-`.
            kind: The kind of the profile: one that has secrets or keys, such as `hmac`, or `provider:NAME` of the
                list of providers.
            secrets: The secrets or keys, each as the text in a file of a profile of the configuration: 1 to 4.
                Together with the settings they have at most 16 KiB.
            settings: The other settings of the kind, as a JSON object. Those that name files or URLs are refused.
                Default empty: none.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            ProfileExistsError: The principal has another verification profile of this name.
            TooManyProfilesError: The principal has its maximum number of verification profiles.
            KeyringMissingError: The server has no `keyring_file`, so it cannot store a secret.
        """
        request = profiles_service_pb2.CreateProfileRequest(
            name=checks.text("name", name),
            kind=checks.text("kind", kind),
            settings=checks.text("settings", settings),
            secrets=[checks.text("secrets", each) for each in checks.several("secrets", secrets)],
        )
        reply = await self._call(
            lambda channel: ProfilesServiceStub(channel).CreateProfile, request, self._backoff(timeout)
        )
        return profile_from_proto(reply.profile)

    async def get_profile(
        self,
        name: str,
        *,
        timeout: float | None = None,
    ) -> Profile:
        """Return a profile without its secrets.

        Args:
            name: The name of the profile.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            NotFoundError: The principal has no such verification profile.
        """
        request = profiles_service_pb2.GetProfileRequest(
            name=checks.text("name", name),
        )
        reply = await self._call(
            lambda channel: ProfilesServiceStub(channel).GetProfile, request, self._backoff(timeout)
        )
        return profile_from_proto(reply.profile)

    async def list_profiles(
        self,
        *,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Profile]:
        """Yield the profiles of the principal, sorted by name.

        Args:
            page_size: The maximum number of profiles to return. Default (0) 50. A value above 100 counts as 100. A
                negative value is refused.
            timeout: Timeout of each page in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
        """
        token = ""
        while True:
            page = await self.list_profiles_page(page_size=page_size, page_token=token, timeout=timeout)
            for each in page.items:
                yield each
            token = page.next_page_token
            if not token:
                return

    async def list_profiles_page(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Profile]:
        """Return one page of `list_profiles`.

        Args:
            page_size: The maximum number of profiles to return. Default (0) 50. A value above 100 counts as 100. A
                negative value is refused.
            page_token: The `next_page_token` of the previous page. Default empty: the first page.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
        """
        request = profiles_service_pb2.ListProfilesRequest(
            page_size=page_size,
            page_token=checks.text("page_token", page_token),
        )
        reply = await self._call(
            lambda channel: ProfilesServiceStub(channel).ListProfiles, request, self._backoff(timeout)
        )
        return Page(tuple(profile_from_proto(each) for each in reply.profiles), reply.next_page_token)

    async def update_profile(
        self,
        name: str,
        *,
        settings: str | None = None,
        added_secrets: Collection[str] = (),
        retired_secret_ids: Collection[str] = (),
        retire_time: datetime | None = None,
        timeout: float | None = None,
    ) -> Profile:
        """Change a profile: its settings, secrets that are added, and secrets that are retired.

        Those that were retired before are removed. A secret that is valid already is not added a second time: it stays
        valid, also if it is among those to retire, or was to be retired later.

        Args:
            name: The name of the profile.
            settings: The new settings in place of all former ones, as in `create_profile`. The kind stays. Default:
                no change.
            added_secrets: Secrets or keys to add. At most 4 can be valid at a time. Default: none.
            retired_secret_ids: The ids of secrets to retire. Default: none.
            retire_time: From when on these are not valid any more. Default: now.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
            NotFoundError: The principal has no such verification profile.
            KeyringMissingError: The server has no `keyring_file`, so it cannot store a secret.
        """
        request = profiles_service_pb2.UpdateProfileRequest(
            name=checks.text("name", name),
            settings=None if settings is None else checks.text("settings", settings),
            added_secrets=[
                checks.text("added_secrets", each) for each in checks.several("added_secrets", added_secrets)
            ],
            retired_secret_ids=[
                checks.text("retired_secret_ids", each)
                for each in checks.several("retired_secret_ids", retired_secret_ids)
            ],
            retire_time=None if retire_time is None else to_timestamp(checks.time("retire_time", retire_time)),
        )
        reply = await self._call(
            lambda channel: ProfilesServiceStub(channel).UpdateProfile, request, self._backoff(timeout)
        )
        return profile_from_proto(reply.profile)

    async def delete_profile(
        self,
        name: str,
        *,
        timeout: float | None = None,
    ) -> None:
        """Delete a profile with its secrets, if it is there.

        Callers of callbacks that name it then get a 503.

        Args:
            name: The name of the profile.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            UnavailableError: The store cannot be reached.
        """
        request = profiles_service_pb2.DeleteProfileRequest(
            name=checks.text("name", name),
        )
        await self._call(lambda channel: ProfilesServiceStub(channel).DeleteProfile, request, self._backoff(timeout))

    async def check_profile(
        self,
        name: str,
        *,
        call_id: str = "",
        http_request: bytes = b"",
        url: str = "",
        arrival_time: datetime | None = None,
        timeout: float | None = None,
    ) -> ProfileCheck:
        """Say whether a request passes a profile, by the secrets that are valid now.

        One that was recorded with a call, or a given one. Nothing is called. At most 60 checks of a principal in a
        minute, by each server.

        Args:
            name: The name of the profile.
            call_id: A call of a callback that the principal sees. Give either this or `http_request`.
            http_request: A request to check in place of a call, as text: its first line, its header fields, an
                empty line and its body, as in HTTP/1.1. Default empty: the request of the call.
            url: The URL of the request with its query, as the sender knows it. No server keeps it, so give it if
                the sender signs it. Default empty: of a given request, its `Host` and its path.
            arrival_time: When a given request arrived. Default: now.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The request is not valid, whatever the stored data.
            NotFoundError: There is no such call, it belongs to another owner, or it is no longer kept. Or: The
                principal has no such verification profile.
            UnavailableError: The store cannot be reached.
            TooManyChecksError: The principal has made as many checks as it can in a minute.
            ProfileUnusableError: The server cannot use the profile; the text says why.
        """
        request = profiles_service_pb2.CheckProfileRequest(
            name=checks.text("name", name),
            call_id=checks.text("call_id", call_id),
            http_request=http_request,
            url=checks.text("url", url),
            arrival_time=None if arrival_time is None else to_timestamp(checks.time("arrival_time", arrival_time)),
        )
        reply = await self._call(
            lambda channel: ProfilesServiceStub(channel).CheckProfile, request, self._backoff(timeout)
        )
        return profile_check_from_proto(reply)
