"""The audit on each kind of store: chains of several servers, what was changed in the store, retention."""

import asyncio

import pytest
from support.cases import cases_on
from support.pages import pages
from support.store import KINDS

from callback_server.access.audit_log import AuditLog
from callback_server.access.principals import PrincipalEntry, Principals
from callback_server.domain.audit import AuditAction, AuditKey, Change, decode_entry
from callback_server.domain.audit_check import KnownHead
from callback_server.store import keys
from callback_server.store.queries import list_audit as list_audit_module
from callback_server.store.queries import read_audit as read_audit_module
from callback_server.store.queries.list_audit import list_audit
from callback_server.store.queries.read_audit import read_audit
from callback_server.store.transitions.change_pauses import PauseResult, change_pauses
from callback_server.store.transitions.close_case import CloseResult

KEY = b"k" * 32
PARTITION = 5
DAY_MS = 24 * 3600 * 1000


on_each_kind = pytest.mark.parametrize("store", KINDS, indirect=True)


@pytest.fixture
async def others(store):
    """Return cases as another server on the same store sees them."""
    async with cases_on(store) as others:
        yield others


def audit_of(cases, *, key=KEY, retention_ms=DAY_MS):
    return AuditLog(cases.scripts, AuditKey(key), retention_ms=retention_ms)


async def close(audit, cases, case_id, actor="orders"):
    async def closed(*, audit):
        return await cases.close(case_id, audit=audit)

    change = Change(AuditAction.CALLBACK_CLOSED, actor, case_id, "orders", "push")
    return await audit.record(change, closed, is_recorded=lambda result: result is CloseResult.OK)


async def pause(audit, cases, activity, actor="boss"):
    async def paused(*, audit):
        return await change_pauses(cases.scripts, activity, is_paused=True, principal=actor, audit=audit)

    change = Change(AuditAction.ACTIVITY_PAUSED, actor, activity=activity)
    return await audit.record(change, paused, is_recorded=lambda result: result is PauseResult.OK)


async def entries_of(cases, chain):
    """Return the entries of a chain, oldest first."""
    return [decode_entry(each.entry) for each in (await read_audit(cases.scripts, chain, None)).entries]


async def closed_cases(audit, cases, count):
    """Close as many new cases of one partition, and return their ids."""
    made = [await cases.new(partition=PARTITION) for _ in range(count)]
    for case in made:
        await close(audit, cases, case.id)
    return [case.id for case in made]


async def paged(cases, chains, fits, *, limit):
    """Return the pages of a list of the entries that fit."""
    return [
        page async for page in pages(lambda after: list_audit(cases.scripts, chains, fits, after=after, limit=limit))
    ]


def found(result):
    return [(problem.kind.name, problem.sequence) for problem in result.problems]


@on_each_kind
async def test_two_servers_that_change_one_partition_make_one_chain_with_one_entry_for_each_change(cases, others):
    first, second = audit_of(cases), audit_of(others)
    made = [await cases.new(partition=PARTITION) for _ in range(12)]
    changes = [close(first, cases, case.id, "first") for case in made]  # each case by both: only one of them closes it
    changes += [close(second, others, case.id, "second") for case in made]
    changes += [pause(first, cases, f"a{n}") for n in range(4)] + [pause(second, others, f"b{n}") for n in range(4)]
    results = await asyncio.gather(*changes)
    assert results[:24].count(CloseResult.OK) == 12
    closed = await entries_of(cases, PARTITION)
    assert sorted(each.case_id for each in closed) == sorted(case.id for case in made)
    assert [each.sequence for each in closed] == [*range(1, 13)]
    actors = [each.actor for each in closed]
    assert actors.count("first") == results[:12].count(CloseResult.OK)
    assert sorted(each.activity for each in await entries_of(cases, keys.STORE_CHAIN)) == sorted(
        [*(f"a{n}" for n in range(4)), *(f"b{n}" for n in range(4))]
    )
    for audit in (first, second):
        for chain in (PARTITION, keys.STORE_CHAIN):
            assert found(await audit.verify(chain, ())) == []


