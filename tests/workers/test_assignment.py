"""One assignment, and the slots of one worker, step by step: each step that takes effect, and each that is ignored."""

import asyncio

import pytest

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import worker_service_pb2 as pb
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError
from callback_server.handlers.workers import assignment as assignments
from callback_server.handlers.workers.assignment import Assignment, NotConfirmedError, wait_for_result
from callback_server.handlers.workers.worker import Worker

REQUEST = handler_pb.HandleCallbackRequest(call_id="call")
LONG_S, SHORT_S = 60, 0.05


class Recorded(Assignment):
    """An assignment between a coordinator and a worker that the test plays. `sent` has the messages sent to both."""

    def __init__(self):
        super().__init__("call")
        self.sent = []
        self.request_confirm = lambda: self.sent.append("request_confirm")

    def _send_offer(self, request, timeout_s):
        self.sent.append("offer")

    def _send_confirm(self):
        self.sent.append("confirm")

    def _send_withdraw(self):
        self.sent.append("withdraw")

    def give_back(self):
        self.sent.append("give_back")

    def refuse_answer(self, refusal):
        self.sent.append("refuse_answer")


@pytest.fixture
def set_step_timeout(limits):
    """Set how long the next step may take."""
    return lambda step_s: limits(assignments, STEP_TIMEOUT_S=step_s)


async def result_of(assignment):
    """Return the result, well before LONG_S."""
    async with asyncio.timeout(LONG_S / 4):
        return await wait_for_result(assignment)


async def test_a_confirmed_call_has_time_until_its_deadline(set_step_timeout):
    assignment = Recorded()
    set_step_timeout(0)
    assignment.offer(REQUEST, LONG_S)
    assignment.accept()
    assignment.confirm()
    ending = asyncio.create_task(result_of(assignment))
    asyncio.get_running_loop().call_later(SHORT_S, assignment.complete, pb.Result(error="broke"))
    assert (await ending).error == "broke"
    assert assignment.sent == ["offer", "request_confirm", "confirm"]


@pytest.mark.parametrize("state", ["offered", "accepted", "confirmed"])
async def test_no_step_takes_longer_than_until_the_deadline_of_the_call(set_step_timeout, state):
    assignment = Recorded()
    set_step_timeout(LONG_S)
    assignment.offer(REQUEST, SHORT_S)
    if state != "offered":
        assignment.accept()
    if state == "confirmed":
        assignment.confirm()
    with pytest.raises(HandlerError if state == "confirmed" else NotConfirmedError) as ended:
        await result_of(assignment)
    if state == "confirmed":
        assert ended.value.failure is CallFailure.DEADLINE_EXCEEDED
    assert assignment.sent[-1] == "withdraw"


async def test_a_confirm_before_the_accept_is_ignored_and_a_second_accept_or_confirm_too():
    assignment = Recorded()
    assignment.offer(REQUEST, LONG_S)
    assignment.confirm()
    assert (assignment.confirmed, assignment.sent) == (False, ["offer"])
    for step, sent in ((assignment.accept, "request_confirm"), (assignment.confirm, "confirm")):
        for _ in range(2):
            step()
        assert assignment.sent[-1] == sent
    assignment.accept()
    assert (assignment.confirmed, assignment.sent) == (True, ["offer", "request_confirm", "confirm"])


@pytest.mark.parametrize("end", ["withdrawn", "completed"])
@pytest.mark.parametrize("state", ["offered", "accepted"])
async def test_messages_after_the_end_have_no_effect(state, end):
    assignment = Recorded()
    assignment.offer(REQUEST, LONG_S)
    if state == "accepted":
        assignment.accept()
    if end == "completed":
        assignment.complete(pb.Result(declined=pb.Declined()))
    assignment.withdraw()
    sent = [*assignment.sent]
    assignment.accept()
    assignment.confirm()
    assignment.complete(pb.Result(error="late"))
    assignment.withdraw()
    with pytest.raises(NotConfirmedError):
        await result_of(assignment)
    assert assignment.sent == sent


@pytest.fixture
def worker():
    """A worker with two slots. `notified` is its number of free slots at each notification."""
    made = Worker(["act"], 2, on_slot_free=lambda: made.notified.append(made.free_slots))
    made.notified = []
    return made


async def test_a_worker_that_disconnects_before_the_offer_is_sent_nothing_and_the_call_is_not_confirmed(worker):
    assignment = worker.assign("call")
    worker.disconnect(by_server=False)
    assignment.offer(REQUEST, LONG_S)
    with pytest.raises(NotConfirmedError):
        await result_of(assignment)
    assert [response async for response in worker.responses()] == []


async def test_a_worker_that_may_work_no_longer_is_sent_no_offer_that_it_has_not_read():
    refusals = [None]
    worker = Worker(["act"], 2, on_slot_free=lambda: None, find_refusal=lambda: refusals[-1])
    unread, not_yet_offered = worker.assign("unread"), worker.assign("not yet offered")
    unread.offer(REQUEST, LONG_S)
    refusals.append(PermissionError())
    assert not worker.may_work()
    not_yet_offered.offer(REQUEST, LONG_S)
    for assignment in (unread, not_yet_offered):
        with pytest.raises(NotConfirmedError):
            await result_of(assignment)
    sent = [message.WhichOneof("message") async for batch in worker.responses() for message in batch.messages]
    assert sorted(sent) == ["drain", "withdraw", "withdraw"]
