"""Tokens of workers that are replaced, removed, expired or revoked: what becomes of the calls at them."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from support.principals import by, principals_of, token_entry
from support.services import refusal, running_services
from support.wait import wait_until
from support.workers import connected, handlers_of, raw_worker

from callback import Response, Worker
from callback.v1 import callback_pb2 as pb
from callback_server.domain.activity import Activity
from callback_server.handlers.workers import assignment
from callback_server.handlers.workers.pool import MAX_STREAMS_LOST
from callback_server.rpc import worker_service

ACTIVITIES = {"act": Activity("act", 60_000)}


def principals(*tokens, activities=("act",), expires_in_s=None, revoked=()):
    """Return principals: `workers` with these tokens, and `owner`, who may call.

    The first token expires after `expires_in_s`, and some are revoked.
    """
    end = None if expires_in_s is None else datetime.now(UTC) + timedelta(seconds=expires_in_s)
    entries = [
        token_entry(each, revoked=each in revoked, expires=end if each == tokens[0] else None) for each in tokens
    ]
    return principals_of(
        workers={"roles": {"worker"}, "activities": activities, "tokens": entries}, owner={"roles": {"owner", "edge"}}
    )


class Rotated:
    """Services with principals that a test replaces.

    `here` are those that get the calls; the workers are at `at`, which are the same, or those of another replica.
    """

    def __init__(self, here, at, known, directory):
        self.here = here
        self.at = at
        self.known = known
        self._directory = directory

    def know(self, *tokens, **fields):
        """Replace the principals."""
        self.known["now"] = principals(*tokens, **fields)

    @property
    def workers(self):
        """The workers that are connected."""
        return self.at.control_plane.workers.workers

    def is_draining(self):
        """Return whether one of them gets no more calls."""
        return any(worker.draining for worker in self.workers)

    async def generate(self, **fields):
        """Generate a callback."""
        return await self.here.generate("act", metadata=by("owner"), **fields)

    async def call(self):
        """Call a new callback, and return the future of the answer."""
        return self.here.call(await self.generate(), metadata=by("owner"))

    def worker(self, name, token):
        """Return a worker with a token file."""
        return Held(self.at.address, self.token_file(name, token))

    def token_file(self, name, token):
        """Write the token file of a worker, and return its path."""
        (fresh := self._directory / "fresh").write_text(token)
        return fresh.replace(self._directory / name)

    def raw_worker(self, token):
        """Return a worker of one slot that a test scripts."""
        return raw_worker(self.at.worker_stub, "act", metadata=by(token))


class Held:
    """A worker whose handler records its calls, and waits until it may end."""

    def __init__(self, address, token_file):
        self.begun = []
        self.may_end = asyncio.Event()
        self._worker = Worker(handlers_of(act=self._handle), address, token_file=token_file)

    async def _handle(self, call):
        self.begun.append(call)
        await self.may_end.wait()
        return Response(code=201)

    def working(self):
        return connected(self._worker)

    async def has_begun(self):
        await wait_until(lambda: self.begun, what="a call that has begun")


@pytest.fixture(params=["local", "remote"])
async def rotated(request, store_of, tmp_path, limits):
    limits(worker_service, CHECK_S=0.05)
    known = {"now": principals("old", "other")}
    store, settings = store_of(), {"activities": ACTIVITIES, "principals": lambda: known["now"], "sweeps": True}
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(running_services(store, **settings))
        is_local = request.param == "local"
        at = here if is_local else await stack.enter_async_context(running_services(store, **settings))
        yield Rotated(here, at, known, tmp_path)


async def code(answer):
    return (await answer).response.response_code


async def reason_of(error):
    """Return the reason in the error of a stream."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return (await refusal(future)).reason


@pytest.mark.parametrize(
    "change",
    [
        lambda rotated: rotated.know("new", "other"),
        lambda rotated: rotated.know("old", "new", "other", expires_in_s=-1),
    ],
    ids=["removed", "expired"],
)
async def test_the_calls_of_a_worker_without_a_token_end_and_the_next_go_to_another_one(rotated, change, caplog):
    first, second = rotated.worker("first", "old"), rotated.worker("second", "other")
    async with first.working():
        running = await rotated.call()
        await first.has_begun()
        async with second.working():
            change(rotated)
            await wait_until(rotated.is_draining, what="the drain")
            second.may_end.set()
            assert [await code(await rotated.call()) for _ in range(3)] == [201] * 3
            assert (len(first.begun), len(second.begun)) == (1, 3)
            await wait_until(lambda: "UNAUTHENTICATED" in caplog.text, what="the reason in the log")
        rotated.token_file("first", "new")
        next_one = await rotated.call()
        await wait_until(lambda: len(first.begun) == 2, what="the call at the new stream")
        first.may_end.set()
        assert [await code(each) for each in (running, next_one)] == [201, 201]


