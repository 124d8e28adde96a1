"""GenerateCallbackUrls: a result for each of many requests, which are those of GenerateCallbackUrl."""

import asyncio
from collections import Counter

import grpc
import pytest
import redis.asyncio
import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from support.principals import by, principals_of
from support.proxy import StoreProxy, each_once, script_of
from support.services import pages, redirect, refusal, response, running_services
from support.store import StoreProcess
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.access.roles import Role
from callback_server.rpc import url_generator
from callback_server.store import keys

MOST = 500


def request(**fields):
    return rpc.GenerateCallbackUrlRequest(**{"callback_activity": "record", "response": response()} | fields)


def numbered(total, **fields):
    return [request(request_id=f"order-{number}", **fields) for number in range(total)]


MANY_HEADERS = response(
    response_headers=pb.ResponseHeaders(headers=[pb.ResponseHeader(name=f"x-{each}") for each in range(60)])
)
MANY_BAD_HEADERS = pb.ResponseHeaders(headers=[pb.ResponseHeader(name="Bad Name", value="\n")] * 60)


async def generate(services, requests, **options):
    """Return the results of a batch."""
    reply = await services.callbacks.GenerateCallbackUrls(rpc.GenerateCallbackUrlsRequest(requests=requests), **options)
    assert len(reply.results) == len(requests)
    return reply.results


def reasons(results):
    """Return the reason of each result, and None of one that has a URL."""
    return [_info(each.problem).reason if each.HasField("problem") else None for each in results]


def _info(problem):
    info = error_details_pb2.ErrorInfo()
    assert problem.details[0].Unpack(info)
    assert info.domain == "callback"
    return info


def urls(results):
    assert reasons(results) == [None] * len(results)
    return [each.generated.callback_url for each in results]


async def listed(services):
    """Return the ids of all cases, each page of the list once."""
    found = await pages(services.callbacks.ListCallbacks, rpc.ListCallbacksRequest(page_size=40))
    return [case.callback_case_id for page in found for case in page.callbacks]


async def test_each_request_has_its_url_in_order_and_each_url_can_be_called(services):
    bodies = [b"%d" % number for number in range(MOST)]
    results = await generate(services, [request(response=response(response_body=body)) for body in bodies])
    assert len({*urls(results)}) == MOST
    for place in (0, 31, 32, 250, MOST - 1):
        answer = await services.call(results[place].generated, method="get")
        assert answer.response.response_body == bodies[place]


async def test_a_list_has_each_case_of_a_batch_exactly_once(services):
    """Its pages rely on the creation times of a partition, and one script creates several cases of it."""
    results = await generate(services, [request() for _ in range(MOST)])
    found = await listed(services)
    assert Counter(found) == Counter(each.generated.callback_case_id for each in results)


async def test_a_batch_makes_the_same_cases_as_single_requests(services):
    several = [
        {},
        {"callback_activity": "form", "hold_time": Duration(seconds=60)},
        {"state_query_parameter": "state", "labels": {"order": "5", "shop": "x"}, "callback_activity_case": "5"},
        {"response": redirect(response_redirect_url="/thanks"), "allow_multiple_calls": True, "no_repeat": True},
        {
            "callback_activity": "paid", "answer_mode": pb.ANSWER_MODE_ACK, "ordered": True,
            "notify": [pb.CALL_REASON_REMINDER], "remind_after": [Duration(seconds=60)],
        },
        {"time_to_live": Duration(seconds=3600), "closed_response": response(response_code=200)},
        {"response": response(response_body=b"x" * 100_000)},
        {"answer_deadline": Duration(seconds=1), "fallback": response()},
    ]  # fmt: skip
    together = await generate(services, [request(**fields) for fields in several])
    for fields, result in zip(several, together, strict=True):
        alone = await services.callbacks.GenerateCallbackUrl(request(**fields))
        assert alone.warnings == result.generated.warnings
        first, second = await services.case_of(alone), await services.case_of(result.generated)
        for case in (first, second):
            if case.HasField("expire_time"):
                assert 3590 < case.expire_time.seconds - case.create_time.seconds <= 3601
            for name in ("callback_case_id", "create_time", "expire_time"):
                case.ClearField(name)
        assert first == second


