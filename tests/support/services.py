"""A control plane on a real store, in this process, with stubs of its gRPC services."""

import contextlib
import functools
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY
from support.edge_calls import EdgeCalls
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge_pb2
from callback.v1 import operations_service_pb2 as operations_pb2
from callback.v1.audit_service_pb2_grpc import AuditServiceStub
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback.v1.operations_service_pb2_grpc import OperationsServiceStub
from callback.v1.profiles_service_pb2_grpc import ProfilesServiceStub
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

    async def case_of(self, made, *, metadata=()):
        """Return the case of a callback as it is now."""
        request = rpc.GetCallbackRequest(callback_case_id=made.callback_case_id)
        return (await self.callbacks.GetCallback(request, metadata=metadata)).callback

    async def cases(self, *, metadata=(), **filters):
        """Return the cases of the first page that filters select, the newest first."""
        return (await self.callbacks.ListCallbacks(rpc.ListCallbacksRequest(**filters), metadata=metadata)).callbacks

    async def list_calls(self, made, *, metadata=(), **fields):
        """Return the calls of a callback as the first page of a list shows them, the newest first."""
        request = rpc.ListCallsRequest(callback_case_id=made.callback_case_id, **fields)
        return (await self.callbacks.ListCalls(request, metadata=metadata)).calls

    async def calls_of(self, made):
        """Return the recorded calls of a callback with everything that is recorded, the newest first."""
        return [await self.call_of(each.call_id) for each in await self.list_calls(made)]

    async def call_of(self, call_id):
        """Return a recorded call as it is now."""
        return (await self.callbacks.GetCall(rpc.GetCallRequest(call_id=call_id))).call

    async def waiting(self, *, metadata=(), **fields):
        """Return the held calls of all callbacks, the newest first."""
        request = rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_WAITING, page_size=200, **fields)
        return (await self.callbacks.ListOwnerCalls(request, metadata=metadata)).calls

    async def dead(self):
        """Return the calls of all callbacks whose deliveries were given up, the newest first."""
        return (await self.callbacks.ListOwnerCalls(rpc.ListOwnerCallsRequest(filter=rpc.CALL_FILTER_DEAD))).calls

    async def running(self, made=None, number=1, *, metadata=()):
        """Wait until so many calls of a callback run, or of all are held, and return them, the oldest first."""

        async def enough():
            listing = self.waiting if made is None else functools.partial(self.list_calls, made, page_size=200)
            calls = await listing(metadata=metadata)
            found = [call for call in reversed(calls) if call.status == pb.CALL_STATUS_RUNNING]
            return found if len(found) == number else None

        return await wait_until(enough, what=f"{number} running calls")

    async def ended(self, made):
        """Wait until the newest call of a callback has ended, and return it with everything that is recorded."""

        async def there():
            calls = await self.list_calls(made)
            return calls and calls[0].status != pb.CALL_STATUS_RUNNING and await self.call_of(calls[0].call_id)

        return await wait_until(there, what="the end of the call")

    async def repeats(self, made, number):
        """Wait until the newest call of a callback has so many repeats, and return it."""

        async def there():
            calls = await self.list_calls(made)
            return calls[0] if calls and calls[0].repeat_count == number else None

        return await wait_until(there, what=f"{number} repeats")

    async def delivery(self, call_id, *statuses):
        """Wait until the delivery of a call has one of these statuses, and return the call."""

        async def there():
            call = await self.call_of(call_id)
            return call if call.delivery.status in statuses else None

        return await wait_until(there, what=f"a delivery at {statuses}")

    def set_response(self, made, *, metadata=(), **attributes):
        """Change attributes of the response of a callback."""
        request = rpc.SetResponseRequest(callback_case_id=made.callback_case_id, response=pb.Response(**attributes))
        return self.callbacks.SetResponse(request, metadata=metadata)

    def answer(self, call_id, *, metadata=(), **fields):
        """Answer a held call."""
        return self.callbacks.AnswerCall(rpc.AnswerCallRequest(call_id=call_id, **fields), metadata=metadata)

    async def answer_running(self, made, **fields):
        """Answer the call of a callback as soon as it is held."""
        (call,) = await self.running(made)
        return await self.answer(call.call_id, **fields)

    def resolve(self, made, *, metadata=(), **fields):
        """Give a callback its answer."""
        request = rpc.ResolveCallbackRequest(callback_case_id=made.callback_case_id, **fields)
        return self.callbacks.ResolveCallback(request, metadata=metadata)

    def replay(self, call_id):
        """Replay a call."""
        return self.callbacks.ReplayCall(rpc.ReplayCallRequest(call_id=call_id))

    def erase(self, made):
        """Erase the recorded data of the calls of a callback."""
        return self.callbacks.EraseCalls(rpc.EraseCallsRequest(callback_case_id=made.callback_case_id))

    def close(self, made, *, metadata=()):
        """Close a callback."""
        request = rpc.CloseCallbackRequest(callback_case_id=made.callback_case_id)
        return self.callbacks.CloseCallback(request, metadata=metadata)

    def pause(self, activity="act", *, metadata=(), **fields):
        """Pause the deliveries of an activity."""
        request = operations_pb2.PauseActivityRequest(callback_activity=activity, **fields)
        return self.operations.PauseActivity(request, metadata=metadata)

    def resume(self, activity="act"):
        """Resume the deliveries of an activity."""
        return self.operations.ResumeActivity(operations_pb2.ResumeActivityRequest(callback_activity=activity))

    async def pauses(self):
        """Return the paused activities by name, in their order."""
        listed = await self.operations.ListPausedActivities(operations_pb2.ListPausedActivitiesRequest())
        return {each.callback_activity: each for each in listed.paused_activities}


