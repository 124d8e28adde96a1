"""Stored events and how they are read, on every kind of store."""

import msgspec
import pytest
from support.store import KINDS

from callback_server.domain.event import Event
from callback_server.store import keys
from callback_server.store.queries.read_events import (
    EVENTS_PER_READ,
    Position,
    ResumeToken,
    read_end_position,
    read_events,
    resolve_token,
)

MOST = 10_000
START = [0] * keys.PARTITIONS
PARTITION = 7
KEY = keys.key(PARTITION, "events")

pytestmark = pytest.mark.parametrize("store", KINDS, indirect=True)


async def fill(plain, count):
    """Add events to the partition, as after many changes."""
    event = Event("CALL_ENDED", "0" * 32, "0" * 16, "push", "shop", 1, "OPEN", "", "FAILED", "", "")
    pipeline = plain.pipeline(transaction=False)
    for _ in range(count):
        pipeline.xadd(KEY, {"event": msgspec.msgpack.encode(event)}, id="0-*")
    await pipeline.execute()


async def is_found(cases, position):
    """Return whether a token leads to a position."""
    return await resolve_token(cases.scripts, ResumeToken.from_text(position.token())) is not None


def behind(placed):
    """Return the position after these events, starting at the beginning."""
    position = Position(START, START)
    for partition, number, mark, _ in placed:
        position.move(partition, number, mark)
    return position


async def test_events_of_all_partitions_are_read_from_a_position_on(cases):
    made = [keys.partition_of((await cases.new()).id) for _ in range(100)]  # one event each
    events, more = await read_events(cases.scripts, behind([]))
    assert ([each.partition for each in events], more) == (sorted(made), False)
    for partition in made:
        assert [each.number for each in events if each.partition == partition] == [*range(1, made.count(partition) + 1)]
    ends, expected = await read_end_position(cases.scripts), behind(events)
    assert (ends.numbers, ends.digests, ends.digest) == (expected.numbers, expected.digests, expected.digest)
    another = keys.partition_of((await cases.new()).id)
    start = await resolve_token(cases.scripts, ResumeToken.from_text(ends.token()))
    events, more = await read_events(cases.scripts, start)
    assert [(each.partition, each.number) for each in events] == [(another, made.count(another) + 1)]


async def test_many_events_are_read_page_by_page(cases, plain):
    await fill(plain, EVENTS_PER_READ + 50)
    numbers, position, more = [], behind([]), True
    while more:
        events, more = await read_events(cases.scripts, position)
        assert len(events) <= EVENTS_PER_READ + 1
        for partition, number, mark, _ in events:
            assert partition == PARTITION
            position.move(partition, number, mark)
            numbers.append(number)
    assert numbers == [*range(1, EVENTS_PER_READ + 51)]


async def test_the_last_ten_thousand_events_are_kept_and_a_position_before_them_is_lost(cases, plain):
    await cases.new(partition=PARTITION)
    await fill(plain, MOST - 1)
    beginning = behind([])
    first, second, *_ = (await read_events(cases.scripts, beginning))[0]
    ends = await read_end_position(cases.scripts)
    await cases.new(partition=PARTITION)
    assert await plain.xlen(KEY) == MOST
    oldest, newest = (await plain.xrange(KEY, count=1))[0][0], (await plain.xrevrange(KEY, count=1))[0][0]
    assert (oldest, newest) == (b"0-2", b"0-%d" % (MOST + 1))
    # A position whose last event is no longer kept counts as lost too, because that event cannot be verified.
    for position, lost in ((beginning, True), (behind([first]), True), (behind([second]), False), (ends, False)):
        assert (await read_events(cases.scripts, position) is None) is lost
        at_beginning = position is beginning  # if the position knows no event, it is found, but later events are lost
        assert await is_found(cases, position) is (at_beginning or not lost)


async def test_a_position_is_lost_if_other_events_have_its_numbers(cases, plain):
    """As after a failover or a restored backup: the store has continued from an earlier state."""
    for _ in range(2):
        await cases.new(partition=PARTITION)
    position = await read_end_position(cases.scripts)
    for others in (1, 2, 3, 0, 5):
        await plain.delete(KEY)
        await fill(plain, others)
        assert await read_events(cases.scripts, position) is None
        assert not await is_found(cases, position)
