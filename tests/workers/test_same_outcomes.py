"""One table for every kind of handler: its decisions have the same outcome for callers, calls and cases."""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass

import grpc
import pytest
from soak.counts import combinations
from support.calls import Called
from support.handlers import stub_handler
from support.services import refusal, running_services
from support.store import free_port
from support.workers import raw_worker

from callback import Accept, Handlers, Reject, Worker
from callback._converters import response_from_proto
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback_server.domain.activity import Activity
from callback_server.domain.case import CallMode, CaseEffect, CaseStatus
from callback_server.domain.life import LIFE, OF_SUCCESS, CallEnd
from callback_server.handlers.push import PushHandler
from callback_server.settings import ActivitySettings

ERROR, LOST, HANG, NOBODY = "an error", "lost after it began", "no answer", "nobody there"


def accepted(override=None, **more):
    return handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_ACCEPTED, response=override, **more)


def rejected(override=None):
    return handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_REJECTED, response=override)


def headers(name, value="1"):
    return pb.ResponseHeaders(headers=[pb.ResponseHeader(name=name, value=value)])


@dataclass
class Scenario:
    """What a handler does, and the outcome."""

    does: object
    ends: str
    """The end of the call, in the words of the life table."""
    gets: object
    """The HTTP code for the caller, or the reason of the error."""
    failure: str = "UNSPECIFIED"


FAILED, KEPT_OPEN, NOT_STARTED = CallEnd.FAILED, CallEnd.KEPT_OPEN, CallEnd.NOT_STARTED
REJECTED, SUCCEEDED, CLOSED = CallEnd.REJECTED, CallEnd.SUCCEEDED, CallEnd.CLOSED

SCENARIOS = {
    "accepts": Scenario(accepted(), SUCCEEDED, 200),
    "accepts with its own response": Scenario(
        accepted(pb.Response(response_code=202, response_body=b"x")), SUCCEEDED, 202
    ),
    "accepts with a redirect": Scenario(
        accepted(pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT, response_redirect_url="/page")), SUCCEEDED, None
    ),
    "accepts with a code of failure": Scenario(accepted(pb.Response(response_code=500)), SUCCEEDED, 500),
    "accepts, and it was not yet the one": Scenario(accepted(keep_open=True), KEPT_OPEN, 200),
    "accepts, and closes its case": Scenario(accepted(close=True), CLOSED, 200),
    "rejects": Scenario(rejected(), REJECTED, 422),
    "rejects with its own response": Scenario(rejected(pb.Response(response_code=400)), REJECTED, 400),
    "fails": Scenario(ERROR, FAILED, "HANDLER_FAILED", "HANDLER_ERROR"),
    "is lost": Scenario(LOST, FAILED, "HANDLER_LOST", "HANDLER_LOST"),
    "does not answer": Scenario(HANG, FAILED, "HANDLER_DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    "is not there": Scenario(NOBODY, NOT_STARTED, "HANDLER_NOT_STARTED", "HANDLER_UNREACHABLE"),
    **{
        f"answers what is none: {name}": Scenario(answer, FAILED, "RESPONSE_INVALID", "INVALID_RESPONSE")
        for name, answer in {
            "no verdict": handler_pb.HandleCallbackResponse(),
            "an unknown verdict": handler_pb.HandleCallbackResponse(verdict=9),
            "a code of a redirect": accepted(pb.Response(response_code=302)),
            "a redirect without a URL": accepted(pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT)),
            "a URL of another site": accepted(pb.Response(response_redirect_url="//evil.example")),
            "a header that is none": accepted(pb.Response(response_headers=headers("a b"))),
            "a header that is not its own": accepted(pb.Response(response_headers=headers("connection"))),
            "a close that keeps its case open": accepted(keep_open=True, close=True),
            "a rejection that closes its case": handler_pb.HandleCallbackResponse(
                verdict=handler_pb.VERDICT_REJECTED, close=True
            ),
            "a rejection without a URL": rejected(pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT)),
        }.items()
    },
}
MODES = {
    "SINGLE": {},
    "RETRYABLE": {"retryable_after_error": True},
    "MULTIPLE": {"allow_multiple_calls": True},
}


@contextlib.asynccontextmanager
async def pushed(store, does):
    """Run the services with a push handler."""

    async def script(_request, context):
        if does == ERROR:
            await context.abort(grpc.StatusCode.INTERNAL, "broke")
        if does == LOST:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")  # as if the connection broke
        if does == HANG:
            await asyncio.Event().wait()
        return does

    async with stub_handler() as served:
        activity_case = served.play(script)
        target = f"127.0.0.1:{free_port()}" if does == NOBODY else served.target
        settings = ActivitySettings(
            target=target, deadline_s=deadline_s(does), connect_timeout_s=0.3 if does == NOBODY else 60
        )
        async with contextlib.AsyncExitStack() as stack:
            handlers = {mode: await stack.enter_async_context(PushHandler(mode, settings)) for mode in MODES}
            services = running_services(store, handlers=handlers, activities=activities(does))
            yield await stack.enter_async_context(services), activity_case


