"""Large bodies and refusals have turns, which callers take in order."""

import asyncio
import itertools

import pytest
from support.edge import DEADLINE_S, chunk, http_request, one_answer, raw_request, running_edge, sample
from support.limits import limited
from support.wait import wait_until

from callback_process.http import turns as turns_of_an_edge
from callback_process.http.turns import STEPS_PER_TURN, Turns


async def steps(turns, group, count, log):
    for _ in range(count):
        await turns.wait(group)
        log.append(group)


async def count_turns(turns, work):
    """Run the work, and return the number of turns of the event loop that it took."""
    running = asyncio.gather(*work)
    count = 0
    while not running.done():
        await asyncio.sleep(0)
        count += 1
    return count


async def test_a_turn_of_the_loop_has_a_maximum_of_steps():
    turns, log = Turns(), []
    count = await count_turns(turns, [steps(turns, "a", 1, log) for _ in range(20 * STEPS_PER_TURN)])
    assert len(log) == 20 * STEPS_PER_TURN
    assert count >= 20


async def test_callers_take_turns_whatever_the_number_of_their_connections():
    turns, log = Turns(), []
    await count_turns(turns, [*(steps(turns, "flooder", 10, log) for _ in range(100)), steps(turns, "other", 20, log)])
    last = len(log) - log[::-1].index("other")
    assert last < 20 * 2 * STEPS_PER_TURN


async def test_a_step_that_is_no_longer_wanted_takes_no_turn():
    turns, log = Turns(), []
    tasks = [asyncio.create_task(steps(turns, "a", 1, log)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[STEPS_PER_TURN:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await steps(turns, "a", 3 * STEPS_PER_TURN, log)
    assert len(log) == 4 * STEPS_PER_TURN


REFUSED = {
    "of no address of ours": http_request("/nowhere", close=False),
    "with a body": http_request("/nowhere", "POST", body=b"x" * 10, close=False),
    "without a state": http_request("/cbq/state", close=False),
    "of a prefetch": http_request(headers=[("Sec-Purpose", "prefetch")], close=False),
    "of a HEAD": http_request(method="HEAD", close=False),
    "malformed": b"GET nowhere HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_turn_of_the_loop_has_a_maximum_of_answers_without_a_call(edge, what):
    connections = [await edge.connect() for _ in range(10 * STEPS_PER_TURN)]
    await wait_until(lambda: len(edge.listener.connections) == len(connections))
    before = sample("request_seconds_count")
    for _, writer in connections:
        writer.write(REFUSED[what])
    counts = [before]
    async with asyncio.timeout(DEADLINE_S):
        while counts[-1] < before + len(connections):
            await asyncio.sleep(0)
            counts.append(sample("request_seconds_count"))
    assert max(after - before for before, after in itertools.pairwise(counts)) <= STEPS_PER_TURN
    for _, writer in connections:
        writer.close()


async def test_what_is_discarded_after_the_last_answer_waits_for_turns_too():
    async with running_edge() as edge:
        reader, writer = await edge.connect()
        writer.write(raw_request("Transfer-Encoding: chunked", path="/nowhere"))
        answer = await one_answer(reader)
        assert (answer.status, answer["connection"]) == (404, "close")
        with limited(turns_of_an_edge, STEPS_PER_TURN=0):  # nothing has its turn
            writer.write(chunk(b"x" * (1 << 16)) * 16)
            await wait_until(lambda: edge.exchanges.turns.waiting, what="a part that waits for its turn")
        writer.close()
