"""Waiting: a caller whose answer takes longer is told to wait, and gets the answer at the address of its call."""

import asyncio
import hashlib
import hmac
import itertools
from datetime import timedelta

import pytest
from support.handler import handler_service
from support.system import running_system
from support.wait import wait_until

from callback import CallStatus, GetGuard, Redirect, Reject, Response

BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
SOON = timedelta(milliseconds=100)


@pytest.fixture(scope="module")
async def system(tmp_path_factory, store_of):
    """Run a system for the tests that leave its processes alone."""
    async with running_system(tmp_path_factory.mktemp("system"), store_of()) as running:
        yield running


@pytest.fixture
async def own_system(tmp_path, store_of):
    """Run a system whose processes the test may end."""
    async with running_system(tmp_path, store_of(is_in_use=True)) as running:
        yield running


async def held_call(system, case):
    """Return the id of the call of a case as soon as it waits for its answer."""

    async def call():
        return (await system.client.list_calls_page(case.case_id)).items

    return (await wait_until(call, what="a held call"))[0].call_id


async def test_a_program_is_told_to_wait_and_gets_the_answer_at_the_address(system):
    case = await system.client.generate_callback_url("form", Response("welcome", code=201), answer_deadline=SOON)
    told = await system.http.post(case.url)
    call = await held_call(system, case)
    assert (told.status_code, told.headers["content-type"]) == (202, "application/json")
    assert told.json()["code"] == "waiting"
    assert told.headers["location"].startswith(f"/wait/{call}/")
    assert "retry-after" in told.headers
    waiting = asyncio.create_task(system.http.get(told.headers["location"]))
    await system.client.answer_call(call)
    for answer in (await waiting, await system.http.get(told.headers["location"])):
        assert (answer.status_code, answer.text) == (201, "welcome")
    assert [each.call_id for each in (await system.client.list_calls_page(case.case_id)).items] == [call]


@pytest.mark.parametrize(("method", "code"), [("GET", 302), ("POST", 303)])
async def test_a_redirect_at_the_address_has_the_code_for_the_method_of_the_call(system, method, code):
    case = await system.client.generate_callback_url("form", Response(), answer_deadline=SOON)
    told = await system.http.request(method, case.url)
    await system.client.answer_call(await held_call(system, case), Redirect("https://shop.example/paid"))
    answer = await system.http.get(told.headers["location"])
    assert (answer.status_code, answer.headers["location"]) == (code, "https://shop.example/paid")


async def test_a_redirect_at_the_address_of_a_confirmation_has_the_code_for_a_post(system):
    case = await system.client.generate_callback_url(
        "form", Redirect("https://shop.example/paid"), answer_deadline=SOON, get_guard=GetGuard.CONFIRM,
        repeat_window=timedelta(0),
    )  # fmt: skip
    told = await system.http.post(case.url, data={"callback_confirm": "1"})
    await system.client.resolve_callback(case.case_id)
    assert (await system.http.get(told.headers["location"])).status_code == 303


async def test_a_browser_is_told_to_wait_after_two_seconds_with_a_page_that_has_the_address(system):
    case = await system.client.generate_callback_url("form", Response())
    told = await system.http.get(case.url, headers=BROWSER)
    assert (told.status_code, told.headers["content-type"]) == (202, "text/html; charset=utf-8")
    path = told.headers["location"]
    assert told.text.count(path) >= 3
    again = await system.http.get(case.url, headers=BROWSER)
    assert again.headers["location"] == path
    await system.client.resolve_callback(case.case_id, Reject())
    answer = await system.http.get(path, headers=BROWSER)
    assert answer.status_code == 422
    assert len((await system.client.list_calls_page(case.case_id)).items) == 1


async def test_the_address_knows_its_own_call_only_and_makes_none(system):
    case = await system.client.generate_callback_url("form", Response(), answer_deadline=SOON)
    path = (await system.http.post(case.url)).headers["location"]
    _, _, call, token = path.split("/")
    other = await system.client.generate_callback_url("form", Response(), answer_deadline=SOON)
    _, _, other_call, other_token = (await system.http.post(other.url)).headers["location"].split("/")
    unknown = f"{'0' * 32}-{'0' * 16}"
    for call_id, secret in ((call, other_token), (other_call, token), (call, "0" * 64), (unknown, token)):
        assert (await system.http.get(f"/wait/{call_id}/{secret}")).status_code == 404
    assert (await system.http.post(path)).status_code == 405
    assert (await system.http.head(path)).status_code == 200
    assert (await system.client.get_callback(case.case_id)).call_count == 1


