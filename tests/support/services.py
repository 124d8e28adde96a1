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
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback_server.access.authenticator import Authenticator
from callback_server.calls.deliveries import Deliveries
from callback_server.calls.held import HeldCalls
from callback_server.calls.invoke import Calls
from callback_server.calls.sweeper import Sweeper
from callback_server.domain.activity import Activity
from callback_server.handlers.dispatch import HandlerDispatcher
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.main import _background
from callback_server.replica_bus import ReplicaBus
from callback_server.rpc.callbacks_service import CallbacksServicer
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.new_case import Policy
from callback_server.rpc.server import Health, make_server
from callback_server.rpc.worker_service import WorkerServicer
from callback_server.store.connection.client import connect
from callback_server.store.retention import Retention
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import Leases
from callback_server.transition_log import log_timeout
from callback_server.watch import WatchHub


@contextlib.asynccontextmanager
async def running_services(
    store, *, handlers=None, activities=None, served=(), profiles=None, max_in_flight=1000, per_case=None,
    per_owner=None, principals=None, retention=None, max_deliveries=100, **policy
):  # fmt: skip
    """Stubs of both services, on a server of this process; `served` and `policy` differ from the defaults."""
    profiles = profiles or {}
    client = connect(store.url)
    scripts = Scripts(client, log_timeout)
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
    replica_bus = ReplicaBus(scripts, mail_client)
    workers = WorkerPool(scripts, replica_bus)
    activities = activities or {}
    dispatcher = HandlerDispatcher(
        handlers=handlers or {}, workers=workers, activities=activities, platform_url=rules["platform_url"]
    )
    leases = Leases(activities)
    held = HeldCalls(scripts, replica_bus, dispatcher, retention)
    inbox = Deliveries(
        scripts, dispatcher=dispatcher, activities=activities, leases=leases, retention=retention, most=max_deliveries
    )
    sweeper = Sweeper(scripts, retention, inbox.look)
    calls = Calls(
        scripts, dispatcher=dispatcher, held=held, inbox=inbox, leases=leases, profiles=profiles, retention=retention,
        box_url=rules["box_url"], platform_url=rules["platform_url"], max_in_flight=max_in_flight,
        max_per_minute_per_case=per_case, max_per_minute_per_owner=per_owner,
    )  # fmt: skip
    watch_hub = WatchHub(scripts)
    access = Authenticator(principals)
    server = make_server(
        CallbacksServicer(scripts, Policy(**rules), retention, access, held, watch_hub), EdgeServicer(calls, access),
        WorkerServicer(workers, access, handlers or {}), Health(), access, reflect=True, max_in_flight=max_in_flight,
    )  # fmt: skip
    port = server.bind("127.0.0.1:0", None)
    await server.start()
    async with (
        _background(replica_bus.read_for_ever()),
        _background(workers.announce_for_ever()),
        _background(workers.ask_for_ever()),
        _background(inbox.take_for_ever()),
        _background(watch_hub.read_for_ever()),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield SimpleNamespace(
            callbacks=CallbacksServiceStub(channel), edge=EdgeCalls(channel), calls=calls, inbox=inbox,
            sweeper=sweeper, scripts=scripts, channel=channel, workers=workers, worker_stub=WorkerServiceStub(channel),
            replica_bus=replica_bus, watch_hub=watch_hub, address=f"127.0.0.1:{port}",
        )  # fmt: skip
    await server.stop(0)
    running = [*calls._running, *inbox._running]  # as the end of a process ends them
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await replica_bus.flush()
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
