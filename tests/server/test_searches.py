"""Lists of callbacks, searches by their newest call, id and creation, and a search for calls by their end."""

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from support.services import pages, refusal, response, running_services

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.settings import ActivitySettings
from callback_server.store.queries import list_cases, list_owner_calls

CASES = 12


@pytest.fixture(scope="module")
async def searched(store_of):
    """Services, and cases, oldest first: one has no call, the next one that succeeded, the next one not started."""
    activities = {"nobody": ActivitySettings(deadline_s=0.1)}  # how long a call waits for a worker
    async with running_services(store_of(), activities=activities) as services:
        cases = []
        for number in range(CASES):
            made = await services.generate(
                ("record", "record", "nobody")[number % 3],
                allow_multiple_calls=True,
                labels={"parity": str(number % 2)},
            )
            if number % 3:
                call = services.call(made, body=b"%d" % number)
                await (call if number % 3 == 1 else refusal(call))
            cases.append(made.callback_case_id)
        yield services, cases


OPEN, CLOSED, TILL = pb.CALLBACK_STATUS_OPEN, pb.CALLBACK_STATUS_CLOSED, {"shop/till": "no. 3: ü"}
FILTERS = [
    {}, {"status": OPEN}, {"status": CLOSED}, {"status": pb.CALLBACK_STATUS_IN_PROGRESS}, {"callback_activity": "push"},
    {"callback_activity": "nobody"}, {"status": CLOSED, "callback_activity": "record"}, {"labels": TILL},
    {"labels": {"number": ""}}, {"labels": TILL | {"number": "17"}}, {"labels": TILL | {"number": "18"}},
    {"labels": TILL, "status": CLOSED},
]  # fmt: skip


async def test_callbacks_are_listed_by_status_activity_and_labels_without_the_bodies_of_their_responses(services):
    every = []  # newest first
    for number in range(60):
        made = await services.generate(
            "record" if number % 2 else "push",
            labels={"number": str(number), "shop/till": f"no. {number % 7}: ü"},
            callback_activity_case=f"case {number}",
            response=response(response_body=b"x"),
        )
        if number % 3 == 0:
            await (services.call(made) if number % 2 else services.close(made))
        every.insert(0, await services.case_of(made))
        every[0].response.ClearField("response_body")
    assert [len(page.callbacks) for page in await all_pages(services)] == [50, 10]
    for chosen in FILTERS:
        labels = chosen.get("labels", {}).items()
        fitting = [each for each in every if labels <= dict(each.labels).items() and all(
            getattr(each, name) == value for name, value in chosen.items() if name != "labels"
        )]  # fmt: skip
        found = [each for page in await all_pages(services, page_size=7, **chosen) for each in page.callbacks]
        assert found == fitting, chosen


def all_pages(services, **filters):
    return pages(services.callbacks.ListCallbacks, rpc.ListCallbacksRequest(**filters))


async def searched_pages(services, **filters):
    """Return the ids of each page, and how far the search had come after each."""
    found = await all_pages(services, page_size=3, **filters)
    assert [page.HasField("searched_to") for page in found] == [bool(page.next_page_token) for page in found]
    return [([each.callback_case_id for each in page.callbacks], page.searched_to.ToNanoseconds()) for page in found]


@pytest.mark.parametrize("scan", [1, 200])
@pytest.mark.parametrize(
    ("status", "rest"), [(pb.CALL_STATUS_SUCCEEDED, 1), (pb.CALL_STATUS_NOT_STARTED, 2), (pb.CALL_STATUS_FAILED, None)]
)
@pytest.mark.parametrize("labels", [{}, {"parity": "1"}], ids=str)
async def test_callbacks_are_found_by_their_newest_call(searched, limits, scan, status, rest, labels):
    services, cases = searched
    limits(list_cases, SCAN=scan, MAX_SCRIPTS=1)
    found = await searched_pages(services, last_call_status=status, labels=labels)
    expected = [
        case for number, case in enumerate(cases) if number % 3 == rest and labels in ({}, {"parity": str(number % 2)})
    ]
    assert [case for ids, _ in found for case in ids] == expected[::-1]
    searched_to = [time for _, time in found[:-1]]
    assert searched_to == sorted(searched_to, reverse=True)


@pytest.mark.parametrize("scan", [1, 200])
async def test_a_callback_is_found_by_the_first_digits_of_its_id(searched, limits, scan):
    services, cases = searched
    limits(list_cases, SCAN=scan, MAX_SCRIPTS=1)
    for case in cases[:3]:
        for digits in (8, 20, 32):
            found = await searched_pages(services, case_id_prefix=case[:digits])
            assert [each for ids, _ in found for each in ids] == [case]
    other = cases[0][:16] + ("1" if cases[0][16] == "0" else "0")
    assert not [each for ids, _ in await searched_pages(services, case_id_prefix=other) for each in ids]
    for wrong in (cases[0][:7], cases[0][:8] + "G", f"{cases[0]}0"):
        with pytest.raises(grpc.aio.AioRpcError, match="case_id_prefix"):
            await services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(case_id_prefix=wrong))


async def test_callbacks_are_found_by_the_time_of_their_creation(searched):
    services, cases = searched
    listed = await services.cases()
    times = {each.callback_case_id: each.create_time for each in listed}
    first, last = times[cases[2]], times[cases[8]]
    found = await searched_pages(services, created_after=first, created_before=last)
    expected = [
        case for case in cases if first.ToMilliseconds() <= times[case].ToMilliseconds() < last.ToMilliseconds()
    ]
    assert [case for ids, _ in found for case in ids] == expected[::-1]
    assert await searched_pages(services, created_before=Timestamp(seconds=-1)) == [([], 0)]
    assert await searched_pages(services, created_after=Timestamp(seconds=4_000_000_000)) == [([], 0)]
    wrong = await refusal(services.callbacks.ListCallbacks(rpc.ListCallbacksRequest(created_after=Timestamp(nanos=-1))))
    assert (wrong.reason, wrong.fields) == ("INVALID_REQUEST", ["created_after"])


@pytest.mark.parametrize("scan", [1, 1_000])
async def test_calls_are_found_by_their_end_the_latest_first(searched, limits, scan):
    services, cases = searched
    limits(list_owner_calls, SCAN=scan)

    async def found(**filters):
        asked = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_ENDED, page_size=2, **filters)
        return [each for page in await pages(services.callbacks.ListOwnerCalls, asked) for each in page.calls]

    ended = await found()
    assert {each.callback_case_id for each in ended} == {case for number, case in enumerate(cases) if number % 3}
    assert len(ended) == 8
    ends = [each.end_time.ToMilliseconds() for each in ended]
    assert ends == sorted(ends, reverse=True)
    since = ended[3].end_time
    assert await found(ended_after=since) == [
        each for each in ended if each.end_time.ToMilliseconds() >= since.ToMilliseconds()
    ]
    nobody = [cases[number] for number in range(CASES) if number % 3 == 2]
    assert {each.callback_case_id for each in await found(callback_activity="nobody")} == {*nobody}
    assert await found(ended_after=Timestamp(seconds=4_000_000_000)) == []


async def test_a_time_of_the_end_is_refused_for_calls_that_have_not_ended(services):
    asked = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_WAITING, ended_after=Timestamp(seconds=1))
    said = await refusal(services.callbacks.ListOwnerCalls(asked))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", ["ended_after"])
