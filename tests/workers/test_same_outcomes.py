"""One table for every kind of worker: its decisions have the same outcome for callers, calls and cases.

`end_to_end/test_matrix.py` has the decisions of push handlers.
"""

import asyncio
import contextlib
from dataclasses import dataclass

import pytest
from support.calls import Called
from support.handlers import accept as accepted
from support.handlers import override
from support.handlers import reject as rejected
from support.services import refusal, running_services
from support.workers import raw_worker

from callback import Accept, Handlers, Reject, Worker
from callback._converters import response_from_proto
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback_server.domain.activity import Activity
from callback_server.domain.case import CallMode, CaseEffect, CaseStatus
from callback_server.domain.life import LIFE, OF_SUCCESS, CallEnd

ERROR, LOST, HANG, NOBODY = "an error", "lost after it began", "no answer", "nobody there"


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
REDIRECT = {"response_type": pb.RESPONSE_TYPE_REDIRECT}

SCENARIOS = {
    "accepts": Scenario(accepted(), SUCCEEDED, 200),
    "accepts with its own response": Scenario(
        accepted(override(response_code=202, response_body=b"x")), SUCCEEDED, 202
    ),
    "accepts with a redirect": Scenario(accepted(override(**REDIRECT, response_redirect_url="/page")), SUCCEEDED, None),
    "accepts with a code of failure": Scenario(accepted(override(response_code=500)), SUCCEEDED, 500),
    "accepts, and it was not yet the one": Scenario(accepted(keep_open=True), KEPT_OPEN, 200),
    "accepts, and closes its case": Scenario(accepted(close=True), CLOSED, 200),
    "rejects": Scenario(rejected(), REJECTED, 422),
    "rejects with its own response": Scenario(rejected(override(response_code=400)), REJECTED, 400),
    "fails": Scenario(ERROR, FAILED, "HANDLER_FAILED", "HANDLER_ERROR"),
    "is lost": Scenario(LOST, FAILED, "HANDLER_LOST", "HANDLER_LOST"),
    "does not answer": Scenario(HANG, FAILED, "HANDLER_DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    "is not there": Scenario(NOBODY, NOT_STARTED, "HANDLER_NOT_STARTED", "HANDLER_UNREACHABLE"),
    **{
        f"answers what is none: {name}": Scenario(answer, FAILED, "RESPONSE_INVALID", "INVALID_RESPONSE")
        for name, answer in {
            "no verdict": handler_pb.HandleCallbackResponse(),
            "an unknown verdict": handler_pb.HandleCallbackResponse(verdict=9),
            "a code of a redirect": accepted(override(response_code=302)),
            "a redirect without a URL": accepted(override(**REDIRECT)),
            "a URL of another site": accepted(override(response_redirect_url="//evil.example")),
            "a header that is none": accepted(override([("a b", "1")])),
            "a header that is not its own": accepted(override([("connection", "1")])),
            "a close that keeps its case open": accepted(keep_open=True, close=True),
            "a rejection that closes its case": handler_pb.HandleCallbackResponse(
                verdict=handler_pb.VERDICT_REJECTED, close=True
            ),
            "a rejection without a URL": rejected(override(**REDIRECT)),
        }.items()
    },
}
MODES = {
    "SINGLE": {},
    "RETRYABLE": {"retryable_after_error": True},
    "MULTIPLE": {"allow_multiple_calls": True},
}


LASTING = ("does not answer", "is not there")
"""The scenarios whose calls last until their deadline."""
NOT_OF_THE_CLIENT = {
    f"answers what is none: {name}"
    for name in (
        "no verdict", "an unknown verdict", "a close that keeps its case open", "a rejection that closes its case"
    )
}  # fmt: skip
"""Decisions that the Python package cannot express."""


def activity_of(name, mode):
    """Return the activity of the calls of a scenario in a mode."""
    return f"{[*SCENARIOS].index(name)}-{mode}"


def activities_of(name):
    return [activity_of(name, mode) for mode in MODES]


def deadline_s(name):
    """Return the deadline of the calls of a scenario, in seconds."""
    return 6 if name in LASTING else 60


ACTIVITIES = {
    activity: Activity(activity, deadline_s(name) * 1000) for name in SCENARIOS for activity in activities_of(name)
}


@contextlib.asynccontextmanager
async def worked(store, *, at_other_replica=False):
    """Run the services with a worker for each scenario, at another replica if it is `at_other_replica`."""

    async def work(worker, does):
        for call in [await worker.begin(number) for number in range(1, len(MODES) + 1)]:
            if does == ERROR:
                await worker.fail(call)
            elif does not in (LOST, HANG):
                await worker.result(call, does)
        if does == LOST:
            worker.lose()

    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(running_services(store, activities=ACTIVITIES))
        at = await stack.enter_async_context(running_services(store)) if at_other_replica else up
        working = []
        for name, scenario in SCENARIOS.items():
            if scenario.does != NOBODY:
                worker = raw_worker(at.worker_stub, *activities_of(name), max_calls=len(MODES))
                working.append(work(await stack.enter_async_context(worker), scenario.does))
        tasks = asyncio.gather(*working)
        yield up
        await tasks


@contextlib.asynccontextmanager
async def client(store):
    """Run the services with workers of the Python client, for the decisions that its handlers can express."""
    working = {}

    def handler_of(name):
        does, together = SCENARIOS[name].does, asyncio.Barrier(len(MODES))

        async def act(_call):
            if does == ERROR:
                raise RuntimeError("broke")
            if does == LOST:
                await together.wait()
                working[name].cancel()
            if does in (LOST, HANG):
                await asyncio.Event().wait()
            response = response_from_proto(does.response) if does.HasField("response") else None
            if does.verdict == handler_pb.VERDICT_REJECTED:
                raise Reject(response)
            return Accept(response, keep_open=does.keep_open, close=does.close)

        return act

    async with running_services(store, activities=ACTIVITIES) as up:
        for name in SCENARIOS.keys() - NOT_OF_THE_CLIENT:
            if SCENARIOS[name].does != NOBODY:
                handlers, handler = Handlers(), handler_of(name)
                for activity in activities_of(name):
                    handlers.activity(activity)(handler)
                working[name] = asyncio.create_task(Worker(handlers, up.address).serve())
        yield up
        for each in working.values():
            each.cancel()
        await asyncio.gather(*working.values(), return_exceptions=True)


KINDS = {
    "a worker here": worked,
    "the client's worker": client,
    "a worker at another replica": lambda store: worked(store, at_other_replica=True),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_decision_has_the_same_outcome_for_each_kind_of_worker(store_of, kind):
    names = SCENARIOS.keys() - (NOT_OF_THE_CLIENT if kind == "the client's worker" else ())
    async with KINDS[kind](store_of()) as up:

        async def check(name):
            await asyncio.gather(*(check_outcome(up, name, mode) for mode in MODES))

        async with asyncio.TaskGroup() as lasting:
            for name in LASTING:
                lasting.create_task(check(name))
            for name in names - {*LASTING}:
                await check(name)


async def check_outcome(up, name, mode):
    """Make a call of a scenario in a mode, and compare the answer, the recorded call and the case with the scenario."""
    scenario, what = SCENARIOS[name], (name, mode)
    called = await Called.make(up, activity_of(*what), **MODES[mode])
    if isinstance(scenario.gets, str):
        said = await refusal(called.answer)
        assert (what, said.reason) == (what, scenario.gets)
        assert bool(said.retry_after_s) == (scenario.ends == NOT_STARTED), what
    else:
        answer = (await called.answer).response
        assert (what, answer.response_code or None) == (what, scenario.gets)
    call, case = await called.recorded(), await called.case()
    ended = SUCCEEDED if scenario.ends in OF_SUCCESS else scenario.ends
    effect = LIFE[CallMode(mode)][scenario.ends] or CaseEffect(CaseStatus.OPEN)
    assert (what, pb.CallStatus.Name(call.status)) == (what, f"CALL_STATUS_{ended}")
    assert (what, pb.CallFailure.Name(call.failure)) == (what, f"CALL_FAILURE_{scenario.failure}")
    assert call.close is (scenario.ends == CLOSED), what
    assert bool(call.failure_detail) == (scenario.failure != "UNSPECIFIED"), what
    assert (what, pb.CallbackStatus.Name(case.status)) == (what, f"CALLBACK_STATUS_{effect.status}")
    close_reason = f"CLOSE_REASON_{effect.close_reason or 'UNSPECIFIED'}"
    assert (what, pb.CloseReason.Name(case.close_reason)) == (what, close_reason)