@contextlib.asynccontextmanager
async def worked(store, does, *, at_other_replica=False):
    """Run the services with a worker, at another replica if it is `at_other_replica`."""
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(running_services(store, activities=activities(does)))
        at = await stack.enter_async_context(running_services(store)) if at_other_replica else up
        if does == NOBODY:
            yield up, ""
            return
        workers = [await stack.enter_async_context(raw_worker(at.worker_stub, mode)) for mode in MODES]

        async def work(worker):
            call = await worker.next("offer")
            await worker.accept(call)
            await worker.next("confirm")
            if does == ERROR:
                await worker.fail(call)
            elif does == LOST:
                worker.lose()
            elif does != HANG:
                await worker.result(call, does)

        working = [asyncio.create_task(work(worker)) for worker in workers]
        yield up, ""
        await asyncio.gather(*working)


@contextlib.asynccontextmanager
async def client(store, does):
    """Run the services with the Python client's worker, for the decisions that its handlers can express."""

    working = {}

    async def act(call):
        if does == ERROR:
            raise RuntimeError("broke")
        if does == LOST:
            working[call.activity].cancel()
        if does in (LOST, HANG):
            await asyncio.Event().wait()
        response = response_from_proto(does.response) if does.HasField("response") else None
        if does.verdict == handler_pb.VERDICT_REJECTED:
            raise Reject(response)
        return Accept(response, keep_open=does.keep_open, close=does.close)

    async with running_services(store, activities=activities(does)) as up:
        for mode in MODES if does != NOBODY else ():
            handlers = Handlers()
            handlers.activity(mode)(act)
            working[mode] = asyncio.create_task(Worker(handlers, up.address).serve())
        yield up, ""
        for each in working.values():
            each.cancel()
        await asyncio.gather(*working.values(), return_exceptions=True)


def activities(does):
    """Return an activity for each mode: the calls of all modes run at the same time, each with a handler of its own."""
    return {mode: Activity(mode, deadline_s(does) * 1000) for mode in MODES}


def deadline_s(does):
    """Return the deadline of calls, in seconds: a short one where they last until then."""
    return 6 if does in (HANG, NOBODY) else 60


KINDS = {
    "push": pushed,
    "a worker here": worked,
    "the client's worker": client,
    "a worker at another replica": lambda store, does: worked(store, does, at_other_replica=True),
}
NOT_OF_THE_CLIENT = {
    f"answers what is none: {name}"
    for name in (
        "no verdict", "an unknown verdict", "a close that keeps its case open", "a rejection that closes its case"
    )
}  # fmt: skip
"""Decisions that the Python package cannot express."""
NONSENSE, OTHERS = (
    [name for name in SCENARIOS if name.startswith("answers what is none") is is_nonsense]
    for is_nonsense in (True, False)
)
"""Answers that are refused from each kind of handler, and all others. Only a soak tries all of the first with each."""
CASES = [
    (name, kind)
    for name, kind in [*itertools.product(OTHERS, KINDS), *combinations(NONSENSE, KINDS)]
    if kind != "the client's worker" or name not in NOT_OF_THE_CLIENT
]
assert {name for name, _ in CASES} == SCENARIOS.keys()


@pytest.mark.parametrize(("name", "kind"), CASES)
async def test_a_decision_has_the_same_outcome_for_each_kind_of_handler(store_of, name, kind):
    scenario = SCENARIOS[name]
    async with KINDS[kind](store_of(), scenario.does) as (up, activity_case):
        await asyncio.gather(*(check_outcome(up, scenario, mode, activity_case) for mode in MODES))


async def check_outcome(up, scenario, mode, activity_case):
    """Call a case of a mode, and compare the answer, the recorded call and the case with the scenario."""
    called = await Called.make(up, mode, callback_activity_case=activity_case, **MODES[mode])
    if isinstance(scenario.gets, str):
        said = await refusal(called.answer)
        assert (mode, said.reason) == (mode, scenario.gets)
        assert bool(said.retry_after_s) == (scenario.ends == NOT_STARTED)
    else:
        answer = (await called.answer).response
        assert (mode, answer.response_code or None) == (mode, scenario.gets)
    call, case = await called.recorded(), await called.case()
    ended = SUCCEEDED if scenario.ends in OF_SUCCESS else scenario.ends
    effect = LIFE[CallMode(mode)][scenario.ends] or CaseEffect(CaseStatus.OPEN)
    assert (mode, pb.CallStatus.Name(call.status)) == (mode, f"CALL_STATUS_{ended}")
    assert pb.CallFailure.Name(call.failure) == f"CALL_FAILURE_{scenario.failure}"
    assert call.close is (scenario.ends == CLOSED)
    assert bool(call.failure_detail) == (scenario.failure != "UNSPECIFIED")
    assert (mode, pb.CallbackStatus.Name(case.status)) == (mode, f"CALLBACK_STATUS_{effect.status}")
    close_reason = f"CLOSE_REASON_{effect.close_reason or 'UNSPECIFIED'}"
    assert (mode, pb.CloseReason.Name(case.close_reason)) == (mode, close_reason)
