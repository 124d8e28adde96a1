"""Lost replies of the store: no transition happens twice, and no reply is taken for that of another request."""

import asyncio

import redis.asyncio
from soak.counts import count
from support.proxy import StoreProxy, each_once
from support.system import running_system

from callback import CallbackStatus, CallStatus, CloseReason, Reject, Response, UnavailableError

AT_ONCE = 6
"""A reply that is lost breaks a connection, and takes with it all that others have sent on it just then."""


async def in_turn(work, total):
    """Run `work(n)` for each number below `total`, some at the same time."""
    numbers = iter(range(total))

    async def worker():
        for n in numbers:
            await work(n)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def test_each_lost_reply_is_asked_for_again_and_nothing_happens_twice(tmp_path, store, handler):
    calls = count(80, 5000)
    lose = each_once("create_cases", "set_response", "claim_call", "finish_call", "close_case")
    kinds = ("recorded", "single", "retried", "multiple")
    unavailable = []

    async def script(call):
        if call.activity_case == "retried" and call.attempt == 1:
            raise Reject("not yet")

    handler.script = script
    async with (
        StoreProxy(store, lose) as proxy,
        running_system(tmp_path, store, store_url=proxy.url, config=handler.config) as system,
    ):

        async def post(url, content):
            while (answer := await system.http.post(url, content=content)).status_code == 503:
                unavailable.append(url)  # on a busy machine, the time in which a server asks again can be too short
                assert len(unavailable) <= 5
            return answer

        async def asked(method, *arguments, **options):
            while True:
                try:
                    return await method(*arguments, **options)
                except UnavailableError:  # likewise
                    unavailable.append(method.__name__)
                    assert len(unavailable) <= 5

        async def one(n):
            kind = kinds[n % len(kinds)]
            case = await asked(
                system.client.generate_callback_url,
                "record" if kind == "recorded" else "work",
                Response("first"),
                activity_case=kind,
                retryable_after_error=kind == "retried",
                allow_multiple_calls=kind == "multiple",
            )
            await asked(system.client.set_response, case.case_id, Response(f"answer {n}"))
            expected = [422, 200, 410] if kind == "retried" else [200, 200] if kind == "multiple" else [200, 410]
            got = [await post(f"{case.url}?at={at}", b"%d" % n) for at in range(len(expected))]
            assert [answer.status_code for answer in got] == expected, kind
            assert [answer.text for answer in got if answer.status_code == 200] == [f"answer {n}"] * expected.count(200)
            closed = await asked(system.client.close_callback, case.case_id)
            reason = CloseReason.CLOSED_BY_OWNER if kind == "multiple" else CloseReason.CONSUMED
            assert (closed.status, closed.close_reason) == (CallbackStatus.CLOSED, reason)
            made = len([code for code in expected if code != 410])
            kept = (await system.client.list_calls_page(case.case_id)).items
            assert [call.status for call in kept] == [
                CallStatus.REJECTED if code == 422 else CallStatus.SUCCEEDED for code in reversed(expected[:made])
            ]
            assert handler.starts[case.case_id] == (0 if kind == "recorded" else made)

        await in_turn(one, calls // 2)  # each one makes at least two calls
        print(f"\n{calls} calls; replies lost: {dict(proxy.lost)}")
    assert len(handler.calls) == len(set(handler.calls))
    for script in ("create_cases", "set_response", "claim_call", "close_case"):
        assert proxy.lost[script] >= calls // 2, script
    assert proxy.lost["finish_call"] >= len(handler.calls) > 0


async def test_a_store_that_lost_its_scripts_gets_them_again(tmp_path, store, handler):
    calls, flushes = count(100, 2000), 0
    async with (
        running_system(tmp_path, store, config=handler.config) as system,
        redis.asyncio.Redis(port=store.port) as client,
    ):

        async def one(n):
            case = await system.client.generate_callback_url("work" if n % 2 else "record", Response("ok"))
            answer = await system.http.post(case.url)
            assert (answer.status_code, answer.text) == (200, "ok")

        load = asyncio.create_task(in_turn(one, calls))
        while not load.done():
            await client.script_flush()
            flushes += 1
            await asyncio.wait([load], timeout=0.005)
        await load
        assert not [event for event in system.server.events() if event["level"] in ("error", "critical")]
    print(f"\n{calls} calls, scripts flushed {flushes} times")
    assert flushes > 20
