"""The servers, as the edge sees them: one gRPC channel over all of them.

1. An Invoke that may have been made is not sent again: gRPC's retries are off. One that a server refused because it
   does not know this edge was not made, whatever it was: the next in turn is asked.
2. It is sent only over a connection that stands. Where there is none for a few seconds, nothing was sent and never will
   be, and the caller may try again; once it was sent and no answer came, nobody here knows what became of it, and the
   caller is not told to try again.
3. It belongs to no caller: it goes on to its answer when the caller hangs up.
4. A server that says that it does not serve (it stops, or has lost its store) is sent no more, and answers what it has.
5. Other TLS files make another channel, which takes over once it stands; the one before answers what it has.
"""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from callback.v1 import edge_service_pb2
from callback_edge import credentials, metrics, status
from callback_edge.bodies import HeldBody
from callback_edge.limits import BUSY_RETRY_S
from callback_edge.link import Link, NotSentError
from callback_edge.settings import EdgeSettings
from callback_process import logs

_log = logs.get_logger()

_CONNECT_WAIT_S: Final = 1.0
"""How long a call waits for a connection: long enough for one that was just lost, short for the caller."""
_UNREACHABLE_RETRY_S: Final = 5
_INTRODUCTION_S: Final = 5.0
"""How long an introduction may take, and the pause before the next while a server refuses."""
_QUIET_S: Final = 30.0
"""How long no server may have refused this edge before the log says that this is over, in seconds."""
_TRIES: Final = 6
"""How many servers may refuse a call. They take turns, but all calls share those: who is next may be the same again."""
_FILES_S: Final = 1.0
"""How often files are read again."""
_ERROR_DOMAIN: Final = "callback"
_REFUSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_UNREACHABLE: Final = "no server answers"
_CHALLENGE: Final = re.compile(r"[!-~](?:[ -~]{0,998}[!-~])?")
_DEFAULT_CHALLENGE: Final = "Signature"

