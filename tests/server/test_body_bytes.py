"""The bytes of bodies in flight are limited, of all owners and of each."""

import asyncio

import grpc
import pytest
from support.handlers import GatedHandler
from support.principals import KnownRoles, by
from support.services import refusal, running_services
from support.wait import wait_until

from callback.v1 import edge_service_pb2 as edge
from callback_server import metrics

SIZE = 1000


@pytest.fixture
def handler():
    return GatedHandler()


@pytest.fixture(autouse=True)
async def given_back():
    """Check that each test frees all bytes, however its calls end."""
    yield
    assert in_flight() == 0


def in_flight():
    """Return the bytes that the last server of this process counts."""
    (sample,) = (each for family in metrics.BODY_BYTES_IN_FLIGHT.collect() for each in family.samples)
    return sample.value


async def generate(services, owner, activity="gate"):
    return await services.generate(activity, allow_multiple_calls=True, metadata=by(owner))


def call(services, made, size=SIZE):
    return services.call(made, body=bytes(size), metadata=by("edge"))


def look_up(services, made):
    request = edge.InvokeRequest(state=made.callback_state, request_method="post")
    return services.edge.look_up(request, metadata=by("edge"))


async def test_a_body_beyond_the_limit_of_all_is_refused_until_others_have_ended(store_of, handler):
    async with running_services(
        store_of(), handlers={"gate": handler}, principals=KnownRoles, max_body_bytes_in_flight=3 * SIZE
    ) as services:
        made = [await generate(services, owner) for owner in ("shop", "bank", "post")]
        running = [call(services, each) for each in made]
        await wait_until(lambda: handler.started == 3)
        assert in_flight() == 3 * SIZE
        said = await refusal(call(services, made[0], 1))
        assert (said.code, said.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert said.retry_after_s == 1
        bodyless = call(services, made[0], 0)
        await wait_until(lambda: handler.started == 4)
        handler.gate.set()
        await asyncio.gather(*running, bodyless)
        await call(services, made[0])


async def test_an_owner_that_has_used_its_share_gets_no_more_bodies_and_others_are_served(store_of, handler):
    async with running_services(
        store_of(), handlers={"gate": handler}, principals=KnownRoles, max_body_bytes_in_flight_per_owner=2 * SIZE
    ) as services:
        mine, also_mine, other = [await generate(services, owner) for owner in ("shop", "shop", "bank")]
        running = [call(services, mine) for _ in range(2)]
        await wait_until(lambda: handler.started == 2)
        for refused in (call(services, also_mine, 1), look_up(services, also_mine)):
            said = await refusal(refused)
            assert (said.code, said.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS")
            assert said.retry_after_s == 1
        await look_up(services, other)
        running += [call(services, other), call(services, mine, 0)]
        await wait_until(lambda: handler.started == 4)
        handler.gate.set()
        await asyncio.gather(*running)
        await look_up(services, also_mine)
        await call(services, also_mine)


async def test_a_held_call_does_not_count_once_it_is_stored(store_of):
    async with running_services(
        store_of(), principals=KnownRoles, max_body_bytes_in_flight=SIZE, max_body_bytes_in_flight_per_owner=SIZE
    ) as services:
        made = await generate(services, "shop", "form")
        calls = []
        for count in (1, 2, 3):
            calls.append(call(services, made))
            await services.running(made, count, metadata=by("shop"))
        await wait_until(lambda: in_flight() == 0, what="the end of the count")
        for each in calls:
            each.cancel()


async def test_refused_calls_free_their_bytes(store_of, handler):
    async with running_services(store_of(), handlers={"gate": handler}, principals=KnownRoles) as services:
        made = await generate(services, "shop")
        await services.close(made, metadata=by("shop"))
        await refusal(call(services, made))
        await refusal(services.edge.Invoke(edge.InvokeRequest(
            state="00000000-0000-4000-8000-000000000000", request_method="post", request_body=b"x"
        ), metadata=by("edge")))  # fmt: skip
