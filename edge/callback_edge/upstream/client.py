"""The servers, as the edge sees them: a few streams, over one gRPC channel to all of them.

1. A call that may have been made is not sent again: gRPC's retries are off. One that a server refused because it does
   not know this edge was not made, and says so itself: another is asked.
2. It is sent only by a stream whose server takes calls. Where there is none for a second, nothing was sent and never
   will be, and the caller may try again; once it was sent and no answer came, nobody here knows what became of it, and
   the caller is not told to try again.
3. It belongs to no caller: it goes on to its answer when the caller hangs up.
4. A server that says that it takes no more (it stops, or has lost its store) is sent no more, and answers what it has.
5. Of a call whose caller hung up before it could be answered the server is told, once the call has its name. That is
   worth one try, and nothing waits for it.
6. Other TLS files make another channel, which takes over once it stands; the one before answers what it has.
7. Calls that come at the same time go together, in one message by one stream.
"""

import asyncio
import contextlib
import itertools
import math
import re
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from callback.v1 import edge_service_pb2
from callback_edge import credentials, metrics, problems
from callback_edge.limits.body_budget import HeldBody
from callback_edge.limits.per_address import BUSY_RETRY_S
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.channel import Link
from callback_edge.upstream.stream import REFUSED, Call, Waiting
from callback_process import logs

_log = logs.get_logger()

_STREAM_WAIT_S: Final = 1.0
"""How long a call waits for a stream: long enough for another where one was just lost, short for the caller."""
_UNREACHABLE_RETRY_S: Final = 5
_QUIET_S: Final = 30.0
"""How long no server may have refused this edge before the log says that this is over, in seconds."""
_TRIES: Final = 6
"""How many servers may refuse a call. They take turns, but all calls share those: who is next may be the same again."""
_FILES_S: Final = 1.0
"""How often files are read again."""
_REPORT_S: Final = 5.0
"""How long a report may take."""
_MOST_REPORTS: Final = 100
"""How many are on their way at a time; more are not sent."""
_ERROR_DOMAIN: Final = "callback"
_LOST: Final = (code_pb2.UNAVAILABLE, code_pb2.DEADLINE_EXCEEDED, code_pb2.CANCELLED)
_UNREACHABLE: Final = "no server answers"
_NO_STREAM: Final = "no connection to a server that serves"
_CHALLENGE: Final = re.compile(r"[!-~](?:[ -~]{0,998}[!-~])?")
_DEFAULT_CHALLENGE: Final = "Signature"


