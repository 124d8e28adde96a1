"""Several messages in one, on a worker's stream: what both sides say at one time, if both take it so."""

import asyncio
import contextlib
import time

import grpc
import pytest
from support.calls import Called
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import ACCEPTED, raw_worker

from callback import Handlers, Response, Worker
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2 as worker_pb
from callback.v1.worker_service_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from callback_server.domain.activity import Activity

MOST_MESSAGES, MOST_BYTES = 64, 256 * 1024
ACTIVITIES = {"act": Activity("act", 30_000)}


@pytest.fixture
async def services(store_of):
    async with running_services(store_of(), activities=ACTIVITIES) as up:
        yield up


async def waiting(services, *bodies):
    """Calls with these bodies that wait for a worker: they are there at one time when it comes."""
    calls = []
    for body in bodies:
        calls.append(await Called.make(services, "act", body=body))
        await wait_until(lambda: len(services.control_plane.workers._waiting) == len(calls), what="a call that waits")
    return calls


def apart(message):
    """The messages that are in one, each alone."""
    first = type(message).FromString(message.SerializeToString())
    first.ClearField("more")
    return [first, *message.more]


def starts(calls):
    return [worker_pb.WorkRequest(start=worker_pb.Start(call_id=call.call_id)) for call in calls]


def results(calls, answer=ACCEPTED):
    return [worker_pb.WorkRequest(result=worker_pb.Result(call_id=call.call_id, response=answer)) for call in calls]


async def say(worker, requests):
    """Says all of these, in as few messages as may be."""
    for at in range(0, len(requests), MOST_MESSAGES):
        first, *more = requests[at : at + MOST_MESSAGES]
        kind = first.WhichOneof("message")
        await worker.say(**{kind: getattr(first, kind)}, more=more)


async def begun(worker, count):
    """So many calls that the worker may begin with."""
    await worker.next("call", count)
    await say(worker, starts(worker.of("call")))
    await worker.next("go", count)
    return worker.of("call")


async def test_a_worker_that_does_not_say_that_it_takes_more_gets_each_message_alone(services):
    calls = await waiting(services, *[b""] * 20)
    async with raw_worker(services.worker_stub, "act", max_calls=100) as worker:
        serving = asyncio.create_task(worker.serve())
        for each in calls:
            await each.answer
        assert not any(message.more for message in worker.read)
        assert len(worker.read) == 1 + 2 * len(calls)
    await serving


async def test_a_worker_that_takes_more_gets_what_there_is_at_one_time_in_one_message_in_its_order(services):
    calls = await waiting(services, *[b""] * 20)
    async with raw_worker(services.worker_stub, "act", max_calls=100, takes_more=True) as worker:
        offered = await begun(worker, len(calls))
        assert [call.callback_system_case for call in offered] == [call.case_id for call in calls]
        assert [go.call_id for go in worker.of("go")] == [call.call_id for call in offered]
        assert worker.heard[0].welcome.takes_more
        assert len(worker.read) <= 6  # 41 messages
        assert not any(each.more for message in worker.read for each in message.more)
        await say(worker, results(offered))
        assert [(await each.answer).call_id for each in calls] == [call.call_id for call in offered]


async def test_no_more_than_64_go_in_one_message(services):
    calls = await waiting(services, *[b""] * 100)
    async with raw_worker(services.worker_stub, "act", max_calls=100, takes_more=True) as worker:
        await say(worker, results(await begun(worker, len(calls))))
        for each in calls:
            await each.answer
        assert max(len(message.more) for message in worker.read) == MOST_MESSAGES - 1


async def test_no_more_than_256_kib_go_in_one_message_and_a_larger_one_goes_alone(services):
    sizes = [100_000, 100_000, 100_000, 300_000, 1, 1]
    calls = await waiting(services, *(bytes(size) for size in sizes))
    async with raw_worker(services.worker_stub, "act", max_calls=100, takes_more=True) as worker:
        offered = await begun(worker, len(calls))
        assert [len(call.request_body) for call in offered] == sizes
        several = [apart(message) for message in worker.read if message.more]
        assert several
        assert max(sum(each.ByteSize() for each in message) for message in several) <= MOST_BYTES
        assert 300_000 in [len(message.call.request_body) for message in worker.read if not message.more]
        await say(worker, results(offered))
        for each in calls:
            await each.answer


async def test_a_decision_that_is_wrong_harms_no_other_that_came_with_it(services):
    calls = await waiting(services, b"", b"", b"")
    async with raw_worker(services.worker_stub, "act", max_calls=3, takes_more=True) as worker:
        first, second, third = await begun(worker, 3)
        wrong = handler_pb.HandleCallbackResponse(verdict=77)
        await say(worker, [*results([first]), *results([second], wrong), *results([third])])
        assert (await calls[0].answer).call_id == first.call_id
        assert (await refusal(calls[1].answer)).reason == "RESPONSE_INVALID"
        assert (await calls[2].answer).call_id == third.call_id


@pytest.mark.parametrize(
    "wrong",
    [
        worker_pb.WorkRequest(),
        worker_pb.WorkRequest(hello=worker_pb.Hello(callback_activities=["act"], max_calls=1)),
        worker_pb.WorkRequest(start=worker_pb.Start(call_id="x" * 201)),
        worker_pb.WorkRequest(drain=worker_pb.Drain(), more=[worker_pb.WorkRequest(drain=worker_pb.Drain())]),
    ],
    ids=["nothing", "hello", "too-long", "more-in-more"],
)
async def test_each_message_is_held_to_the_contract_after_those_before_it(services, wrong):
    calls = await waiting(services, b"", b"")
    async with raw_worker(services.worker_stub, "act", max_calls=2) as worker:
        first, second = await begun(worker, 2)
        await say(worker, [*results([first]), wrong, *results([second])])
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await calls[0].answer).call_id == first.call_id
        assert (await refusal(calls[1].answer)).reason == "HANDLER_LOST"


