"""A server dies during calls, or hangs past their leases: the life table holds, and no answer changes."""

import asyncio
import functools
import signal
from dataclasses import dataclass, replace

import pytest
from soak.counts import count
from support.leases import end_leases
from support.system import running_system
from support.wait import wait_until

from callback import CallbackStatus, CallStatus, CloseReason, GeneratedCallback, Response

MODES = {
    "single": {},
    "retryable": {"retryable_after_error": True},
    "multiple": {"allow_multiple_calls": True},
}


@dataclass
class Running:
    """A case with a call that its handler is processing."""

    mode: str
    case: GeneratedCallback
    answer: asyncio.Task


@pytest.fixture
async def system(tmp_path, store, handler):
    """Run a system, and a second server with its own edge on the same store."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        running_system(tmp_path / "one", store, config=handler.config) as one,
        running_system(tmp_path / "two", store, config=handler.config) as two,
    ):
        one.other = two
        yield one


async def calls_that_run(system, handler, each):
    """Create `each` cases of every mode, each with a call through the first server that waits at the handler's gate."""
    handler.script = handler.wait_at_the_gate
    running = []
    for n in range(each * len(MODES)):
        mode = list(MODES)[n % len(MODES)]
        case = await system.client.generate_callback_url("work", Response("ok"), **MODES[mode])
        running.append(Running(mode, case, asyncio.create_task(system.http.post(case.url, content=b"first"))))
    await handler.until_started(len(running))
    return running


async def until_interrupted(system, running):
    """Wait until the second server's sweeper has ended every call, and compare each case with the life table."""

    async def ended():
        for each in running:
            (call,) = (await system.other.client.list_calls_page(each.case.case_id)).items
            if call.status is CallStatus.RUNNING:
                return False
            assert call.status is CallStatus.INTERRUPTED
        return True

    await wait_until(ended, what="the sweeper's ends")
    for each in running:
        case = await system.other.client.get_callback(each.case.case_id)
        expected = (
            (CallbackStatus.CLOSED, CloseReason.INTERRUPTED) if each.mode == "single" else (CallbackStatus.OPEN, None)
        )
        assert (case.status, case.close_reason) == expected, each.mode


async def call_again(system, each):
    """Call a case of `running` again, through the second server's edge."""
    return await system.other.http.post(each.case.url.replace(system.url, system.other.url), content=b"second")


async def test_a_server_that_is_killed_leaves_its_calls_to_another_ones_sweeper(system, store, handler):
    each_mode = count(4, 100)
    running = await calls_that_run(system, handler, each_mode)
    system.server.kill()
    for each in running:
        answer = await each.answer
        assert answer.status_code == 503
        assert "retry-after" not in answer.headers  # the outcome of the call is unknown
    assert await end_leases(store) == len(running)
    await until_interrupted(system, running)

    handler.gate.set()
    for each in running:
        starts = handler.starts[each.case.case_id]
        answer = await call_again(system, each)
        assert answer.status_code == (410 if each.mode == "single" else 200), each.mode
        assert handler.starts[each.case.case_id] == starts + (each.mode != "single")
        statuses = [call.status for call in (await system.other.client.list_calls_page(each.case.case_id)).items]
        assert statuses == [CallStatus.SUCCEEDED, CallStatus.INTERRUPTED][each.mode == "single" :]
    print(f"\n{len(running)} calls interrupted, {len(handler.calls)} starts")


async def test_a_late_holder_changes_nothing_and_its_caller_gets_no_success(system, store, handler):
    each_mode = count(4, 100)
    running = await calls_that_run(system, handler, each_mode)
    system.server.signal(signal.SIGSTOP)
    try:
        assert await end_leases(store) == len(running)
        await until_interrupted(system, running)
        handler.gate.set()  # the handlers of the first calls answer too; their stopped server does not read it yet
        second = {each.case.case_id: await call_again(system, each) for each in running if each.mode != "single"}
        assert {answer.status_code for answer in second.values()} == {200}
        before = [await kept(system, each) for each in running]
    finally:
        system.server.signal(signal.SIGCONT)
    late = [await each.answer for each in running]
    assert {answer.status_code for answer in late} == {503}
    assert not any("retry-after" in answer.headers for answer in late)
    assert len(system.server.events("finish_too_late")) == len(running)
    assert [await kept(system, each) for each in running] == before
    for each in running:  # each got a 503
        await wait_until(functools.partial(is_caller_of_first_gone, system, each), what="the mark of the caller")
    for each, (case, calls) in zip(running, before, strict=True):
        assert [call.status for call in calls][-1] is CallStatus.INTERRUPTED
        if each.mode == "retryable":
            assert (case.close_reason, calls[0].status) == (CloseReason.CONSUMED, CallStatus.SUCCEEDED)
    print(f"\n{len(running)} late ends, none of them changed anything")


async def is_caller_of_first_gone(system, each):
    return (await system.other.client.list_calls_page(each.case.case_id)).items[-1].caller_gone


async def kept(system, each):
    """Return all stored data of a case, except whether the callers of its calls are gone."""
    case = await system.other.client.get_callback(each.case.case_id)
    calls = (await system.other.client.list_calls_page(each.case.case_id)).items
    return case, [replace(call, caller_gone=False) for call in calls]
