"""Helpers for tests of clients: a scripted server, calls to handlers as a server makes them, and the command line."""

import asyncio
import contextlib
import inspect
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from support.fork_server import start

from callback import AsyncCallbackClient, CallbackClient
from callback.connection._channel_options import SERVER_OPTIONS
from callback.v1 import audit_service_pb2, operations_service_pb2, profiles_service_pb2
from callback.v1 import callback_handler_service_pb2 as handler_messages
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.audit_service_pb2_grpc import AuditServiceServicer, add_AuditServiceServicer_to_server
from callback.v1.callback_handler_service_pb2_grpc import CallbackHandlerServiceStub
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceServicer, add_CallbacksServiceServicer_to_server
from callback.v1.operations_service_pb2_grpc import OperationsServiceServicer, add_OperationsServiceServicer_to_server
from callback.v1.profiles_service_pb2_grpc import ProfilesServiceServicer, add_ProfilesServiceServicer_to_server

CASE = "5f0c" * 8
CALL = f"{CASE}-{'0123456789abcdef'}"
STATE = "33931129-8459-4714-8c9b-ad9d15090289"
CREATED = datetime(2026, 11, 25, 9, 30, 15, 250000, tzinfo=UTC)


class Refusal:
    """A refusal with its details, as the server sends it."""

    def __init__(
        self, code, reason, message="refused", *, domain="callback", facts=None, violations=(), retry_after=None
    ):
        self.reason = reason
        self.status = status_pb2.Status(code=code.value[0], message=message)
        self.add(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=facts))
        if violations:
            bad_request = error_details_pb2.BadRequest()
            for field, description, rule in violations:
                bad_request.field_violations.add(field=field, description=description, reason=rule)
            self.add(bad_request)
        if retry_after is not None:
            retry_info = error_details_pb2.RetryInfo()
            retry_info.retry_delay.FromTimedelta(timedelta(seconds=retry_after))
            self.add(retry_info)

    def __str__(self):
        return self.reason

    def add(self, detail):
        self.status.details.add().Pack(detail)

    def wire(self):
        """Return what gRPC sends: code, message and metadata."""
        return rpc_status.to_status(self.status)


class InThreads:
    """The synchronous client with the interface of the asyncio one: one test covers both. Calls run in threads."""

    def __init__(self, *arguments, **options):
        self._client = CallbackClient(*arguments, **options)

    async def __aenter__(self):
        assert self._client.__enter__() is self._client
        return self

    async def __aexit__(self, *error):
        await asyncio.to_thread(self._client.__exit__, *error)

    def __getattr__(self, name):
        method = getattr(self._client, name)

        async def in_thread(*arguments, **options):
            return await asyncio.to_thread(method, *arguments, **options)

        async def each(*arguments, **options):
            items = method(*arguments, **options)
            while (item := await asyncio.to_thread(next, items, items)) is not items:
                yield item

        return each if inspect.isgeneratorfunction(method) else in_thread


CLIENTS = {"asyncio": AsyncCallbackClient, "threads": InThreads}
"""Both clients, by name, with the same interface."""


EVENTS = object()
"""The answer of `WatchCalls` that sends an event for each `tell()`, without end."""


class ScriptedServer(
    CallbacksServiceServicer, OperationsServiceServicer, AuditServiceServicer, ProfilesServiceServicer
):
    """A server that answers each method with the entry of `answers` for its name.

    An entry is a message, a list of messages for one request after the other, a `Refusal`, a gRPC status code to abort
    with, or a coroutine function of the request. `requests` has the received requests in order; `deadlines` and
    `tokens` have the deadline and token of each. Without an entry, `GetStatistics` refuses whoever is no administrator,
    and `WatchCalls` sends an event for each `tell()`, without end.
    """

    def __init__(self):
        self.answers = {"ListCalls": messages.ListCallsResponse(), "WatchCalls": EVENTS}
        self.requests = []
        self.deadlines = []
        self.tokens = []
        self.address = None
        self._watches = []

    def tell(self):
        """Send an event to each watch that is open."""
        for told in self._watches:
            told.put_nowait(messages.WatchCallsResponse(events=[messages.CallEvent(callback_case_id=CASE)]))

    async def _events(self):
        """Yield the messages of a watch: the first one, and one for each `tell()`."""
        told = asyncio.Queue()
        self._watches.append(told)
        yield messages.WatchCallsResponse()
        while True:
            yield await told.get()

    async def _answer(self, name, request, context):
        if (
            name == "GetStatistics" and name not in self.answers
        ):  # so a command learns whether it runs as an administrator
            await context.abort_with_status(Refusal(grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING").wire())
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        answer = self.answers[name]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, Refusal):
            await context.abort_with_status(answer.wire())
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "says gRPC")
        return answer


