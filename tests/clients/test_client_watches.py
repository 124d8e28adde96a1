"""`watch_calls` on a real server: each change once and in order, even if the connection breaks."""

import asyncio
import contextlib
import math
import time

import grpc
import pytest
from support.clients import Refusal
from support.services import running_services
from support.store import free_port
from support.wait import wait_until

from callback import (
    AsyncCallbackClient,
    CallbackClient,
    CallbackError,
    CallbackStatus,
    CallEventType,
    CallStatus,
    CloseReason,
    InvalidRequestError,
    Response,
    TooManyWatchersError,
    UnavailableError,
)
from callback.connection import _backoff
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import edge_service_pb2 as edge
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceServicer, add_CallbacksServiceServicer_to_server
from callback_prove.tunnel import Tunnel
from callback_server.calls import watch

CREATED, STARTED, ENDED, CLOSED = (
    CallEventType.CASE_CREATED, CallEventType.CALL_STARTED, CallEventType.CALL_ENDED, CallEventType.CASE_CLOSED,
)  # fmt: skip


class Async:
    """The watch of the asyncio client."""

    def __init__(self, target, *, retry=True, **options):
        self.client = AsyncCallbackClient(target, retry=retry)
        self._watch = self.client.watch_calls(**options)
        self.given = []

    async def __aenter__(self):
        assert await self._watch.__aenter__() is self._watch
        return self

    async def __aexit__(self, *error):
        await self._watch.__aexit__(*error)
        await self.client.close()

    async def next(self, count=1):
        """Return the next event."""
        return [await anext(self._watch) for _ in range(count)]

    async def receive(self):
        """Return the events of the next message, if any."""
        return await self._watch.receive()

    async def rest(self):
        """Append the events to `given` until another task or thread closes the watch."""
        async for event in self._watch:
            self.given.append(event)

    def __getattr__(self, name):
        return getattr(self._watch, name)


class Threads(Async):
    """The watch of the synchronous client, each step in a thread."""

    def __init__(self, target, *, retry=True, **options):
        self.client = CallbackClient(target, retry=retry)
        self._watch = self.client.watch_calls(**options)
        self.given = []

    async def __aenter__(self):
        assert await asyncio.to_thread(self._watch.__enter__) is self._watch
        return self

    async def __aexit__(self, *error):
        await asyncio.to_thread(self._watch.__exit__, *error)
        await asyncio.to_thread(self.client.close)

    async def next(self, count=1):
        return await asyncio.to_thread(lambda: [next(self._watch) for _ in range(count)])

    async def receive(self):
        return await asyncio.to_thread(self._watch.receive)

    async def rest(self):
        return await asyncio.to_thread(lambda: [self.given.append(event) for event in self._watch])


@pytest.fixture(params=[Async, Threads])
def watching(request):
    """Each of the two watches. A test that uses it runs for both."""
    return request.param


@pytest.fixture
async def services(store_of):
    async with running_services(store_of()) as up, AsyncCallbackClient(up.address) as up.client:
        yield up


async def make(services, activity="record", **options):
    return await services.client.generate_callback_url(activity, Response("thank you"), **options)


async def call(services, made):
    return await services.edge.Invoke(edge.InvokeRequest(state=made.state, request_method="post"))


def told(events):
    return [(event.type, event.case_id) for event in events]


async def test_each_event_has_the_status_after_the_change(services, watching):
    async with watching(services.address) as watch:
        made = await make(services)
        await call(services, made)
        created, ended = await watch.next(2)
    assert (created.type, created.case_id, created.call_id) == (CREATED, made.case_id, "")
    assert (created.activity, created.owner) == ("record", "local")
    assert (created.case_status, created.close_reason, created.call_status) == (CallbackStatus.OPEN, None, None)
    assert (ended.type, ended.case_id) == (ENDED, made.case_id)
    assert ended.call_id.startswith(made.case_id)
    assert (ended.case_status, ended.close_reason) == (CallbackStatus.CLOSED, CloseReason.CONSUMED)
    assert (ended.call_status, ended.delivery_status) == (CallStatus.SUCCEEDED, None)
    assert created.time <= ended.time


async def test_only_matching_events_are_received(services, watching):
    other = await make(services, allow_multiple_calls=True)
    labelled = {"activity": "form", "labels": {"order": "5"}}
    async with (
        watching(services.address, case_id=other.case_id) as of_case,
        watching(services.address, **labelled) as of_order,
    ):
        await make(services, labels={"order": "5"})
        await make(services, "form", labels={"order": "6"})
        wanted = await make(services, **labelled)
        await call(services, other)
        assert told(await of_order.next()) == [(CREATED, wanted.case_id)]
        assert told(await of_case.next()) == [(ENDED, other.case_id)]


async def test_a_watch_resumes_after_a_lost_connection_without_a_gap(services, watching):
    async with Tunnel(services.address) as tunnel, watching(tunnel.address) as watch:
        made = [await make(services)]
        events = await watch.next()
        for _ in range(3):
            tunnel.cut()
            made += [await make(services), await make(services)]
            events += await watch.next(2)
    assert sorted(told(events)) == sorted((CREATED, each.case_id) for each in made)


