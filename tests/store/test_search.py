"""Searches by label: they find every match once and in order, whatever the number of other cases."""

import asyncio
import itertools

import pytest
from soak.counts import combinations
from support.pages import pages
from support.store import StoreProcess

from callback_server.domain import ids
from callback_server.domain.case import CallMode, CaseStatus, NewCase, Settings
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.queries import list_cases
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.close_case import close_case
from callback_server.store.transitions.create_case import create_case

OPEN, CLOSED, IN_PROGRESS = CaseStatus.OPEN, CaseStatus.CLOSED, CaseStatus.IN_PROGRESS
CASES = 200


class Cases:
    """Cases on one store, and their expected data."""

    def __init__(self, client):
        self.client = client
        self.scripts = Scripts(client, on_report=lambda _: None)
        self.made = []  # (case id, owner, activity, status, labels), oldest first

    async def make(self, labels, *, owner="shop", activity="push", status=OPEN):
        sha = ids.state_hash(ids.new_state())
        case = NewCase(
            id=ids.case_id_of(sha), state_sha256=sha, fingerprint=b"f" * 32, owner=owner, activity=activity,
            mode=CallMode.SINGLE, state_query_parameter="", time_to_live_ms=None, settings=Settings(labels=labels),
            response=Response(type=ResponseType.RESPONSE),
        )  # fmt: skip
        await create_case(self.scripts, case)
        if status is CLOSED:
            await close_case(self.scripts, case.id, owner=None, recording=Recording())
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
            return list_cases.list_cases(
                self.scripts,
                owner=owner,
                activities=[activity] if activity else [],
                status=status,
                labels=labels,
                after=after,
                limit=limit,
            )

        async for page in pages(read):
            assert len(page) <= limit
            yield page

    async def found(self, labels, **chosen):
        return [case_id async for page in self.pages(labels, **chosen) for case_id in page]


@pytest.fixture(scope="module", params=["valkey", "redis", "valkey-cluster"])
async def many(request, tmp_path_factory):
    """Cases of two owners, activities and statuses: a third has a team, few a rare tier; older and newer overlap."""
    store = StoreProcess(tmp_path_factory.mktemp("search"), kind=request.param).start()
    client = connect(store.url)
    cases = Cases(client)
    cases.kind = request.param
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
    yield cases
    await client.aclose()
    store.stop()


SEARCHES = [
    {}, {"parity": "0"}, {"team": "t1"}, {"team": "t1", "parity": "1"}, {"team": "t1", "parity": "0"},
    {"tier": "rare"}, {"tier": "rare", "parity": "1"}, {"older": "yes", "newer": "yes"},
    {"team": "nobody's"}, {"nothing": ""},
]  # fmt: skip


@pytest.mark.parametrize("labels", SEARCHES, ids=str)
async def test_a_search_finds_the_matching_cases_newest_first(many, labels):
    choose = itertools.product if many.kind == "valkey" else combinations  # another store runs the same script
    for owner, activity, status in choose(
        ("shop", "other"), (None, "push", "record", "nobody's"), (None, OPEN, CLOSED, IN_PROGRESS)
    ):
        chosen = {"owner": owner, "activity": activity, "status": status}
        assert await many.found(labels, **chosen) == many.fitting(labels, **chosen)


@pytest.mark.parametrize(
    ("limit", "labels"), combinations([1, 3, 1000], [{"team": "t1", "parity": "1"}, {"parity": "1"}]), ids=str
)
async def test_pages_of_any_size_add_up_to_the_whole_search(many, labels, limit):
    assert await many.found(labels, limit=limit, activity="push") == many.fitting(labels, activity="push")


@pytest.mark.parametrize(("scan", "scripts", "short"), [(1, keys.PARTITIONS, True), (2, 100_000, False)])
async def test_a_search_through_many_cases_ends_pages_short_or_empty_and_misses_nothing(
    many, monkeypatch, scan, scripts, short
):
    monkeypatch.setattr(list_cases, "SCAN", scan)
    monkeypatch.setattr(list_cases, "MAX_SCRIPTS", scripts)
    for labels, chosen in (
        ({"parity": "0"}, {"status": CLOSED}), ({"parity": "0"}, {"status": OPEN}),
        ({"parity": "0"}, {"activity": "record"}), ({"older": "yes", "newer": "yes"}, {}),
    ):  # fmt: skip
        pages = [page async for page in many.pages(labels, limit=20, **chosen)]
        assert list(itertools.chain.from_iterable(pages)) == many.fitting(labels, **chosen)
        assert any(len(page) < 20 for page in pages[:-1]) is short


async def test_a_search_returns_each_case_once_while_others_are_created(many, monkeypatch):
    monkeypatch.setattr(list_cases, "SCAN", 2)
    monkeypatch.setattr(list_cases, "MAX_SCRIPTS", keys.PARTITIONS + 1)
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


@pytest.fixture(params=["valkey", "valkey-cluster"])
async def cases(store_of, request):
    client = connect(store_of(request.param).url)
    yield Cases(client)
    await client.aclose()


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
