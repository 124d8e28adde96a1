"""Large bodies are handled at a pace, and callers take turns."""

import asyncio

from callback_edge.limits.body_pace import PARTS_PER_TURN, BodyPace


async def parts(pace, group, count, log):
    for _ in range(count):
        await pace.wait(group)
        log.append(group)


async def turns(pace, work):
    """Run the work, and return the number of turns of the event loop that it took."""
    running = asyncio.gather(*work)
    count = 0
    while not running.done():
        await asyncio.sleep(0)
        count += 1
    return count


async def test_a_turn_of_the_loop_has_a_maximum_of_parts():
    pace, log = BodyPace(), []
    count = await turns(pace, [parts(pace, "a", 1, log) for _ in range(20 * PARTS_PER_TURN)])
    assert len(log) == 20 * PARTS_PER_TURN
    assert count >= 20


async def test_callers_take_turns_whatever_the_number_of_their_bodies():
    pace, log = BodyPace(), []
    await turns(pace, [*(parts(pace, "flooder", 10, log) for _ in range(100)), parts(pace, "other", 20, log)])
    last = len(log) - log[::-1].index("other")
    assert last < 20 * 2 * PARTS_PER_TURN


async def test_a_part_that_is_no_longer_wanted_takes_no_turn():
    pace, log = BodyPace(), []
    tasks = [asyncio.create_task(parts(pace, "a", 1, log)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[PARTS_PER_TURN:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await parts(pace, "a", 3 * PARTS_PER_TURN, log)
    assert len(log) == 4 * PARTS_PER_TURN
