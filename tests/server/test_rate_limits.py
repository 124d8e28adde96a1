"""Rate limits of calls per case, which the store counts. Those per owner have their tests among the quotas."""

import asyncio

import grpc
import pytest
import redis.asyncio
from support.services import refusal, running_services
from support.stored import content_of


async def generate(services, **fields):
    return await services.generate(allow_multiple_calls=True, **fields)


async def call(services, made):
    return await services.call(made, method="get")


@pytest.mark.parametrize("kind", ["valkey", "valkey-cluster"])
@pytest.mark.parametrize("limit", [1, 3, 5])  # with 5, another call is allowed after 12 s: longer than this takes
async def test_a_case_gets_its_calls_a_minute_and_a_refused_call_changes_nothing(store_of, kind, limit):
    store = store_of(kind)
    async with running_services(store, max_calls_per_minute_per_case=limit) as services:
        made, other = await generate(services), await generate(services)
        done = await asyncio.gather(*(call(services, made) for _ in range(limit + 10)), return_exceptions=True)
        refused = [each for each in done if isinstance(each, grpc.aio.AioRpcError)]
        assert (len(done) - len(refused), {each.code() for each in refused}) == (
            limit, {grpc.StatusCode.RESOURCE_EXHAUSTED},
        )  # fmt: skip
        before = await content_of(store)
        said = await refusal(call(services, made))
        assert (said.code, said.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS")
        assert 1 <= said.retry_after_s <= -(-60 // limit)
        assert await content_of(store) == before
        assert (await call(services, other)).call_id


async def test_a_case_that_waited_may_go_on_evenly(store_of):
    store = store_of()
    async with running_services(store, max_calls_per_minute_per_case=2) as services:
        made = await generate(services)
        for _ in range(2):
            await call(services, made)
        assert (await refusal(call(services, made))).reason == "TOO_MANY_REQUESTS"
        async with redis.asyncio.Redis(port=store.port) as client:
            (key,) = [key async for key in client.scan_iter("*:case:*")]
            await client.hincrby(key, "arrival", -30_000_000)  # as if half a minute had passed
        assert (await call(services, made)).call_id
        assert (await refusal(call(services, made))).reason == "TOO_MANY_REQUESTS"


async def test_a_closed_case_says_that_it_is_closed_however_many_calls_come(store_of):
    async with running_services(
        store_of(), max_calls_per_minute_per_case=1, max_calls_per_minute_per_owner=1
    ) as services:
        made = await generate(services)
        await call(services, made)
        await services.close(made)
        assert (await refusal(call(services, made))).reason == "CALLBACK_CLOSED"