async def test_the_url_and_the_id_of_a_call_do_not_make_the_address_of_the_call(system):
    case = await system.client.generate_callback_url(
        "form", Response(), answer_deadline=SOON, allow_multiple_calls=True
    )
    path = (await system.http.post(case.url)).headers["location"]
    _, _, call, token = path.split("/")
    state = case.url.rpartition("/")[2]
    keys = state.encode(), bytes.fromhex(state.replace("-", ""))
    made = [hmac.digest(key, call.encode(), "sha256").hex() for key in keys]
    for guess in [*made, hashlib.sha256(f"{state}{call}".encode()).hexdigest(), token[::-1]]:
        assert (await system.http.get(f"/wait/{call}/{guess}")).status_code == 404
    other = (await system.http.post(case.url)).headers["location"].split("/")[2]
    assert (await system.http.get(f"/wait/{other}/{token}")).status_code == 404


async def test_a_caller_waits_at_the_address_of_a_url_with_a_parameter(system):
    parameter = "p" * 64
    case = await system.client.generate_callback_url(
        "form", Response("welcome"), answer_deadline=SOON, state_query_parameter=parameter
    )
    path = (await system.http.post(case.url)).headers["location"]
    await system.client.answer_call(await held_call(system, case))
    assert (await system.http.get(path)).text == "welcome"


async def test_an_answer_given_at_the_address_is_kept_whatever_is_recorded(system):
    case = await system.client.generate_callback_url(
        "form", Response(), answer_deadline=SOON, allow_multiple_calls=True
    )
    path = (await system.http.post(case.url)).headers["location"]
    await system.client.answer_call(await held_call(system, case), Response("welcome"))
    assert (await system.http.get(path)).text == "welcome"
    await system.client.erase_calls(case.case_id)
    erased = await system.http.get(path)
    assert (erased.status_code, erased.json()["code"]) == (410, "answer_not_repeated")


MINIMAL = {"Prefer": "return=minimal"}


@pytest.mark.parametrize("mode", [{}, {"allow_multiple_calls": True}])
async def test_an_answer_that_must_not_be_given_twice_is_given_once_at_the_address(system, mode):
    case = await system.client.generate_callback_url(
        "form", Response("secret"), answer_deadline=SOON, no_repeat=True, **mode
    )
    path = (await system.http.post(case.url)).headers["location"]
    await system.client.answer_call(await held_call(system, case))
    for _ in range(2):  # a page asks without the answer first
        told = await system.http.get(path, headers=MINIMAL)
        assert (told.status_code, told.headers["preference-applied"], told.content) == (204, "return=minimal", b"")
    assert (await system.http.get(path)).text == "secret"
    for _ in range(2):
        again = await system.http.get(path)
        assert (again.status_code, again.json()["code"]) == (410, "answer_not_repeated")


async def test_a_repeat_that_waits_does_not_get_an_answer_that_must_not_be_given_twice(system):
    case = await system.client.generate_callback_url("form", Response("secret"), no_repeat=True)
    caller = asyncio.create_task(system.http.get(case.url))
    call = await held_call(system, case)
    told = await system.http.get(case.url, headers=BROWSER)
    assert told.status_code == 202
    await system.client.answer_call(call)
    assert (await caller).text == "secret"
    refused = await system.http.get(told.headers["location"])
    assert (refused.status_code, refused.json()["code"]) == (410, "answer_not_repeated")


async def test_a_call_that_fails_gives_its_error_at_the_address_and_without_the_answer_only_that_it_ended(system):
    briefly = {"answer_deadline": SOON, "hold_time": timedelta(seconds=1)}
    case = await system.client.generate_callback_url("form", Response(), **briefly)
    path = (await system.http.post(case.url)).headers["location"]
    told = await system.http.get(path, headers=MINIMAL)  # it waits for the end
    assert (told.status_code, told.content) == (204, b"")
    answer = await system.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (504, "call_not_answered")
    assert "retry-after" not in answer.headers


async def test_a_caller_that_waits_does_not_take_the_place_of_a_call(tmp_path, store_of):
    server, edge = {"CALLBACK_MAX_IN_FLIGHT_CALLS": "1"}, {"CALLBACK_EDGE_MAX_REQUESTS_IN_FLIGHT": "1"}
    async with running_system(tmp_path, store_of(is_in_use=True), server=server, edge=edge) as system:
        case = await system.client.generate_callback_url("form", Response("welcome"), answer_deadline=SOON)
        path = (await system.http.post(case.url)).headers["location"]
        waiting = [asyncio.create_task(system.http.get(path)) for _ in range(2)]
        other = await system.client.generate_callback_url("record", Response("thanks"), allow_multiple_calls=True)
        for _ in range(5):
            assert (await system.http.get(other.url)).text == "thanks"
        await system.client.answer_call(await held_call(system, case))
        assert [(await each).text for each in waiting] == ["welcome"] * 2