async def test_a_worker_takes_a_new_token_from_its_file_and_finishes_what_it_has_on_the_old_stream(rotated):
    rotated.know("old", "new")
    first = rotated.worker("first", "old")
    async with first.working():
        running = await rotated.call()
        await first.has_begun()
        rotated.token_file("first", "new")
        await wait_until(lambda: [each.draining for each in rotated.workers] == [True, False], what="the new stream")
        rotated.know("new")
        next_one = await rotated.call()
        first.may_end.set()
        assert [await code(each) for each in (running, next_one)] == [201, 201]
        await wait_until(lambda: len(rotated.workers) == 1, what="the end of the old stream")
        assert await code(await rotated.call()) == 201


async def test_a_worker_keeps_its_stream_while_the_server_does_not_know_the_new_token(rotated, caplog):
    first = rotated.worker("first", "old")
    first.may_end.set()
    async with first.working():
        (stream,) = rotated.workers
        rotated.token_file("first", "new")
        await wait_until(lambda: "the token is not known" in caplog.text, what="a refusal")
        assert await code(await rotated.call()) == 201
        assert [*rotated.workers] == [stream]
        rotated.know("old", "new")
        await wait_until(lambda: rotated.workers and stream not in rotated.workers, what="the new stream")


async def test_a_call_at_a_worker_that_is_revoked_is_lost_at_once(rotated):
    async with rotated.raw_worker("old") as worker:
        running = await rotated.call()
        await worker.begin()
        rotated.know("old", revoked=["old"])
        await worker.over.wait()
        assert (await refusal(running)).reason == "HANDLER_LOST"
        assert (await reason_of(worker.error), worker.of("drain")) == ("UNAUTHENTICATED", [])


async def test_a_call_that_revoked_workers_did_not_start_goes_to_another_one(rotated, limits):
    limits(assignment, STEP_TIMEOUT_S=100)
    tokens = ["old", "other", "third"]
    rotated.know(*tokens)
    running = await rotated.call()
    for number, token in enumerate(tokens[:MAX_STREAMS_LOST], 1):
        async with rotated.raw_worker(token) as worker:
            await worker.next("offer")
            rotated.know(*tokens, revoked=tokens[:number])
            await worker.over.wait()
    async with rotated.raw_worker("third") as worker:
        await worker.handle()
        await running


async def test_a_delivery_of_a_worker_that_is_revoked_is_tried_again(rotated):
    made = await rotated.generate(answer_mode=pb.ANSWER_MODE_ACK)
    async with rotated.raw_worker("old") as worker:
        await rotated.here.call(made, metadata=by("owner"))
        await worker.begin()
        rotated.know("other", "old", revoked=["old"])
        await worker.over.wait()
    async with rotated.raw_worker("other") as worker:
        await worker.handle()

        async def is_delivered():
            (call,) = await rotated.here.list_calls(made, metadata=by("owner"))
            return call.delivery.status == pb.DELIVERY_STATUS_DELIVERED

        await wait_until(is_delivered, what="the delivery")


@pytest.mark.parametrize(
    ("tokens", "fields", "reason"),
    [
        (["other"], {}, "UNAUTHENTICATED"),
        (["old"], {"expires_in_s": -1}, "UNAUTHENTICATED"),
        (["old"], {"activities": ["another"]}, "ACTIVITY_NOT_ALLOWED"),
        (["old"], {"revoked": ["old"]}, "UNAUTHENTICATED"),
    ],
)
async def test_an_idle_worker_hears_why_it_may_work_no_longer(rotated, tokens, fields, reason):
    async with rotated.raw_worker("old") as worker:
        rotated.know(*tokens, **fields)
        await worker.over.wait()
        assert await reason_of(worker.error) == reason
        assert len(worker.of("drain")) == ("revoked" not in fields)


@pytest.mark.parametrize(("life_s", "reason"), [(60, None), (1.5, "UNAUTHENTICATED")])
async def test_a_worker_connects_again_before_its_token_expires_unless_that_is_soon(rotated, limits, life_s, reason):
    limits(worker_service, AGE_SHARES=(0.001, 0.001))
    rotated.know("old", expires_in_s=life_s)
    async with rotated.raw_worker("old") as worker:
        await worker.over.wait()
        assert (worker.error and await reason_of(worker.error)) == reason
        assert len(worker.of("drain")) == 1
