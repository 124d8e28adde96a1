"""Client of the servers: sends calls over the streams of one gRPC channel.

1. The edge never sends a call twice if a server may have run it; gRPC's retries are off. A server that refuses this
   edge has not run the call and says so, so the edge tries another server.
2. The edge sends a call only on a stream whose server is ready. If there is none for a second, the call was not sent
   and never will be, and the caller may try again. Once a call was sent and has no result, its outcome is unknown, and
   the edge does not advise the caller to try again. A large call is dropped from memory once it was sent, so it is not
   sent to another server.
3. A call continues to its result when its caller disconnects.
4. A server that is not ready (it stops, or has lost its store) gets no more calls, and returns the results of those
   that it has.
5. If a caller does not get the result of its call, the edge reports that to the server, and waits for nothing: at once
   over the stream of the call, or by the call's ID if the edge has the result already.
6. Changed TLS files, and changed addresses of the servers, make a new channel. It takes over once it is ready; the
   earlier one returns the results that it owes.
7. Concurrent calls are batched: they go in one message on one stream.
8. A request is looked up in the same way, before its body is read: a server refuses it whatever its body is, or wants
   the body. That is no call: without a result it may be repeated.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Any, Final, Self

import grpc.aio

from callback.v1 import edge_service_pb2
from callback_edge import credentials, metrics, problems
from callback_edge.limits.body_budget import BodyReservation
from callback_edge.limits.per_address import BUSY_RETRY_S
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.availability import ServerAvailability
from callback_edge.upstream.channel import ServerChannel
from callback_edge.upstream.epoch_relay import EpochRelay
from callback_edge.upstream.status import REFUSAL_CODES, UNREACHABLE_RETRY_S, problem_error_from, reason_of
from callback_edge.upstream.unanswered import UnansweredCall, UnansweredCalls
from callback_process import logs
from callback_shared.addresses import Addresses

log = logs.get_logger()

STREAM_WAIT_S: Final = 1.0
"""How long a call waits for a stream: enough to replace a lost one, and short for the caller."""
_MAX_REFUSALS: Final = 6
"""Number of servers that may refuse one call. Servers are selected round-robin across all calls, so the next server may
be the same again."""
FILE_CHECK_S: Final = 1.0
"""Interval, in seconds, at which the edge reads its files again."""
_FIRST_LOOK_UP_S: Final = 5.0
"""How long the start waits for the addresses of the servers, in seconds."""
_REPORT_TIMEOUT_S: Final = 5.0
_MAX_REPORTS: Final = 100
"""Maximum number of reports at the same time; the edge drops the others."""


class ServerClient:
    """Connection to the servers, from `async with` to its end.

    Raises:
        CredentialsError: A file of the settings cannot be used.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        self._addresses = Addresses(settings.server_target)
        self._invoke_timeout_s = settings.invoke_timeout_s
        self._max_in_flight = settings.max_requests_in_flight
        self._max_waits = settings.max_waits_in_flight
        self._token = credentials.token(settings.server_token_file)
        self._tls = credentials.tls(settings.server_tls)
        self._availability = ServerAvailability(self._token)
        self._epochs = EpochRelay()
        self._numbers = itertools.count(1)
        self._calls: set[UnansweredCall] = set()
        self._waits: set[UnansweredCall] = set()
        """Those of them that only wait for the answer to an earlier call."""
        self._waiting: set[UnansweredCall] = set()
        """The calls of which a server says that they wait: it limits them, and they may be very many."""
        self._unsent = UnansweredCalls(STREAM_WAIT_S, self._stream_wait_expired)
        self._is_flush_scheduled = False
        # Not a TaskSet, which cancels again and again: a cancelled task closes its channel, and must get to the end.
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports = 0
        """Number of reports that are on their way."""

    async def __aenter__(self) -> Self:
        self._streams_changed = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        await self._addresses.look_up_within(_FIRST_LOOK_UP_S)
        self._channel = self._new_channel()
        self._draining: set[ServerChannel] = set()
        """Earlier channels that wait for results."""
        self._replacement: asyncio.Task[None] | None = None
        self._releases_callers = False
        self._start(self._follow_changes())
        return self

    async def __aexit__(self, *_error: object) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()

    async def invoke(
        self, message: edge_service_pb2.StreamInvocationsRequest, body: BodyReservation | None = None
    ) -> edge_service_pb2.InvocationResult:
        """Make a call, or look one up. If the caller disconnects, this is cancelled and the call continues.

        Args:
            message: The call. Only the client keeps it from now on.
            body: The reservation of its body, which the client frees once it needs the body no more. None: it has none.

        Returns:
            The result. It has a response, unless the message is a look-up, or asks for origins.

        Raises:
            ProblemError: The server refused, is unreachable, or returned no result.
        """
        if limit := self._reached_limit(message):
            metrics.limited(limit).inc()
            if body is not None:
                body.free()
            raise problems.ProblemError(problems.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
        call = UnansweredCall(next(self._numbers), message, body)
        self._calls.add(call)
        if call.is_wait:
            self._waits.add(call)
        self._is_idle.clear()
        self._enqueue(call)
        del message
        try:
            return await call.result
        except asyncio.CancelledError:
            if call.result.cancelled():
                self._mark_caller_gone(call)
            else:
                self.report_caller_gone(_call_id_of(call.result.exception() or call.result.result()))
            raise
        finally:
            # An error refers to the frames that it has passed, this one too. If this frame referred to the call, which
            # has the error, all of them and the body would stay in memory until the garbage collector runs.
            del call

    def _reached_limit(self, message: edge_service_pb2.StreamInvocationsRequest) -> str:
        """Return the setting of the limit that leaves no room for a call. Empty: there is room."""
        if message.invocations[0].HasField("wait"):
            return "max_waits_in_flight" if len(self._waits) >= self._max_waits else ""
        running = len(self._calls) - len(self._waits) - len(self._waiting)
        return "max_requests_in_flight" if running >= self._max_in_flight else ""

    def why_not_ready(self) -> str:
        """Return why no call can be made, in a few words. Empty if calls can be made."""
        return "" if self._channel.is_ready else self._availability.why_unavailable

    def give_up(self) -> None:
        """End every call that a caller waits for with OUTCOME_UNKNOWN."""
        for call in self._calls:
            self._mark_caller_gone(call)
            call.answer(_no_result(call))

    def release_callers(self) -> None:
        """Let the servers tell the callers of held calls, and those that wait for an answer, to wait elsewhere."""
        self._releases_callers = True
        for channel in (self._channel, *self._draining):
            channel.release_callers()

    def report_caller_gone(self, call_id: str) -> None:
        """Report to a server that the caller of a call did not get the result that this edge has. Waits for nothing."""
        if call_id and self._reports < _MAX_REPORTS:
            self._reports += 1
            self._start(self._report_caller_gone(call_id))

    async def wait_idle(self, timeout_s: float) -> None:
        """Wait until no call runs, also of callers that disconnected, at most for this time in seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()

    def _on_change(self) -> None:
        """Send the calls that wait, if a stream can send."""
        self._availability.is_ready = self._channel.is_ready
        metrics.SERVER_UP.set(self._channel.is_ready)
        self._streams_changed.set()  # wakes those that wait now
        self._streams_changed.clear()
        self._flush()

    def _enqueue(self, call: UnansweredCall) -> None:
        """Queue a call for the next message. The message leaves at the end of this turn of the loop."""
        self._unsent.add(call)
        if not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._scheduled_flush)

    def _scheduled_flush(self) -> None:
        self._is_flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        while self._unsent and (stream := self._channel.next_free_stream()):
            stream.send(self._unsent.take_batch())

    def _stream_wait_expired(self, call: UnansweredCall) -> None:
        problem = problems.EDGE_REFUSED if self._availability.is_refused else problems.SERVER_UNREACHABLE
        self._end(call, problems.ProblemError(problem, retry_after_s=UNREACHABLE_RETRY_S))

    def _mark_caller_gone(self, call: UnansweredCall) -> None:
        if not call.is_caller_gone:
            call.is_caller_gone = True
            for channel in (self._channel, *self._draining):
                channel.report_gone(call.number)

    def _call_ended(self, call: UnansweredCall, result: edge_service_pb2.InvocationResult | None) -> None:
        """End a call that was sent, or send it to another server. None: it will have no result."""
        seconds = metrics.LOOK_UP_SECONDS if call.is_look_up else metrics.INVOKE_SECONDS
        seconds.observe(asyncio.get_running_loop().time() - call.added_at)
        if result is None:
            self._end(call, _no_result(call))
        elif result.HasField("response") or (call.is_look_up and _is_looked_up(result)):
            self._end(call, result, is_gone_known=result.caller_gone)
        else:
            if result.status.code in REFUSAL_CODES:
                self._availability.edge_refused(reason_of(result.status))
                call.refusals += 1
                if call.refusals < _MAX_REFUSALS and not call.is_dropped:
                    self._enqueue(call)
                    return
            error = problem_error_from(result.status)
            error.creator_traceparent = result.creator_traceparent
            self._end(call, error, is_gone_known=result.caller_gone)

    def _end(
        self,
        call: UnansweredCall,
        outcome: edge_service_pb2.InvocationResult | problems.ProblemError,
        *,
        is_gone_known: bool = False,
    ) -> None:
        self._calls.discard(call)
        self._waits.discard(call)
        self._waiting.discard(call)
        call.drop_body()
        if not self._calls:
            self._is_idle.set()
        if call.is_caller_gone and not is_gone_known:
            self.report_caller_gone(_call_id_of(outcome))
        call.answer(outcome)

    async def _report_caller_gone(self, call_id: str) -> None:
        try:
            await self._channel.report_caller_gone(call_id, timeout_s=_REPORT_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            log.info("caller_gone_not_reported", call_id=call_id, grpc_code=error.code().name)
        finally:
            self._reports -= 1

    def _new_channel(self) -> ServerChannel:
        return ServerChannel(
            self._addresses,
            self._tls.value,
            self._token,
            self._invoke_timeout_s,
            self._availability,
            self._epochs,
            on_change=self._on_change,
            on_waiting=self._waiting.add,
            on_result=self._call_ended,
        )

    async def _follow_changes(self) -> None:
        """Follow the files, and the addresses of the servers."""
        while True:
            await asyncio.sleep(FILE_CHECK_S)
            if self._token.reload():
                self._channel.replace_streams()
            if self._channel.is_ready:
                has_moved = self._addresses.refresh()
            else:
                has_moved = await self._addresses.look_up_within(FILE_CHECK_S)
            if has_moved:
                log.info("server_addresses_changed", addresses=self._addresses.target)
            if self._tls.reload() or has_moved:
                if self._replacement:
                    self._replacement.cancel()
                self._replacement = self._start(self._replace_channel())

    async def _replace_channel(self) -> None:
        channel = self._new_channel()
        try:
            while not channel.is_ready:
                await self._streams_changed.wait()
        except asyncio.CancelledError:
            await channel.close()
            raise
        if self._releases_callers:
            channel.release_callers()
        earlier, self._channel = self._channel, channel
        self._draining.add(earlier)
        self._on_change()
        self._start(earlier.drain()).add_done_callback(lambda _: self._draining.discard(earlier))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _no_result(call: UnansweredCall) -> problems.ProblemError:
    """Return what it means that a call, or a look-up, was sent and will have no result."""
    if call.is_look_up:
        return problems.ProblemError(problems.SERVER_UNREACHABLE, retry_after_s=UNREACHABLE_RETRY_S)
    return problems.ProblemError(problems.OUTCOME_UNKNOWN)


def _is_looked_up(result: edge_service_pb2.InvocationResult) -> bool:
    return result.HasField("send_body") or result.HasField("origins")


def _call_id_of(outcome: edge_service_pb2.InvocationResult | BaseException) -> str:
    """Return the ID of the call that has this outcome. Empty if it has none."""
    if isinstance(outcome, edge_service_pb2.InvocationResult):
        return outcome.response.call_id
    return outcome.call_id if isinstance(outcome, problems.ProblemError) else ""
