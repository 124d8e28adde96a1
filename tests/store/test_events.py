"""What is kept of events, and how it is read, on every kind of store."""

import msgspec
import pytest
import redis.asyncio
from support.store import KINDS

from callback_server.domain import ids
from callback_server.domain.case import Mode, NewCase, Settings
from callback_server.domain.event import Event
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.client import connect
from callback_server.store.create_case import create_case
from callback_server.store.read_events import EVENTS_AT_ONCE, Position, read_ends, read_events
from callback_server.store.scripts import Scripts

MOST = 10_000
START = [0] * keys.PARTITIONS


class Store:
    """A store with its own client beside ours."""

    def __init__(self, client, plain):
        self.scripts = Scripts(client, lambda _due: None)
        self.plain = plain

    async def new(self):
        """Makes a case, which is one event; returns its partition."""
        sha = ids.state_hash(ids.new_state())
        case = NewCase(
            id=ids.case_id_of(sha), state_sha256=sha, fingerprint=b"f" * 32, owner="shop", activity="push",
            mode=Mode.SINGLE, parameter="", time_to_live_ms=None, settings=Settings(),
            response=Response(type=ResponseType.RESPONSE),
        )  # fmt: skip
        await create_case(self.scripts, case)
        return keys.partition_of(case.id)

    async def fill(self, partition, count):
        """Makes events as if much had happened."""
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


async def test_events_of_all_partitions_are_read_from_a_place_on(store):
    made = [await store.new() for _ in range(100)]
    pages = await read_events(store.scripts, START)
    for partition, page in enumerate(pages):
        count = made.count(partition)
        assert (page.newest, page.first, len(page.events)) == (count, 1 if count else 0, count)
        assert (page.last, page.more, page.lost(0)) == (count, False, False)
    ends = await read_ends(store.scripts)
    assert ends.numbers == [page.last for page in pages]
    another = await store.new()
    pages = await read_events(store.scripts, Position.from_token(ends.token()).numbers)
    assert [partition for partition, page in enumerate(pages) if page.events] == [another]
    assert (pages[another].first, len(pages[another].events)) == (made.count(another) + 1, 1)


async def test_much_is_read_page_by_page(store):
    await store.fill(7, EVENTS_AT_ONCE + 50)
    page = (await read_events(store.scripts, START))[7]
    assert (len(page.events), page.last, page.more) == (EVENTS_AT_ONCE, EVENTS_AT_ONCE, True)
    after = [0] * 7 + [page.last] + [0] * 56
    page = (await read_events(store.scripts, after))[7]
    assert (page.first, len(page.events), page.more) == (EVENTS_AT_ONCE + 1, 50, False)


async def test_the_last_ten_thousand_are_kept_and_a_place_before_them_is_known_to_be_lost(store):
    partition = await store.new()
    await store.fill(partition, MOST - 1)
    assert not (await read_events(store.scripts, START))[partition].lost(0)
    before = MOST
    while await store.new() != partition:
        pass
    key = keys.key(partition, "events")
    assert await store.plain.xlen(key) == MOST
    first, last = (await store.plain.xrange(key, count=1))[0][0], (await store.plain.xrevrange(key, count=1))[0][0]
    assert (first, last) == (b"0-2", b"0-%d" % (before + 1))
    for after, lost in ((0, True), (1, False), (before + 1, False), (before + 2, True)):
        numbers = [*START]
        numbers[partition] = after
        assert (await read_events(store.scripts, numbers))[partition].lost(after) is lost