@on_each_kind
async def test_entries_of_all_chains_are_listed_newest_first_in_pages(cases):
    audit = audit_of(cases)
    for n in range(12):
        case = await cases.new(partition=n % 3)
        await close(audit, cases, case.id, f"actor-{n}")
        await pause(audit, cases, f"act-{n}")
    found = await paged(cases, range(keys.AUDIT_CHAINS), lambda _entry: True, limit=5)
    listed = [entry for page in found for entry in page]
    ids = [(each.stored.id.ms, each.entry.chain, each.stored.id.sequence) for each in listed]
    assert (len(ids), ids) == (24, sorted(ids, reverse=True))
    only, more = await list_audit(cases.scripts, [1], lambda entry: entry.actor == "actor-4", after=None, limit=5)
    assert ([each.entry.actor for each in only], more) == (["actor-4"], None)


async def test_a_page_of_a_search_through_many_entries_ends_early_and_the_next_one_continues(cases, limits):
    audit = audit_of(cases)
    await closed_cases(audit, cases, 20)
    limits(list_audit_module, READ_ENTRIES=4, MAX_READS=2)
    found = await paged(cases, [PARTITION], lambda entry: entry.sequence % 9 == 1, limit=10)
    assert [each.entry.sequence for page in found for each in page] == [19, 10, 1]
    assert len(found) > 1


async def stored_ids(cases):
    return [id_ for id_, _ in await cases.client.xrange(keys.audit_key(PARTITION))]


@on_each_kind
async def test_retention_deletes_the_oldest_entries_but_never_the_newest_and_the_chain_goes_on(cases, limits):
    audit = audit_of(cases, retention_ms=-DAY_MS)  # everything is past it
    await closed_cases(audit, cases, 5)
    before = await audit.verify(PARTITION, ())
    while await audit.trim(PARTITION):
        pass
    after = await audit.verify(PARTITION, ())
    assert (found(after), after.entry_count, after.first_sequence, after.head) == ([], 1, 5, before.head)
    assert await audit_of(cases).trim(PARTITION) is False  # it is not past the retention of others
    await closed_cases(audit_of(cases), cases, 2)
    limits(read_audit_module, LIMIT=2)
    await audit.trim(PARTITION)
    result = await audit.verify(PARTITION, [KnownHead(5, before.head.digest, before.head.id_ms, is_kept=True)])
    assert (found(result), result.first_sequence) == ([], 7)


async def test_two_servers_delete_what_is_past_its_retention_once(cases):
    audit = audit_of(cases, retention_ms=-DAY_MS)
    await closed_cases(audit, cases, 6)
    await asyncio.gather(audit.trim(PARTITION), audit_of(cases, retention_ms=-DAY_MS).trim(PARTITION))
    assert [id_.partition(b"-")[2] for id_ in await stored_ids(cases)] == [b"6"]
    assert found(await audit.verify(PARTITION, ())) == []


def principals(**activities):
    return Principals(
        {
            name: PrincipalEntry(roles=frozenset({"owner"}), activities=frozenset(given), certificates=(name,))
            for name, given in activities.items()
        }
    )


@on_each_kind
async def test_a_principals_file_that_was_read_has_an_entry_if_it_differs_from_the_last_one(cases, others):
    first, second = audit_of(cases), audit_of(others)
    await first.record_principals(principals(alice=["a", "b"], bob=["c"]))
    await second.record_principals(principals(bob=["c"], alice=["b", "a"]))  # another server, the same principals
    await pause(first, cases, "push")
    changed = principals(alice=["a"], carol=["c"])
    await asyncio.gather(first.record_principals(changed), second.record_principals(changed))
    entries = [each for each in await entries_of(cases, keys.STORE_CHAIN) if each.action == "PRINCIPALS_READ"]
    assert [(each.actor, each.details) for each in entries] == [
        ("", {"added": "alice, bob", "principals": "2"}),
        ("", {"added": "carol", "changed": "alice", "principals": "2", "removed": "bob"}),
    ]
    assert found(await first.verify(keys.STORE_CHAIN, ())) == []
