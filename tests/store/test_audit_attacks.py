"""An attacker that writes to the store, and lacks the key of the servers, against the audit: each row of the table of
docs/operations.md.

Servers are real, on a real store, with a clock that the test sets. The attacker has a client of the store, all that it
ever read there, and the source of this product: it makes entries and starts in the right form, under a key of its own.
"""

import re
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.tree import ROOT

from callback_server.access import audit_log as audit_log_module
from callback_server.access.audit_log import AuditLog
from callback_server.access.principals import PrincipalEntry, Principals
from callback_server.domain.audit import (
    MAX_SEQUENCE,
    NO_ENTRIES,
    AuditAction,
    AuditKey,
    Change,
    Head,
    StoredEntry,
    decode_entry,
)
from callback_server.domain.audit_check import MAX_PROBLEMS, KnownHead
from callback_server.store import keys
from callback_server.store.queries.read_audit import read_audit
from callback_server.store.transitions.append_audit import append_audit
from callback_server.store.transitions.change_pauses import PauseResult, change_pauses

KEY = b"k" * 32
CHAIN = keys.STORE_CHAIN
ENTRIES_KEY, START_KEY = keys.audit_key(CHAIN), f"{keys.audit_tag(CHAIN)}:audit_start"
DAY_MS = 24 * 3600 * 1000
RETENTION_DAYS = 400
ROWS = set()
"""The rows of the table that have a test."""


def row(text):
    """Mark the test of a row by what stands in its first cell."""
    ROWS.add(text)
    return lambda test: test


class World:
    """Servers on a store, their clock, and what an attacker does there."""

    def __init__(self, cases):
        self.cases, self.client = cases, cases.client
        self.now_ms = 1_760_000_000_000
        self._changes = 0

    def server(self, key=KEY, other=None):
        """Return a server that has just started."""
        return AuditLog(self.cases.scripts, AuditKey(key, other), retention_ms=RETENTION_DAYS * DAY_MS)

    def wait(self, *, days):
        self.now_ms += days * DAY_MS

    async def change(self, server, times=1):
        for _ in range(times):
            self._changes += 1
            self.now_ms += 1000
            activity = f"activity-{self._changes}"

            async def paused(*, audit, activity=activity):
                return await change_pauses(self.cases.scripts, activity, is_paused=True, principal="boss", audit=audit)

            change = Change(AuditAction.ACTIVITY_PAUSED, "boss", activity=activity)
            await server.record(change, paused, is_recorded=lambda result: result is PauseResult.OK)

    async def retention(self, server):
        """Do what each server does in its first second, and then each hour. Return how many entries are deleted."""
        before = await read_audit(self.cases.scripts, CHAIN, None)
        await server.look(CHAIN)
        while await server.trim(CHAIN):
            pass
        after = await read_audit(self.cases.scripts, CHAIN, None)
        return len(before.entries) - len(after.entries)

    async def heads(self, server):
        """Return the head of the chain, as an operator keeps it."""
        head = (await server.verify(CHAIN, ())).head
        return [KnownHead(head.sequence, head.digest, head.id_ms, is_kept=True)]

    async def found(self, server, heads=()):
        """Return the kinds of the problems that a server finds. With heads it finds what it finds without, too."""
        before = counted("not_verified")
        plain = (await server.verify(CHAIN, ())).problems
        assert counted("not_verified") - before == bool(plain)
        result = await server.verify(CHAIN, heads)
        assert {*plain} <= {*result.problems}
        return {each.kind.name for each in result.problems}

    # What the attacker does.

    async def saved(self):
        """Return all that is stored of the chain."""
        return SimpleNamespace(items=await self.client.xrange(ENTRIES_KEY), start=await self.client.get(START_KEY))

    async def put(self, items, start=None):
        """Replace the chain."""
        await self.client.delete(ENTRIES_KEY, START_KEY)
        for id_, fields in items:
            await self.client.xadd(ENTRIES_KEY, fields, id_)
        if start is not None:
            await self.client.set(START_KEY, start)

    def made_up(self, count, *, after=NO_ENTRIES, key=b"x" * 32, days_ago=0):
        """Return items of a chain that no server has made, and the head that they have."""
        items = []
        for at in range(count):
            change = Change(AuditAction.ACTIVITY_RESUMED, "mallory", activity=f"made-up-{at}")
            stored, after = AuditKey(key).seal(change, CHAIN, after, self.now_ms - days_ago * DAY_MS + at)
            items.append(item(stored))
        return items, after

    def made_up_start(self, head, key=b"x" * 32):
        start, mac = AuditKey(key).seal_start(CHAIN, head)
        return f"{mac} ".encode() + start


