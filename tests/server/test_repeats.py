"""The same request again: it waits with the call that runs, or gets its answer, and no handler runs twice."""

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server.test_fallbacks import MULTIPLE, RETRYABLE, SINGLE, Scripted
from server.test_held import FALLBACK, generate
from soak.counts import count
from support.handlers import accept, override, reject
from support.leases import end_leases
from support.proxy import StoreProxy
from support.services import redirect, refusal, refusal_of, response, running_services
from support.verification import ById
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.calls.repeats import RepeatedCallEnded
from callback_server.domain.call import CallFailure
from callback_server.domain.case import CallMode, CaseStatus
from callback_server.domain.life import LIFE, OF_SUCCESS, CallEnd
from callback_server.settings import ActivitySettings
from callback_server.store import keys
from callback_server.store.recording import Recording
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.sweep_partition import sweep_partition

ANSWER = override(response_code=299, response_body=b"\xff answer", headers=[("x-answer", "1")])
FORM = [pb.Header(name="content-type", value="application/x-www-form-urlencoded")]
CONFIRMATION = b"callback_confirm=1"


@contextlib.asynccontextmanager
async def with_handler(store, handler, **settings):
    """Run services with this handler of the activity `act`, and with the profile `by_id`."""
    async with running_services(
        store, handlers={"act": handler}, activities={"act": ActivitySettings(deadline_s=60)},
        profiles={"by_id": ById()}, **settings,
    ) as services:  # fmt: skip
        yield services


@pytest.fixture
async def one(store_of):
    """Services with a handler that answers at once, unless a test closes its gate."""
    store, handler = store_of(), Scripted()
    handler.gate.set()
    async with with_handler(store, handler) as services:
        yield SimpleNamespace(services=services, handler=handler, store=store)


@pytest.fixture
async def two(store_of):
    """Two servers on one store, with one handler whose gate is closed."""
    store, handler = store_of(), Scripted()
    async with with_handler(store, handler) as first, with_handler(store, handler) as second:
        yield SimpleNamespace(servers=(first, second), handler=handler, store=store)


async def send(services, made, *, method="post", query="", body=b"", headers=(), message=""):
    headers = [*headers, *([pb.Header(name="x-id", value=message)] if message else [])]
    return await services.call(made, method=method, body=body, request_query_string=query, request_headers=headers)


def start(services, made, **request):
    return asyncio.ensure_future(send(services, made, **request))


def same(got):
    """Return what a caller sees of an answer."""
    return got.response.SerializeToString(), got.rejected_without_response


# ---- while the call runs


@pytest.mark.parametrize("clicks", [2, 3, 17])
async def test_a_request_that_comes_several_times_at_once_is_one_call_and_all_get_its_answer(two, clicks):
    two.handler.ends = [accept(ANSWER)]
    made = await two.servers[0].generate("act")
    callers = [start(two.servers[n % 2], made, query="a=1", body=b"same") for n in range(clicks)]
    call = await two.servers[1].repeats(made, clicks - 1)
    assert not any(caller.done() for caller in callers)
    two.handler.gate.set()
    got = await asyncio.gather(*callers)
    assert [same(each) for each in got] == [same(got[0])] * clicks
    assert (got[0].response.response_code, got[0].response.response_body) == (299, b"\xff answer")
    assert sorted((each.call_id, each.repeated_call_id) for each in got) == sorted(
        [(call.call_id, "")] + [("", call.call_id)] * (clicks - 1)
    )
    assert len(two.handler.got) == 1


async def test_at_most_16_wait_with_one_call_and_another_request_does_not_wait(two):
    two.handler.ends = [accept(ANSWER)]
    made = await two.servers[0].generate("act")
    callers = [start(two.servers[n % 2], made) for n in range(17)]
    await two.servers[1].repeats(made, 16)
    for services in two.servers:
        for request in ({}, {"body": b"another"}):
            said = await refusal(send(services, made, **request))
            assert (said.reason, said.retry_after_s) == ("CALL_IN_PROGRESS", 1)
    two.handler.gate.set()
    assert len({same(each) for each in await asyncio.gather(*callers)}) == 1
    await two.servers[0].repeats(made, 16)


