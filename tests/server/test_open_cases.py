"""The open-case quota of an owner."""

import asyncio

import grpc
import pytest
from support.principals import KnownRoles, by
from support.services import refusal, running_services
from support.wait import wait_until

from callback_server.limits import open_cases
from callback_server.limits.open_cases import OpenCaseQuota

FULL = "TOO_MANY_OPEN_CALLBACKS"


async def made_of(services, *requests):
    """Send requests with these fields at once, and return the results of those that were not refused."""
    sent = [services.generate(**fields) for fields in requests]
    answers = await asyncio.gather(*sent, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert {error.code() for error in refused} <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    return [answer for answer in answers if answer not in refused]


async def listed(services):
    return len(await services.cases(page_size=1000))


async def test_of_many_at_once_exactly_as_many_are_made_as_may_be(store_of):
    async with running_services(store_of(), max_open_cases_per_owner=50) as services:
        assert len(await made_of(services, *[{}] * 200)) == 50
        assert await listed(services) == 50
        said = await refusal(services.generate())
    assert (said.code, said.reason, said.metadata) == (grpc.StatusCode.RESOURCE_EXHAUSTED, FULL, {"limit": "50"})


@pytest.mark.parametrize("by", ["close", "call"])
async def test_a_callback_that_is_closed_makes_room_for_another(store_of, by):
    async with running_services(store_of(), max_open_cases_per_owner=3) as services:
        first, *_ = await made_of(services, *[{}] * 3)
        assert (await refusal(services.generate())).reason == FULL
        if by == "close":
            await services.close(first)
        else:
            await services.call(first, method="get")

        async def another():
            return await made_of(services, {})

        assert await wait_until(another, what="room for another")
        assert (await refusal(services.generate())).reason == FULL


async def test_a_retried_request_gets_its_case_again_at_the_limit(store_of):
    async with running_services(store_of(), max_open_cases_per_owner=2) as services:
        made = await made_of(services, {"request_id": "one"}, {"request_id": "two"})
        assert await made_of(services, {"request_id": "one"}, {"request_id": "two"}) == made
        said = await refusal(services.generate(request_id="one", allow_multiple_calls=True))
        assert said.reason == "REQUEST_ID_REUSED"
        assert (await refusal(services.generate(request_id="three"))).reason == FULL


async def test_a_retried_request_counts_once(store_of):
    async with running_services(store_of(), max_open_cases_per_owner=5) as services:
        again = [{"request_id": "one"}] * 50
        assert len({made.callback_url for made in await made_of(services, *again)}) == 1

        async def four_more():
            await made_of(services, *[{}] * 4)
            return await listed(services) == 5

        assert await wait_until(four_more, what="the other four slots")


async def test_the_places_of_one_owner_are_not_those_of_another(store_of):
    async with running_services(store_of(), principals=KnownRoles, max_open_cases_per_owner=1) as services:
        for name in ("shop", "bank"):
            await services.generate(metadata=by(name))
            assert (await refusal(services.generate(metadata=by(name)))).reason == FULL


async def test_a_second_server_counts_the_cases_of_the_first(store_of):
    store = store_of()
    async with running_services(store, max_open_cases_per_owner=4) as first:
        await made_of(first, *[{}] * 3)
        async with running_services(store, max_open_cases_per_owner=4) as second:
            assert len(await made_of(second, *[{}] * 5)) == 1


# --- the estimate alone: cases that a count may or may not have seen


class Cases:
    """Stored cases. A count of them waits for the gate, either before or after it reads the number."""

    def __init__(self):
        self.stored = self.counts = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.looks_first = False

    async def count(self, _owner):
        self.counts += 1
        seen = self.stored
        await self.gate.wait()
        return seen if self.looks_first else self.stored


@pytest.mark.parametrize("looks_first", [False, True])
async def test_a_case_being_stored_during_a_count_is_counted(limits, looks_first):
    limits(open_cases, RECOUNT_S=0)
    cases = Cases()
    cases.looks_first = looks_first
    quota = OpenCaseQuota(2, cases.count)
    for _ in range(2):
        await quota.reserve("shop")
    cases.gate.clear()
    third = asyncio.create_task(quota.reserve("shop"))  # the limit seems to be reached, so the quota counts
    await wait_until(lambda: cases.counts == 2, what="the count")
    for _ in range(2):  # stored before or after the count reads the number
        cases.stored += 1
        quota.settle("shop", reserved=1, created=1)
    cases.gate.set()
    assert await third == 0


async def test_a_reservation_without_a_stored_case_is_released():
    cases = Cases()
    quota = OpenCaseQuota(1, cases.count)
    assert await quota.reserve("shop") == 1
    quota.settle("shop", reserved=1, created=0)
    assert await quota.reserve("shop") == 1
    assert cases.counts == 1


async def test_a_batch_reserves_as_much_as_there_is(limits):
    limits(open_cases, RECOUNT_S=60)
    quota = OpenCaseQuota(5, Cases().count)
    assert [await quota.reserve("shop", each) for each in (2, 4, 1)] == [2, 3, 0]
    quota.settle("shop", reserved=3, created=1)
    assert await quota.reserve("shop", 3) == 2


async def test_concurrent_requests_share_one_count():
    cases = Cases()
    quota = OpenCaseQuota(1000, cases.count)
    await asyncio.gather(*(quota.reserve("shop") for _ in range(100)))
    assert cases.counts == 1