async def test_bad_requests_among_good_ones_have_a_problem_each_and_the_good_ones_a_url(services):
    await services.generate(request_id="taken")
    results = await generate(
        services,
        [
            request(),
            request(callback_activity="a\nb", response=None),
            request(request_id="taken"),
            request(request_id="taken", allow_multiple_calls=True),
            request(response=response(response_code=302)),
            request(callback_activity="work"),
        ],
    )
    assert reasons(results) == [None, "INVALID_REQUEST", None, "REQUEST_ID_REUSED", "INVALID_REQUEST", None]
    assert [each.problem.code for each in results[1:5]] == [
        each.value[0]
        for each in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.OK,
            grpc.StatusCode.ALREADY_EXISTS,
            grpc.StatusCode.INVALID_ARGUMENT,
        )
    ]
    bad = error_details_pb2.BadRequest()
    assert results[1].problem.details[1].Unpack(bad)
    assert [each.field for each in bad.field_violations] == ["callback_activity", "response"]
    (warning,) = results[5].generated.warnings
    assert warning.reason == rpc.WARNING_REASON_ACTIVITY_NOT_SERVED
    assert len(await services.cases()) == 3


@pytest.mark.parametrize(
    ("requests", "rule"),
    [
        ([], "repeated.min_items"),
        ([request()] * (MOST + 1), "repeated.max_items"),
        ([request(response=response(response_body=b"x" * 1024**2))] * 4, "too_large"),
        ([request(labels={str(label): "" for label in range(16)}, response=MANY_HEADERS)] * MOST, "malformed"),
    ],
)
async def test_a_batch_that_is_empty_or_too_large_is_refused_as_a_whole(services, requests, rule):
    batch = rpc.GenerateCallbackUrlsRequest(requests=requests)
    said = await refusal(services.callbacks.GenerateCallbackUrls(batch))
    assert (said.code, said.rules) == (grpc.StatusCode.INVALID_ARGUMENT, {"requests": rule})
    assert not await services.cases()


async def test_three_of_the_largest_bodies_are_a_batch(services):
    largest = response(response_body=b"x" * 1024**2)
    urls(await generate(services, [request(response=largest)] * 3))


async def test_the_same_request_id_twice_in_a_batch_makes_one_case(services):
    same, other = request(request_id="one"), request(request_id="one", allow_multiple_calls=True)
    results = await generate(services, [same, request(), same, other, same])
    assert reasons(results) == [None, None, None, "REQUEST_ID_REUSED", None]
    assert results[0] == results[2] == results[4] != results[1]
    assert len(await services.cases()) == 2


async def test_a_batch_that_is_sent_again_gets_the_same_urls_and_makes_no_case(services):
    first = await generate(services, numbered(100))
    assert await generate(services, numbered(100)) == first
    assert (await services.generate(request_id="order-7")) == first[7].generated
    assert len(await listed(services)) == 100


async def test_batches_at_once_with_the_same_ids_on_two_servers_agree_on_each_url(both):
    requests = numbered(200)
    sent = [generate(each, batch) for each in both for batch in (requests, requests[::-1], requests[50:])]
    first, *others = [
        {each.request_id: url for each, url in zip(batch, urls(results), strict=True)}
        for batch, results in zip(
            2 * (requests, requests[::-1], requests[50:]), await asyncio.gather(*sent), strict=True
        )
    ]
    for other in others:
        assert other.items() <= first.items()
    assert len(await listed(both[0])) == 200


async def test_a_batch_needs_the_role_of_an_owner_and_only_its_activities(store_of):
    principals = principals_of(shop={"roles": [Role.OWNER], "activities": ["record"]}, edge={"roles": [Role.EDGE]})
    async with running_services(store_of(), principals=lambda: principals) as services:
        batch = rpc.GenerateCallbackUrlsRequest(requests=[request()])
        said = await refusal(services.callbacks.GenerateCallbackUrls(batch, metadata=by("edge")))
        assert said.reason == "ROLE_MISSING"
        results = await generate(services, [request(callback_activity="other"), request()], metadata=by("shop"))
        assert reasons(results) == ["ACTIVITY_NOT_ALLOWED", None]


async def test_without_a_state_key_only_the_requests_with_an_id_fail(store_of):
    async with running_services(store_of(), state_key=None) as services:
        results = await generate(services, [request(), request(request_id="one")])
        assert reasons(results) == [None, "REQUEST_ID_UNSUPPORTED"]


# --- the quota of open cases


async def test_a_batch_gets_the_open_cases_that_are_left_in_its_order(store_of):
    async with running_services(store_of(), max_open_cases_per_owner=50) as services:
        await generate(services, [request() for _ in range(10)])
        results = await generate(services, [request() for _ in range(100)])
        assert reasons(results) == [None] * 40 + ["TOO_MANY_OPEN_CALLBACKS"] * 60
        assert len(await listed(services)) == 50


