"""The life of a case as callers see it: during a call, when a case changes during a call, and what reaches a case."""

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import pytest
import redis.asyncio
from support.edge import http_request, send_raw
from support.handlers import accept
from support.timers import make_expiry_due
from support.wait import DEADLINE_S, wait_until

from callback import (
    CallbackStatus,
    CallStatus,
    CloseReason,
    Response,
)

PLATFORM = "https://platform.example"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
FAMILIES = ["", "state"]

NO_CALLS = {
    "HEAD": ("HEAD", []),
    "OPTIONS": ("OPTIONS", []),
    "handshake": ("OPTIONS", [("WebHook-Request-Origin", "other.example")]),
    "preflight": ("OPTIONS", [("Origin", "https://other.example"), ("Access-Control-Request-Method", "PUT")]),
}
"""Requests that are answered without a call, whatever the state: the method and the headers."""


class HeldHandler:
    """Handler script that waits until the test opens it."""

    def __init__(self):
        self.opened = asyncio.Event()
        self.entered = asyncio.Semaphore(0)

    async def __call__(self, _request, _context):
        self.entered.release()
        await self.opened.wait()
        return accept()

    async def until_entered(self):
        await asyncio.wait_for(self.entered.acquire(), DEADLINE_S)


@pytest.fixture
async def gate():
    it = HeldHandler()
    yield it
    it.opened.set()


async def start(world, case, gate, **request):
    """Start a call, wait until the handler has it, and return its task."""
    call = asyncio.create_task(world.ask(case.url, **request))
    await gate.until_entered()
    return call


async def status_of(world, case):
    kept = await world.client.get_callback(case.case_id)
    return kept.status, kept.close_reason


@pytest.mark.parametrize("retryable", [False, True])
@pytest.mark.parametrize("parameter", FAMILIES)
async def test_while_a_call_runs_other_callers_get_a_retry_after(world, gate, parameter, retryable):
    name = world.handler.play(gate)
    case = await world.client.generate_callback_url(
        "push", Response(b"done"), activity_case=name, state_query_parameter=parameter,
        retryable_after_error=retryable, repeat_window=timedelta(0),
    )  # fmt: skip
    call = await start(world, case, gate)
    assert await status_of(world, case) == (CallbackStatus.IN_PROGRESS, None)
    for answer in await asyncio.gather(*(world.ask(case.url, method) for method in METHODS)):
        assert (answer.status, answer["retry-after"]) == (409, "1")
    gate.opened.set()
    assert ((await call).status, (await call).body) == (200, b"done")
    assert await status_of(world, case) == (CallbackStatus.CLOSED, CloseReason.CONSUMED)
    assert len(world.handler.requests(name)) == 1
    assert (await world.client.get_callback(case.case_id)).call_count == 1


async def test_calls_on_a_case_for_multiple_calls_run_at_the_same_time(world, gate):
    case = await world.client.generate_callback_url(
        "push", Response(b"done"), activity_case=world.handler.play(gate), allow_multiple_calls=True
    )
    calls = [await start(world, case, gate) for _ in range(5)]
    assert await status_of(world, case) == (CallbackStatus.OPEN, None)
    gate.opened.set()
    assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 5
    attempts = [call.attempt async for call in world.client.list_calls(case.case_id)]
    assert attempts == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize(("parameter", "then"), [("", 410), ("state", 404)])
async def test_a_call_that_runs_while_its_case_is_closed_is_answered(world, gate, multiple, parameter, then):
    case = await world.client.generate_callback_url(
        "push", Response(b"done"), activity_case=world.handler.play(gate), allow_multiple_calls=multiple,
        state_query_parameter=parameter, repeat_window=timedelta(0),
    )  # fmt: skip
    call = await start(world, case, gate)
    closed = await world.client.close_callback(case.case_id)
    assert (closed.status, closed.close_reason) == (CallbackStatus.CLOSED, CloseReason.CLOSED_BY_OWNER)
    assert (await world.ask(case.url)).status == then
    gate.opened.set()
    assert ((await call).status, (await call).body) == (200, b"done")
    assert (await world.last_call(case)).status is CallStatus.SUCCEEDED
    assert (await world.ask(case.url)).status == then
    assert await world.client.close_callback(case.case_id) == closed
    assert (await world.client.get_callback(case.case_id)).close_reason is CloseReason.CLOSED_BY_OWNER


