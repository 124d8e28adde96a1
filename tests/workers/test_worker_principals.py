"""Access of workers: a principal with the role worker, for the activities that its entry names."""

import asyncio
import contextlib

import grpc
import pytest
from support.principals import by, principals_of
from support.services import refusal_of, running_services
from support.wait import wait_until
from support.workers import raw_worker

from callback.v1 import worker_service_pb2 as pb

KNOWN = principals_of(
    some={"roles": {"worker"}, "activities": {"a", "b"}},
    every={"roles": {"worker"}, "activities": {"*"}},
    owner={"roles": {"owner"}},
    edge={"roles": {"edge"}},
    admin={"roles": {"admin"}},
)


async def ended(services, metadata, *activities):
    """Return the error of a worker for these activities; None if it is welcome."""
    hello = pb.Hello(callback_activities=activities, max_calls=1)
    while True:
        async with raw_worker(services.worker_stub, metadata=metadata) as worker:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await worker.say(hello=hello)
            await wait_until(lambda: worker.heard or worker.over.is_set(), what="an answer")
            if not worker.over.is_set():
                return None
            # INTERNAL: the stream ended while Hello was being sent, and gRPC does not report why.
            if worker.error.code() is not grpc.StatusCode.INTERNAL:
                return refusal_of(worker.error)


@pytest.fixture
async def services(store_of):
    async with running_services(store_of(), principals=lambda: KNOWN) as up:
        yield up


@pytest.mark.parametrize(
    ("name", "activities", "reason"),
    [
        ("some", ["a"], None),
        ("some", ["a", "b"], None),
        ("some", ["a", "c"], "ACTIVITY_NOT_ALLOWED"),
        ("some", ["*"], "ACTIVITY_NOT_ALLOWED"),
        ("every", ["a", "c"], None),
        ("owner", ["a"], "ROLE_MISSING"),
        ("edge", ["a"], "ROLE_MISSING"),
        ("admin", ["a"], "ROLE_MISSING"),
        ("nobody", ["a"], "UNAUTHENTICATED"),
        (None, ["a"], "UNAUTHENTICATED"),
    ],
)
async def test_a_worker_is_accepted_for_the_activities_that_its_entry_names(services, name, activities, reason):
    said = await ended(services, name and by(name), *activities)
    assert (said and said.reason) == reason
    if reason == "ACTIVITY_NOT_ALLOWED":
        assert said.metadata == {"activity": activities[-1]}
        assert said.code is grpc.StatusCode.PERMISSION_DENIED