async def test_a_place_to_wait_is_free_again_if_its_server_no_longer_asks(store_of):
    store, handler = store_of(), Scripted(accept(ANSWER))
    async with contextlib.AsyncExitStack() as until_it_is_cut_off, contextlib.AsyncExitStack() as servers:
        second = await servers.enter_async_context(with_handler(store, handler))
        proxy = await until_it_is_cut_off.enter_async_context(StoreProxy(store, lambda _command: False))
        first = await servers.enter_async_context(with_handler(proxy, handler))
        made = await second.generate("act")
        caller = start(second, made)
        await second.running(made)
        lost = [start(first, made) for _ in range(16)]
        await second.repeats(made, 16)
        assert (await refusal(send(second, made))).reason == "CALL_IN_PROGRESS"
        await until_it_is_cut_off.aclose()

        async def is_waiter():
            repeat = start(second, made)
            waits = asyncio.ensure_future(wait_until(lambda: second.repeats(made, 17)))
            await asyncio.wait([repeat, waits], return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
            return None if repeat.done() and await refusal(repeat) else repeat

        repeat = await wait_until(is_waiter, what="a repeat that waits")
        handler.gate.set()
        assert same(await repeat) == same(await caller)
        for each in lost:
            each.cancel()


async def test_a_lost_message_between_the_servers_delays_a_repeat_by_a_second(two):
    first, second = two.servers
    second.control_plane.replica_bus.receive(RepeatedCallEnded, lambda _message: None)
    two.handler.ends = [accept(ANSWER)]
    made = await first.generate("act")
    caller = start(first, made)
    await first.running(made)
    repeat = start(second, made)
    await first.repeats(made, 1)
    two.handler.gate.set()
    assert same(await repeat) == same(await caller)


@pytest.mark.parametrize("mode", [SINGLE, RETRYABLE, MULTIPLE | {"repeat_window": {"seconds": 60}}])
async def test_a_repeat_learns_that_the_server_of_its_call_has_died(store_of, mode):
    store, handler = store_of(), Scripted()
    async with with_handler(store, handler, sweeps=True) as other:
        async with with_handler(store, handler) as one:
            made = await other.generate("act", **mode)
            caller = start(one, made)
            await other.running(made)
            repeat = start(other, made)
            await other.repeats(made, 1)
        assert isinstance((await asyncio.gather(caller, return_exceptions=True))[0], BaseException)
        assert await end_leases(store) == 1
        said = await refusal(repeat)
        assert (said.reason, said.retry_after_s) == ("OUTCOME_UNKNOWN", 0)
        assert len(handler.got) == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [(CallFailure.HANDLER_ERROR, "HANDLER_FAILED"), (CallFailure.HANDLER_UNREACHABLE, "HANDLER_NOT_STARTED")],
)
async def test_a_repeat_that_waits_gets_the_error_of_its_call_and_makes_no_call_of_its_own(two, end, reason):
    two.handler.ends = [end]
    made = await two.servers[0].generate("act", **RETRYABLE)
    callers = [start(services, made) for services in two.servers]
    await two.servers[0].repeats(made, 1)
    two.handler.gate.set()
    assert [(await refusal(caller)).reason for caller in callers] == [reason] * 2
    assert len(two.handler.got) == 1


@pytest.mark.parametrize("closes", [False, True])
async def test_the_error_of_a_call_says_whether_its_callback_can_be_called_again(two, closes):
    services = two.servers[0]
    two.handler.ends = [CallFailure.HANDLER_ERROR]
    made = await services.generate("act", allow_multiple_calls=True)
    caller = start(services, made)
    await services.running(made)
    if closes:
        await services.callbacks.CloseCallback(rpc.CloseCallbackRequest(callback_case_id=made.callback_case_id))
    two.handler.gate.set()
    said = await refusal(caller)
    assert (said.reason, said.metadata.get("callback_open")) == ("HANDLER_FAILED", None if closes else "true")


