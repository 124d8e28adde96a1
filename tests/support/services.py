"""A control plane on a real store, in this process, with stubs of its gRPC services."""

import contextlib
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.edge_calls import EdgeCalls

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge_pb2
from callback.v1.audit_service_pb2_grpc import AuditServiceStub
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback.v1.operations_service_pb2_grpc import OperationsServiceStub
from callback.v1.worker_service_pb2_grpc import WorkerServiceStub
from callback_server.control_plane import ControlPlane
from callback_server.domain.activity import Activity
from callback_server.settings import ActivitySettings, RetrySettings, ServerSettings

SETTINGS = {
    "grpc_bind": "127.0.0.1:0",
    "box_url": "https://box.example",
    "platform_url": "https://platform.example",
    "state_key": "k" * 32,
    "reflection": True,
    "drain_s": 0,
    "grace_s": 0,
}
"""Default settings of the control planes in tests."""


class Services(SimpleNamespace):
    """A serving control plane: `control_plane`, its `address`, a `channel` and the stubs on it.

    `callbacks`, `operations`, `audit`, `worker_stub` and `edge` call its services. The methods make the requests that
    most tests need; `made` is what `generate` returned.
    """

    async def generate(self, activity="record", *, metadata=(), **fields):
        """Generate a callback, with fields of the request. By default its response says nothing."""
        request = rpc.GenerateCallbackUrlRequest(callback_activity=activity, **{"response": response()} | fields)
        return await self.callbacks.GenerateCallbackUrl(request, metadata=metadata)

    def call(self, made, *, method="post", body=b"", metadata=(), **fields):
        """Call a callback, with fields of the edge's request. Return the future of the answer."""
        request = edge_pb2.InvokeRequest(state=made.callback_state, request_method=method, request_body=body, **fields)
        return self.edge.Invoke(request, metadata=metadata)

    async def case_of(self, made):
        """Return the case of a callback as it is now."""
        request = rpc.GetCallbackRequest(callback_case_id=made.callback_case_id)
        return (await self.callbacks.GetCallback(request)).callback

    async def calls_of(self, made):
        """Return the recorded calls of a callback with everything that is recorded, the newest first."""
        listed = await self.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id))
        return [await self.call_of(each.call_id) for each in listed.calls]

    async def call_of(self, call_id):
        """Return a recorded call as it is now."""
        return (await self.callbacks.GetCall(rpc.GetCallRequest(call_id=call_id))).call

    async def close(self, made):
        """Close a callback."""
        return await self.callbacks.CloseCallback(rpc.CloseCallbackRequest(callback_case_id=made.callback_case_id))


@contextlib.asynccontextmanager
async def services_at(address, *, options=(), **more):
    """Yield `Services` for the control plane at an address, also one in another process, with `more` attributes."""
    async with grpc.aio.insecure_channel(address, options) as channel:
        yield Services(
            address=address, channel=channel, callbacks=CallbacksServiceStub(channel),
            operations=OperationsServiceStub(channel), audit=AuditServiceStub(channel), edge=EdgeCalls(channel),
            worker_stub=WorkerServiceStub(channel), **more,
        )  # fmt: skip


@contextlib.asynccontextmanager
async def running_services(
    store, *, handlers=None, principals=None, profiles=None, sweeps=False, activities=None, **settings
):
    """Run a control plane, and yield `Services`.

    Args:
        store: Its store: a `StoreProcess`, or a proxy in front of one.
        handlers: Handlers in this process, by activity.
        principals: Returns the known principals. None: every caller is `local`.
        profiles: Verification profiles by name.
        sweeps: Whether it applies timeouts and retention by itself. By default a test decides when they apply.
        activities: Activities by name: `ActivitySettings`, or the `Activity` that they stand for.
        settings: Fields of `ServerSettings`.
    """
    activities = {name: _activity_settings(activity) for name, activity in (activities or {}).items()}
    control_plane = ControlPlane(
        ServerSettings(**SETTINGS | {"store_url": store.url, "activities": activities} | settings),
        handlers=handlers, principals=principals, profiles=profiles, sweeps=sweeps,
    )  # fmt: skip
    async with control_plane, services_at(f"127.0.0.1:{control_plane.port}", control_plane=control_plane) as services:
        yield services


def _activity_settings(activity):
    if not isinstance(activity, Activity):
        return activity
    retries = activity.retries
    return ActivitySettings(
        deadline_s=None if activity.deadline_ms is None else activity.deadline_ms / 1000,
        retry=RetrySettings(
            initial_s=retries.initial_ms / 1000, max_s=retries.max_ms / 1000, max_attempts=retries.max_attempts,
            max_age_s=retries.max_age_ms / 1000,
        ),
    )  # fmt: skip


class Refusal(SimpleNamespace):
    """Code and details of a refused RPC."""


async def refusal(awaitable):
    """Return an RPC's refusal: `code`, `reason`, `metadata`, `fields` (list), `rules` (by field), `retry_after_s`,
    `prompt`."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    status = rpc_status.from_call(caught.value)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    prompt = pb.Prompt()
    for detail in status.details:
        for message in (info, bad, retry, prompt):
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
        prompt=prompt,
        text=caught.value.details(),
    )


def response(**attributes):
    """Return a response of type response."""
    return pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE, **attributes)


def redirect(**attributes):
    """Return a response of type redirect."""
    return pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT, **attributes)
