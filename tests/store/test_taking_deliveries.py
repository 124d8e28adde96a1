"""Deliveries that are due are taken a few at a time, from each activity in its turn."""

from store.test_keeping import LEASES, Cases

from callback_server.domain.case import AnswerMode
from callback_server.store.connection.client import connect
from callback_server.store.recording import Recording
from callback_server.store.transitions.take_deliveries import take_deliveries

PARTITION = 7


async def add_due(cases, activities):
    """Add two deliveries that are due for each of these activities."""
    for activity in activities:
        case = await cases.new(activity, answer_mode=AnswerMode.ACK, partition=PARTITION)
        for _ in range(2):
            await cases.claim(case)


async def take(cases, turn):
    """Take two deliveries. Return their activities, whether more may be due, and how many hashes were read."""
    before = (await cases.client.info("commandstats"))["cmdstat_hmget"]["calls"]
    taken, more = await take_deliveries(
        cases.scripts, PARTITION, limit=2, turn=turn, leases=LEASES, recording=Recording()
    )
    read = (await cases.client.info("commandstats"))["cmdstat_hmget"]["calls"] - before
    return [attempt.grant.activity for attempt in taken], more, read


async def test_a_script_looks_at_as_many_deliveries_however_many_activities_have_some(store_of):
    async with connect(store_of().url) as client:
        cases = Cases(client)
        await add_due(cases, ["a", "b"])
        taken, more, read = await take(cases, turn=0)
        assert (taken, more) == (["b", "b"], True)
        await add_due(cases, map(str, range(20)))
        taken, more, read_of_many = await take(cases, turn=0)
        assert (taken, more) == (["1", "1"], True)
        assert read_of_many == read


async def test_all_deliveries_are_taken_in_the_end(store_of):
    async with connect(store_of().url) as client:
        cases = Cases(client)
        await add_due(cases, ["a", "b", "c"])
        taken = [await take(cases, turn) for turn in range(4)]
        assert sorted(activity for activities, _, _ in taken for activity in activities) == [*"aabbcc"]
        assert [more for _, more, _ in taken] == [True, True, False, False]