async def test_a_repeat_of_a_held_call_waits_on_another_server_for_its_answer(two):
    first, second = two.servers
    made = await generate(first, callback_activity="form", response=response(response_code=201))
    caller = start(first, made)
    (call,) = await first.running(made)
    repeat = start(second, made)
    await first.repeats(made, 1)
    await second.answer(call.call_id, response=pb.Response(response_body=b"yes"))
    assert same(await repeat) == same(await caller)
    assert same(await send(second, made)) == same(await caller)


async def test_after_the_fallback_a_repeat_gets_the_fallback_and_after_the_end_the_answer(one):
    one.handler.gate.clear()
    one.handler.ends = [accept(ANSWER)]
    made = await one.services.generate("act", **FALLBACK)
    first = start(one.services, made)
    await one.services.running(made)
    waits = start(one.services, made)
    later = await first
    assert later.response.response_code == 202
    for _ in range(20):  # more than can wait
        assert same(await send(one.services, made)) == same(later)
    assert same(await waits) == same(later)
    one.handler.gate.set()

    async def ended():
        return (await one.services.case_of(made)).status == pb.CALLBACK_STATUS_CLOSED

    await wait_until(ended, what="the end of the call")
    assert (await send(one.services, made)).response.response_code == 299


# ---- after its end


async def test_a_repeat_gets_the_recorded_answer_whatever_is_recorded_of_it_and_whatever_came_after(store_of):
    handler = Scripted(accept(ANSWER), *[accept() for _ in range(5)])
    handler.gate.set()
    narrow = {"record_bodies": False, "record_headers": False, "recorded_calls_per_case": 1}
    async with with_handler(store_of(), handler, **narrow) as services:
        made = await services.generate("act", **MULTIPLE, repeat_window={"seconds": 60})
        first = await send(services, made)
        for number in range(5):
            await send(services, made, body=b"%d" % number)
        await services.set_response(made, response_code=250)
        await services.close(made)
        assert same(await send(services, made)) == same(first)
        assert len(handler.got) == 6


async def test_the_response_of_the_case_is_repeated_as_it_was(one):
    large = b"1" * 5000
    made = await generate(
        one.services, callback_activity="record", response=response(response_body=large), **MULTIPLE,
        repeat_window={"seconds": 60},
    )  # fmt: skip
    first = await send(one.services, made)
    await one.services.set_response(made, response_body=b"new")
    again = await send(one.services, made)
    assert (same(again), again.response.response_body) == (same(first), large)
    assert (await send(one.services, made, body=b"another")).response.response_body == b"new"


@pytest.mark.parametrize("how", ["erased", "too large"])
@pytest.mark.parametrize(
    "answered", [ANSWER, override(response_type=pb.RESPONSE_TYPE_REDIRECT, response_redirect_url="https://a.example/")]
)
async def test_once_its_answer_is_gone_a_repeat_gets_the_code_alone_and_makes_no_call(store_of, how, answered):
    handler = Scripted(accept(answered))
    handler.gate.set()
    limits = {"repeat_bytes_per_case": 20} if how == "too large" else {}
    async with with_handler(store_of(), handler, **limits) as services:
        made = await services.generate("act")
        await send(services, made)
        if how == "erased":
            await services.erase(made)
        if answered is ANSWER:
            got = (await send(services, made)).response
            assert (got.response_code, got.response_body, len(got.response_headers.headers)) == (299, b"", 0)
        else:
            assert (await refusal(send(services, made))).reason == "ANSWER_NOT_REPEATED"
        assert len(handler.got) == 1


async def test_the_answer_of_a_call_that_was_trimmed_is_erased_too(store_of):
    handler = Scripted(accept(ANSWER), accept())
    handler.gate.set()
    async with with_handler(store_of(), handler, recorded_calls_per_case=1) as services:
        made = await services.generate("act", **MULTIPLE, repeat_window={"seconds": 60})
        for body in (b"first", b"second"):
            await send(services, made, body=body)
        await services.erase(made)
        assert (await send(services, made, body=b"first")).response.response_body == b""
    assert len(handler.got) == 2