def item(stored):
    return str(stored.id).encode(), {b"entry": stored.entry, b"mac": stored.mac.encode()}


def head_of(stored_item):
    id_, fields = stored_item
    stored = StoredEntry.parse(id_, [b"entry", fields[b"entry"], b"mac", fields[b"mac"]])
    return Head.of(stored.id, stored.entry)


def counted(problem):
    return REGISTRY.get_sample_value("callback_audit_problems_total", {"problem": problem})


@pytest.fixture
def world(cases, limits):
    world = World(cases)
    limits(audit_log_module, CLOCK=lambda: world.now_ms * 1_000_000)
    return world


keys_of_attacker = pytest.mark.parametrize("key", [None, b"x" * 32], ids=["no HMAC", "own key"])


def _altered(fields):
    entry = msgspec.structs.replace(decode_entry(fields[b"entry"]), actor="nobody")
    return fields | {b"entry": msgspec.json.encode(entry)}


IN_PLACE = {
    "altered": (lambda items: [*items[:2], (items[2][0], _altered(items[2][1])), *items[3:]], "ALTERED"),
    "removed": (lambda items: [*items[:2], *items[3:]], "MISSING"),
    "the oldest removed": (lambda items: items[2:], "MISSING"),
    "reordered": (
        lambda items: [items[0], (items[1][0], items[2][1]), (items[2][0], items[1][1]), *items[3:]],
        "MOVED",
    ),
    "twice": (lambda items: [*items[:3], (items[3][0], items[2][1]), *items[4:]], "MOVED"),
}


@row("alters, inserts, reorders or removes entries, also the oldest")
@pytest.mark.parametrize("how", IN_PLACE)
async def test_entries_that_are_altered_removed_or_moved_are_found_and_retention_keeps_them(world, how):
    change, kind = IN_PLACE[how]
    await world.change(world.server(), 6)
    saved = await world.saved()
    await world.put(change(saved.items))
    assert kind in await world.found(world.server())
    world.wait(days=RETENTION_DAYS + 1)
    stopped = counted("retention_stopped")
    with capture_logs() as logs:
        assert await world.retention(world.server()) == 0
    assert (await world.saved()).start is None
    assert counted("retention_stopped") == stopped + 1
    assert [each["event"] for each in logs] == ["audit_retention_stopped"]
    assert kind in await world.found(world.server())


@row("adds made-up entries behind real ones")
@keys_of_attacker
async def test_made_up_entries_behind_real_ones_are_told_by_the_next_look_and_stay_found(world, key):
    server = world.server()
    await world.change(server, 3)
    items, _ = world.made_up(2, after=head_of((await world.saved()).items[-1]), key=key)
    for id_, fields in items:
        await world.client.xadd(ENTRIES_KEY, fields, id_)
    told = counted("head_not_proven")
    await world.retention(server)
    assert counted("head_not_proven") == told + 1
    assert await world.found(server) == {"ALTERED"}
    await world.change(server)  # its entry is behind theirs
    assert await world.found(world.server()) == {"ALTERED"}
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(world.server()) == 0


