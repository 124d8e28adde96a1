"""Workload of a proof: clients that generate URLs, callers, a program that answers held calls, and a watch.

Every step goes to the history. The clients run in this process, which has no faults.
"""

import asyncio
import contextlib
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import httpcore
import msgspec

from callback import (
    AsyncCallbackClient,
    AsyncCallWatch,
    Call,
    CallAnsweredError,
    CallEventType,
    CallFilter,
    NotFoundError,
    Response,
    UnavailableError,
    WatcherTooSlowError,
    WatchPositionLostError,
)
from callback_launcher.wait import wait_until
from callback_prove.checker import SUCCESSES, missed_events
from callback_prove.connections import Connections
from callback_prove.history import (
    NO_ANSWER,
    Answered,
    Generated,
    History,
    Recorded,
    RecordedCall,
    Requested,
    Watched,
    WatchLost,
    WatchStarted,
)
from callback_prove.modes import MODES

REQUESTS: Final = 3
"""Number of requests to each case: two at the same time, and after both have their answers a repeat of the first."""
TRIES: Final = 4
"""Number of times that a caller sends a request until it gets a success."""
CLIENT_TIMEOUT_S: Final = 2.0
"""Timeout of clients under load, in seconds."""
READ_TIMEOUT_S: Final = 60.0
"""Timeout of each request that reads what is recorded, in seconds."""
READS: Final = 32
"""Number of cases that are read at the same time."""
LIST_INTERVAL_S: Final = 2.0
"""Interval of the lists of held calls that nothing has answered yet, in seconds. A list asks each partition."""
READ_INTERVAL_S: Final = 0.5
"""Interval of the reads of cases with calls that have not ended, in seconds."""
GONE: Final = 410
"""Code for a request to a case that is closed, unless it is a repeat."""
_NO_RESPONSE: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class _Problem(msgspec.Struct):
    """What an edge responds where there is no answer (RFC 9457)."""

    code: str


