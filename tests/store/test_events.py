"""Stored events and how they are read, on every kind of store."""

import msgspec
import pytest
import redis.asyncio
from support.store import KINDS

from callback_server.domain import ids
from callback_server.domain.case import CallMode, NewCase, Settings
from callback_server.domain.event import Event
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries.read_events import (
    EVENTS_PER_READ,
    Position,
    ResumeToken,
    read_end_position,
    read_events,
    resolve_token,
)
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.create_case import create_case

MOST = 10_000
START = [0] * keys.PARTITIONS


class Store:
    """A store, with a plain client beside the one under test."""

    def __init__(self, client, plain):
        self.scripts = Scripts(client, lambda _due: None)
        self.plain = plain

    async def new(self):
        """Create a case, which makes one event, and return its partition."""
        sha = ids.state_hash(ids.new_state())
        case = NewCase(
            id=ids.case_id_of(sha), state_sha256=sha, fingerprint=b"f" * 32, owner="shop", activity="push",
            mode=CallMode.SINGLE, state_query_parameter="", time_to_live_ms=None, settings=Settings(),
            response=Response(type=ResponseType.RESPONSE),
        )  # fmt: skip
        await create_case(self.scripts, case)
        return keys.partition_of(case.id)

    async def fill(self, partition, count):
        """Add events to a partition, as after many changes."""
        event = Event("CALL_ENDED", "0" * 32, "0" * 16, "push", "shop", 1, "OPEN", "", "FAILED", "", "")
        fields = {"event": msgspec.msgpack.encode(event)}
        pipeline = self.plain.pipeline(transaction=False)
        for _ in range(count):
            pipeline.xadd(keys.key(partition, "events"), fields, id="0-*")
        await pipeline.execute()


@pytest.fixture(params=KINDS)
async def store(store_of, request):
    process = store_of(request.param)
    client = connect(process.url)
    async with redis.asyncio.Redis(port=process.port) as plain:
        yield Store(client, plain)
    await client.aclose()


def behind(placed):
    """Return the position after these events, starting at the beginning."""
    position = Position(START, START)
    for partition, number, mark, _ in placed:
        position.move(partition, number, mark)
    return position


async def test_events_of_all_partitions_are_read_from_a_position_on(store):
    made = [await store.new() for _ in range(100)]
    events, more = await read_events(store.scripts, behind([]))
    assert ([each.partition for each in events], more) == (sorted(made), False)
    for partition in made:
        assert [each.number for each in events if each.partition == partition] == [*range(1, made.count(partition) + 1)]
    ends = await read_end_position(store.scripts)
    assert (ends.numbers, ends.digests, ends.digest) == (
        behind(events).numbers,
        behind(events).digests,
        behind(events).digest,
    )
    another = await store.new()
    start = await resolve_token(store.scripts, ResumeToken.from_text(ends.token()))
    events, more = await read_events(store.scripts, start)
    assert [(each.partition, each.number) for each in events] == [(another, made.count(another) + 1)]


async def test_many_events_are_read_page_by_page(store):
    await store.fill(7, EVENTS_PER_READ + 50)
    numbers, position, more = [], behind([]), True
    while more:
        events, more = await read_events(store.scripts, position)
        assert len(events) <= EVENTS_PER_READ + 1
        for partition, number, mark, _ in events:
            assert partition == 7
            position.move(partition, number, mark)
            numbers.append(number)
    assert numbers == [*range(1, EVENTS_PER_READ + 51)]


async def test_the_last_ten_thousand_events_are_kept_and_a_position_before_them_is_lost(store):
    partition = await store.new()
    await store.fill(partition, MOST - 1)
    beginning = behind([])
    assert await read_events(store.scripts, beginning)
    first, second, *_ = (await read_events(store.scripts, beginning))[0]
    ends = await read_end_position(store.scripts)
    while await store.new() != partition:
        pass
    key = keys.key(partition, "events")
    assert await store.plain.xlen(key) == MOST
    oldest, newest = (await store.plain.xrange(key, count=1))[0][0], (await store.plain.xrevrange(key, count=1))[0][0]
    assert (oldest, newest) == (b"0-2", b"0-%d" % (MOST + 1))
    # A position whose last event is no longer kept counts as lost too, because that event cannot be verified.
    for position, lost in ((beginning, True), (behind([first]), True), (behind([second]), False), (ends, False)):
        assert (await read_events(store.scripts, position) is None) is lost
        at_beginning = position is beginning  # if the position knows no event, it is found, but later events are lost
        start = await resolve_token(store.scripts, ResumeToken.from_text(position.token()))
        assert (start is None) is (lost and not at_beginning)


async def test_a_position_is_lost_if_other_events_have_its_numbers(store):
    """As after a failover or a restored backup: the store has continued from an earlier state."""
    partition = await store.new()
    key = keys.key(partition, "events")
    while await store.new() != partition:
        pass
    position = await read_end_position(store.scripts)
    for keeps, again in ((1, 0), (1, 1), (1, 2), (0, 0), (0, 2), (0, 5)):
        await store.plain.delete(key)
        await store.fill(partition, keeps + again)
        assert await read_events(store.scripts, position) is None
        assert await resolve_token(store.scripts, ResumeToken.from_text(position.token())) is None