async def test_of_more_than_64_in_one_message_none_counts(services):
    calls = await waiting(services, b"")
    async with raw_worker(services.worker_stub, "act") as worker:
        (offered,) = await begun(worker, 1)
        await worker.say(result=results([offered])[0].result, more=[worker_pb.WorkRequest()] * MOST_MESSAGES)
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "at most 63" in worker.error.details()
        assert (await refusal(calls[0].answer)).reason == "HANDLER_LOST"


@contextlib.asynccontextmanager
async def longest_turn():
    """A function: how much of the processor the longest turn of this loop has taken, in seconds."""
    longest, ended = 0.0, False

    async def watch():
        nonlocal longest
        while not ended:
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    watching = asyncio.create_task(watch())
    yield lambda: longest
    ended = True
    await watching


async def test_two_million_in_one_message_hold_nobody_up(services):
    """Their bytes are read, which takes 60 ms; to look at each takes a second and more."""
    request = worker_pb.WorkRequest.FromString(b"\x2a\x00" * 2_000_000)
    async with (
        raw_worker(services.worker_stub, "act") as worker,
        raw_worker(services.worker_stub, "act") as other,
        longest_turn() as longest,
    ):
        await worker.send(request)
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        called = await Called.make(services, "act")
        await say(other, results(await begun(other, 1)))
        await called.answer
        assert longest() < 0.5


async def test_hello_comes_alone(services):
    async with raw_worker(services.worker_stub) as worker:
        hello = worker_pb.Hello(callback_activities=["act"], max_calls=1)
        await worker.say(hello=hello, more=[worker_pb.WorkRequest(drain=worker_pb.Drain())])
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


class Server(WorkerServiceServicer):
    """A server that has these calls for a worker, and keeps in `read` what it says, as it comes."""

    def __init__(self, count, *, takes_more):
        self._takes_more = takes_more
        self.ids = [f"call-{number}" for number in range(count)]
        self.read = []

    async def Work(self, request_iterator, _context):
        left = len(self.ids)
        async for message in request_iterator:
            self.read.append(message)
            if message.HasField("hello"):
                welcome = worker_pb.Welcome(takes_more=self._takes_more)
                yield worker_pb.WorkResponse(welcome=welcome, more=[self._call(each) for each in self.ids])
            said = apart(message)
            if started := [each.start.call_id for each in said if each.HasField("start")]:
                first, *more = (worker_pb.WorkResponse(go=worker_pb.Go(call_id=each)) for each in started)
                first.more.extend(more)
                yield first
            left -= sum(each.HasField("result") for each in said)
            if not left:
                yield worker_pb.WorkResponse(drain=worker_pb.Drain())
                return

    def _call(self, call_id):
        return worker_pb.WorkResponse(
            call=handler_pb.HandleCallbackRequest(
                call_id=call_id, callback_activity="act", request_method="get",
                response=pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE),
            )
        )  # fmt: skip

    def of(self, kind):
        """The messages of one kind, in their order."""
        said = [each for message in self.read for each in apart(message)]
        return [getattr(each, kind) for each in said if each.HasField(kind)]


@contextlib.asynccontextmanager
async def python_worker(server, body=b""):
    """The Python client's worker at this server; its handlers give this body. It has answered all calls."""
    handlers = Handlers()

    @handlers.activity("act")
    async def answer(_call):
        return Response(body=body)

    grpc_server = grpc.aio.server()
    add_WorkerServiceServicer_to_server(server, grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    try:
        async with Worker(handlers, f"127.0.0.1:{port}", max_calls=1000).working():
            await wait_until(lambda: len(server.of("result")) >= len(server.ids), what="all results")
            yield
    finally:
        await grpc_server.stop(0)


async def test_a_python_worker_says_each_alone_to_a_server_that_does_not_take_more():
    server = Server(20, takes_more=False)
    async with python_worker(server):
        assert not any(message.more for message in server.read)
        assert [each.call_id for each in server.of("start")] == server.ids


async def test_a_python_worker_takes_more_and_says_what_there_is_at_one_time_in_one_message_in_its_order():
    server = Server(100, takes_more=True)
    async with python_worker(server):
        assert server.read[0].hello.takes_more
        assert not server.read[0].more
        assert len(server.read) < 20  # 201 messages
        assert [each.call_id for each in server.of("start")] == server.ids
        assert [each.call_id for each in server.of("result")] == server.ids
        assert all(each.WhichOneof("outcome") == "response" for each in server.of("result"))
        assert max(len(message.more) for message in server.read) == MOST_MESSAGES - 1


@pytest.mark.parametrize(("size", "together"), [(100_000, 2), (300_000, 1)])
async def test_a_python_worker_says_no_more_than_256_kib_in_one_message_and_a_larger_one_alone(size, together):
    server = Server(6, takes_more=True)
    async with python_worker(server, bytes(size)):
        with_results = [apart(message) for message in server.read if any(e.HasField("result") for e in apart(message))]
        assert max(len(said) for said in with_results) == together
