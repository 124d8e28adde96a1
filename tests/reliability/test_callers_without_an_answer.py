"""A caller that does not get its answer: `caller_gone` is set when that happens, whatever the reason."""

import asyncio
import contextlib
import signal
from urllib.parse import urlsplit

import httpx
import pytest
from support.leases import end_leases
from support.system import is_idle, running_system
from support.wait import wait_until

from callback import CallbackStatus, CallFilter, CallStatus, Response

SHORT_GRACE = {"server": {"CALLBACK_GRACE_S": "2"}, "edge": {"CALLBACK_EDGE_GRACE_S": "2"}}


@contextlib.asynccontextmanager
async def calling(url):
    """Send a request, and yield the writer of its connection and the task that reads its whole answer."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"POST {address.path} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody".encode())
    answer = asyncio.create_task(reader.read(12))
    try:
        yield writer, answer
    finally:
        writer.close()
        await asyncio.wait([answer])
        answer.exception()


async def calls_of(client, case_id):
    return (await client.list_calls_page(case_id)).items


async def call_of(client, case_id):
    """Wait for the call of a case, and return it."""
    (call,) = await wait_until(lambda: calls_of(client, case_id), what="the call")
    return call


async def until_gone(client, call_id):
    """Wait until the caller of a call is gone, and return the call."""

    async def gone():
        call = await client.get_call(call_id)
        return call if call.caller_gone else None

    return await wait_until(gone, what="that the caller is gone")


async def test_a_caller_that_hangs_up_is_marked_while_its_call_runs_or_is_held(tmp_path, store, handler):
    handler.script = handler.wait_at_the_gate
    async with running_system(tmp_path, store, config=handler.config, **SHORT_GRACE) as system:
        for activity in ("work", "form"):
            case = await system.client.generate_callback_url(activity, Response("ok"))
            async with calling(case.url) as (writer, _):
                call = await call_of(system.client, case.case_id)
                assert not call.caller_gone
                writer.transport.abort()
                gone = await until_gone(system.client, call.call_id)
                assert gone.status is CallStatus.RUNNING
                (listed,) = await calls_of(system.client, case.case_id)
                assert listed.caller_gone
        (waiting,) = (await system.client.list_owner_calls_page(CallFilter.WAITING)).items
        assert (waiting.call_id, waiting.caller_gone) == (call.call_id, True)
        answered = await system.client.answer_call(call.call_id, Response("yes"))
        assert (answered.status, answered.caller_gone) == (CallStatus.SUCCEEDED, True)
        assert (await system.client.get_callback(case.case_id)).status is CallbackStatus.CLOSED


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_the_callers_of_an_edge_that_is_gone_are_marked(tmp_path, store, handler, how):
    handler.script = handler.wait_at_the_gate
    async with running_system(tmp_path, store, config=handler.config, **SHORT_GRACE) as system:
        calls, answers = [], []
        async with contextlib.AsyncExitStack() as callers:
            for activity in ("work", "form"):
                case = await system.client.generate_callback_url(activity, Response("ok"))
                _, answer = await callers.enter_async_context(calling(case.url))
                answers.append(answer)
                calls.append(await call_of(system.client, case.case_id))
            if how == "stopped":
                system.edge.signal(signal.SIGTERM)
                assert b"503" in await answers[0]
                assert b"202" in await answers[1]  # the held call waits on, and its caller with it
            else:
                system.edge.kill()
            for call in calls[: 1 if how == "stopped" else 2]:
                assert (await until_gone(system.client, call.call_id)).status is CallStatus.RUNNING
        assert (await system.client.answer_call(calls[1].call_id)).caller_gone is (how == "killed")


async def test_the_caller_that_gets_a_503_because_its_server_stops_is_marked(tmp_path, store, handler):
    handler.script = handler.wait_at_the_gate
    async with running_system(tmp_path, store, config=handler.config, **SHORT_GRACE) as system:
        case = await system.client.generate_callback_url("work", Response("ok"))
        async with calling(case.url) as (_, answer):
            call = await call_of(system.client, case.case_id)
            system.server.stop()
            assert b"503" in await answer
            await asyncio.to_thread(system.server.start)
            assert (await until_gone(system.client, call.call_id)).status is CallStatus.RUNNING


async def test_a_caller_whose_call_ended_without_its_answer_gets_a_503_and_is_marked(tmp_path, store, handler):
    handler.script = handler.wait_at_the_gate
    async with running_system(tmp_path, store, config=handler.config) as system:
        case = await system.client.generate_callback_url("work", Response("ok"), retryable_after_error=True)
        caller = asyncio.create_task(system.http.post(case.url))
        await handler.until_started()
        await end_leases(store)

        async def is_interrupted():
            return (await call_of(system.client, case.case_id)).status is CallStatus.INTERRUPTED

        await wait_until(is_interrupted, what="the end of the lease")
        handler.gate.set()
        answer = await caller
        assert answer.status_code == 503
        assert "retry-after" not in answer.headers  # the outcome of the call is unknown
        assert system.server.events("finish_too_late")
        (call,) = await calls_of(system.client, case.case_id)
        assert (await until_gone(system.client, call.call_id)).status is CallStatus.INTERRUPTED


async def test_a_caller_that_got_its_answer_is_never_marked_whatever_happens_after(tmp_path, store):
    async with running_system(tmp_path, store) as system:
        made = [await system.client.generate_callback_url("record", Response("ok")) for _ in range(20)]

        async def call(case):
            async with httpx.AsyncClient() as http:
                assert (await http.post(case.url)).text == "ok"

        await asyncio.gather(*(call(case) for case in made))
        system.edge.kill()
        system.server.stop()
        await asyncio.to_thread(system.server.start)
        for case in made:
            (call,) = await calls_of(system.client, case.case_id)
            assert not call.caller_gone


async def test_a_caller_that_hangs_up_as_its_call_ends_is_marked_or_has_its_answer(tmp_path, store, handler):
    """What is recorded agrees with what the caller read, and each call has ended."""

    async def script(_call):
        await asyncio.sleep(0.1)  # as long as the edge waits before it takes a hang-up for one

    handler.script = script
    async with running_system(tmp_path, store, config=handler.config) as system:
        made = [await system.client.generate_callback_url("work", Response("ok")) for _ in range(40)]

        async def caller(number, case):
            async with calling(case.url) as (writer, answer):
                await call_of(system.client, case.case_id)
                await asyncio.sleep(number / 400)
                was_answered = answer.done()
                writer.transport.abort()
                return was_answered

        answered = await asyncio.gather(*(caller(*each) for each in enumerate(made)))
        await wait_until(lambda: is_idle(system.edge), what="that the edge has no request")
        for case, was_answered in zip(made, answered, strict=True):

            async def ended(case_id=case.case_id):
                (call,) = await calls_of(system.client, case_id)
                return call if call.status is CallStatus.SUCCEEDED else None

            call = await wait_until(ended, what="the end of the call")
            assert not (was_answered and call.caller_gone)
