"""The gRPC services on a real store, in this process."""

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.carrying import EdgeCalls

from callback.v1 import callback_pb2 as pb
from callback.v1.callback_service_pb2_grpc import CallbackServiceStub
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback_server.calls import Calls
from callback_server.domain.activity import Activity
from callback_server.events import tell_due
from callback_server.feed import Feed
from callback_server.handling import Handling
from callback_server.held import HeldCalls
from callback_server.inbox import Inbox
from callback_server.mailbox import Mailbox
from callback_server.main import _background
from callback_server.rpc.access import Access
from callback_server.rpc.callback_service import CallbackServicer
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.new_case import Policy
from callback_server.rpc.server import Health, make_server
from callback_server.rpc.worker_service import WorkerServicer
from callback_server.store.claim_call import Leases
from callback_server.store.client import connect
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.sweeper import Sweeper
from callback_server.workers.pool import WorkerPool


@contextlib.asynccontextmanager
async def running_services(
    store, *, handlers=None, activities=None, served=(), profiles=None, max_in_flight=1000, per_case=None,
    per_owner=None, principals=None, retention=None, max_deliveries=100, **policy
):  # fmt: skip
    """Stubs of both services, on a server of this process; `served` and `policy` differ from the defaults."""
    profiles = profiles or {}
    client = connect(store.url)
    scripts = Scripts(client, tell_due)
    retention = retention or Retention()
    rules = {
        "box_url": "https://box.example",
        "platform_url": "https://platform.example",
        "alternative_domains": None,
        "activities": {name: Activity(name) for name in served} | (activities or {}),
        "profiles": profiles.keys(),
        "state_key": b"k" * 32,
        "default_time_to_live_s": None,
        "max_time_to_live_s": None,
        "max_open_cases_per_owner": None,
        **policy,
    }
    mail_client = connect(store.url)
    mailbox = Mailbox(scripts, mail_client)
    workers = WorkerPool(scripts, mailbox)
    activities = activities or {}
    handling = Handling(
        handlers=handlers or {}, workers=workers, activities=activities, platform_url=rules["platform_url"]
    )
    leases = Leases(activities)
    held = HeldCalls(scripts, mailbox, handling, retention)
    inbox = Inbox(
        scripts, handling=handling, activities=activities, leases=leases, retention=retention, most=max_deliveries
    )
    sweeper = Sweeper(scripts, retention, inbox.look)
    calls = Calls(
        scripts, handling=handling, held=held, inbox=inbox, leases=leases, profiles=profiles, retention=retention,
        box_url=rules["box_url"], platform_url=rules["platform_url"], max_in_flight=max_in_flight,
        max_per_minute_per_case=per_case, max_per_minute_per_owner=per_owner,
    )  # fmt: skip
    feed = Feed(scripts)
    access = Access(principals)
    server = make_server(
        CallbackServicer(scripts, Policy(**rules), retention, access, held, feed), EdgeServicer(calls, access),
        WorkerServicer(workers, access, handlers or {}), Health(), access, reflect=True, max_in_flight=max_in_flight,
    )  # fmt: skip
    port = server.bind("127.0.0.1:0", None)
    await server.start()
    async with (
        _background(mailbox.read_for_ever()),
        _background(workers.announce_for_ever()),
        _background(workers.ask_for_ever()),
        _background(inbox.take_for_ever()),
        _background(feed.read_for_ever()),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield SimpleNamespace(
            callbacks=CallbackServiceStub(channel), edge=EdgeCalls(channel), calls=calls, inbox=inbox,
            sweeper=sweeper, scripts=scripts, channel=channel, workers=workers, worker_stub=WorkerServiceStub(channel),
            mailbox=mailbox, feed=feed, address=f"127.0.0.1:{port}",
        )  # fmt: skip
    await server.stop(0)
    running = [*calls._running, *inbox._running]  # as the end of a process ends them
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await mailbox.flush()
    await client.aclose()
    await mail_client.aclose()


class Refusal(SimpleNamespace):
    """What a refused RPC said."""


async def refusal(awaitable):
    """The refusal of an RPC: `code`, `reason`, `metadata`, `fields` (a list), `rules` (by field), `retry_after_s`."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    status = rpc_status.from_call(caught.value)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for message in (info, bad, retry):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    return Refusal(
        code=caught.value.code(),
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=[violation.field for violation in bad.field_violations],
        rules={violation.field: violation.reason for violation in bad.field_violations},
        retry_after_s=retry.retry_delay.seconds,
        text=caught.value.details(),
    )


def response(**attributes):
    """A response of type response."""
    return pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE, **attributes)


def redirect(**attributes):
    """A response of type redirect."""
    return pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT, **attributes)