async def test_a_watch_resumes_exactly_after_any_event(services, watching):
    async with watching(services.address) as watch:
        beginning = watch.resume_token
        made = [await make(services) for _ in range(5)]
    async with watching(services.address, resume_token=beginning) as watch:
        events = await watch.next(5)  # they came in one message
        assert watch.resume_token == events[-1].resume_token
    assert sorted(told(events)) == sorted((CREATED, each.case_id) for each in made)
    last = await make(services)
    for count, event in enumerate(events, 1):
        async with watching(services.address, resume_token=event.resume_token) as watch:
            rest = await watch.next(6 - count)
        assert sorted(told(rest)) == sorted([*told(events[count:]), (CREATED, last.case_id)])


class Scripted(CallbacksServiceServicer):
    """Run a server that sends scripted messages to each watch and then refuses it; `tokens` has the requested ones."""

    def __init__(self, *watches):
        self._watches = list(watches)
        self.tokens = []

    async def WatchCalls(self, request, context):
        self.tokens.append(request.resume_token)
        told, refused = self._watches.pop(0)
        for message in told:
            yield message
        await context.abort_with_status(refused.wire())


@contextlib.asynccontextmanager
async def scripted(*watches, servicer=None):
    server, servicer = grpc.aio.server(), servicer or Scripted(*watches)
    add_CallbacksServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield servicer
    await server.stop(0)


def message(token, *cases):
    events = [
        messages.CallEvent(
            type=messages.CALL_EVENT_TYPE_CASE_CREATED, callback_case_id=case, resume_token=f"{token}{case}"
        )
        for case in cases
    ]
    return messages.WatchCallsResponse(events=events, resume_token=token)


TOO_SLOW = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW")
LOST = Refusal(grpc.StatusCode.OUT_OF_RANGE, "WATCH_POSITION_LOST")


async def test_a_watch_resumes_after_the_retry_delay_of_the_server(watching):
    busy = Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=0.7)
    async with (
        scripted(([message("a", "1")], busy), ([message("b", "2")], LOST)) as server,
        watching(server.address) as watch,
    ):
        await watch.next()
        began = time.monotonic()
        await watch.next()
        assert time.monotonic() - began >= 0.6


async def test_receive_returns_the_events_of_a_message_or_none_if_only_the_token_advanced(watching):
    async with (
        scripted(([message("a"), message("b"), message("c", "1", "2", "3"), message("d")], LOST)) as server,
        watching(server.address) as watch,
    ):
        assert (await watch.receive(), watch.resume_token) == ([], "b")
        assert ([event.case_id for event in await watch.next()], watch.resume_token) == (["1"], "c1")
        assert ([event.case_id for event in await watch.receive()], watch.resume_token) == (["2", "3"], "c3")
        assert (await watch.receive(), watch.resume_token) == ([], "d")
        watch.close()
        assert await watch.receive() == []


async def test_an_invalid_watch_is_refused_at_once(services, watching, limits):
    with pytest.raises(InvalidRequestError):
        async with watching(services.address, case_id="5"):
            pytest.fail("it watches")
    limits(watch, MAX_WATCHERS=0)
    with pytest.raises(TooManyWatchersError):
        async with watching(services.address):
            pytest.fail("it watches")


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_an_invalid_timeout_is_refused(watching, timeout):
    with pytest.raises(ValueError, match="positive"):
        watching("127.0.0.1:1", timeout=timeout)


async def test_a_watch_reconnects_until_its_timeout(watching):
    with pytest.raises(UnavailableError):
        async with watching(f"127.0.0.1:{free_port()}", timeout=0.5):
            pytest.fail("it watches")


async def test_the_time_to_reconnect_begins_with_the_loss_of_the_connection(limits):
    passed_s, is_lost = 0, asyncio.Event()
    limits(_backoff, CLOCK=lambda: time.monotonic() + passed_s)

    class Silent(Scripted):
        async def WatchCalls(self, request, context):
            if request.resume_token:
                yield message("b", "1")
            else:
                yield message("a")
                await is_lost.wait()
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server has ended")

    async with scripted(servicer=Silent()) as server, Async(server.address) as watch:
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)  # it waits in gRPC now
        passed_s = 3600
        is_lost.set()
        [event] = await waiting
    assert event.case_id == "1"


async def test_a_watch_of_a_client_without_retry_fails_at_once(services, watching):
    async with Tunnel(services.address) as tunnel, watching(tunnel.address, retry=False, timeout=math.inf) as watch:
        tunnel.cut()
        with pytest.raises(UnavailableError):
            await watch.next()


async def test_closing_a_watch_ends_it(services, watching):
    async with watching(services.address) as watch:
        watch.close()
        watch.close()
        await watch.rest()
        assert watch.given == []


async def test_a_watch_can_be_closed_by_another_thread_or_task(services, watching):
    async with watching(services.address) as watch:
        resting = asyncio.create_task(watch.rest())
        await make(services)
        await wait_until(lambda: watch.given, what="an event")
        watch.close()
        await resting


async def test_a_watch_of_a_closed_client_raises_an_error(services, watching):
    async with watching(services.address) as watch:
        resting = asyncio.create_task(watch.rest())
        await make(services)
        await wait_until(lambda: watch.given, what="an event")
        closing = asyncio.to_thread(watch.client.close) if watching is Threads else watch.client.close()
        await closing
        with pytest.raises(CallbackError) as caught:
            await resting
    assert caught.value.code is grpc.StatusCode.CANCELLED


async def test_waiting_for_an_event_can_be_cancelled(services):
    async with Async(services.address) as watch:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await watch.next()
        made = await make(services)
        assert told(await watch.next()) == [(CREATED, made.case_id)]