async def pages(method, request, *, metadata=()):
    """Return all pages of a list, from the first to the last."""
    found = []
    while not found or request.page_token:
        found.append(await method(request, metadata=metadata))
        request.page_token = found[-1].next_page_token
    return found


def calls_in_flight():
    """Return how many calls run in this process, at its newest control plane."""
    return REGISTRY.get_sample_value("callback_calls_in_flight")


@contextlib.asynccontextmanager
async def services_at(address, *, options=(), credentials=None, **more):
    """Yield `Services` for the control plane at an address, also one in another process, with `more` attributes."""
    async with (
        grpc.aio.secure_channel(address, credentials, options)
        if credentials
        else grpc.aio.insecure_channel(address, options)
    ) as channel:
        yield Services(
            address=address, channel=channel, callbacks=CallbacksServiceStub(channel),
            operations=OperationsServiceStub(channel), audit=AuditServiceStub(channel),
            profiles=ProfilesServiceStub(channel), edge=EdgeCalls(channel),
            worker_stub=WorkerServiceStub(channel), **more,
        )  # fmt: skip


@contextlib.asynccontextmanager
async def running_services(
    store, *, handlers=None, principals=None, profiles=None, declared=None, sweeps=False, activities=None, **settings
):
    """Run a control plane, and yield `Services`.

    Args:
        store: Its store: a `StoreProcess`, or a proxy in front of one.
        handlers: Handlers in this process, by activity.
        principals: Returns the known principals. None: every caller is `local`.
        profiles: Verification profiles by name, in place of those in the settings.
        declared: The settings of verification profiles by name, which endpoints need.
        sweeps: Whether it applies timeouts and retention by itself. By default a test decides when they apply.
        activities: Activities by name: `ActivitySettings`, or the `Activity` that they stand for.
        settings: Fields of `ServerSettings`.
    """
    activities = {name: _activity_settings(activity) for name, activity in (activities or {}).items()}
    settings = {"store_url": store.url, "activities": activities, "profiles": declared or {}} | settings
    control_plane = ControlPlane(
        ServerSettings(**SETTINGS | settings),
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
    return refusal_of(caught.value)


def refusal_of(error):
    """Return the refusal that an error is."""
    status = rpc_status.from_call(error)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    prompt = pb.Prompt()
    for detail in status.details:
        for message in (info, bad, retry, prompt):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    return Refusal(
        code=error.code(),
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=[violation.field for violation in bad.field_violations],
        rules={violation.field: violation.reason for violation in bad.field_violations},
        retry_after_s=retry.retry_delay.seconds,
        prompt=prompt,
        text=error.details(),
    )


def response(**attributes):
    """Return a response of type response."""
    return pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE, **attributes)


def redirect(**attributes):
    """Return a response of type redirect."""
    return pb.Response(response_type=pb.RESPONSE_TYPE_REDIRECT, **attributes)
