"""Deliveries that are due are taken a few at a time, from each activity in its turn."""

from callback_server.domain.case import AnswerMode

PARTITION = 7


async def add_due(cases, activities):
    """Add two deliveries that are due for each of these activities."""
    for activity in activities:
        case = await cases.new(activity, answer_mode=AnswerMode.ACK, partition=PARTITION)
        for _ in range(2):
            await cases.claim(case)


async def take(cases, turn):
    """Take two deliveries. Return their activities, whether more may be due, and how many hashes were read."""

    async def read():
        return (await cases.client.info("commandstats"))["cmdstat_hmget"]["calls"]

    before = await read()
    taken, more = await cases.take(PARTITION, limit=2, turn=turn)
    return [attempt.grant.activity for attempt in taken], more, await read() - before


async def test_a_script_looks_at_as_many_deliveries_however_many_activities_have_some(cases):
    await add_due(cases, ["a", "b"])
    *taken, read = await take(cases, turn=0)
    assert taken == [["b", "b"], True]
    await add_due(cases, map(str, range(20)))
    assert await take(cases, turn=0) == (["1", "1"], True, read)


async def test_all_deliveries_are_taken_in_the_end(cases):
    await add_due(cases, ["a", "b", "c"])
    taken = [await take(cases, turn) for turn in range(4)]
    assert sorted(activity for activities, _, _ in taken for activity in activities) == [*"aabbcc"]
    assert [more for _, more, _ in taken] == [True, True, False, False]
