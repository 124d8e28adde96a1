"""Batches on a worker's stream: each side sends all messages that it has ready in one gRPC message."""

import asyncio
import contextlib
import time

import grpc
import pytest
from support.calls import Called
from support.services import refusal
from support.wait import wait_until
from support.workers import ACCEPTED, connected, handlers_of, raw_worker, worker_service

from callback import Response, Worker
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2 as worker_pb
from callback.v1.worker_service_pb2_grpc import WorkerServiceServicer
from callback_server.domain.activity import Activity

MAX_MESSAGES, MAX_BYTES = 64, 256 * 1024
ACTIVITIES = {"act": Activity("act", 30_000)}


async def waiting(services, *bodies):
    """Make calls with these bodies that wait for a worker: the worker is offered all of them at once."""
    calls = []
    for body in bodies:
        calls.append(await Called.make(services, "act", body=body))
        await wait_until(lambda: len(services.control_plane.workers.waiting) == len(calls), what="a call that waits")
    return calls


def accepts(calls):
    return [worker_pb.WorkerMessage(accept=worker_pb.Accept(call_id=call.call_id)) for call in calls]


def results(calls, answer=ACCEPTED):
    return [worker_pb.WorkerMessage(result=worker_pb.Result(call_id=call.call_id, response=answer)) for call in calls]


async def send(worker, messages):
    """Send all of these messages, in as few batches as possible."""
    for at in range(0, len(messages), MAX_MESSAGES):
        await worker.send(worker_pb.WorkRequest(messages=messages[at : at + MAX_MESSAGES]))


async def confirmed(worker, count):
    """Accept `count` offers, and return the calls when all are confirmed."""
    await worker.next("offer", count)
    await send(worker, accepts(worker.of("offer")))
    await worker.next("confirm", count)
    return worker.of("offer")


async def test_a_worker_gets_all_ready_messages_in_order_in_batches_of_at_most_64(services):
    calls = await waiting(services, *[b""] * 100)
    async with raw_worker(services.worker_stub, "act", max_calls=100) as worker:
        offered = await confirmed(worker, len(calls))
        assert [call.callback_system_case for call in offered] == [call.case_id for call in calls]
        assert [confirm.call_id for confirm in worker.of("confirm")] == [call.call_id for call in offered]
        assert worker.heard[0].HasField("welcome")
        assert len(worker.read) <= 10  # 201 messages
        assert max(len(response.messages) for response in worker.read) == MAX_MESSAGES
        await send(worker, results(offered))
        assert [(await each.answer).call_id for each in calls] == [call.call_id for call in offered]


async def test_a_batch_has_at_most_256_kib_and_a_larger_message_is_sent_alone(services):
    sizes = [100_000, 100_000, 100_000, 300_000, 1, 1]
    calls = await waiting(services, *(bytes(size) for size in sizes))
    async with raw_worker(services.worker_stub, "act", max_calls=100) as worker:
        offered = await confirmed(worker, len(calls))
        assert [len(call.request_body) for call in offered] == sizes
        several = [response for response in worker.read if len(response.messages) > 1]
        assert several
        assert max(response.ByteSize() for response in several) <= MAX_BYTES
        alone = [response.messages[0] for response in worker.read if len(response.messages) == 1]
        assert 300_000 in [len(message.offer.request_body) for message in alone]
        await send(worker, results(offered))
        for each in calls:
            await each.answer


async def test_a_wrong_decision_does_not_affect_the_others_in_its_batch(services):
    calls = await waiting(services, b"", b"", b"")
    async with raw_worker(services.worker_stub, "act", max_calls=3) as worker:
        first, second, third = await confirmed(worker, 3)
        wrong = handler_pb.HandleCallbackResponse(verdict=77)
        await send(worker, [*results([first]), *results([second], wrong), *results([third])])
        assert (await calls[0].answer).call_id == first.call_id
        assert (await refusal(calls[1].answer)).reason == "RESPONSE_INVALID"
        assert (await calls[2].answer).call_id == third.call_id


async def test_the_messages_before_an_invalid_one_take_effect(services):
    wrong = worker_pb.WorkerMessage(hello=worker_pb.Hello(callback_activities=["act"], max_calls=1))
    calls = await waiting(services, b"", b"")
    async with raw_worker(services.worker_stub, "act", max_calls=2) as worker:
        first, second = await confirmed(worker, 2)
        await send(worker, [*results([first]), wrong, *results([second])])
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await calls[0].answer).call_id == first.call_id
        assert (await refusal(calls[1].answer)).reason == "HANDLER_LOST"