@pytest.mark.parametrize(("parameter", "then"), [("", 410), ("state", 404)])
async def test_a_case_expires_and_what_runs_is_answered(world, gate, parameter, then):
    case = await world.client.generate_callback_url(
        "push", Response(b"done"), activity_case=world.handler.play(gate), state_query_parameter=parameter,
        time_to_live=timedelta(hours=1), repeat_window=timedelta(0),
    )  # fmt: skip
    call = await start(world, case, gate)
    async with redis.asyncio.Redis(port=world.system.store.port) as store:
        await make_expiry_due(store, case.case_id)

    async def expired():
        return await status_of(world, case) == (CallbackStatus.CLOSED, CloseReason.EXPIRED)

    await wait_until(expired, what="the expiry")
    assert (await world.ask(case.url)).status == then
    gate.opened.set()
    assert ((await call).status, (await call).body) == (200, b"done")
    assert await expired()
    assert (await world.ask(case.url)).status == then


async def test_a_case_is_reached_by_its_own_form_and_parameter_only(world):
    plain = await world.client.generate_callback_url("record", Response(b"plain"))
    query = await world.client.generate_callback_url("record", Response(b"query"), state_query_parameter="state")
    unknown = await world.ask(f"/cb/{uuid4()}")
    for path, method, headers, body in [
        (f"/cbq/state?state={plain.state}", "GET", [], b""),
        ("/cbq/state", "POST", FORM, b"state=" + plain.state.encode()),
        (f"/cb/{query.state}", "GET", [], b""),
        (f"/cbq/State?State={query.state}", "GET", [], b""),
        (f"/cbq/RelayState?RelayState={query.state}", "GET", [], b""),
        (f"/cb/{{{plain.state}}}", "GET", [], b""),
        (f"/cb/{plain.case_id}", "GET", [], b""),
        (f"/cb/{plain.state}0", "GET", [], b""),
        (f"/cbq/state?state={query.state.upper()}", "GET", [], b""),
    ]:
        answer = await world.ask(path, method, headers, body)
        assert (answer.status, answer.body) == (404, unknown.body), path
    for case, path in [(plain, f"/cb/{plain.state}/"), (query, f"/cbq/state/?state={query.state}")]:
        assert (await world.client.get_callback(case.case_id)).call_count == 0
        assert (await world.ask(path)).status == 200


@pytest.mark.parametrize("accepts", ["*/*", "text/html"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_on_a_shared_url_a_closed_case_looks_like_an_unknown_one(world, accepts, method):
    answers = []
    for state in [await closed_by(world, how) for how in ("call", "owner")] + [str(uuid4()), "nonsense"]:
        path, headers, body = f"/cbq/state?state={state}", [("Accept", accepts)], b""
        if method == "POST":
            path, headers, body = "/cbq/state", [*headers, *FORM], f"state={state}".encode()
        raw = await send_raw(world.port, http_request(path, method, headers, body))
        answers.append(re.sub(rb"\r\ndate: [^\r]+", b"", raw))
    assert answers[0].startswith(b"HTTP/1.1 404 ")
    assert set(answers) == {answers[0]}


async def closed_by(world, how):
    case = await world.client.generate_callback_url(
        "record", Response(), state_query_parameter="state", repeat_window=timedelta(0)
    )
    if how == "call":
        assert (await world.ask(case.url)).status == 200
    else:
        await world.client.close_callback(case.case_id)
    assert (await status_of(world, case))[0] is CallbackStatus.CLOSED
    return case.state


@pytest.mark.parametrize("parameter", FAMILIES)
async def test_no_request_without_a_call_tells_which_states_exist(world, gate, parameter):
    name = world.handler.play(gate)
    shop = {"allowed_origins": ["https://shop.example"]}
    made = {
        what: await world.client.generate_callback_url(
            "push", Response(), activity_case=name, state_query_parameter=parameter, **options
        )
        for what, options in {
            "open": {},
            "of a site": shop,
            "running": {},
            "closed": {},
            "closed of a site": shop,
        }.items()
    }
    for what in ("closed", "closed of a site"):
        await world.client.close_callback(made[what].case_id)
    running = await start(world, made["running"], gate)
    urls = {what: each.url for what, each in made.items()}
    urls["unknown"] = made["open"].url.replace(made["open"].state, str(uuid4()))

    async def seen(url, method, headers):
        answer = await world.ask(url, method, headers)
        # A reference is another one in each answer.
        body = re.sub(rb'"reference": "[^"]*"', b"", answer.body)
        return answer.status, body, tuple(each for each in answer.headers if each[0] != "date")

    for kind, (method, headers) in NO_CALLS.items():
        answers = {what: await seen(url, method, headers) for what, url in urls.items()}
        assert set(answers.values()) == {answers["unknown"]}, kind
    if parameter:  # on its own address a closed callback is a 410
        found = [await seen(urls[what], "GET", []) for what in ("closed", "closed of a site", "unknown")]
        assert found == [found[-1]] * 3
        assert found[0][0] == 404
    gate.opened.set()
    await running