@row("replaces a chain by made-up entries, with old times and with or without a made-up start")
@keys_of_attacker
@pytest.mark.parametrize("starts", [False, True])
async def test_a_chain_that_is_replaced_by_made_up_entries_is_never_deleted_nor_signed(world, key, starts):
    await world.change(world.server(), 8)
    heads = await world.heads(world.server())
    before = NO_ENTRIES
    if starts:
        _, before = world.made_up(20, key=key, days_ago=500)
    items, _ = world.made_up(5, after=before, key=key, days_ago=500)
    await world.put(items, world.made_up_start(before, key) if starts else None)
    told = counted("head_not_proven"), counted("retention_stopped")
    server = world.server()  # it restarts, and nothing has changed since
    assert await world.retention(server) == 0
    assert (counted("head_not_proven"), counted("retention_stopped")) == (told[0] + 1, told[1] + 1)
    await world.change(world.server())
    server = world.server()
    assert await world.retention(server) == 0
    assert await world.found(server) == {"UNKNOWN_KEY" if key else "UNPROTECTED"}
    assert {"MISSING" if starts else "TRUNCATED"} < await world.found(server, heads)


STARTS = {
    "none": (lambda _world, _saved: None, "MISSING"),
    "malformed": (lambda _world, _saved: b"?", "ALTERED"),
    "of another chain": (lambda _world, saved: saved.start.replace(b'"chain":64', b'"chain":63'), "ALTERED"),
    "with another number": (
        lambda _world, saved: re.sub(rb'"sequence":[0-9]+', b'"sequence":5', saved.start),
        "ALTERED",
    ),
    "an older one": (lambda _world, saved: saved.older, "MISSING"),
    "without an HMAC": (lambda world, saved: world.made_up_start(saved.head, None), "UNPROTECTED"),
    "under a key of its own": (lambda world, saved: world.made_up_start(saved.head), "UNKNOWN_KEY"),
}


@row("removes the start, or puts another one in its place: made up, altered, or an older one")
@pytest.mark.parametrize("how", STARTS)
async def test_a_start_that_is_not_the_newest_of_the_servers_is_found(world, how):
    make, kind = STARTS[how]
    server = world.server()
    await world.change(server, 2)
    world.wait(days=200)
    await world.change(server, 2)
    world.wait(days=RETENTION_DAYS - 199)
    assert await world.retention(server) == 2
    saved = await world.saved()
    await world.change(server, 2)
    world.wait(days=200)
    assert await world.retention(server) == 2
    newest = await world.saved()
    saved.older, saved.start, saved.head = saved.start, newest.start, head_of(saved.items[-1])
    assert await world.found(world.server()) == set()
    await world.put(newest.items, make(world, saved))
    assert kind in await world.found(world.server())
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(world.server()) == 0


MALFORMED = {
    "other fields": lambda client: client.xadd(ENTRIES_KEY, {"x": "y"}),
    "one field more": lambda client: client.xadd(ENTRIES_KEY, {"entry": "{}", "mac": "-", "x": "y"}),
    "no JSON": lambda client: client.xadd(ENTRIES_KEY, {"entry": "?", "mac": "-"}),
    "not UTF-8": lambda client: client.xadd(ENTRIES_KEY, {"entry": b'{"action":"\xff"}', "mac": b"\xff"}),
    "nested too deeply": lambda client: client.xadd(ENTRIES_KEY, {"entry": b'{"x":' + b"[" * 100_000, "mac": "-"}),
    "a place that is too high": lambda client: client.xadd(ENTRIES_KEY, {"entry": "{}", "mac": "-"}, f"{2**64 - 1}-1"),
    "a number that is too high": lambda client: client.xadd(
        ENTRIES_KEY, {"entry": "{}", "mac": "-"}, f"{10**13}-{2**64 - 2}"
    ),
    "a stream that is a string": lambda client: client.set(ENTRIES_KEY, "?"),
    "a start that is a list": lambda client: client.rpush(START_KEY, "?"),
}