class Upstream:
    """The connection to the servers, from `async with` to its end.

    Raises:
        CredentialsError: a file that the settings name can not be used.
    """

    def __init__(self, settings: EdgeSettings) -> None:
        self._target = settings.server_target
        self._invoke_timeout_s = settings.invoke_timeout_s
        self._most_in_flight = settings.max_requests_in_flight
        self._token = credentials.token(settings.server_token_file)
        self._tls = credentials.tls(settings.server_tls)
        self._numbers = itertools.count(1)
        self._calls: set[Call] = set()
        self._unsent = Waiting(_STREAM_WAIT_S, self._not_sent)
        self._is_flushing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Task[None]] = set()
        self._why_none = "no server has answered yet"
        """Why there is no stream, while there is none."""
        self._is_refused = False
        """Whether that is because a server refuses this edge."""
        self._complaints: set[str] = set()
        """What the log has said of servers, since it said that they take calls."""
        self._refused_at = -math.inf

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._link = self._new_link()
        self._replacing: asyncio.Task[None] | None = None
        self._keep(self._follow_files())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()

    async def invoke(self, request: edge_service_pb2.InvokeRequest, body: HeldBody) -> edge_service_pb2.InvokeResponse:
        """Make the call. Who awaits this is cancelled when the caller hangs up; the call is not.

        Args:
            request: the call.
            body: its body, which is held until the call's end.

        Raises:
            Refusal: the server refused, could not be reached, or did not answer.
        """
        if len(self._calls) >= self._most_in_flight:
            metrics.limited("max_requests_in_flight").inc()
            raise problems.Refusal(problems.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
        call = Call(next(self._numbers), request, body)
        body.hold()
        self._calls.add(call)
        self._is_idle.clear()
        self._hand_over(call)
        return await call.answer

    def why_not_ready(self) -> str:
        """Return why calls can not be made, in a few words; nothing if they can."""
        return "" if self._link.is_ready else self._why_none

    def give_up(self) -> None:
        """Answer, with OUTCOME_UNKNOWN, everyone who waits for a call."""
        for call in self._calls:
            _tell(call, problems.Refusal(problems.OUTCOME_UNKNOWN))

    async def finish(self, timeout_s: float) -> None:
        """Wait for the calls that still run, their callers gone or not, but no longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()

    def stream_changed(self) -> None:
        """Send what waits, if it can be."""
        metrics.SERVER_UP.set(self._link.is_ready)
        self._changed.set()  # wakes those who wait now
        self._changed.clear()
        self._flush()

    def answered(self, call: Call, answer: edge_service_pb2.InvocationResult) -> None:
        """Take note of a server's answer."""
        metrics.INVOKE_SECONDS.observe(asyncio.get_running_loop().time() - call.since)
        if answer.HasField("response"):
            self._end(call, answer.response)
            return
        if answer.status.code in REFUSED:
            self._refused(_reason(answer.status))
            call.refusals += 1
            if call.refusals < _TRIES:
                self._hand_over(call)
                return
        self._end(call, refusal_from(answer.status))

    def lost(self, call: Call) -> None:
        """Take note of a call that will have no answer."""
        metrics.INVOKE_SECONDS.observe(asyncio.get_running_loop().time() - call.since)
        self._end(call, problems.Refusal(problems.OUTCOME_UNKNOWN))

    def welcomed(self) -> None:
        """Take note of a server that takes calls."""
        is_news = self._is_refused or self._complaints or self._why_none != _NO_STREAM
        self._is_refused, self._why_none = False, _NO_STREAM
        if is_news and time.monotonic() - self._refused_at > _QUIET_S:
            self._complaints.clear()
            _log.info("the server takes calls")

    def failed(self, error: grpc.aio.AioRpcError) -> None:
        """Take note of a stream that could not be, or broke."""
        said = _status(error)
        if said.code in REFUSED:
            reason = _reason(said)
            self._is_refused, self._why_none = True, f"the server refuses this edge: {reason}"
            self._refused(reason)
        elif not _said(said).reason and not self._link.is_ready and _UNREACHABLE not in self._complaints:
            self._complaints.add(_UNREACHABLE)
            _log.warning(_UNREACHABLE, grpc_code=error.code().name, grpc_details=error.details())

    def _hand_over(self, call: Call) -> None:
        """Have a call sent, with those that come until this turn of the loop ends."""
        self._unsent.add(call)
        if not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush_all)

    def _flush_all(self) -> None:
        self._is_flushing = False
        self._flush()

    def _flush(self) -> None:
        while self._unsent and (stream := self._link.free_stream()):
            stream.send(self._unsent.take_some())

    def _not_sent(self, call: Call) -> None:
        problem = problems.EDGE_REFUSED if self._is_refused else problems.SERVER_UNREACHABLE
        self._end(call, problems.Refusal(problem, retry_after_s=_UNREACHABLE_RETRY_S))

    def _end(self, call: Call, outcome: edge_service_pb2.InvokeResponse | problems.Refusal) -> None:
        self._calls.discard(call)
        call.body.let_go()
        if not self._calls:
            self._is_idle.set()
        if call.answer.cancelled() and outcome.call_id and len(self._reports) < _MOST_REPORTS:
            report = self._keep(self._report_caller_gone(outcome.call_id))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)
        _tell(call, outcome)

    async def _report_caller_gone(self, call_id: str) -> None:
        try:
            await self._link.report_caller_gone(call_id, timeout_s=_REPORT_S)
        except grpc.aio.AioRpcError as error:
            _log.info("report not heard", call_id=call_id, grpc_code=error.code().name)

    def _refused(self, reason: str) -> None:
        """Tell the log, once, what is to be done."""
        self._refused_at = time.monotonic()
        if reason in self._complaints:
            return
        self._complaints.add(reason)
        if reason == "ROLE_MISSING":
            to_do = "give the principal of this edge the role edge, in the server's principals_file"
        elif self._token.value:
            to_do = "put a token into server_token_file that the server knows: callback token NAME --role edge"
        else:
            to_do = "set server_token_file, or cert_file and key_file of server_tls"
        _log.error("a server refuses this edge", reason=reason, to_do=to_do)

    def _new_link(self) -> Link:
        return Link(self._target, self._tls.value, lambda: self._token.value, self._invoke_timeout_s, self)

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(_FILES_S)
            if self._token.reload():
                self._link.renew()
            if self._tls.reload():
                if self._replacing:
                    self._replacing.cancel()
                self._replacing = self._keep(self._replace_link())

    async def _replace_link(self) -> None:
        link = self._new_link()
        try:
            while not link.is_ready:
                await self._changed.wait()
        except asyncio.CancelledError:
            await link.close()
            raise
        former, self._link = self._link, link
        self.stream_changed()
        self._keep(former.retire())

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _tell(call: Call, outcome: edge_service_pb2.InvokeResponse | problems.Refusal) -> None:
    """Answer who waits for a call, if somebody still does."""
    if call.answer.done():
        return
    if isinstance(outcome, problems.Refusal):
        call.answer.set_exception(outcome)
    else:
        call.answer.set_result(outcome)