async def test_the_answers_of_a_case_take_limited_room_and_the_oldest_go_first(store_of):
    handler = Scripted(*[accept(override(response_body=b"%d" % number * 1000)) for number in range(4)])
    handler.gate.set()
    async with with_handler(store_of(), handler, repeat_bytes_per_case=2500) as services:
        made = await services.generate("act", **MULTIPLE, repeat_window={"seconds": 60})
        for number in range(4):
            await send(services, made, body=b"%d" % number)
        again = [(await send(services, made, body=b"%d" % number)).response.response_body for number in range(4)]
    assert again == [b"", b"", b"2" * 1000, b"3" * 1000]
    assert len(handler.got) == 4


@pytest.mark.parametrize("by", ["owner", "handler", "rejecting handler", "person"])
async def test_an_answer_that_must_not_be_given_twice_is_not(one, by):
    end = reject() if by == "rejecting handler" else accept(ANSWER)
    end.no_repeat = by != "owner"
    one.handler.ends = [end]
    held = {"answer_mode": pb.ANSWER_MODE_HOLD} if by == "person" else {}
    made = await one.services.generate("act", no_repeat=by == "owner", **held)
    caller = start(one.services, made)
    if held:
        await one.services.answer_running(made, no_repeat=True)
    await caller
    for _ in range(2):
        assert (await refusal(send(one.services, made))).reason == "ANSWER_NOT_REPEATED"
    assert len(one.handler.got) == (not held)


async def test_a_repeated_redirect_keeps_the_method_of_the_request_that_it_answers(one):
    one.handler.ends = [accept()]
    shop = redirect(response_redirect_url="https://shop.example/")
    made = await one.services.generate("act", verification_profile="by_id", response=shop)
    assert (await send(one.services, made, message="1", method="put")).request_method == ""
    again = await send(one.services, made, message="1", method="get")
    assert (again.request_method, again.response.response_redirect_url) == ("put", "https://shop.example/")


async def test_a_case_is_kept_until_its_windows_are_over(one):
    one.handler.ends = [accept(ANSWER)]
    made = await one.services.generate("act", repeat_window={"seconds": 3600})
    first = await send(one.services, made)
    partition = keys.partition_of(made.callback_case_id)
    scripts = one.services.control_plane.scripts
    await apply_retention(scripts, partition, retention_ms=-1000)
    assert same(await send(one.services, made)) == same(first)
    async with redis.asyncio.Redis(port=one.store.port) as client:
        score = await client.zscore(keys.key(partition, "closed"), made.callback_case_id)
        ended = await client.hget(keys.key(partition, "case", made.callback_case_id), "repeats_until")
        assert score == int(ended) + 1000
        await client.hset(keys.key(partition, "case", made.callback_case_id), "repeats_until", 1)
        await client.zadd(keys.key(partition, "closed"), {made.callback_case_id: 1})
    await apply_retention(scripts, partition, retention_ms=-1000)
    assert (await refusal(send(one.services, made))).reason == "STATE_UNKNOWN"


# ---- the table of the specification

METHODS, QUERIES = st.sampled_from(["get", "post", "put"]), st.sampled_from(["", "a=1"])
REQUESTS = st.fixed_dictionaries(
    {
        "method": METHODS, "query": QUERIES, "body": st.sampled_from([b"", b"a", CONFIRMATION]),
        "message": st.sampled_from(["", "", "1", "2"]), "is_agent": st.sampled_from([False, False, True]),
    }
)  # fmt: skip
MODES = {"SINGLE": SINGLE, "RETRYABLE": RETRYABLE, "MULTIPLE": MULTIPLE}
ENDS = {
    CallEnd.SUCCEEDED: accept(ANSWER), CallEnd.KEPT_OPEN: accept(ANSWER, keep_open=True),
    CallEnd.CLOSED: accept(ANSWER, close=True), CallEnd.REJECTED: reject(ANSWER),
    CallEnd.FAILED: CallFailure.HANDLER_ERROR, CallEnd.NOT_STARTED: CallFailure.HANDLER_UNREACHABLE,
    CallEnd.INTERRUPTED: None,
}  # fmt: skip


def is_same(first, second, window_s):
    if first["message"] or second["message"]:
        return first["message"] == second["message"]
    return window_s > 0 and all(first[part] == second[part] for part in ("method", "query", "body"))