async def test_requests_that_make_no_case_take_none_of_what_is_left(store_of):
    async with running_services(store_of(), max_open_cases_per_owner=4) as services:
        known = await generate(services, numbered(2))
        new = request(request_id="new")
        batch = [*numbered(2), request(callback_activity="a\nb"), new, new, request(), request()]
        results = await generate(services, batch)
        full = "TOO_MANY_OPEN_CALLBACKS"
        assert reasons(results) == [None, None, "INVALID_REQUEST", None, None, None, full]
        assert [*results[:2]] == [*known]
        assert results[3] == results[4]
        assert len(await listed(services)) == 4
        # What was reserved for requests of one id is free again, and what the store has is counted once.
        await services.close(results[5].generated)

        async def another():
            return reasons(await generate(services, [request()])) == [None]

        await wait_until(another, what="room for another")
        assert reasons(await generate(services, [request()])) == [full]


async def test_copies_within_a_batch_take_the_quota_of_one_case(store_of):
    """The estimate must be right by itself: the cases are counted again only a second after the first count."""
    async with running_services(store_of(), max_open_cases_per_owner=50) as services:
        copies = [request(request_id="one") for _ in range(31)]
        made = await generate(services, [*copies, *(request() for _ in range(29))])
        assert len({*urls(made)}) == 30
        again = await generate(services, [*copies[:10], *(request() for _ in range(20))])
        assert len({*urls(again)} - {*urls(made)}) == 20
        assert reasons(await generate(services, [request()])) == ["TOO_MANY_OPEN_CALLBACKS"]


async def test_a_batch_that_is_sent_again_takes_no_quota_from_others_while_it_runs(store_of):
    async with running_services(store_of(), max_open_cases_per_owner=350) as services:
        urls(await generate(services, numbered(200)))
        again = asyncio.create_task(generate(services, numbered(200)))
        while not again.done():
            urls(await generate(services, [request()]))
        urls(again.result())


# --- a store that fails


async def test_a_damaged_key_fails_only_the_requests_that_need_it_and_is_logged_once(store_of):
    store = store_of()
    labelled = [request(labels={"team": "x"}) for _ in range(20)]
    async with running_services(store) as services, redis.asyncio.Redis.from_url(store.url) as client:
        await generate(services, labelled[:1])
        (known,) = await client.keys("*:label:*")
        *_, digest = known.decode().split(":")
        await client.delete(known)
        await client.mset({keys.key(each, "label", "local", digest): "wrong" for each in range(keys.PARTITIONS)})
        with structlog.testing.capture_logs() as log:
            results = await generate(services, labelled + numbered(100))
        assert reasons(results) == ["INTERNAL"] * 20 + [None] * 100
        assert [entry["event"] for entry in log].count("request_failed") == 1
        again = await generate(services, numbered(100) + labelled)
        assert reasons(again) == [None] * 100 + ["INTERNAL"] * 20
        assert again[:100] == results[20:]


async def test_a_lost_reply_of_the_store_makes_no_case_twice(store_of):
    async with StoreProxy(store_of(), each_once("create_cases")) as proxy, running_services(proxy) as services:
        results = await generate(services, [request() for _ in range(30)] + numbered(30))
        assert proxy.lost["create_cases"] > 20
        assert Counter(await listed(services)) == Counter(each.generated.callback_case_id for each in results)
        assert len({*urls(results)}) == 60


@pytest.mark.parametrize("fault", ["the store is killed", "replies are lost"])
async def test_a_batch_that_a_fault_of_the_store_breaks_off_is_completed_by_another_try(tmp_path, fault):
    requests, left = numbered(MOST), []

    def break_off(command):
        """Let those scripts pass that are left, and then none. No list of these: each one passes."""
        if not left or script_of(command) != "create_cases":
            return False
        if len(left) > 1:
            left.pop()
            return False
        if fault == "the store is killed":
            store.kill()
        return True

    with StoreProcess(tmp_path) as store:
        async with StoreProxy(store, break_off) as proxy, running_services(proxy) as services:
            before = urls(await generate(services, requests[:150]))
            left += range(30)
            broken = await generate(services, requests)
            assert "STORE_UNAVAILABLE" in reasons(broken)
            if fault == "the store is killed":
                store.start()
            left.clear()
            again = urls(await generate(services, requests))
            assert len({*again}) == len(await listed(services)) == MOST
            assert again[:150] == before
            for result, url in zip(broken, again, strict=True):
                assert result.generated.callback_url in ("", url)


async def test_calls_get_in_between_the_requests_of_a_batch_that_take_long_to_check(services, limits):
    limits(url_generator, TURN_S=0.0)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await generate(services, [request(response=response(response_headers=MANY_BAD_HEADERS))] * 70)
    counting.cancel()
    assert turns > 70