def _method(name):
    async def method(self, request, context):
        return await self._answer(name, request, context)

    return method


async def _watch(self, request, context):
    """Send the messages of the next entry, then end the watch. The next watch gets the entry after it."""
    answer = await self._answer("WatchCalls", request, context)
    if answer is EVENTS:
        async for message in self._events():
            yield message
    for message in answer:
        yield message


RPCS = [
    rpc
    for file in (messages, operations_service_pb2, audit_service_pb2, profiles_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for rpc in service.methods
]
"""The methods for clients, as the contract describes them."""
for _rpc in RPCS:
    setattr(ScriptedServer, _rpc.name, _watch if _rpc.name == "WatchCalls" else _method(_rpc.name))


def answers_with(case, call):
    """Return the answer of each method that returns callbacks or calls: with this callback, and this call."""
    values = {"callback": case, "call": call, "callbacks": [case], "calls": [call]}
    fields = {rpc: values.keys() & {field.name for field in rpc.output_type.fields} for rpc in RPCS}
    return {
        rpc.name: GetMessageClass(rpc.output_type)(**{name: values[name] for name in names})
        for rpc, names in fields.items()
        if names
    }


@contextlib.asynccontextmanager
async def scripted_server(address="127.0.0.1:0", *, credentials=None):
    """Run a `ScriptedServer` at an address, with TLS if credentials are given."""
    servicer = ScriptedServer()
    server = grpc.aio.server(options=SERVER_OPTIONS)
    add_CallbacksServiceServicer_to_server(servicer, server)
    add_OperationsServiceServicer_to_server(servicer, server)
    add_AuditServiceServicer_to_server(servicer, server)
    add_ProfilesServiceServicer_to_server(servicer, server)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    servicer.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield servicer
    finally:
        await server.stop(0)


def timestamp(when):
    """Return a time as a message."""
    message = Timestamp()
    message.FromDatetime(when)
    return message


def callback_message(**changes):
    """Return an open redirect case of `order-paid`."""
    values = {
        "callback_case_id": CASE,
        "owner": "local",
        "status": resources.CALLBACK_STATUS_OPEN,
        "callback_activity": "order-paid",
        "callback_activity_case": "1:142:432",
        "response": resources.Response(
            response_type=resources.RESPONSE_TYPE_REDIRECT, response_redirect_url="/page/thankyou"
        ),
        "labels": {"order": "5"},
        "create_time": timestamp(CREATED),
        "call_count": 3,
    }
    return resources.Callback(**(values | changes))


def call_message(**changes):
    """Return a recorded call that succeeded with a response."""
    values = {
        "call_id": CALL,
        "callback_case_id": CASE,
        "status": resources.CALL_STATUS_SUCCEEDED,
        "attempt": 1,
        "request_method": "post",
        "request_headers": [
            resources.Header(name="content-type", value="application/json"),
            resources.Header(name="x-trace", value="a"),
            resources.Header(name="x-trace", value="b"),
        ],
        "request_query": [
            resources.QueryParameter(name="id", value="5"),
            resources.QueryParameter(name="status", value="ok"),
        ],
        "request_query_string": "id=5&status=ok",
        "request_body": b'{"paid": true}',
        "request_body_size": 14,
        "client_address": "192.0.2.7",
        "response": resources.Response(
            response_type=resources.RESPONSE_TYPE_RESPONSE, response_code=200, response_body=b"ok"
        ),
        "start_time": timestamp(CREATED),
        "end_time": timestamp(CREATED + timedelta(milliseconds=12)),
    }
    return resources.Call(**(values | changes))


def handle_request(activity="order-paid", **changes):
    """Return the request that a server sends to a handler."""
    values = {
        "call_id": CALL,
        "callback_system_case": CASE,
        "callback_activity": activity,
        "attempt": 1,
        "request_method": "get",
        "response": resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, response_body=b"the case's own"),
        "deadline": timestamp(CREATED),
    }
    return handler_messages.HandleCallbackRequest(**(values | changes))


