"""Searches by label: they find every match once and in order, whatever the number of other cases."""

import asyncio
import contextlib
import itertools

import pytest
from soak.counts import combinations
from support.cases import Cases as StoredCases
from support.pages import pages
from support.store import KINDS, StoreProcess

from callback_server.domain.case import CaseStatus, Settings
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries import list_cases

OPEN, CLOSED, IN_PROGRESS = CaseStatus.OPEN, CaseStatus.CLOSED, CaseStatus.IN_PROGRESS
CASES = 200


class Cases(StoredCases):
    """Cases on one store, and their expected data."""

    def __init__(self, client):
        super().__init__(client)
        self.made = []  # (case id, owner, activity, status, labels), oldest first

    async def make(self, labels, *, owner="shop", activity="push", status=OPEN):
        case = await self.new(activity, owner=owner, settings=Settings(labels=labels))
        if status is CLOSED:
            await self.close(case.id)
        self.made.append((case.id, owner, activity, status, labels))
        return case.id

    def fitting(self, labels, *, owner="shop", activity=None, status=None):
        return [
            case_id for case_id, its_owner, its_activity, its_status, its_labels in reversed(self.made)
            if its_owner == owner and activity in (None, its_activity) and status in (None, its_status)
            and labels.items() <= its_labels.items()
        ]  # fmt: skip

    async def pages(self, labels, *, owner="shop", activity=None, status=None, limit=50):
        def read(after):
            activities = [activity] if activity else []
            return list_cases.list_cases(
                self.scripts, owner=owner, activities=activities, status=status, labels=labels, after=after, limit=limit
            )

        async for page in pages(read):
            assert len(page) <= limit
            yield page

    async def found(self, labels, **chosen):
        return [case_id async for page in self.pages(labels, **chosen) for case_id in page]


async def make_many(cases):
    """Make cases of two owners: a third has a team, few a rare tier; older and newer overlap."""
    for number in range(CASES):
        labels = {"parity": str(number % 2)}
        if number % 3 == 0:
            labels["team"] = f"t{number % 4}"
        if number % 49 == 0:
            labels["tier"] = "rare"
        if number < 120:
            labels["older"] = "yes"
        if number >= 90:
            labels["newer"] = "yes"
        await cases.make(
            labels,
            owner="shop" if number % 10 else "other",
            activity="push" if number % 4 else "record",
            status=OPEN if number % 5 else CLOSED,
        )


@pytest.fixture(scope="module")
async def many_on(tmp_path_factory):
    """Return a function that returns many cases on a kind of store, which the tests of the module share."""
    async with contextlib.AsyncExitStack() as stack:
        made = {}

        async def many_on(kind="valkey"):
            if kind not in made:
                store = stack.enter_context(StoreProcess(tmp_path_factory.mktemp("search"), kind=kind))
                made[kind] = Cases(await stack.enter_async_context(connect(store.url)))
                await make_many(made[kind])
            return made[kind]

        yield many_on


SEARCHES = [
    {}, {"parity": "0"}, {"team": "t1"}, {"team": "t1", "parity": "1"}, {"team": "t1", "parity": "0"},
    {"tier": "rare"}, {"tier": "rare", "parity": "1"}, {"older": "yes", "newer": "yes"},
    {"team": "nobody's"}, {"nothing": ""},
]  # fmt: skip


@pytest.mark.parametrize(("kind", "labels"), combinations(KINDS, SEARCHES), ids=str)
async def test_a_search_finds_the_matching_cases_newest_first(many_on, kind, labels):
    many = await many_on(kind)
    for owner, activity, status in combinations(
        ("shop", "other"), (None, "push", "record", "nobody's"), (None, OPEN, CLOSED, IN_PROGRESS)
    ):
        chosen = {"owner": owner, "activity": activity, "status": status}
        assert await many.found(labels, **chosen) == many.fitting(labels, **chosen)


@pytest.mark.parametrize(
    ("kind", "limit", "labels"),
    combinations(KINDS, [1, 3, 1000], [{"team": "t1", "parity": "1"}, {"parity": "1"}]),
    ids=str,
)
async def test_pages_of_any_size_add_up_to_the_whole_search(many_on, kind, limit, labels):
    many = await many_on(kind)
    assert await many.found(labels, limit=limit, activity="push") == many.fitting(labels, activity="push")


@pytest.mark.parametrize(("scan", "scripts", "short"), [(1, keys.PARTITIONS, True), (2, 100_000, False)])
async def test_a_search_through_many_cases_ends_pages_short_or_empty_and_misses_nothing(
    many_on, limits, scan, scripts, short
):
    many = await many_on()
    limits(list_cases, SCAN=scan, MAX_SCRIPTS=scripts)
    for labels, chosen in (
        ({"parity": "0"}, {"status": CLOSED}), ({"parity": "0"}, {"status": OPEN}),
        ({"parity": "0"}, {"activity": "record"}), ({"older": "yes", "newer": "yes"}, {}),
    ):  # fmt: skip
        pages = [page async for page in many.pages(labels, limit=20, **chosen)]
        assert list(itertools.chain.from_iterable(pages)) == many.fitting(labels, **chosen)
        assert any(len(page) < 20 for page in pages[:-1]) is short


async def test_a_search_returns_each_case_once_while_others_are_created(many_on, limits):
    many = await many_on()
    limits(list_cases, SCAN=2, MAX_SCRIPTS=keys.PARTITIONS + 1)
    before = many.fitting({"parity": "1"}, status=OPEN)
    ended = asyncio.Event()

    async def make():
        while not ended.is_set():
            await many.make({"parity": "1"})

    making = asyncio.create_task(make())
    try:
        found = await many.found({"parity": "1"}, status=OPEN, limit=7)
    finally:
        ended.set()
        await making
    assert [case_id for case_id in found if case_id in set(before)] == before
    assert found == [case_id for case_id in many.fitting({"parity": "1"}, status=OPEN) if case_id in set(found)]


@pytest.fixture
async def cases(store):
    async with connect(store.url) as client:
        yield Cases(client)


@pytest.mark.parametrize("store", ["valkey", "valkey-cluster"], indirect=True)
@pytest.mark.parametrize("labels", [{}, {"team": "x"}], ids=str)
async def test_cases_of_the_same_microsecond_are_each_returned_once(cases, labels):
    made = {}
    while len(made) < 20:
        case_id = await cases.make({"team": "x"})
        made.setdefault(keys.partition_of(case_id), case_id)
    for pattern in ("*:index:*", "*:label:*"):
        async for key in cases.client.scan_iter(pattern, count=1000):
            for case_id in await cases.client.zrange(key, 0, -1):
                if case_id.decode() in made.values():
                    await cases.client.zadd(key, {case_id: 1_700_000_000_000_000})
                else:
                    await cases.client.zrem(key, case_id)
    assert await cases.found(labels, limit=3) == [made[partition] for partition in sorted(made, reverse=True)]


async def test_a_label_can_be_any_text_and_is_no_other(cases):
    values = ["", ":", "}{", "x:y", "\0", "ü€😀", "v" * 200, "€" * 200, "€" * 199 + "$"]
    made = {(name, value): await cases.make({name: value}) for name in ("a", "ab") for value in [*values, "bc", "c"]}
    for (name, value), case_id in made.items():
        assert await cases.found({name: value}) == [case_id]


async def test_a_label_costs_a_short_key_however_long_it_is(cases):
    await cases.make({"n" * 63: "€" * 200})
    (key,) = [key async for key in cases.client.scan_iter("*:label:*")]
    assert len(key) < 80