@row("stores what has not the form of an entry or a start")
@pytest.mark.parametrize("how", MALFORMED)
async def test_what_has_not_the_form_of_an_entry_is_altered(world, how):
    server = world.server()
    await world.change(server, 3)
    await MALFORMED[how](world.client)
    assert await world.found(server) >= {"ALTERED"}
    assert await world.found(world.server()) == {"ALTERED"}
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(world.server()) == 0


async def test_a_number_that_is_too_high_and_that_a_server_has_seen_is_reported_as_the_highest_one(world):
    server = world.server()
    await world.change(server, 3)
    entry_id = await world.client.xadd(ENTRIES_KEY, {"entry": "{}", "mac": "-"}, f"{10**13}-{2**64 - 2}")
    await world.retention(server)
    await world.client.xdel(ENTRIES_KEY, entry_id)
    problems = (await server.verify(CHAIN, ())).problems
    assert {(each.kind.name, each.sequence) for each in problems} == {("TRUNCATED", MAX_SEQUENCE)}


@pytest.fixture
def at_each_read(monkeypatch, limits):
    """Let something happen after each read of two entries. Return a list of where the reads began."""
    limits(audit_log_module, LIMIT=2)

    def do(act):
        reads = []

        async def read(scripts, chain, after, *, limit=2):
            part = await read_audit(scripts, chain, after, limit=limit)
            reads.append(after)
            await act()
            return part

        monkeypatch.setattr(audit_log_module, "read_audit", read)
        return reads

    return do


@row("changes a chain again and again while it is verified")
@pytest.mark.parametrize("other", ["made up", "an older one"])
async def test_a_verification_ends_although_somebody_changes_the_start_at_each_read(world, at_each_read, other):
    server, starts = world.server(), []
    for _ in range(2):
        await world.change(server, 2)
        world.wait(days=RETENTION_DAYS + 1)
        await world.change(server, 1)
        assert await world.retention(server) > 0
        starts.append((await world.saved()).start)
    await world.change(server, 6)
    others = [starts[1], starts[0] if other == "an older one" else world.made_up_start(NO_ENTRIES)]
    reads = at_each_read(lambda: world.client.set(START_KEY, others[len(reads) % 2]))
    assert "ALTERED" in await world.found(world.server())
    assert len(reads) < 20


async def test_a_verification_ends_although_somebody_adds_entries_at_each_read(world, at_each_read):
    server = world.server()
    await world.change(server, 5)

    async def add():
        for _ in range(2):
            await world.client.xadd(ENTRIES_KEY, {"entry": "{}", "mac": "-"})

    reads = at_each_read(add)
    await world.server().verify(CHAIN, ())
    assert len(reads) == 3
    assert await world.found(world.server()) == {"ALTERED"}


async def test_a_verification_goes_on_behind_what_retention_deletes_meanwhile(world, at_each_read):
    server = world.server()
    await world.change(server, 4)
    world.wait(days=RETENTION_DAYS + 1)
    await world.change(server, 5)
    deleted = []

    async def delete():
        if not deleted:
            deleted.append(None)
            await world.retention(server)

    reads = at_each_read(delete)
    assert await world.found(world.server()) == set()
    assert reads.count(None) > 1  # it began again


async def test_a_verification_keeps_as_many_problems_as_it_reports(world):
    server = world.server()
    await world.change(server, 1)
    for number in range(3 * MAX_PROBLEMS):
        key = b"x" * 32 if number % 2 else None
        items, _ = world.made_up(1, after=Head(number + 1, "", 0, "-"), key=key)
        await world.client.xadd(ENTRIES_KEY, items[0][1])
    assert len((await world.server().verify(CHAIN, ())).problems) == MAX_PROBLEMS