async def ask_handler(address, request, *, timeout=30):
    """Call a handler as a server does: with the bare stub, once."""
    async with grpc.aio.insecure_channel(address) as channel:
        return await CallbackHandlerServiceStub(channel).HandleCallback(request, timeout=timeout)


class Ran:
    """The result of a run of the command line."""

    def __init__(self, code, output, errors):
        self.code = code
        self.output = output.decode()
        self.errors = errors.decode()

    @property
    def json(self):
        """The standard output of a successful command, as JSON."""
        assert (self.code, self.errors) == (0, ""), self
        return json.loads(self.output)

    def __repr__(self):
        return f"exit code {self.code}\n{self.output}\n{self.errors}"


CHECKS = ("callback_edge.doctor", "callback_server.operations.doctor", "callback_console.doctor")
"""What `doctor` imports, and most of what `config`, `repair` and `losses` do: that takes a second in each process."""


async def run_callback(*arguments, stdin=b"", preloaded=(), **environment):
    """Run the command line in a process of its own. `preloaded` are modules that only some commands import."""
    with tempfile.TemporaryFile() as typed, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        typed.write(stdin)
        typed.seek(0)
        program = start(
            "callback_cli", *arguments,
            env=os.environ | environment, stdin=typed, stdout=output, stderr=errors, preloaded=preloaded,
        )  # fmt: skip
        try:
            await asyncio.to_thread(program.wait, 60)
        finally:
            program.kill()
        output.seek(0)
        errors.seek(0)
        return Ran(program.returncode, output.read(), errors.read())


CALLBACK_JSON = {
    "callbackCaseId": CASE,
    "owner": "local",
    "status": "OPEN",
    "callbackActivity": "order-paid",
    "callbackActivityCase": "1:142:432",
    "stateQueryParameter": "",
    "retryableAfterError": False,
    "allowMultipleCalls": False,
    "alternativeDomain": "",
    "response": {"responseType": "REDIRECT", "responseRedirectUrl": "/page/thankyou"},
    "labels": {"order": "5"},
    "createTime": "2026-11-25T09:30:15.250Z",
    "callCount": 3,
    "verificationProfile": "",
    "getGuard": "OFF",
    "answerMode": "HANDLER",
    "ordered": False,
    "resolved": False,
    "repeatWindow": "0s",
    "noRepeat": False,
    "remindAfter": [],
    "notify": [],
    "notifications": [],
    "allowedOrigins": [],
    "frameOrigins": [],
    "endpoint": "",
    "correlationKey": "",
}

CALL_JSON = {
    "callId": CALL,
    "callbackCaseId": CASE,
    "reason": "CALL",
    "status": "SUCCEEDED",
    "failureDetail": "",
    "attempt": 1,
    "requestMethod": "post",
    "requestHeaders": {"content-type": "application/json", "x-trace": ["a", "b"]},
    "requestQuery": {"id": "5", "status": "ok"},
    "requestQueryString": "id=5&status=ok",
    "requestBody": '{"paid": true}',
    "requestBodySize": 14,
    "clientAddress": "192.0.2.7",
    "verificationProfile": "",
    "verificationFailure": "",
    "messageId": "",
    "callbackChoice": "",
    "correlationKey": "",
    "response": {"responseType": "RESPONSE", "responseBody": "ok", "responseCode": 200},
    "keepOpen": False,
    "close": False,
    "erased": False,
    "startTime": "2026-11-25T09:30:15.250Z",
    "endTime": "2026-11-25T09:30:15.262Z",
    "bodyDropped": False,
    "fieldsJson": "",
    "fallbackSent": False,
    "callerGone": False,
    "repeatCount": 0,
    "answeredBy": "",
}

DELIVERY = resources.Delivery(
    status=resources.DELIVERY_STATUS_PENDING,
    attempts=3,
    next_attempt_time=timestamp(CREATED),
    failure=resources.CALL_FAILURE_HANDLER_ERROR,
    failure_detail="the handler failed",
)

DELIVERY_JSON = {
    "status": "PENDING",
    "attempts": 3,
    "nextAttemptTime": "2026-11-25T09:30:15.250Z",
    "failure": "HANDLER_ERROR",
    "failureDetail": "the handler failed",
    "paused": False,
}
