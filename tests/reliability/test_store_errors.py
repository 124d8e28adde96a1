"""A store that returns errors: callers get a retryable error, nothing changes, and service resumes."""

import asyncio
import contextlib
import resource

import pytest
import redis.asyncio
from redis.exceptions import ResponseError
from support.stored import is_of_callers
from support.system import own_store, running_system
from support.wait import wait_until

from callback import CallStatus, Response, UnavailableError
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.queries.read import read_call, read_calls, read_case, read_held
from callback_server.store.scripts import Scripts


async def contents(client):
    """Return every key of a store with its value, but those that servers write by themselves, also when they sweep."""
    found = [key async for key in client.scan_iter() if is_of_callers(key) and not key.endswith(b":clock")]
    return {key: await client.dump(key) for key in found}


@contextlib.asynccontextmanager
async def out_of_memory(client, _store):
    await client.config_set("maxmemory", 1)
    yield "maxmemory"
    await client.config_set("maxmemory", 0)


@contextlib.asynccontextmanager
async def read_only(client, _store):
    await client.replicaof("127.0.0.1", 1)
    yield "replica"
    await client.replicaof("NO", "ONE")


@contextlib.asynccontextmanager
async def cannot_save(client, _store):
    # A store that cannot write snapshots, as on a full disk: here it may open no file.
    await client.config_set("save", "3600 1")
    await client.set("unrelated", "change")
    pid = (await client.info("server"))["process_id"]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))
    await client.bgsave()

    async def failed():
        return (await client.info("persistence"))["rdb_last_bgsave_status"] == "err"

    await wait_until(failed, what="a snapshot that fails")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    yield "MISCONF"
    await client.config_set("save", "")
    await client.config_set("stop-writes-on-bgsave-error", "no")


@contextlib.asynccontextmanager
async def busy(client, store):
    limit = (await client.config_get("busy-reply-threshold"))["busy-reply-threshold"]
    await client.config_set("busy-reply-threshold", 20)
    async with redis.asyncio.Redis(port=store.port, socket_timeout=60) as other:
        script = asyncio.create_task(other.eval("while true do end", 0))

        async def is_busy():
            try:
                await client.ping()
            except ResponseError as error:
                return str(error).startswith("BUSY")
            return False

        await wait_until(is_busy, what="a busy store")
        yield "BUSY"
        await client.script_kill()
        with contextlib.suppress(ResponseError):
            await script
        await client.config_set("busy-reply-threshold", limit)


@pytest.mark.parametrize("failing", [out_of_memory, read_only, cannot_save, busy])
async def test_a_store_that_refuses_changes_nothing_and_callers_may_come_again(tmp_path, store, handler, failing):
    """A call that runs meanwhile ends well."""
    handler.script = handler.wait_at_the_gate
    async with (
        running_system(tmp_path, store, config=handler.config) as system,
        redis.asyncio.Redis(port=store.port) as client,
    ):
        cases = [
            await system.client.generate_callback_url(activity, Response("ok"), retryable_after_error=retryable)
            for activity in ("record", "work")
            for retryable in (False, True)
        ]
        running = await system.client.generate_callback_url("work", Response("ok"))
        calling = asyncio.create_task(system.http.post(running.url))
        await handler.until_started()
        before = await contents(client)
        async with failing(client, store) as word:
            answers = await asyncio.gather(*(system.http.post(case.url) for case in cases))
            for answer in answers:
                # A store that has refused for 2 seconds makes the server not ready, and then an edge refuses.
                assert answer.status_code == 503
                assert answer.json()["code"] in ("store_unavailable", "server_unreachable")
                assert int(answer.headers["retry-after"]) > 0
            with pytest.raises(UnavailableError) as refused:
                await system.client.generate_callback_url("record", Response("ok"))
            assert word not in str(refused.value)
            refused_claims = [answer.json()["code"] for answer in answers].count("store_unavailable")

            def refusals():
                return system.server.events("store_unavailable")

            def claims():  # a line has the error of the newest event alone, which may be another one's time-out
                return sum(event["counts"].get("claim_not_confirmed", 0) for event in refusals())

            # An edge that hears meanwhile that the server is not ready has answered more callers than it says here.
            await wait_until(lambda: claims() >= refused_claims, what="the count of the claims")
            assert claims() <= len(cases)
            assert any(word in event["error"] for event in refusals())
            assert not any(event.get("maybe_done") for event in refusals())
        await client.delete("unrelated")
        assert await contents(client) == before
        assert len(handler.calls) == 1
        async with failing(client, store):
            handler.gate.set()
            if failing is out_of_memory:  # the end of a call needs no memory
                assert (await calling).status_code == 200
        assert (await calling).status_code == 200
        (call,) = (await system.client.list_calls_page(running.case_id)).items
        assert call.status is CallStatus.SUCCEEDED

        async def accepted(case):
            answer = await system.http.post(case.url)
            return answer if answer.status_code != 503 else None

        answers = await asyncio.gather(*(wait_until(lambda case=case: accepted(case)) for case in cases))
        assert [(answer.status_code, answer.text) for answer in answers] == [(200, "ok")] * len(cases)


@pytest.mark.parametrize("kind", ["valkey", "valkey-cluster"])
async def test_a_read_that_a_store_refuses_is_no_fault_of_ours(store_of, kind):
    store, state = store_of(kind), "a" * 32
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as node:
        scripts = Scripts(client)
        assert await read_case(scripts, state) is None
        async with busy(node, store):
            for read in (read_case, read_call, read_held):
                with pytest.raises(StoreError, match="BUSY") as refused:
                    await read(scripts, state)
                assert not refused.value.maybe_done
            with pytest.raises(StoreError, match="BUSY"):
                await read_calls(scripts, [state])


async def test_a_store_that_is_still_loading_is_waited_for(tmp_path, handler):
    slow = ("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024")
    with own_store(tmp_path) as store:
        async with (
            running_system(tmp_path, store, config=handler.config) as system,
            redis.asyncio.Redis(port=store.port) as client,
        ):
            cases = [await system.client.generate_callback_url("work", Response("x" * 2000)) for _ in range(12)]
            await client.bgrewriteaof()

            async def rewritten():
                return not (await client.info("persistence"))["aof_rewrite_in_progress"]

            await wait_until(rewritten, what="a compact log")
            await client.aclose()
            store.kill()
            store.command += slow
            starting = asyncio.create_task(asyncio.to_thread(store.start))

            async def loading():
                try:
                    return bool((await client.info("persistence"))["loading"])
                except redis.ConnectionError:
                    return False

            await wait_until(loading, what="a store that loads")
            answer = await system.http.post(cases[0].url)
            if await loading():  # otherwise the store became ready just in time
                assert answer.status_code == 503
                assert "retry-after" in answer.headers
                assert not handler.calls
            await starting

            async def served():  # the edge hears from the server's next check that the store is ready
                again = await system.http.post(cases[0].url)
                return None if again.status_code == 503 else again

            if answer.status_code == 503:
                answer = await wait_until(served, what="an answer")
            assert answer.status_code == 200
            assert [(await system.http.post(case.url)).status_code for case in cases[1:]] == [200] * len(cases[1:])