@pytest.mark.parametrize("more", [-1, MAX_MESSAGES], ids=["empty", "65"])
async def test_a_batch_with_no_message_or_more_than_64_is_refused_as_a_whole(services, more):
    calls = await waiting(services, b"")
    async with raw_worker(services.worker_stub, "act") as worker:
        (offered,) = await confirmed(worker, 1)
        messages = [*results([offered]), *[worker_pb.WorkerMessage()] * MAX_MESSAGES][: more + 1]
        await worker.send(worker_pb.WorkRequest(messages=messages))
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "1 to 64" in worker.error.details()
        assert (await refusal(calls[0].answer)).reason == "HANDLER_LOST"


@contextlib.asynccontextmanager
async def longest_turn():
    """Yield a function that returns the processor time of the longest turn of this loop, in seconds."""
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


async def test_a_batch_of_two_million_messages_delays_no_other_worker(services):
    """To look at each message takes about twenty times as long as to parse them."""
    began = time.thread_time()
    request = worker_pb.WorkRequest.FromString(b"\x0a\x00" * 2_000_000)
    parsing_s = time.thread_time() - began
    async with (
        raw_worker(services.worker_stub, "act") as worker,
        raw_worker(services.worker_stub, "act") as other,
        longest_turn() as longest,
    ):
        await worker.send(request)
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT
        called = await Called.make(services, "act")
        await send(other, results(await confirmed(other, 1)))
        await called.answer
        assert longest() < 8 * parsing_s


async def test_hello_comes_alone(services):
    async with raw_worker(services.worker_stub) as worker:
        hello = worker_pb.WorkerMessage(hello=worker_pb.Hello(callback_activities=["act"], max_calls=1))
        await send(worker, [hello, worker_pb.WorkerMessage(drain=worker_pb.Drain())])
        await worker.over.wait()
        assert worker.error.code() is grpc.StatusCode.INVALID_ARGUMENT


class Server(WorkerServiceServicer):
    """A server that has `count` calls for a worker. `read` has the batches of the worker as they came."""

    def __init__(self, count):
        self.ids = [f"call-{number}" for number in range(count)]
        self.read = []

    async def Work(self, request_iterator, _context):
        left = len(self.ids)
        async for request in request_iterator:
            self.read.append(request)
            if request.messages[0].HasField("hello"):
                welcome = worker_pb.ServerMessage(welcome=worker_pb.Welcome())
                yield worker_pb.WorkResponse(messages=[welcome, *map(self._offer, self.ids)])
            if accepted := [each.accept.call_id for each in request.messages if each.HasField("accept")]:
                confirms = [worker_pb.ServerMessage(confirm=worker_pb.Confirm(call_id=each)) for each in accepted]
                yield worker_pb.WorkResponse(messages=confirms)
            left -= sum(each.HasField("result") for each in request.messages)
            if not left:
                yield worker_pb.WorkResponse(messages=[worker_pb.ServerMessage(drain=worker_pb.Drain())])
                return

    def _offer(self, call_id):
        return worker_pb.ServerMessage(
            offer=handler_pb.HandleCallbackRequest(
                call_id=call_id, callback_activity="act", request_method="get",
                response=pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE),
            )
        )  # fmt: skip

    def of(self, kind):
        """Return the messages of one kind, in order."""
        messages = [message for request in self.read for message in request.messages]
        return [getattr(message, kind) for message in messages if message.HasField(kind)]


@contextlib.asynccontextmanager
async def python_worker(server, body=b""):
    """Run the worker of the Python client at this server until it has answered all calls with this body."""

    async def answer(_call):
        return Response(body=body)

    async with (
        worker_service(server),
        connected(Worker(handlers_of(act=answer), server.address, max_calls=1000)),
    ):
        await wait_until(lambda: len(server.of("result")) >= len(server.ids), what="all results")
        yield


async def test_a_python_worker_sends_all_ready_messages_in_one_batch_in_order():
    server = Server(100)
    async with python_worker(server):
        assert [message.WhichOneof("message") for message in server.read[0].messages] == ["hello"]
        assert len(server.read) < 20  # 201 messages
        assert [each.call_id for each in server.of("accept")] == server.ids
        assert [each.call_id for each in server.of("result")] == server.ids
        assert all(each.WhichOneof("outcome") == "response" for each in server.of("result"))
        assert max(len(request.messages) for request in server.read) == MAX_MESSAGES


@pytest.mark.parametrize(("size", "together"), [(100_000, 2), (300_000, 1)])
async def test_a_python_worker_s_batch_has_at_most_256_kib_and_a_larger_message_is_sent_alone(size, together):
    server = Server(6)
    async with python_worker(server, bytes(size)):
        batches = [request.messages for request in server.read if any(e.HasField("result") for e in request.messages)]
        assert max(map(len, batches)) == together