_T = TypeVar("_T")


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
        self._calls: set[asyncio.Task[edge_service_pb2.InvokeResponse]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusal = "no server has answered yet"
        """Why servers take no calls from this edge; empty once one does. Introductions alone find it out."""
        self._complaints: set[str] = set()
        """What the log has said of servers, since it said that they take calls."""
        self._refused_at = -math.inf

    async def __aenter__(self) -> Self:
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()
        self._introduce_again = asyncio.Event()
        self._link = self._new_link()
        self._replacing: asyncio.Task[None] | None = None
        self._keep(self._introduce())
        self._keep(self._follow_files())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks, *self._calls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()

    async def invoke(self, request: edge_service_pb2.InvokeRequest, body: HeldBody) -> edge_service_pb2.InvokeResponse:
        """Make the call. Who awaits this may be cancelled; the call is not.

        Args:
            request: the call.
            body: its body, which is held until the call's end.

        Raises:
            Refusal: the server refused, could not be reached, or did not answer.
        """
        if len(self._calls) >= self._most_in_flight:
            metrics.limited("max_requests_in_flight").inc()
            raise status.Refusal(status.TOO_MANY_CALLS, retry_after_s=BUSY_RETRY_S)
        call = asyncio.create_task(self._invoke(request))
        self._calls.add(call)  # the loop itself holds tasks weakly
        call.add_done_callback(self._ended)
        body.hold()
        call.add_done_callback(lambda _: body.let_go())
        either: list[asyncio.Future[Any]] = [call, self._given_up]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            raise status.Refusal(status.OUTCOME_UNKNOWN)
        return call.result()

    def why_not_ready(self) -> str:
        """Return why calls can not be made, in a few words; nothing if they can."""
        return self._refusal if self._link.is_ready else "no connection to a server that serves"

    def give_up(self) -> None:
        """Answer, with OUTCOME_UNKNOWN, everyone who waits for a call."""
        if not self._given_up.done():
            self._given_up.set_result(None)

    async def finish(self, timeout_s: float) -> None:
        """Wait for the calls that still run, their callers gone or not, but no longer than this."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=timeout_s)

    async def _invoke(self, request: edge_service_pb2.InvokeRequest) -> edge_service_pb2.InvokeResponse:
        try:
            async with asyncio.timeout(_CONNECT_WAIT_S):
                while not self._link.is_ready:
                    await self._changed.wait()
        except TimeoutError:
            raise status.Refusal(status.SERVER_UNREACHABLE, retry_after_s=_UNREACHABLE_RETRY_S) from None
        began = time.perf_counter()
        try:
            return await self._ask(
                lambda: self._link.invoke(request, token=self._token.value, timeout_s=self._invoke_timeout_s)
            )
        except NotSentError:
            raise status.Refusal(status.SERVER_UNREACHABLE, retry_after_s=_UNREACHABLE_RETRY_S) from None
        except grpc.aio.AioRpcError as error:
            raise refusal_from(error) from error
        finally:
            metrics.INVOKE_SECONDS.observe(time.perf_counter() - began)

    async def _ask(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask a server; and while it refuses this edge, the next in turn."""
        for _ in range(_TRIES - 1):
            try:
                return await ask()
            except grpc.aio.AioRpcError as error:
                if error.code() not in _REFUSED:
                    raise
                self._refused(error)
        return await ask()

    def _ended(self, call: asyncio.Task[edge_service_pb2.InvokeResponse]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # taken notice of, even where the caller is gone

    async def _introduce(self) -> None:
        """Ask whether a server takes calls from this edge: at each change of the connection, and while one does not.

        What is asked is an Invoke of nothing. It is refused in any case, and by what for one sees the rest.
        """
        while True:
            self._introduce_again.clear()
            try:
                await self._ask(lambda: self._link.introduce(token=self._token.value, timeout_s=_INTRODUCTION_S))
            except grpc.aio.AioRpcError as error:
                self._introduced(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTRODUCTION_S if self._refusal or self._complaints else None):
                    await self._introduce_again.wait()

    def _introduced(self, error: grpc.aio.AioRpcError) -> None:
        if error.code() in _REFUSED:
            self._refusal = f"the server refuses this edge: {_reason(error)}"
        elif _said(error).reason:
            self._admitted()
        elif _UNREACHABLE not in self._complaints:
            self._complaints.add(_UNREACHABLE)
            _log.warning(_UNREACHABLE, grpc_code=error.code().name, grpc_details=error.details())

    def _admitted(self) -> None:
        is_news = self._refusal or self._complaints
        self._refusal = ""
        if is_news and time.monotonic() - self._refused_at > _QUIET_S:
            self._complaints.clear()
            _log.info("the server takes calls")

    def _refused(self, error: grpc.aio.AioRpcError) -> None:
        """Tell the log, once, what is to be done; whether others take calls is for an introduction to find out."""
        self._refused_at = time.monotonic()
        reason = _reason(error)
        if reason in self._complaints:
            return
        self._complaints.add(reason)
        self._introduce_again.set()
        if reason == "ROLE_MISSING":
            to_do = "give the principal of this edge the role edge, in the server's principals_file"
        elif self._token.value:
            to_do = "put a token into server_token_file that the server knows: callback token NAME --role edge"
        else:
            to_do = "set server_token_file, or cert_file and key_file of server_tls"
        _log.error("a server refuses this edge", reason=reason, to_do=to_do)

    def _new_link(self) -> Link:
        return Link(self._target, self._tls.value, self._connection_changed)

    def _connection_changed(self) -> None:
        metrics.SERVER_UP.set(self._link.is_ready)
        self._introduce_again.set()
        self._changed.set()  # wakes those who wait now
        self._changed.clear()

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(_FILES_S)
            if self._token.has_changed():
                self._introduce_again.set()
            if self._tls.has_changed():
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
        self._connection_changed()
        self._keep(former.retire())

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def refusal_from(error: grpc.aio.AioRpcError) -> status.Refusal:
    """Return what a failed Invoke means to its caller. The server's words stay out of it."""
    if error.code() in _REFUSED:
        return status.Refusal(status.EDGE_REFUSED, retry_after_s=_UNREACHABLE_RETRY_S)
    said = _said(error)
    if said.reason:
        problem = status.BY_REASON.get(said.reason, status.INTERNAL)
        challenge = said.challenge if problem is status.VERIFICATION_FAILED else ""
        return status.Refusal(problem, retry_after_s=said.retry_after_s, call_id=said.call_id, challenge=challenge)
    _log.warning("invoke failed", grpc_code=error.code().name, grpc_details=error.details())
    lost = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    return status.Refusal(status.OUTCOME_UNKNOWN if error.code() in lost else status.INTERNAL)


@dataclass(slots=True)
class _Said:
    """What our server says of a refusal; nothing if it is not our server who refuses."""

    reason: str = ""
    call_id: str = ""
    challenge: str = _DEFAULT_CHALLENGE
    retry_after_s: int | None = None


def _said(error: grpc.aio.AioRpcError) -> _Said:
    said = _Said()
    try:
        rich = rpc_status.from_call(error)  # type: ignore[arg-type]  # typed for the synchronous API, made for both
    except ValueError:  # details that contradict the status: not from our server
        return said
    for detail in rich.details if rich else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == _ERROR_DOMAIN:
            said.reason, said.call_id = info.reason, info.metadata.get("call_id", "")
            if _CHALLENGE.fullmatch(challenge := info.metadata.get("challenge", "")):
                said.challenge = challenge
        elif detail.Unpack(retry):
            said.retry_after_s = _whole_seconds(retry.retry_delay)
    return said


def _reason(error: grpc.aio.AioRpcError) -> str:
    """Return why a server refuses; what stands before one may say it by the code alone."""
    return _said(error).reason or error.code().name


def _whole_seconds(delay: duration_pb2.Duration) -> int:
    return min(max(1, math.ceil(delay.seconds + delay.nanos / 1e9)), 24 * 3600)