@row("removes the newest entries, while a server runs that knows of them")
async def test_newest_entries_that_a_running_server_knows_are_missed_by_its_next_look(world):
    server = world.server()
    await world.change(server, 4)
    saved = await world.saved()
    await world.put(saved.items[:2])
    missed = counted("missing")
    with capture_logs() as logs:
        await world.retention(server)
    assert counted("missing") == missed + 1
    assert [(each["event"], each["known"], each["found"]) for each in logs] == [("audit_entries_missing", 4, 2)]
    assert await world.found(server) == {"TRUNCATED"}
    await world.put([])
    await world.retention(server)
    assert await world.found(server) == {"TRUNCATED"}


@pytest.mark.parametrize("looks", [False, True])
async def test_newest_entries_are_missed_although_others_that_are_proven_stand_in_their_place(world, looks):
    await world.change(world.server(), 9)
    earlier = await world.saved()
    await world.put([])
    server = world.server()
    await world.change(server, 4)
    await world.retention(server)
    assert await world.found(server) == set()
    await world.put(earlier.items)  # more of them, and all proven
    if not looks:
        await world.change(server)  # it takes the newest one
    missed = counted("missing")
    await world.retention(server)
    await world.retention(server)
    assert counted("missing") == missed + 1
    assert await world.found(server) == {"TRUNCATED"}


async def test_entries_that_retention_has_deleted_are_not_missed(world):
    server, other = world.server(), world.server()
    await world.change(server, 4)
    await world.retention(other)
    world.wait(days=RETENTION_DAYS + 1)
    await world.change(server, 4)
    missed = counted("missing")
    assert await world.retention(server) == 4
    await world.retention(other)
    assert counted("missing") == missed
    assert await world.found(other) == await world.found(server) == set()


async def test_a_server_knows_of_the_changes_of_others_by_its_look(world):
    server, other = world.server(), world.server()
    await world.change(other, 4)
    await world.retention(server)
    saved = await world.saved()
    await world.put(saved.items[:2])
    assert await world.found(server) == {"TRUNCATED"}


@row("removes the newest entries or all, while no server runs that knows of them")
@pytest.mark.parametrize("left", [0, 2])
async def test_newest_entries_that_no_running_server_knows_are_missed_by_a_head(world, left):
    await world.change(world.server(), 4)
    heads = await world.heads(world.server())
    saved = await world.saved()
    await world.put(saved.items[:left])
    assert await world.found(world.server(), heads) == {"TRUNCATED"}
    await world.change(world.server(), 6)
    assert await world.found(world.server()) == set()
    assert await world.found(world.server(), heads) == {"TRUNCATED"}


@row("puts back what the chain was earlier, and lets retention delete it")
async def test_an_earlier_life_of_a_chain_that_retention_deletes_is_found_by_the_time_of_a_head(world):
    await world.change(world.server(), 9)
    earlier = await world.saved()
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(world.server()) == 8
    await world.put([])  # as an operator does that begins the chain again
    await world.change(world.server(), 4)
    heads = await world.heads(world.server())
    await world.put(earlier.items)
    server = world.server()
    assert await world.found(server, heads) == {"TRUNCATED"}
    assert await world.retention(server) == 8
    assert await world.found(server) == set()
    assert await world.found(server, heads) == {"MISSING"}
    await world.change(server, 3)
    assert await world.found(world.server(), heads) == {"MISSING"}
    world.wait(days=RETENTION_DAYS - 1)
    await world.retention(world.server())
    assert await world.found(world.server(), heads) == {"MISSING"}


@row("removes entries up to a head that was kept, and makes up a start behind them")
@keys_of_attacker
async def test_entries_that_are_removed_up_to_a_head_are_found_with_it_and_without_it(world, key):
    server = world.server()
    await world.change(server, 5)
    heads = await world.heads(server)
    saved = await world.saved()
    await world.change(server, 2)
    newer = await world.saved()
    await world.put(newer.items[5:], world.made_up_start(head_of(saved.items[-1]), key))
    kind = "UNKNOWN_KEY" if key else "UNPROTECTED"
    assert await world.found(world.server()) == {kind}
    assert await world.found(world.server(), heads) == {kind, "MISSING"}
    await world.put(newer.items[5:])
    assert await world.found(world.server(), heads) == {"MISSING"}


