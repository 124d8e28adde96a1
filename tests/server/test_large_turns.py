"""Calls with large bodies take turns, so that hundreds of them at once do not delay every other call by their sum."""

import asyncio

import grpc
import pytest
from support.edge_calls import EdgeCalls, answers_of
from support.services import response, running_services
from support.wait import wait_until

from callback.v1 import edge_service_pb2 as edge
from callback_server.limits import large_turns
from callback_server.limits.large_turns import LARGE_BYTES, LargeCases, LargeTurn, LargeTurns

MANY = 20
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]  # otherwise gRPC buffers about 50 MB itself


class Waiting:
    """Calls that take turns, and the order in which they get theirs."""

    def __init__(self):
        self.turns, self.order = LargeTurns(), []

    def start(self, name, group, size=100):
        """Let a call wait for its turn. Return the turn, and the task that waits."""
        turn = LargeTurn(self.turns)

        async def wait():
            await turn.take(group, size)
            self.order.append(name)

        return turn, asyncio.create_task(wait())


@pytest.fixture
def one_at_a_time(limits):
    limits(large_turns, MAX_BYTES=100)


@pytest.mark.usefixtures("one_at_a_time")
async def test_owners_take_turns_and_so_do_the_calls_of_one():
    waiting = Waiting()
    first, has_turn = waiting.start("first", "other")
    await has_turn
    calls = [waiting.start(f"{owner}{number}", owner) for owner in "abc" for number in (1, 2)]
    await asyncio.sleep(0)  # all wait
    first.free()
    for turn, task in (calls[at] for at in (0, 2, 4, 1, 3, 5)):
        await task
        turn.free()
        turn.free()  # does nothing
    assert waiting.order == ["first", "a1", "b1", "c1", "a2", "b2", "c2"]


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_call_that_is_cancelled_or_gone_leaves_its_turn_to_the_next():
    waiting = Waiting()
    (first, has_turn), (_, cancelled), (gone, waits_no_more), (_, last) = (waiting.start(n, "a") for n in range(4))
    await has_turn
    cancelled.cancel()
    gone.free()
    await waits_no_more
    first.free()
    await last
    assert waiting.order == [0, 2, 3]


async def test_small_ones_have_turns_together_and_one_beyond_the_limit_alone(limits):
    limits(large_turns, MAX_BYTES=100)
    waiting = Waiting()
    (first, one), (second, two), (_, beyond), (_, last) = (
        waiting.start(f"{size} bytes", str(size), size) for size in (40, 60, 1000, 1)
    )
    await one
    await two
    await asyncio.sleep(0)
    first.free()
    assert not beyond.done()
    second.free()
    await beyond
    await asyncio.sleep(0)
    assert not last.done()
    last.cancel()


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_turn_ends_by_itself(limits):
    limits(large_turns, MOST_S=0)
    waiting = Waiting()
    for _, task in [waiting.start(number, "a") for number in range(3)]:
        await task
    assert waiting.order == [0, 1, 2]


def test_a_case_takes_turns_with_its_owner_while_its_response_is_large(limits):
    limits(large_turns, MOST_KNOWN=2)
    cases, large = LargeCases(), LARGE_BYTES + 1
    assert [cases.group_of("case", size) for size in (LARGE_BYTES, large)] == [("case", 0), ("case", large)]
    cases.learn("case", "shop", large)
    assert [cases.group_of("case", size) for size in (0, 2 * large)] == [("shop", large), ("shop", 2 * large)]
    cases.learn("case", "shop", LARGE_BYTES)
    assert cases.group_of("case", 0) == ("case", 0)
    for case_id in ("first", "second", "third"):
        cases.learn(case_id, "shop", large)
    assert [cases.group_of(case_id, 0)[0] for case_id in ("first", "second", "third")] == ["first", "shop", "shop"]


async def test_few_large_answers_are_on_the_way_to_edges_and_small_ones_pass_them(store_of, limits):
    limits(large_turns, MOST_S=3600)
    async with running_services(store_of()) as services:
        large, small = [
            await services.generate("record", allow_multiple_calls=True, response=response(response_body=body))
            for body in (bytes(1_000_000), b"small")
        ]
        counts = []

        async def stays():
            counts.append((await services.case_of(large)).call_count)
            return len(counts) > 20 and counts[-1] > 1 and len(set(counts[-20:])) == 1

        await services.call(large, method="get")
        request = edge.InvokeRequest(state=large.callback_state, request_method="get")
        calls = [edge.Invocation(number=number, request=request) for number in range(MANY)]
        async with grpc.aio.insecure_channel(services.address, options=SMALL_WINDOW) as channel:
            stream = EdgeCalls(channel).StreamInvocations()
            await stream.write(edge.StreamInvocationsRequest(invocations=calls))
            await wait_until(stays)
            assert counts[-1] < MANY / 2
            assert (await services.call(small)).response.response_body == b"small"
            await stream.done_writing()
            assert {answer.number async for answer in answers_of(stream)} == set(range(MANY))
        assert (await services.case_of(large)).call_count == 1 + MANY