@pytest.mark.parametrize(
    ("server", "edge"), [({"CALLBACK_MAX_IN_FLIGHT_WAITS": "1"}, {}), ({}, {"CALLBACK_EDGE_MAX_WAITS_IN_FLIGHT": "1"})]
)
async def test_the_number_of_callers_that_wait_is_limited(tmp_path, store_of, server, edge):
    async with running_system(tmp_path, store_of(is_in_use=True), server=server, edge=edge) as system:
        case = await system.client.generate_callback_url("form", Response("welcome"), answer_deadline=SOON)
        path = (await system.http.post(case.url)).headers["location"]
        asked = [asyncio.create_task(system.http.get(path, headers=BROWSER)) for _ in range(3)]
        for refused in itertools.islice(asyncio.as_completed(asked), 2):
            answer = await refused
            assert (answer.status_code, answer.headers["refresh"]) == (503, answer.headers["retry-after"])
        await system.client.answer_call(await held_call(system, case))
        assert sorted([(await each).status_code for each in asked]) == [200, 503, 503]
        assert (await system.http.get(path)).text == "welcome"


@pytest.mark.parametrize("stops", ["server", "edge"])
async def test_a_process_that_stops_tells_the_callers_of_held_calls_to_wait_and_another_one_answers(own_system, stops):
    case = await own_system.client.generate_callback_url("form", Response("welcome"))
    caller = asyncio.create_task(own_system.http.post(case.url))
    call = await held_call(own_system, case)
    await asyncio.to_thread(getattr(own_system, stops).stop)
    told = await caller
    assert told.status_code == 202
    await (own_system.start_server() if stops == "server" else asyncio.to_thread(own_system.edge.start))
    assert not (await own_system.client.get_call(call)).caller_gone
    waiting = asyncio.create_task(own_system.http.get(told.headers["location"]))
    await own_system.client.answer_call(call)
    assert (await waiting).text == "welcome"


async def test_a_browser_without_a_script_asks_again_while_no_server_is_there(own_system):
    case = await own_system.client.generate_callback_url("form", Response("welcome"), answer_deadline=SOON)
    path = (await own_system.http.get(case.url)).headers["location"]
    await asyncio.to_thread(own_system.server.stop)
    answer = await own_system.http.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["refresh"]) == (503, answer.headers["retry-after"])
    assert "refresh" not in (await own_system.http.get(case.url, headers=BROWSER)).headers


async def test_the_call_of_a_killed_server_waits_on_and_its_caller_comes_back_with_the_same_request(own_system):
    case = await own_system.client.generate_callback_url("form", Response("welcome"), answer_deadline=SOON)
    path = (await own_system.http.get(case.url)).headers["location"]
    own_system.server.kill()
    await own_system.start_server()

    async def is_back():
        told = await own_system.http.get(case.url)
        return told if told.status_code != 503 else None

    assert (await wait_until(is_back, what="the server")).headers["location"] == path
    await own_system.client.resolve_callback(case.case_id)
    assert (await own_system.http.get(path)).text == "welcome"
    calls = (await own_system.client.list_calls_page(case.case_id)).items
    assert [each.status for each in calls] == [CallStatus.SUCCEEDED]


async def test_the_answer_of_a_handler_that_takes_long_is_at_the_address_of_its_call(tmp_path, store_of):
    async with handler_service("work", deadline_s=60) as handler:
        handler.script = handler.wait_at_the_gate
        async with running_system(tmp_path, store_of(is_in_use=True), config=handler.config) as system:
            for mode in ({}, {"allow_multiple_calls": True}):  # with a window for repeats, and without one
                handler.gate.clear()
                case = await system.client.generate_callback_url("work", Response("done"), answer_deadline=SOON, **mode)
                told = await system.http.get(case.url)
                assert told.status_code == 202
                waiting = asyncio.create_task(system.http.get(told.headers["location"]))
                handler.gate.set()
                assert (await waiting).text == (await system.http.get(told.headers["location"])).text == "done"
                (call,) = (await system.client.list_calls_page(case.case_id)).items
                assert call.status is CallStatus.SUCCEEDED
