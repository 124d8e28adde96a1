"""The client of `CallbackService`: make a URL, decide its answer, close it, look at what came in."""

import math
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from callback.channel import CHANNEL_OPTIONS
from callback.converters import call_from_proto, callback_from_proto, response_to_proto
from callback.errors import from_rpc_error
from callback.v1 import callback_pb2
from callback.v1 import callback_service_pb2 as messages
from callback.v1.callback_service_pb2_grpc import CallbackServiceStub
from callback.values import Call, Callback, CallbackStatus, GeneratedCallback, Page, Response

if TYPE_CHECKING:
    from callback.v1.callback_service_pb2_grpc import CallbackServiceAsyncStub  # a type only, not there at run time

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where `callback up` listens."""

DEFAULT_TIMEOUT = 10.0
"""How long an answer may take, in seconds, unless another time is given."""

_RESPONSE_FIELDS = {
    "type": "response_type",
    "redirect_url": "response_redirect_url",
    "body": "response_body",
    "code": "response_code",
    "headers": "response_headers",
}

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class CallbackClient:
    """An asyncio client of one Callback server.

    ::

        async with CallbackClient("127.0.0.1:50051") as client:
            callback = await client.generate_callback_url("order-paid", Redirect("/page/thankyou"))
            print(callback.url)

    It connects with the first call, connects again by itself, and belongs to the event loop of that first call. One
    client serves any number of concurrent calls. Every method takes a `timeout` in seconds and raises `CallbackError`
    or one of its kinds, nothing else of gRPC's.

    Args:
        target: `host:port`, or another gRPC target such as `dns:///callback:50051` or `unix:/run/callback.sock`.
        timeout: How long an answer may take, in seconds, unless a call says otherwise.
        credentials: For TLS, from `grpc.ssl_channel_credentials`. Default: none, plain text.

    Raises:
        ValueError: The timeout is not a positive, finite number.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._target = target
        self._timeout = _seconds(timeout)
        self._credentials = credentials
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls that wait for an answer are cancelled. Closing twice is fine."""
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
        timeout: float | None = None,
    ) -> GeneratedCallback:
        """Store a case, durably, and return its URL.

        Args:
            activity: Who decides what happens on a call: `record`, or an activity that the server declares.
            response: What a call is answered with, unless its handler overrides it.
            activity_case: Handed to the handler unchanged.
            state_query_parameter: Makes the URL `/cbq/{param}?{param}={state}`, for OAuth, SAML and the like.
            retryable_after_error: Leaves a single-use case open after a rejected or failed call.
            allow_multiple_calls: Leaves the case open, whatever becomes of its calls, until it is closed.
            alternative_domain: `https://host[:port]` for the URL, instead of the server's own.
            request_id: Makes the request safe to send again: the same id and content give the same URL.
            time_to_live: Closes the case after this time. Default: what the operator says, else never.
            labels: Pairs of the owner's own, to find the case again.
            timeout: Seconds; default the client's.

        Raises:
            InvalidRequestError: The violations name every bad field; nothing was stored.
            RequestIdReusedError: A case with this request id and other content exists.
            UnavailableError: No answer. Safe to send again with a `request_id`.
        """
        request = messages.GenerateCallbackUrlRequest(
            callback_activity=activity,
            callback_activity_case=activity_case,
            state_query_parameter=state_query_parameter,
            retryable_after_error=retryable_after_error,
            allow_multiple_calls=allow_multiple_calls,
            alternative_domain=alternative_domain,
            response=response_to_proto(response),
            request_id=request_id,
            labels=dict(labels or {}),
        )
        if time_to_live is not None:
            request.time_to_live.FromTimedelta(time_to_live)
        answer = await self._ask(self._stub.GenerateCallbackUrl, request, timeout)
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
        given = {name for name in _RESPONSE_FIELDS if getattr(response, name) is not None}
        for name in reset:
            if name not in _RESPONSE_FIELDS or name == "type":
                raise ValueError(f"reset can not name {name!r}: it takes redirect_url, body, code and headers")
            if name in given:
                raise ValueError(f"{name} is both set and reset")
        paths = [path for name, path in _RESPONSE_FIELDS.items() if name in given or name in reset]
        request = messages.SetResponseRequest(
            callback_case_id=case_id, response=response_to_proto(response), update_mask=FieldMask(paths=paths)
        )
        answer = await self._ask(self._stub.SetResponse, request, timeout)
        return callback_from_proto(answer.callback)

    async def close_callback(self, case_id: str, *, timeout: float | None = None) -> Callback:
        """Close a case at once, whatever its status, and return it.

        Calls that run go on and are answered. Closing a closed case changes nothing.

        Raises:
            NotFoundError: There is no such case.
            UnavailableError: No answer. Safe to send again.
        """
        request = messages.CloseCallbackRequest(callback_case_id=case_id)
        return callback_from_proto((await self._ask(self._stub.CloseCallback, request, timeout)).callback)

    async def get_callback(self, case_id: str, *, timeout: float | None = None) -> Callback:
        """Return a case.

        Raises:
            NotFoundError: There is no such case.
            UnavailableError: No answer.
        """
        request = messages.GetCallbackRequest(callback_case_id=case_id)
        return callback_from_proto((await self._ask(self._stub.GetCallback, request, timeout)).callback)

    async def list_callbacks(
        self,
        *,
        status: CallbackStatus | None = None,
        activity: str = "",
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Callback]:
        """Yield the caller's cases, newest first, page by page as they are consumed, without their bodies.

        ::

            async for callback in client.list_callbacks(status=CallbackStatus.OPEN):
                print(callback.case_id)

        Args:
            status: Only cases in this status.
            activity: Only cases of this activity.
            page_size: How many to ask for at a time, at most 1,000. Default (0) 50.
            timeout: Seconds for each page; default the client's.

        Raises:
            InvalidRequestError: An argument is out of its bounds.
            UnavailableError: No answer.
        """
        token = ""
        while True:
            page = await self.list_callbacks_page(
                status=status, activity=activity, page_size=page_size, page_token=token, timeout=timeout
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
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Page[Callback]:
        """Return one page of `list_callbacks`.

        Args:
            status: As there, and the same for every page of one list; so is `activity`.
            activity: As there.
            page_size: As there.
            page_token: `next_page_token` of the page before. Default: the first page.
            timeout: Seconds; default the client's.
        """
        request = messages.ListCallbacksRequest(page_size=page_size, page_token=page_token, callback_activity=activity)
        if status is not None:
            request.status = callback_pb2.CallbackStatus.Value(f"CALLBACK_STATUS_{status}")
        answer = await self._ask(self._stub.ListCallbacks, request, timeout)
        return Page(tuple(map(callback_from_proto, answer.callbacks)), answer.next_page_token)

    async def get_call(self, call_id: str, *, timeout: float | None = None) -> Call:
        """Return a recorded call, with its body.

        Raises:
            NotFoundError: There is no such call, or it is no longer kept.
            UnavailableError: No answer.
        """
        request = messages.GetCallRequest(call_id=call_id)
        return call_from_proto((await self._ask(self._stub.GetCall, request, timeout)).call)

    async def list_calls(
        self, case_id: str, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Call]:
        """Yield the recorded calls of a case, newest first, page by page as they are consumed, without their bodies.

        Args:
            case_id: The case.
            page_size: How many to ask for at a time, at most 100. Default (0) 50.
            timeout: Seconds for each page; default the client's.

        Raises:
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
            case_id: The case.
            page_size: As there.
            page_token: `next_page_token` of the page before. Default: the first page.
            timeout: Seconds; default the client's.
        """
        request = messages.ListCallsRequest(callback_case_id=case_id, page_size=page_size, page_token=page_token)
        answer = await self._ask(self._stub.ListCalls, request, timeout)
        return Page(tuple(map(call_from_proto, answer.calls)), answer.next_page_token)

    @property
    def _stub(self) -> "CallbackServiceAsyncStub":
        if self._closed:
            raise RuntimeError("this CallbackClient is closed")
        if self._channel is None:
            # Not in the constructor: a channel belongs to the event loop that runs when it is made.
            self._channel = (
                grpc.aio.insecure_channel(self._target, options=CHANNEL_OPTIONS)
                if self._credentials is None
                else grpc.aio.secure_channel(self._target, self._credentials, options=CHANNEL_OPTIONS)
            )
        return CallbackServiceStub(self._channel)

    async def _ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer],
        request: _Request,
        timeout: float | None,
    ) -> _Answer:
        """Send one request under its deadline; every failure of gRPC becomes a `CallbackError`."""
        seconds = self._timeout if timeout is None else _seconds(timeout)
        try:
            return await method(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._target) from error


def _seconds(timeout: float) -> float:
    if not (math.isfinite(timeout) and timeout > 0):
        raise ValueError(f"a timeout is a positive, finite number of seconds, not {timeout!r}")
    return timeout