@row("puts entries of another chain, or the chain of another store with the same key, in the place of a chain")
async def test_a_chain_of_elsewhere_is_found(world):
    server = world.server()
    await world.change(server, 4)
    heads = await world.heads(server)
    for where in range(3):
        await append_elsewhere(world, server, where)
    elsewhere = await world.client.xrange(keys.audit_key(7))
    await world.put(elsewhere)
    assert await world.found(world.server()) == {"MOVED"}
    await world.put([])  # the other store
    await world.change(world.server(), 6)
    assert await world.found(world.server()) == set()
    assert await world.found(world.server(), heads) == {"TRUNCATED"}


@row("makes up entries of before a change of `state_key`")
@keys_of_attacker
async def test_entries_are_proven_with_both_keys_and_made_up_ones_with_none(world, key):
    new = b"n" * 32
    await world.change(world.server(), 3)
    await world.change(world.server(KEY, new), 1)  # first all servers know both, then they make entries with the new
    await world.change(world.server(new, KEY), 1)
    await world.change(world.server(KEY, new), 1)
    await world.change(world.server(new, KEY), 3)
    for server in (world.server(KEY, new), world.server(new, KEY)):
        assert await world.found(server) == set()
    assert await world.found(world.server(new)) == {"UNKNOWN_KEY", "ALTERED"}  # two of KEY stand behind one of new
    saved = await world.saved()
    made_up, head = world.made_up(3, key=key, days_ago=500)
    await world.put([*made_up, *saved.items[3:]])
    kind = "UNKNOWN_KEY" if key else "UNPROTECTED"
    assert await world.found(world.server(new, KEY)) == {kind, "MOVED"}
    await world.put(saved.items[3:], world.made_up_start(head, key))
    assert await world.found(world.server(new, KEY)) == {kind, "MOVED"}
    await world.put(saved.items)
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(world.server(new)) == 0
    assert await world.retention(world.server(new, KEY)) == 8
    assert await world.found(world.server(new)) == set()  # the other key has no entry any more


@pytest.mark.parametrize("deleted", [0, 2])
async def test_a_chain_without_changes_leaves_the_other_key_once_the_retention_is_over(world, deleted):
    new = b"n" * 32
    await world.change(world.server(), deleted)
    world.wait(days=RETENTION_DAYS + 1)
    await world.change(world.server(), 1)
    assert await world.retention(world.server()) == deleted
    for server in (world.server(new, KEY), world.server(KEY, new), world.server(new, KEY), world.server(new, KEY)):
        await world.retention(server)
    actions = [decode_entry(each.entry).action for each in (await read_audit(world.cases.scripts, CHAIN, None)).entries]
    assert actions == ["ACTIVITY_PAUSED", *["STATE_KEY_CHANGED"] * 3]
    assert await world.found(world.server(new)) != set()  # too early
    assert await world.found(world.server(new, KEY)) == set()
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(world.server(new, KEY)) == 3
    problems = {kind: counted(kind) for kind in ("head_not_proven", "retention_stopped", "missing")}
    server = world.server(new)
    assert await world.found(server) == set()
    await world.change(server, 2)
    world.wait(days=RETENTION_DAYS + 1)
    assert await world.retention(server) == 2
    assert {kind: counted(kind) for kind in problems} == problems


async def test_a_start_that_a_server_with_the_earlier_key_has_signed_is_signed_again(world):
    new = b"n" * 32
    await world.change(world.server(KEY, new), 2)
    await world.change(world.server(new, KEY), 1)
    world.wait(days=RETENTION_DAYS + 1)
    await world.server(KEY, new).trim(CHAIN)
    assert await world.found(world.server(new)) == {"UNKNOWN_KEY"}
    await world.server(new).trim(CHAIN)
    assert await world.found(world.server(new)) == {"UNKNOWN_KEY"}  # it is not proven without the other key
    heads = await world.heads(world.server(new, KEY))
    await world.server(new, KEY).trim(CHAIN)
    assert await world.found(world.server(new), heads) == set()


