"""The list of cases over gRPC: newest first, by status, activity and label, in pages without gaps or repeats."""

import httpx
import pytest
from soak.counts import combinations
from support.system import system_of_its_own

from callback import CallbackStatus, Response

OPEN, CLOSED = CallbackStatus.OPEN, CallbackStatus.CLOSED
CASES = 120
"""More cases than the store has partitions, and than a page has by default."""


@pytest.fixture(scope="module")
async def listed(world, tmp_path_factory):
    """Return a client of a system that has only these cases, and [(case_id, activity, status, labels)], newest first.

    Every third case has the activity `push`. Every second case is closed: by a call if its number is a multiple of 4
    and its activity is `record`, otherwise by its owner.
    """
    config = f'activities.push = {{ target = "{world.handler.target}" }}'
    async with system_of_its_own(tmp_path_factory.mktemp("lists"), config=config) as system:
        made = [await _make(system, number) for number in range(CASES)]
        yield system.client, made[::-1]


async def _make(system, number):
    activity = "push" if number % 3 == 0 else "record"
    labels = {"number": str(number), "shop/till": f"no. {number % 7}: ü"}
    case = await system.client.generate_callback_url(
        activity, Response(b"body"), labels=labels, activity_case=f"case {number}"
    )
    if number % 4 == 0 and activity == "record":
        assert (await system.http.get(case.url)).status_code == httpx.codes.OK
    elif number % 2 == 0:
        await system.client.close_callback(case.case_id)
    return case.case_id, activity, CLOSED if number % 2 == 0 else OPEN, labels


TILL = {"shop/till": "no. 3: ü"}
FILTERS = [{}, {"status": OPEN}, {"status": CLOSED}, {"activity": "push"}, {"labels": TILL},
           {"status": CLOSED, "activity": "record"}, {"status": CallbackStatus.IN_PROGRESS}, {"activity": "nobody's"},
           {"labels": {"number": "17"}}, {"labels": {**TILL, "number": "17"}}, {"labels": {**TILL, "number": "18"}},
           {"labels": TILL, "status": CLOSED}, {"labels": TILL, "activity": "push"},
           {"labels": {"number": ""}}]  # fmt: skip


def fitting(made, *, status=None, activity="", labels=None):
    return [
        each for each in made
        if status in (None, each[2]) and activity in ("", each[1]) and (labels or {}).items() <= each[3].items()
    ]  # fmt: skip


@pytest.mark.parametrize("chosen", FILTERS, ids=str)
async def test_a_list_has_the_matching_callbacks_newest_first(listed, chosen):
    client, made = listed
    found = [case async for case in client.list_callbacks(**chosen)]
    assert [(case.case_id, case.activity, case.status, case.labels) for case in found] == fitting(made, **chosen)
    assert found == sorted(found, key=lambda case: case.create_time, reverse=True)
    for case in found:
        whole = await client.get_callback(case.case_id)
        assert whole.response.body == b"body"
        assert not case.response.body
        assert (case.labels, case.activity_case, case.close_reason, case.call_count) == (
            whole.labels, whole.activity_case, whole.close_reason, whole.call_count,
        )  # fmt: skip


@pytest.mark.parametrize(("size", "chosen"), combinations([7, 50, CASES, 1, 1000], FILTERS[:5]), ids=str)
async def test_pages_of_any_size_make_up_the_list(listed, chosen, size):
    client, made = listed
    pages, token = [], ""
    while not pages or token:
        page = await client.list_callbacks_page(page_size=size, page_token=token, **chosen)
        assert len(page.items) <= size
        pages.append(page.items)
        token = page.next_page_token
    found = [case.case_id for page in pages for case in page]
    assert found == [case_id for case_id, *_ in fitting(made, **chosen)]
    assert len(pages) == max(1, -(-len(fitting(made, **chosen)) // size))


async def test_a_page_is_fifty_cases_by_default(listed):
    client, made = listed
    assert len((await client.list_callbacks_page()).items) == 50 < len(made)