def refusal_from(refused: status_pb2.Status) -> problems.Refusal:
    """Return what a failed call means to its caller. The server's words stay out of it."""
    if refused.code in REFUSED:
        return problems.Refusal(problems.EDGE_REFUSED, retry_after_s=_UNREACHABLE_RETRY_S)
    said = _said(refused)
    if said.reason:
        problem = problems.BY_REASON.get(said.reason, problems.INTERNAL)
        challenge = said.challenge if problem is problems.VERIFICATION_FAILED else ""
        return problems.Refusal(problem, retry_after_s=said.retry_after_s, call_id=said.call_id, challenge=challenge)
    _log.warning("invoke failed", grpc_code=_code_name(refused), grpc_details=refused.message)
    return problems.Refusal(problems.OUTCOME_UNKNOWN if refused.code in _LOST else problems.INTERNAL)


@dataclass(slots=True)
class _Said:
    """What our server says of a refusal; nothing if it is not our server who refuses."""

    reason: str = ""
    call_id: str = ""
    challenge: str = _DEFAULT_CHALLENGE
    retry_after_s: int | None = None


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the status that a stream ended with."""
    with contextlib.suppress(ValueError):  # details that contradict the status: not from our server
        if rich := rpc_status.from_call(error):  # type: ignore[arg-type]  # typed for the synchronous API, made for both
            return rich
    return status_pb2.Status(code=error.code().value[0], message=error.details() or "")


def _said(refused: status_pb2.Status) -> _Said:
    said = _Said()
    for detail in refused.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == _ERROR_DOMAIN:
            said.reason, said.call_id = info.reason, info.metadata.get("call_id", "")
            if _CHALLENGE.fullmatch(challenge := info.metadata.get("challenge", "")):
                said.challenge = challenge
        elif detail.Unpack(retry):
            said.retry_after_s = _whole_seconds(retry.retry_delay)
    return said


def _reason(refused: status_pb2.Status) -> str:
    """Return why a server refuses; what stands before one may say it by the code alone."""
    return _said(refused).reason or _code_name(refused)


def _code_name(refused: status_pb2.Status) -> str:
    return code_pb2.Code.Name(refused.code) if refused.code in code_pb2.Code.values() else str(refused.code)


def _whole_seconds(delay: duration_pb2.Duration) -> int:
    return min(max(1, math.ceil(delay.seconds + delay.nanos / 1e9)), 24 * 3600)
