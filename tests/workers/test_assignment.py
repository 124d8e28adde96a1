"""One seat, and the places of one worker, step by step: what each may take, and what is passed over."""

import asyncio

import pytest

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import worker_service_pb2 as pb
from callback_server.domain.call import CallFailure
from callback_server.handlers.handler import HandlerError
from callback_server.handlers.workers import assignment as seats
from callback_server.handlers.workers.assignment import Assignment, NotConfirmedError, converse
from callback_server.handlers.workers.worker import Worker

QUESTION = handler_pb.HandleCallbackRequest(call_id="call")
LONG_S, SHORT_S = 60, 0.05


class Recorded(Assignment):
    """A seat between two that the test plays: `said` is what was said to them."""

    def __init__(self):
        super().__init__("call")
        self.said = []
        self.ask = lambda: self.said.append("ask")

    def offer(self, question, timeout_s):
        self.said.append("offer")

    def begin(self):
        self.said.append("begin")

    def withdraw(self):
        self.said.append("withdraw")

    def refuse(self, refusal):
        self.said.append("refuse")


@pytest.fixture
def may_take(monkeypatch):
    """Sets how long the next step may take."""
    return lambda step_s: monkeypatch.setattr(seats, "START_S", step_s)


async def end_of(seat):
    """How a conversation ends, well before LONG_S."""
    async with asyncio.timeout(LONG_S / 4):
        return await converse(seat)


async def test_a_worker_that_does_not_say_start_has_not_begun(may_take):
    seat = Recorded()
    may_take(SHORT_S)
    seat.open(QUESTION, LONG_S)
    with pytest.raises(NotConfirmedError):
        await end_of(seat)
    assert seat.said == ["offer", "withdraw"]


async def test_a_worker_that_is_not_told_to_begin_has_not_begun(may_take):
    """The time for that begins with its Start."""
    seat = Recorded()
    may_take(LONG_S)
    seat.open(QUESTION, LONG_S * 2)
    may_take(SHORT_S)
    seat.start()
    with pytest.raises(NotConfirmedError):
        await end_of(seat)
    assert seat.said == ["offer", "ask", "withdraw"]


async def test_a_worker_that_was_told_to_begin_has_time_to_the_deadline(may_take):
    seat = Recorded()
    may_take(0)
    seat.open(QUESTION, LONG_S)
    seat.start()
    seat.go()
    ending = asyncio.create_task(end_of(seat))
    asyncio.get_running_loop().call_later(SHORT_S, seat.end, pb.Result(error="broke"))
    assert (await ending).error == "broke"
    assert seat.said == ["offer", "ask", "begin"]


@pytest.mark.parametrize("point", ["offered", "started", "begun"])
async def test_nothing_takes_longer_than_to_the_deadline(may_take, point):
    seat = Recorded()
    may_take(LONG_S)
    seat.open(QUESTION, SHORT_S)
    if point != "offered":
        seat.start()
    if point == "begun":
        seat.go()
    with pytest.raises(HandlerError if point == "begun" else NotConfirmedError) as ended:
        await end_of(seat)
    if point == "begun":
        assert ended.value.failure is CallFailure.DEADLINE_EXCEEDED
    assert seat.said[-1] == "withdraw"


async def test_go_before_start_is_passed_over_and_after_it_counts_once():
    seat = Recorded()
    seat.open(QUESTION, LONG_S)
    seat.go()
    assert (seat.begun, seat.said) == (False, ["offer"])
    seat.start()
    for _ in range(2):
        seat.go()
    assert (seat.begun, seat.said) == (True, ["offer", "ask", "begin"])


async def test_a_second_start_asks_nobody_again():
    seat = Recorded()
    seat.open(QUESTION, LONG_S)
    for _ in range(2):
        seat.start()
    assert seat.said == ["offer", "ask"]
    seat.go()
    seat.start()
    assert seat.said == ["offer", "ask", "begin"]


@pytest.mark.parametrize("end", ["given up", "ended"])
@pytest.mark.parametrize("point", ["offered", "started"])
async def test_after_its_end_nothing_that_is_said_counts(point, end):
    seat = Recorded()
    seat.open(QUESTION, LONG_S)
    if point == "started":
        seat.start()
    if end == "ended":
        seat.end(pb.Result(declined=True))
    seat.give_up()
    said = [*seat.said]
    seat.start()
    seat.go()
    seat.end(pb.Result(error="late"))
    seat.give_up()
    with pytest.raises(NotConfirmedError):
        await end_of(seat)
    assert seat.said == said


@pytest.fixture
def worker():
    """A worker with two places. `told` is how many it had, each time that a call was to look for one."""
    made = Worker(["act"], 2, takes_more=False, changed=lambda each: made.told.append(each.free))
    made.told = []
    return made


async def test_a_worker_that_answers_an_offer_that_was_taken_back_may_have_the_next_call_at_once(worker):
    seat = worker.seat("call")
    seat.open(QUESTION, LONG_S)
    seat.give_up()
    assert worker.free == 0
    worker.hear(pb.WorkRequest(start=pb.Start(call_id="call")))
    assert worker.told == [1]  # not two: the one taken back has a place until its result
    worker.hear(pb.WorkRequest(result=pb.Result(call_id="call", declined=True)))
    assert worker.told == [1, 2]


async def test_a_worker_that_is_lost_between_its_place_and_the_offer_is_told_nothing_and_has_not_begun(worker):
    seat = worker.seat("call")
    worker.lost()
    seat.open(QUESTION, LONG_S)
    with pytest.raises(NotConfirmedError):
        await end_of(seat)
    assert [message async for message in worker.messages()] == []
