"""A caller that hangs up changes nothing: the call runs to its recorded end."""

import asyncio
import random
from urllib.parse import urlsplit

import pytest
from soak.counts import count
from support.handler import handler_service
from support.system import is_idle, running_system
from support.wait import wait_until

from callback import CallbackStatus, CallStatus, Response

AT_ONCE = 50
WITHIN_S = 0.05


@pytest.fixture
async def handler():
    """A handler with a long deadline: deadlines are not tested here, and it shares a busy process with the callers."""
    async with handler_service("work", deadline_s=60) as service:
        yield service


async def test_callers_that_hang_up_at_any_moment_leave_every_handler_with_a_recorded_end(tmp_path, store, handler):
    callers, rng = count(200, 1000), random.Random(26)

    async def script(_call):
        await asyncio.sleep(rng.uniform(0, WITHIN_S))

    handler.script = script
    async with running_system(tmp_path, store, config=handler.config) as system:
        address = urlsplit(system.url)

        async def caller(n):
            case = await system.client.generate_callback_url(
                "work", Response("ok"), retryable_after_error=n % 3 == 1, allow_multiple_calls=n % 3 == 2
            )
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            path = urlsplit(case.url).path
            writer.write(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody".encode())
            await asyncio.sleep(rng.uniform(0, WITHIN_S))
            writer.transport.abort() if n % 2 else writer.close()
            return case.case_id, n % 3 == 2

        made = []
        for first in range(0, callers, AT_ONCE):
            made += await asyncio.gather(*(caller(n) for n in range(first, first + AT_ONCE)))

        async def all_ended():
            ended = 0
            for case_id, multiple in made:
                case = await system.client.get_callback(case_id)
                if case.status is CallbackStatus.IN_PROGRESS:
                    return False
                calls = (await system.client.list_calls_page(case_id)).items
                if any(call.status is CallStatus.RUNNING for call in calls):
                    return False
                # Some callers disconnected before the server read their requests, so these made no call.
                assert [call.status for call in calls] == [CallStatus.SUCCEEDED] * handler.starts[case_id]
                assert (case.status is CallbackStatus.CLOSED) is (bool(calls) and not multiple)
                ended += len(calls)
            return ended == len(handler.calls)

        await wait_until(all_ended, what="the end of every call")
    print(f"\n{callers} callers disconnected; {len(handler.calls)} handlers were started, each has its recorded end")
    assert len(handler.calls) > callers / 4
    assert max(handler.starts.values()) == 1


async def test_a_held_call_whose_caller_hung_up_is_answered_and_shows_that_the_caller_is_gone(tmp_path, store):
    async with running_system(tmp_path, store) as system:
        address = urlsplit(system.url)
        case = await system.client.generate_callback_url("form", Response("ok"))
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        path = urlsplit(case.url).path
        writer.write(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody".encode())

        async def held():
            calls = (await system.client.list_calls_page(case.case_id)).items
            return calls[0] if calls else None

        call = await wait_until(held, what="the call")
        writer.transport.abort()
        await wait_until(lambda: is_idle(system.edge), what="that the edge has noticed")
        answered = await system.client.answer_call(call.call_id, Response("yes"))
        assert answered.status is CallStatus.SUCCEEDED

        async def told():
            return (await system.client.get_call(call.call_id)).caller_gone

        await wait_until(told, what="that the caller is gone")
        assert (await system.client.get_callback(case.case_id)).status is CallbackStatus.CLOSED
