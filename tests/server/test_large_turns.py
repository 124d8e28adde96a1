"""Calls with large bodies take turns, so that hundreds of them at once do not delay every other call by their sum."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
import structlog
from prometheus_client import REGISTRY
from support.edge_calls import EdgeCalls, answers_of
from support.principals import by, principals_of
from support.services import refusal, response, running_services
from support.wait import wait_until

from callback.v1 import edge_service_pb2 as edge
from callback_server.limits import large_turns
from callback_server.limits import log as limits_log
from callback_server.limits.large_turns import LARGE_BYTES, LargeCases, LargeReader, LargeTurn, LargeTurns

LARGE = bytes(1_000_000)
MANY = 20
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]  # otherwise gRPC buffers about 50 MB itself


class Waiting:
    """Calls that take turns, and the order in which they get theirs."""

    def __init__(self):
        self.turns, self.order = LargeTurns(), []

    def start(self, name, group, size=100, reader=None):
        """Let a call wait for its turn. Return the turn, and the task that waits."""
        turn = LargeTurn(reader or LargeReader(self.turns))

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
async def test_a_call_that_is_cancelled_leaves_its_turn_to_the_next():
    waiting = Waiting()
    (first, has_turn), (_, cancelled), (_, cancelled_at_its_turn), (_, last) = (waiting.start(n, "a") for n in range(4))
    await has_turn
    cancelled.cancel()
    await asyncio.wait([cancelled])
    cancelled_at_its_turn.cancel()
    first.free()
    await last
    assert waiting.order == [0, 3]


@pytest.mark.usefixtures("one_at_a_time")
async def test_an_edge_whose_turn_ends_while_it_does_not_read_gets_no_more_until_it_has_read(limits):
    limits(large_turns, MOST_S=0)
    waiting = Waiting()
    reader = LargeReader(waiting.turns)
    reader.begin()
    calls = [waiting.start(number, "a", reader=reader)[1] for number in range(3)]
    await calls[0]
    others = [waiting.start(f"other {number}", "a")[1] for number in range(3)]
    await asyncio.gather(*others)
    assert waiting.order == [0, "other 0", "other 1", "other 2"]
    reader.end()
    await asyncio.gather(*calls)
    assert waiting.order[4:] == [1, 2]


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
    cases.learn("case", "shop", 0, request_size=large)
    assert [cases.group_of("case", size) for size in (0, large)] == [("shop", 0), ("shop", large)]
    assert cases.owner_of("case") == "shop"
    cases.learn("case", "shop", LARGE_BYTES)
    assert cases.group_of("case", 0) == ("case", 0)
    assert cases.owner_of("case") == ""
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


@asynccontextmanager
async def edge_that_does_not_read(services, made, many, *, metadata=()):
    """Yield the stream of an edge that has sent calls and reads nothing of what it gets."""
    request = edge.InvokeRequest(state=made.callback_state, request_method="get")
    calls = [edge.Invocation(number=number, request=request) for number in range(many)]
    async with grpc.aio.insecure_channel(services.address, options=SMALL_WINDOW) as channel:
        stream = EdgeCalls(channel).StreamInvocations(metadata=metadata)
        await stream.write(edge.StreamInvocationsRequest(invocations=calls))
        yield stream
        stream.cancel()


def calls_waiting():
    return REGISTRY.get_sample_value("callback_large_calls_waiting")


async def test_calls_of_an_edge_that_has_gone_keep_no_turns_from_others(store_of, limits):
    limits(large_turns, MOST_S=3600)
    async with running_services(store_of()) as services:
        large = await services.generate("record", allow_multiple_calls=True, response=response(response_body=LARGE))
        await services.call(large, method="get")
        async with edge_that_does_not_read(services, large, MANY) as stream:
            await wait_until(lambda: calls_waiting() > MANY / 2)
            stream.cancel()
            await services.call(large, method="get")

        async def all_have_run():
            return (await services.case_of(large)).call_count == 2 + MANY

        await wait_until(all_have_run)
        assert calls_waiting() == 0


async def test_calls_that_wait_for_turns_leave_places_to_other_owners(store_of, limits):
    limits(large_turns, MOST_S=3600)
    limits(limits_log, LOG_AGAIN_S=0)
    known = principals_of(edge={"roles": ["edge"]}, shop={"roles": ["owner"]}, bank={"roles": ["owner"]})
    async with running_services(store_of(), principals=lambda: known, max_in_flight_calls=36) as services:
        large, small = [
            await services.generate(
                "record", metadata=by(owner), allow_multiple_calls=True, response=response(response_body=body)
            )
            for owner, body in (("shop", LARGE), ("bank", b"small"))
        ]
        await services.call(large, method="get", metadata=by("edge"))
        with structlog.testing.capture_logs() as log:
            async with edge_that_does_not_read(services, large, 100, metadata=by("edge")):
                await wait_until(lambda: calls_waiting() >= 8)
                assert (await services.call(small, metadata=by("edge"))).response.response_body == b"small"
                refused = await refusal(services.call(large, method="get", metadata=by("edge")))
                assert refused.reason == "TOO_MANY_CALLS"
                assert calls_waiting() == 8  # of 9, the last of which is for other owners
        assert ("max_in_flight_calls", "shop") in {(line.get("limit"), line.get("owner")) for line in log}


async def test_an_edge_that_does_not_read_delays_no_calls_of_other_edges_again(store_of, limits):
    limits(large_turns, MOST_S=0)
    async with running_services(store_of()) as services:
        large = await services.generate("record", allow_multiple_calls=True, response=response(response_body=LARGE))
        await services.call(large, method="get")
        async with edge_that_does_not_read(services, large, 1) as stream:
            request = edge.InvokeRequest(state=large.callback_state, request_method="get")
            sent = 1

            async def one_waits():
                nonlocal sent
                await stream.write(
                    edge.StreamInvocationsRequest(invocations=[edge.Invocation(number=sent, request=request)])
                )
                sent += 1
                return calls_waiting() > 0

            await wait_until(one_waits)
            limits(large_turns, MOST_S=3600)
            await services.call(large, method="get")
            assert calls_waiting() > 0
            limits(large_turns, MOST_S=0)
            await stream.done_writing()
            assert {answer.number async for answer in answers_of(stream)} == set(range(sent))