class Workload:
    """The clients of a system. They are connected inside `connected` or `running`."""

    def __init__(
        self,
        client: AsyncCallbackClient | str,
        edges: Sequence[str],
        history: History,
        *,
        activities: Sequence[str],
        labels: Mapping[str, str] | None = None,
        modes: Collection[str] = tuple(MODES),
        seed: int = 0,
    ) -> None:
        """Create a workload.

        Args:
            client: Client of the servers, or their gRPC target.
            edges: Addresses of the edges of a system on this machine. Empty: the URLs are called as they are.
            history: Receives each step.
            activities: Activities that the handlers serve; each case has one of them, at random.
            labels: Labels of the cases, which the watch asks for.
            modes: Names of the modes to use.
            seed: Seed of the choices.
        """
        self._edges = edges
        self._history = history
        self._activities = activities
        self._modes = modes
        self._random = random.Random(seed)  # noqa: S311  # a reproducible load, not a secret
        self._labels = labels or {}
        self.client = AsyncCallbackClient(client) if isinstance(client, str) else client
        self._connections = Connections()
        self._held = set[str]()
        """The cases whose calls are held."""
        self._number = 0
        self.avoided = set[str]()
        """Addresses of edges that get no new requests, as a load balancer does with one that is not ready."""
        self.successes = Counter[str]()
        """Number of callers that got a success, by mode."""

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Close all connections after the body."""
        async with self.client, self._connections:
            yield

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch and answer held calls in the body, and close all connections afterwards."""
        async with self.connected():
            watch = self.client.watch_calls(labels=self._labels, timeout=math.inf)
            await watch.__aenter__()
            self._history.add(WatchStarted(at=time.time()))
            background = [asyncio.create_task(self._watch(watch)), asyncio.create_task(self._answer_listed())]
            try:
                yield
            finally:
                for task in background:
                    task.cancel()
                results = await asyncio.gather(*background, return_exceptions=True)
                watch.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    @contextlib.asynccontextmanager
    async def calling(self, callers: int) -> AsyncIterator[None]:
        """Generate and call URLs in the body, with a number of callers for each mode. Then wait for their responses."""
        stopping = asyncio.Event()
        tasks = [
            asyncio.create_task(self._make_and_call(mode, stopping)) for mode in self._modes for _ in range(callers)
        ]
        try:
            yield
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        finally:
            stopping.set()
            await _wait_for(tasks)

    @contextlib.asynccontextmanager
    async def calling_at(self, rate: float) -> AsyncIterator[None]:
        """Do as `calling`, with a number of requests per second, however long their responses take."""
        tasks = list[asyncio.Task[None]]()

        async def start() -> None:
            loop = asyncio.get_running_loop()
            due = loop.time()
            for mode in itertools.cycle(self._modes):
                tasks.append(asyncio.create_task(self._make_and_call_once(mode)))
                due += REQUESTS / rate
                await asyncio.sleep(due - loop.time())

        starting = asyncio.create_task(start())
        try:
            yield
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        finally:
            starting.cancel()
            await _wait_for(tasks)

    async def _make_and_call(self, mode: str, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._make_and_call_once(mode)

    async def _make_and_call_once(self, mode: str) -> None:
        self._number += 1
        number, began = self._number, time.time()
        try:
            made = await self.client.generate_callback_url(
                MODES[mode].activity or self._random.choice(self._activities),
                Response("done", 202),
                **MODES[mode].options,
                labels=self._labels,
                timeout=CLIENT_TIMEOUT_S,
            )
        except UnavailableError as error:
            reason = error.reason or error.code.name
            self._history.add(Generated(at=time.time(), began=began, mode=mode, case_id="", reason=reason))
            return
        self._history.add(Generated(at=time.time(), began=began, mode=mode, case_id=made.case_id))
        if mode == "held":
            self._held.add(made.case_id)
        await self.call_all(mode, made.case_id, made.url, number)

    async def call_all(self, mode: str, case_id: str, url: str, number: int) -> None:
        """Send the requests of the case with this number.

        In turn the two at the same time are the same request, or differ in a letter of the body, or in the query alone.
        """
        body = str(number)
        body_of_second, query = [(body, ""), (f"{body}x", ""), (body, "x=1")][number // len(MODES) % 3]
        await asyncio.gather(
            self.call(mode, case_id, url, 0, body), self.call(mode, case_id, url, 1, body_of_second, query)
        )
        await self.call(mode, case_id, url, 2, body)

    async def call(self, mode: str, case_id: str, url: str, caller: int, body: str, query: str = "") -> None:
        """Send the request of one caller until it succeeds, or the caller gives up. Each try can be at another edge."""
        parts = urlsplit(url)
        method, path = "POST", f"{parts.path}?{query}" if query else parts.path
        for _ in range(TRIES):
            edges = [edge for edge in self._edges if edge not in self.avoided]
            origin = f"http://{edges[caller % len(edges)]}" if edges else f"{parts.scheme}://{parts.netloc}"
            began = time.time()
            try:
                response = await self._connections.request(
                    method, origin, path, body.encode() if method == "POST" else None
                )
            except _NO_RESPONSE as error:
                step = Requested(
                    began=began,
                    ended=time.time(),
                    case_id=case_id,
                    body=body,
                    query=query,
                    code=NO_ANSWER,
                    reason=type(error).__name__,
                )
            else:
                headers = {name.lower(): value for name, value in response.headers}
                waits_at = headers.get(b"location", b"").decode("ascii") if response.status == 202 else ""
                step = Requested(
                    began=began,
                    ended=time.time(),
                    case_id=case_id,
                    body=body,
                    query=query,
                    code=response.status,
                    text=response.content.decode("utf-8", "replace") if response.status in SUCCESSES else "",
                    reason="" if response.status in SUCCESSES else _problem_of(response.content),
                    is_untouched=response.status == 503 and b"retry-after" in headers and method == "POST",
                    is_told_to_wait=bool(waits_at),
                )
                if waits_at:
                    method, path = "GET", urlsplit(waits_at).path
            self._history.add(step)
            if step.code in SUCCESSES and not step.is_told_to_wait:
                self.successes[mode] += 1
                return
            if step.code == GONE:
                return
            await asyncio.sleep(self._random.uniform(0, 0.3))  # as callers do

    async def _answer_listed(self) -> None:
        """Answer the held calls that wait, until cancelled: those that the watch did not show in time."""
        while True:
            await asyncio.sleep(LIST_INTERVAL_S)
            with contextlib.suppress(UnavailableError):
                for activity in self._activities:
                    page = await self.client.list_owner_calls_page(
                        CallFilter.WAITING, activity=activity, timeout=CLIENT_TIMEOUT_S
                    )
                    await asyncio.gather(*(self._answer(call.case_id, call.call_id) for call in page.items))

    async def _answer(self, case_id: str, call_id: str) -> None:
        """Answer a held call with its id."""
        with contextlib.suppress(UnavailableError, CallAnsweredError, NotFoundError):
            await self.client.answer_call(call_id, Response(call_id, 200), timeout=CLIENT_TIMEOUT_S)
            self._history.add(Answered(at=time.time(), case_id=case_id, call_id=call_id))

    async def _watch(self, watch: AsyncCallWatch) -> None:
        """Record the events of a watch that resumes after each lost connection, until cancelled.

        Answer each held call when it starts.
        """
        async with asyncio.TaskGroup() as answers:
            while True:
                try:
                    async for event in watch:
                        self._history.add(
                            Watched(at=time.time(), type=str(event.type), case_id=event.case_id, call_id=event.call_id)
                        )
                        if event.type is CallEventType.CALL_STARTED and event.case_id in self._held:
                            answers.create_task(self._answer(event.case_id, event.call_id))
                except (WatchPositionLostError, WatcherTooSlowError) as error:
                    self._history.add(WatchLost(at=time.time(), reason=str(error)))
                    return

    async def read(self, case_ids: Collection[str], *, timeout_s: float) -> None:
        """Record what is stored of these cases, each once its calls and deliveries have ended and are watched.

        What has not ended in time is recorded as it is.

        Args:
            case_ids: The cases.
            timeout_s: Time limit for the calls to end, and again for the watch, in seconds.

        Raises:
            UnavailableError: No server answered in time.
        """
        end = time.monotonic() + timeout_s
        left = [*case_ids]
        while left:
            found = list[Recorded]()
            waiting = iter(left)

            async def read_some(waiting: Iterator[str] = waiting, found: list[Recorded] = found) -> None:
                for case_id in waiting:
                    found.append(await self._read(case_id))  # noqa: PERF401  # other tasks append too

            await asyncio.gather(*(read_some() for _ in range(READS)))
            is_over = time.monotonic() >= end
            self._history.add(*(each for each in found if is_over or _has_ended(each)))
            left = [each.case_id for each in found if not is_over and not _has_ended(each)]
            await asyncio.sleep(READ_INTERVAL_S if left else 0)

        async def is_watched() -> bool:
            return missed_events(self._history.steps) == 0

        await wait_until(is_watched, timeout_s=timeout_s, pause_s=READ_INTERVAL_S)

    async def remove(self) -> None:
        """Close all cases with the labels, also those whose URL no client got, and erase what their calls recorded.

        Raises:
            UnavailableError: No server answered in time.
        """
        found = self.client.list_callbacks(labels=self._labels, timeout=READ_TIMEOUT_S)
        waiting = iter([case.case_id async for case in found])

        async def remove_some() -> None:
            for case_id in waiting:
                with contextlib.suppress(NotFoundError):
                    await self.client.close_callback(case_id, timeout=READ_TIMEOUT_S)
                    await self.client.erase_calls(case_id, timeout=READ_TIMEOUT_S)

        await asyncio.gather(*(remove_some() for _ in range(READS)))

    async def _read(self, case_id: str) -> Recorded:
        try:
            case = await self.client.get_callback(case_id, timeout=READ_TIMEOUT_S)
            listed = await self.client.list_calls_page(case_id, timeout=READ_TIMEOUT_S)
            calls = [await self.client.get_call(call.call_id, timeout=READ_TIMEOUT_S) for call in listed.items]
        except NotFoundError:
            return Recorded(case_id=case_id, status="")
        return Recorded(
            case_id=case_id,
            status=str(case.status),
            close_reason=str(case.close_reason or ""),
            calls=tuple(_recorded(call, is_our_clock=bool(self._edges)) for call in calls),
        )


async def _wait_for(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait for the ends of tasks. Raise the first error of one that was not cancelled."""
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def _problem_of(content: bytes) -> str:
    """Return the code of the problem of a response. Empty: it is not one of an edge."""
    try:
        return msgspec.json.decode(content, type=_Problem).code
    except msgspec.DecodeError:
        return ""


def _has_ended(case: Recorded) -> bool:
    """Return whether nothing happens to a case any more unless it is called."""
    return case.status != "IN_PROGRESS" and not any(
        call.status == "RUNNING" or call.delivery in ("PENDING", "RUNNING") for call in case.calls
    )


def _recorded(call: Call, *, is_our_clock: bool) -> RecordedCall:
    return RecordedCall(
        call_id=call.call_id,
        status=str(call.status),
        body=call.body.decode("utf-8", "replace"),
        seconds=(call.end_time - call.start_time).total_seconds() if call.end_time else 0,
        ended=call.end_time.timestamp() if call.end_time and is_our_clock else 0,
        delivery=str(call.delivery.status) if call.delivery else "",
        attempts=call.delivery.attempts if call.delivery else 0,
    )
