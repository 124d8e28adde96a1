"""Answers that cannot be rendered: the log of the handler names the call and says what is wrong."""

import contextlib

import pytest
from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import ACCEPTED, connected, handlers_of, raw_worker

from callback import Redirect, Reject, Response, Worker
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback_server.handlers.push import PushHandler
from callback_server.settings import ActivitySettings

ANSWERS = {
    "a code of a redirect": (Response(code=302), "response.response_code: "),
    "a body that is too large": (Response(bytes((1 << 20) + 1)), "response.response_body: "),
    "a redirect without a URL": (Redirect(), "response_redirect_url: a redirect needs a URL"),
    "a rejection with a header that is not its own": (
        Reject(Response(headers={"connection": "close"})),
        "response.response_headers.headers[0].name: ",
    ),
}


LARGE = "larger than a message"


async def act(call):
    answer = Response(bytes(17 << 20)) if call.activity_case == LARGE else ANSWERS[call.activity_case][0]
    if isinstance(answer, Reject):
        raise answer
    return answer


@contextlib.asynccontextmanager
async def worker(store, *, at_other_server=False):
    async with (
        running_services(store) as up,
        running_services(store) as other,
        connected(Worker(handlers_of(act=act), (other if at_other_server else up).address)),
    ):
        yield up


@contextlib.asynccontextmanager
async def handler_server(store):
    async with (
        handlers_of(act=act).listen("127.0.0.1:0") as listening,
        PushHandler("act", ActivitySettings(target=listening.address)) as handler,
        running_services(store, handlers={"act": handler}) as up,
    ):
        yield up


KINDS = {
    "a worker here": worker,
    "a worker of another server": lambda store: worker(store, at_other_server=True),
    "a handler server": handler_server,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_log_of_the_handler_says_what_is_wrong_with_its_answer(store_of, caplog, kind):
    async with KINDS[kind](store_of()) as up:
        for name, (_, problem) in ANSWERS.items():
            caplog.clear()
            called = await Called.make(up, "act", callback_activity_case=name)
            assert (await refusal(called.answer)).reason == "RESPONSE_INVALID"
            call = await called.recorded()
            await wait_until(lambda: "answer_refused" in caplog.text, what="the log of the handler")
            (told,) = [each for each in caplog.messages if "answer_refused" in each]
            assert "'act'" in told
            assert call.call_id in told
            assert problem in told
            assert told.endswith(call.failure_detail)
        called = await Called.make(up, "act", callback_activity_case=LARGE)
        assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        call = await called.recorded()
    assert kind == "a handler server" or "larger" in call.failure_detail
    (told,) = [each for each in caplog.messages if "answer_too_large" in each]
    assert call.call_id in told


async def test_only_the_worker_that_answered_is_told_and_it_continues(store_of):
    wrong = handler_pb.HandleCallbackResponse(
        verdict=handler_pb.VERDICT_ACCEPTED, response=pb.Response(response_code=302)
    )
    async with (
        running_services(store_of()) as up,
        raw_worker(up.worker_stub, "act") as one,
        raw_worker(up.worker_stub, "other") as other,
    ):
        for number, answer in enumerate([wrong, None, wrong], 1):
            called = await Called.make(up, "act")
            call = await one.handle(number, answer or ACCEPTED)
            await (refusal(called.answer) if answer else called.answer)
        refused = await one.next("answer_refused", 2)
        assert (refused.call_id, refused.callback_activity) == (call.call_id, "act")
        assert refused.problem.startswith("response.response_code: ")
        assert len(one.of("answer_refused")) == 2
        assert other.of("answer_refused") == []
