"""Connection of the client: requests with retries, and watches.

Source of `_sync_transport.py`: run `python3 tasks.py generate` after each change.
"""

import itertools
import logging
import threading
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from os import PathLike
from typing import Self, TypeVar

import grpc

from callback import _checks as checks
from callback._converters import call_event_from_proto, generated_callback_from_proto
from callback._errors import CallbackError, UnavailableError
from callback._reason_errors import RequestIdUnsupportedError
from callback._rpc_errors import from_rpc_error, from_status
from callback._values import CallEvent, GeneratedCallback
from callback.client import _async_grpc as grpc_io
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
from callback.connection._tls import Tls, TlsFiles, open_channel
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback_shared.addresses import Addresses
from callback_shared.targets import DEFAULT_TARGET, check_target, has_several

_SPREAD_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.service_config", '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}'),
)
"""Options of a channel to one address of a name, any of them. A list has an order: the first one comes first."""
_log = logging.getLogger("callback.client")
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


class AsyncTransport:
    """The connection of a client, whose class describes the arguments."""

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
        self._tls = None if tls is None else TlsFiles(tls)
        check_target(checks.text("target", target), needs_name=tls is not None and tls.server_name is None)
        self._target = target
        self._addresses = Addresses(target)
        self._options = CHANNEL_OPTIONS if has_several(target) else _SPREAD_OPTIONS
        self._metadata = token_metadata(token, token_file)
        self._timeout = finite_timeout(timeout)
        self._retry = retry
        self._channel: grpc_io.Channel | None = None
        self._loop: object = None
        """The event loop to which the channel belongs."""
        self._opening = threading.Lock()
        self._closed = False
        warn_of_plain_text(target, tls, has_token=token is not None or token_file is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Closing twice has no effect.

        Requests in progress, and later ones, raise a `CallbackError` with the code CANCELLED.
        """
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def _connection(self, timeout: float) -> grpc_io.Channel:
        """Return the channel. The first request creates it; changed addresses, and changed files of `tls`, replace it.

        gRPC closes a replaced channel once its requests have ended. Only the first request waits for the addresses, at
        most for the timeout in seconds.

        Raises:
            RuntimeError: Another event loop made the first request.
        """
        if self._channel is not None and self._loop is not grpc_io.event_loop():
            name = type(self).__name__
            raise RuntimeError(f"this {name} belongs to another event loop: use one {name} in each event loop")
        if not self._addresses.is_known:
            await grpc_io.wait(self._addresses.look_up(), timeout)
        if self._closed:
            raise self._closed_error()
        with self._opening:  # threads may share a synchronous client
            # Not in the constructor: a channel does not survive a fork of its process, and a channel of asyncio belongs
            # to the event loop that runs when it is created.
            has_changed = self._addresses.refresh()
            has_changed |= self._tls is not None and self._tls.reload_if_changed()
            if self._channel is None or has_changed:
                self._loop = grpc_io.event_loop()
                self._channel = open_channel(grpc_io.library, self._addresses, self._tls, self._options)
            return self._channel

    async def _watch(
        self, request: messages.WatchCallsRequest, timeout: float, *, ends_in: float | None = None
    ) -> "grpc_io.WatchStream":
        """Open a watch, which ends in so many seconds."""
        channel = await self._connection(timeout)
        return CallbacksServiceStub(channel).WatchCalls(request, timeout=ends_in, metadata=self._metadata())

    async def _until_change(self, watch: "grpc_io.WatchStream", *, is_new: bool) -> None:
        """Wait until a new watch has begun, or for the next events of one that has.

        Raises:
            CallbackError: The watch has ended. A `DeadlineExceededError`: as it was to end.
        """
        try:
            while (message := await anext(aiter(watch), None)) is not None:
                if is_new or message.events:
                    return
        except grpc_io.CANCELLED as failure:
            if not self._closed or grpc_io.is_being_cancelled():
                raise
            raise self._closed_error() from failure
        except grpc.RpcError as failure:
            raise (self._closed_error() if self._closed else self._error_from(failure)) from failure
        raise UnavailableError("the server ended the watch", code=grpc.StatusCode.UNAVAILABLE)

    def _raise_unless_resumable(self, failure: grpc.RpcError, backoff: Backoff) -> float:
        """Return the pause before a broken watch resumes, in seconds, or raise its error if it cannot in time."""
        error = self._error_from(failure)
        if not self._retry or not can_resume_watch(error) or backoff.remaining <= 0:
            raise error from failure
        return backoff.next_pause(error.retry_after)

    def _error_from(self, failure: grpc.RpcError) -> CallbackError:
        error = from_rpc_error(failure, self._target, encrypted=self._tls is not None)
        if isinstance(error, UnavailableError):
            with self._opening:
                self._addresses.failed()
        return error

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
            rpc = method(await self._connection(backoff.remaining))
            try:
                return await rpc(request, timeout=backoff.remaining, metadata=(*self._metadata(), *traced))
            except grpc_io.CANCELLED as failure:
                if not self._closed or grpc_io.is_being_cancelled():
                    raise
                raise self._closed_error() from failure
            except grpc.RpcError as failure:
                if self._closed:
                    raise self._closed_error() from failure
                error = self._error_from(failure)
                pause = backoff.next_pause(error.retry_after)
                if once or not self._retry or not is_retryable(error) or pause >= backoff.remaining:
                    raise error from failure
            await grpc_io.sleep(pause)

    async def _generate(
        self, request: messages.GenerateCallbackUrlRequest, traceparent: str, timeout: float | None
    ) -> GeneratedCallback:
        """Send the request of `generate_callback_url`, with an id if it can be sent twice, and log its warnings."""
        has_id, backoff = bool(request.request_id), self._backoff(timeout)
        if self._retry and not has_id:
            request.request_id = str(uuid.uuid4())
        while True:
            try:
                reply = await self._call(
                    lambda channel: CallbacksServiceStub(channel).GenerateCallbackUrl,
                    request,
                    backoff,
                    once=not request.request_id,
                    traceparent=traceparent,
                )
                break
            except RequestIdUnsupportedError:
                if has_id or not request.request_id:
                    raise
                request.request_id = ""
        return _made(reply)

    async def _generate_all(
        self, requests: list[messages.GenerateCallbackUrlRequest], traceparent: str, timeout: float | None
    ) -> list[GeneratedCallback | CallbackError]:
        """Send the requests of `generate_callback_urls`, each with an id if it can be sent twice, and log the warnings.

        Those whose result may be another one in a moment are sent again, together.
        """
        backoff, named = self._backoff(timeout), [not each.request_id and self._retry for each in requests]
        for place in itertools.compress(range(len(requests)), named):
            requests[place].request_id = str(uuid.uuid4())
        results = dict[int, GeneratedCallback | CallbackError]()
        waiting = list(range(len(requests)))
        while True:
            batch = messages.GenerateCallbackUrlsRequest(requests=[requests[place] for place in waiting])
            try:
                reply = await self._call(
                    lambda channel: CallbacksServiceStub(channel).GenerateCallbackUrls,
                    batch,
                    backoff,
                    once=not all(each.request_id for each in batch.requests),
                    traceparent=traceparent,
                )
            except CallbackError as error:
                if not results:
                    raise
                results.update(dict.fromkeys(waiting, error))  # the others have their URLs
                break
            for place, result in zip(waiting, reply.results, strict=True):
                has_problem = result.HasField("problem")
                results[place] = from_status(result.problem) if has_problem else _made(result.generated)
            waiting, pause = [], 0.0
            for place, made in results.items():
                if isinstance(made, RequestIdUnsupportedError) and named[place]:
                    requests[place].request_id, named[place] = "", False
                    waiting.append(place)
                elif isinstance(made, CallbackError) and is_retryable(made) and requests[place].request_id:
                    waiting.append(place)
                    pause = pause or backoff.next_pause(made.retry_after)
            if not waiting or not self._retry or pause >= backoff.remaining:
                break
            await grpc_io.sleep(pause)
        return [results[place] for place in range(len(requests))]

    def _watch_calls(self, request: messages.WatchCallsRequest, timeout: float | None) -> "AsyncCallWatch":
        timeout = self._timeout if timeout is None else timeout
        wait_backoff(timeout, longest=1.0)  # it checks the timeout
        return AsyncCallWatch(self, request, timeout)


def _made(message: messages.GenerateCallbackUrlResponse) -> GeneratedCallback:
    """Return the callback that a server has generated, and log its warnings."""
    made = generated_callback_from_proto(message)
    for warning in made.warnings:
        _log.warning("callback_warning case_id=%s text=%s", made.case_id, warning.text)
    return made


class AsyncCallWatch(AsyncIterator[CallEvent]):
    """An iterator over the events of a watch, in order for each case. `watch_calls` returns it.

        async with client.watch_calls(activity="order-paid") as watch:
            async for event in watch:
                print(event.type, event.case_id)

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

    def __init__(self, client: AsyncTransport, request: messages.WatchCallsRequest, timeout: float) -> None:
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

    async def __aexit__(self, *_error: object) -> None:
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
                    self._stream = await self._client._watch(self._request, self._timeout)  # noqa: SLF001  # same module
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
                    self._events.extend(map(call_event_from_proto, message.events))
                    if not self._events:
                        self._request.resume_token = message.resume_token
                    return
                self._stream = None
                backoff = backoff or wait_backoff(self._timeout, longest=1.0)
                if backoff.remaining <= 0:
                    raise UnavailableError("the server ended the watch", code=grpc.StatusCode.UNAVAILABLE)
                pause = backoff.next_pause()
            await grpc_io.sleep(min(pause, max(backoff.remaining, 0)))