def expected_of_the_second(case, first, second):
    """Return the answer to the second request, by the table of the specification."""
    effect = LIFE[CallMode(case["mode"])][case["end"]]
    is_closed = case["closes"] or (effect is not None and effect.status is CaseStatus.CLOSED)
    is_get = second["method"] == "get"
    if case["guard"] == "CONFIRM" and is_get:
        return "CALLBACK_CLOSED" if is_closed else "CONFIRMATION_REQUIRED"
    is_refused = case["guard"] == "DETECT" and is_get and second["is_agent"]
    if is_same(first, second, case["window_s"]) and case["end"] is not CallEnd.NOT_STARTED:
        if is_refused:
            return "AGENT_DETECTED"
        has_succeeded = case["end"] in OF_SUCCESS
        if is_closed and case["end"] is CallEnd.FAILED:
            return "HANDLER_FAILED"
        if is_closed and case["end"] is CallEnd.INTERRUPTED:
            return "OUTCOME_UNKNOWN"
        if is_closed or (has_succeeded and (second["message"] or case["mode"] == "MULTIPLE")):
            return "ANSWER_NOT_REPEATED" if case["no_repeat"] else "the answer again"
    if is_closed:
        return "CALLBACK_CLOSED"
    return "AGENT_DETECTED" if is_refused else "another call"


def sent(request):
    """Return the arguments with which to send a request."""
    agent = "facebookexternalhit/1.1" if request["is_agent"] else "Mozilla/5.0"
    headers = [*FORM, pb.Header(name="user-agent", value=agent)]
    return {name: request[name] for name in ("method", "query", "body", "message")} | {"headers": headers}


@given(
    case=st.fixed_dictionaries(
        {
            "mode": st.sampled_from([*MODES]), "guard": st.sampled_from(["OFF", "DETECT", "CONFIRM"]),
            "window_s": st.sampled_from([0, 60, 60]), "end": st.sampled_from([*ENDS]), "closes": st.booleans(),
            "no_repeat": st.sampled_from([False, False, True]),
        }
    ),
    first=REQUESTS, second=REQUESTS, is_twin=st.sampled_from([True, True, True, False]),
)  # fmt: skip
@settings(
    max_examples=count(100, 3000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixture has no state that an example changes
async def test_each_pair_of_requests_has_its_row_of_the_table(one, case, first, second, is_twin):
    second = first | {"is_agent": second["is_agent"]} if is_twin else second
    one.handler.got.clear()
    one.handler.gate.set()
    one.handler.ends = [ENDS[case["end"]]] if ENDS[case["end"]] else []
    if case["guard"] == "CONFIRM":  # a case with a profile has no such guard, and its first call is no plain GET
        first, second = ({**each, "message": ""} for each in (first, second))
        first = first | {"method": "post"} if first["method"] == "get" else first
        second = second | {"method": "post"} if is_twin else second
    first = first | {"is_agent": False}
    made = await one.services.generate(
        "act", **MODES[case["mode"]], get_guard=pb.GetGuard.Value(f"GET_GUARD_{case['guard']}"),
        verification_profile="" if case["guard"] == "CONFIRM" else "by_id", no_repeat=case["no_repeat"],
        repeat_window={"seconds": case["window_s"]},
    )  # fmt: skip
    caller = start(one.services, made, **sent(first))
    if case["end"] is CallEnd.INTERRUPTED:
        await wait_until(lambda: one.handler.got, what="the call")
        await end_leases(one.store)
        partition = keys.partition_of(made.callback_case_id)
        await sweep_partition(one.services.control_plane.scripts, partition, recording=Recording())
    else:
        await asyncio.wait([caller])
    if case["closes"]:
        await one.services.close(made)
    one.handler.ends = [accept(override(response_body=b"another"))]
    try:
        got = await send(one.services, made, **sent(second))
    except grpc.aio.AioRpcError as error:
        outcome = refusal_of(error).reason
    else:
        outcome = "another call" if got.response.response_body == b"another" else "the answer again"
        if outcome == "the answer again":
            assert same(got) == same(await caller)
    assert outcome == expected_of_the_second(case, first, second)
    assert len(one.handler.got) == 1 + (outcome == "another call")
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