async def test_an_entry_that_only_names_the_other_key_is_not_followed_by_one_of_a_server(world):
    new = b"n" * 32
    await world.change(world.server(), 1)
    ((id_, fields),) = (await world.saved()).items
    await world.put([(id_, fields | {b"mac": b"0" * 64})])
    assert await world.retention(world.server(new, KEY)) == 0
    assert len((await world.saved()).items) == 1


@row("removes more of the newest entries than a restored backup or a failover has lost")
async def test_a_restored_backup_loses_entries_and_a_head_says_up_to_which(world):
    await world.change(world.server(), 6)
    backup = await world.saved()
    await world.change(world.server(), 2)
    heads = await world.heads(world.server())
    await world.put(backup.items)
    assert await world.found(world.server()) == set()
    texts = [each.text for each in (await world.server().verify(CHAIN, heads)).problems]
    assert texts == ["the newest entry is 6, but the head that was kept has entry 8"]
    await world.put(backup.items[:3])
    texts = [each.text for each in (await world.server().verify(CHAIN, heads)).problems]
    assert texts == ["the newest entry is 3, but the head that was kept has entry 8"]


async def append_elsewhere(world, server, number):
    async def appended(*, audit):
        await append_audit(world.cases.scripts, 7, audit=audit)

    case_id = f"{7:08x}{number:024x}"
    assert keys.partition_of(case_id) == 7
    change = Change(AuditAction.CALLBACK_CLOSED, "boss", case_id=case_id)
    await server.record(change, appended, is_recorded=lambda _none: True)


@row("makes up what servers have read in the principals file, to hide a change of it")
@keys_of_attacker
async def test_a_made_up_reading_of_the_principals_file_hides_no_change(world, key):
    server = world.server()
    await server.record_principals(principals("alice"))
    earlier = decode_entry((await world.saved()).items[-1][1][b"entry"])
    await server.record_principals(principals("alice", "mallory"))
    made_up = Change(AuditAction.PRINCIPALS_READ, "", principals=earlier.principals)
    saved = await world.saved()
    stored, _ = AuditKey(key).seal(made_up, CHAIN, head_of(saved.items[-1]), world.now_ms)
    id_, fields = item(stored)
    await world.client.xadd(ENTRIES_KEY, fields, id_)

    await world.client.xadd(ENTRIES_KEY, saved.items[0][1], f"{world.now_ms}-4")  # a real one, in another place
    before = await world.client.xlen(ENTRIES_KEY)
    told = counted("head_not_proven")
    await world.server().record_principals(principals("alice"))
    assert await world.client.xlen(ENTRIES_KEY) == before + 1
    assert counted("head_not_proven") == told + 1
    part = await read_audit(world.cases.scripts, CHAIN, None)
    assert decode_entry(part.newest.entry).details == {"removed": "mallory", "principals": "1"}


@row("moves an earlier reading of the principals file behind the last one, to hide a change of it")
async def test_a_reading_of_the_principals_file_that_is_moved_hides_no_change(world):
    await world.server().record_principals(principals("alice"))
    await world.server().record_principals(principals("alice", "mallory"))
    first, second = (await world.saved()).items
    await world.put([second, (f"{world.now_ms + 1}-1", first[1])])
    await world.server().record_principals(principals("alice"))
    part = await read_audit(world.cases.scripts, CHAIN, None)
    assert decode_entry(part.newest.entry).details == {"removed": "mallory", "principals": "1"}
    assert await world.found(world.server()) == {"MOVED", "MISSING"}


def principals(*names):
    return Principals({name: PrincipalEntry(roles=frozenset({"owner"}), certificates=(name,)) for name in names})


def test_each_row_of_the_table_has_a_test():
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    section = text.partition("### Attacks and when they are found")[2].partition("\n#")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert {*rows[1:]} == ROWS
