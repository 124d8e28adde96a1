"""The fallback at the answer deadline: what it tells its caller, and what becomes of the call."""

import asyncio
import contextlib
import signal

import pytest
from server.test_held import WAY_OUT, call_of, case_of, generate, invoke
from support.handlers import accept, override, stub_handler
from support.services import running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback_server.domain.activity import Activity
from callback_server.handlers.push import PushHandler
from callback_server.settings import ActivitySettings


@contextlib.asynccontextmanager
async def with_handler(store, script, deadline_ms=5000):
    activities = {"act": Activity("act", deadline_ms=deadline_ms)}
    async with (
        stub_handler() as stub,
        PushHandler("act", ActivitySettings(target=stub.target)) as handler,
        running_services(store, handlers={"act": handler}, activities=activities) as services,
    ):
        yield services, stub.play(script)


async def test_at_the_answer_deadline_the_caller_gets_the_fallback_and_the_handler_decides(store_of):
    gate = asyncio.Event()

    async def script(_request, _context):
        await gate.wait()
        return accept(override(response_body=b"decided"))

    async with with_handler(store_of(), script) as (services, name):
        made = await generate(services, callback_activity="act", callback_activity_case=name, **WAY_OUT)
        got = await invoke(services, made)
        assert (got.response.response_code, got.response.response_body) == (202, b"later")
        assert (await case_of(services, made)).status == pb.CALLBACK_STATUS_IN_PROGRESS
        assert (await call_of(services, made)).status == pb.CALL_STATUS_RUNNING
        gate.set()

        async def ended():
            call = await call_of(services, made)
            return call if call.status != pb.CALL_STATUS_RUNNING else None

        call = await wait_until(ended)
        assert (call.status, call.fallback_sent) == (pb.CALL_STATUS_SUCCEEDED, True)
        assert call.response.response_body == b"decided"
        assert (await case_of(services, made)).close_reason == pb.CLOSE_REASON_CONSUMED


async def test_the_fallback_is_not_sent_if_the_handler_decides_in_time(store_of):
    async def script(_request, _context):
        return accept()

    async with with_handler(store_of(), script) as (services, name):
        fallback = {**WAY_OUT, "answer_deadline": {"seconds": 5}}
        made = await generate(services, callback_activity="act", callback_activity_case=name, **fallback)
        assert (await invoke(services, made)).response.response_code == 201
        assert not (await call_of(services, made)).fallback_sent
        case = await case_of(services, made)
        assert (case.answer_deadline.seconds, case.fallback.response_body) == (5, b"later")


async def test_a_stop_cancels_the_decision_on_a_call_before_and_after_its_fallback(store_of):
    cancelled, started = [], []

    class Stuck:
        async def handle(self, grant, _request, *, timeout_s):
            started.append(grant.call_id)
            try:
                await asyncio.sleep(timeout_s)
            except asyncio.CancelledError:
                cancelled.append(grant.call_id)
                raise

    async with running_services(store_of(), handlers={"act": Stuck()}) as services:
        for deadline in (WAY_OUT["answer_deadline"], {"seconds": 5}):
            made = await generate(services, callback_activity="act", **WAY_OUT | {"answer_deadline": deadline})
            caller = invoke(services, made)
            caller.add_done_callback(lambda caller: caller.cancelled() or caller.exception())
            if deadline is WAY_OUT["answer_deadline"]:
                assert (await caller).response.response_code == 202
        await wait_until(lambda: len(started) == 2, what="both calls")
        await services.control_plane.invoker.cancel()
        assert sorted(cancelled) == sorted(started)


@pytest.mark.parametrize("mode", [pb.ANSWER_MODE_ACK, pb.ANSWER_MODE_UNSPECIFIED])
async def test_the_fallback_is_never_sent_where_the_case_itself_answers(services, mode):
    activity = "act" if mode else "record"
    made = await generate(services, callback_activity=activity, answer_mode=mode, **WAY_OUT)
    assert (await invoke(services, made)).response.response_code == 201
    assert not (await call_of(services, made)).fallback_sent


async def test_a_fallback_is_on_disk_before_its_caller_gets_it(store_of):
    store, started, gate = store_of(), asyncio.Event(), asyncio.Event()

    async def script(_request, _context):
        started.set()
        await gate.wait()
        return accept()

    async with with_handler(store, script) as (services, name):
        made = await generate(services, callback_activity="act", callback_activity_case=name, **WAY_OUT)
        caller = invoke(services, made)
        await started.wait()
        store.process.send_signal(signal.SIGSTOP)
        try:
            done, _ = await asyncio.wait([caller], timeout=1)
            assert not done  # a store that writes nothing
        finally:
            store.process.send_signal(signal.SIGCONT)
        assert (await caller).response.response_code == 202
        assert (await call_of(services, made)).fallback_sent
        gate.set()
