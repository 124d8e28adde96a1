"""The API: every RPC of the contract as JSON over HTTP, by the Connect protocol, against the running system."""

import asyncio
import base64
import contextlib
import datetime
import gzip
import hashlib
import importlib
import json
import os
import re
import subprocess
import threading
import time
import uuid

import grpc
import httpx
import pytest
import trustme
from connectrpc.client import ConnectClient
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError
from connectrpc.request import Headers, RequestContext
from google.protobuf import message_factory
from openapi_python_client import Config, GeneratorData, Project
from openapi_python_client.config import ConfigFile, MetaType
from support.clients import callback_message, scripted_server
from support.connect import HTTP_STATUS, PATH, envelope, envelopes, reason
from support.console import running_console
from support.principals import principals_of
from support.services import running_services
from support.store import free_port
from support.tools import require
from support.tree import ROOT
from support.wait import DEADLINE_S, wait_until

from callback import AnswerMode
from callback.json_form import from_json
from callback.v1 import audit_service_pb2, callbacks_service_pb2, operations_service_pb2, profiles_service_pb2
from callback_api import admission, application, codecs, converter, forwarding
from callback_api.converter import Converter
from callback_process.entry_point import StartError
from callback_server.access.principals import PrincipalEntry, Principals, TokenEntry
from callback_server.access.roles import Role
from callback_shared.wire_fields import MAX_FIELDS

METHODS = {
    method.name: method
    for service in (
        callbacks_service_pb2.DESCRIPTOR.services_by_name["CallbacksService"],
        operations_service_pb2.DESCRIPTOR.services_by_name["OperationsService"],
        audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
        profiles_service_pb2.DESCRIPTOR.services_by_name["ProfilesService"],
    )
    for method in service.methods
}
DOCUMENT = ROOT / "clients" / "api" / "callback_api" / "openapi.json"
DAY = datetime.timedelta(days=1)
JSON = {"Content-Type": "application/json"}


def caller(console, token=None, **options):
    """A client of the API."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=f"http://{console.address}{PATH}", headers=headers, **options)


@contextlib.asynccontextmanager
async def watching(http, **request):
    """Open a watch, and yield its envelopes, of which the first has come."""
    content = envelope(json.dumps(request).encode())
    headers = {"Content-Type": "application/connect+json"}
    async with http.stream("POST", "WatchCalls", content=content, headers=headers) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/connect+json")
        stream = envelopes(answer)
        first = await anext(stream)
        assert first.json["resumeToken"]
        yield stream, first


@pytest.fixture(scope="module")
async def orders(world):
    async with caller(world.console, world.tokens["orders"]) as http:
        yield http


class Stage:
    """What requests of RPCs need: a case of each kind, made when it is asked for."""

    def __init__(self, world):
        self.world = world
        self.callers = []

    async def case(self, activity="record", **options):
        self.made = await self.world.generate(activity, **options)
        return self.made.case_id

    async def call(self, activity="record", **options):
        return await self.world.call(await self.world.generate(activity, **options), content=b"\0\xff")

    async def delivered(self):
        """A call whose delivery waits: no attempt runs while its activity is paused."""
        async with self.world.client_of("operator") as operator:
            await operator.pause_activity("replayed")
        return await self.call("replayed", answer_mode=AnswerMode.ACK)

    async def profile(self):
        """The name of a verification profile."""
        async with self.world.client_of("orders") as owner:
            name = f"own/{uuid.uuid4()}"
            return (await owner.create_profile(name, "basic", ["x"], settings='{"username": "u"}')).name

    async def held(self):
        call_id, caller = await self.world.hold(await self.world.generate("form"))
        self.callers.append(caller)
        return call_id


NEW = {"callbackActivity": "record", "response": {"responseType": "RESPONSE", "responseBody": "ok"}}
REQUESTS = {
    "GenerateCallbackUrl": (NEW, lambda reply: reply.callback_url.endswith(reply.callback_state)),
    "GenerateCallbackUrls": (
        {"requests": [NEW, {**NEW, "labels": {"a b": ""}}]},
        lambda reply: [each.WhichOneof("result") for each in reply.results] == ["generated", "problem"],
    ),
    "SetResponse": (
        {"callbackCaseId": Stage.case, "response": {"responseCode": 201}, "updateMask": "responseCode"},
        lambda reply: reply.callback.response.response_code == 201,
    ),
    "AnswerCall": ({"callId": Stage.held, "verdict": "REJECTED"}, lambda reply: reply.callback.call_count == 1),
    "ResolveCallback": ({"callbackCaseId": lambda stage: stage.case("form")}, lambda reply: reply.callback.resolved),
    "CloseCallback": ({"callbackCaseId": Stage.case}, lambda reply: reply.callback.HasField("close_time")),
    "ExtendCallback": (
        {"callbackCaseId": Stage.case, "expireTime": "2030-01-01T00:00:00.5Z"},
        lambda reply: reply.callback.expire_time.ToJsonString() == "2030-01-01T00:00:00.500Z",
    ),
    "GetCallback": ({"callbackCaseId": Stage.case}, lambda reply: reply.callback.owner == "orders"),
    "ListCallbacks": ({"pageSize": 1}, lambda reply: all(each.owner == "orders" for each in reply.callbacks)),
    "GetCall": ({"callId": Stage.call}, lambda reply: reply.call.request_body == b"\0\xff"),
    "ListCalls": ({"callbackCaseId": Stage.case}, lambda reply: len(reply.calls) == 0),
    "ListOwnerCalls": ({"filter": "DEAD"}, lambda reply: not reply.next_page_token),
    "EraseCalls": ({"callbackCaseId": Stage.case}, lambda reply: reply.erased_call_count == 0),
    "ReplayCall": ({"callId": Stage.delivered}, lambda reply: reply.call.delivery.paused),
    "PauseActivity": ({"callbackActivity": "tried-by-json"}, lambda reply: reply.ByteSize() == 0),
    "ResumeActivity": ({"callbackActivity": "tried-by-json"}, lambda reply: reply.ByteSize() == 0),
    "ListPausedActivities": (
        {},
        lambda reply: "record" not in [each.callback_activity for each in reply.paused_activities],
    ),
    "ListActivities": ({}, lambda reply: "record" in [each.callback_activity for each in reply.activities]),
    "GetStatistics": ({}, lambda reply: len(reply.minutes) == 60),
    "ListFindings": ({}, lambda reply: "store write" in [each.check for each in reply.findings]),
    "ListAuditEntries": ({"owner": "orders"}, lambda reply: {each.owner for each in reply.entries} <= {"orders"}),
    "VerifyAudit": ({}, lambda reply: [each.chain for each in reply.chains] == [*range(65)]),
    "CreateProfile": (
        {"name": "own/new", "kind": "basic", "settings": '{"username": "u"}', "secrets": ["x"]},
        lambda reply: len(reply.profile.secrets) == 1,
    ),
    "GetProfile": ({"name": Stage.profile}, lambda reply: reply.profile.kind == "basic"),
    "ListProfiles": ({"pageSize": 1}, lambda reply: len(reply.profiles) <= 1),
    "UpdateProfile": ({"name": Stage.profile, "addedSecrets": ["y"]}, lambda reply: not reply.profile.problem),
    "CheckProfile": (
        {"name": Stage.profile, "httpRequest": "GET / HTTP/1.1"},
        lambda reply: "authorization is missing" in reply.why.lower(),
    ),
    "DeleteProfile": ({"name": "own/never"}, lambda reply: reply.ByteSize() == 0),
    "WatchCalls": ({}, lambda reply: reply.resume_token),
}
"""A request of each RPC, in which a function makes its value, and a check of the response."""
OF_ADMINS = {"PauseActivity", "ResumeActivity", "ListPausedActivities", "GetStatistics", "ListFindings", "VerifyAudit"}


@pytest.fixture(scope="module")
async def stage(world):
    stage = Stage(world)
    yield stage
    await asyncio.gather(*stage.callers)
    async with world.client_of("operator") as operator:
        for paused in await operator.list_paused_activities():  # other files have tests of pauses
            await operator.resume_activity(paused.activity)


def assert_described(message, schema):
    """Assert that a message is what the OpenAPI document says, without a field that it does not name."""
    components = json.loads(DOCUMENT.read_text())["components"]
    for each in components["schemas"].values():
        if "properties" in each:
            each["additionalProperties"] = False
    import jsonschema  # not above: it takes seconds, in each process that collects tests

    jsonschema.validate(message, {"$ref": f"#/components/schemas/{schema}", "components": components})


@pytest.mark.parametrize("codec", ["json", "proto"])
@pytest.mark.parametrize("rpc", METHODS)
async def test_every_rpc_is_served_as_json_and_as_protobuf(world, stage, rpc, codec):
    method = METHODS[rpc]
    path = f"/{method.containing_service.full_name}/{rpc}"
    wanted, holds = REQUESTS[rpc]
    fields = {name: await value(stage) if callable(value) else value for name, value in wanted.items()}
    message = from_json(fields, message_factory.GetMessageClass(method.input_type)())
    content = message.SerializeToString() if codec == "proto" else json.dumps(fields).encode()
    token = world.tokens["operator" if rpc in OF_ADMINS else "orders"]
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=world.url, headers=headers) as http:
        if method.server_streaming:
            kind = f"application/connect+{codec}"
            async with http.stream("POST", path, content=envelope(content), headers={"Content-Type": kind}) as answer:
                body = (await anext(envelopes(answer))).data
        else:
            kind = f"application/{codec}"
            answer = await http.post(path, content=content, headers={"Content-Type": kind})
            body = answer.content
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind), body
    reply = message_factory.GetMessageClass(method.output_type)()
    reply = reply.FromString(body) if codec == "proto" else from_json(json.loads(body), reply)
    assert holds(reply)
    if codec == "json":
        assert_described(fields, method.input_type.name)
        assert_described(json.loads(body), method.output_type.name)


async def test_values_are_in_the_json_form_and_no_field_is_missing(world, orders, stage):
    case_id = await stage.case(
        "record", hold_time=None, time_to_live=DAY, repeat_window=datetime.timedelta(seconds=0.5)
    )
    await world.system.http.post(f"{stage.made.url}?a=1&a=2&b=", content=b"\0\xff", headers={"x-one": "1"})
    callback = (await orders.post("GetCallback", json={"callbackCaseId": case_id})).json()["callback"]
    assert callback["callCount"] == 1
    assert callback["repeatWindow"] == "0.500s"
    assert (callback["status"], callback["getGuard"]) == ("CLOSED", "OFF")
    assert callback["response"] == {"responseType": "RESPONSE", "responseBody": "ok"}
    assert (callback["ordered"], callback["labels"], callback["remindAfter"]) == (False, {}, [])
    assert "answerDeadline" not in callback  # it has presence, and is not set
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z", callback["createTime"])
    (call,) = (await orders.post("ListCalls", json={"callback_case_id": case_id})).json()["calls"]  # also accepted
    call = (await orders.post("GetCall", json={"callId": call["callId"]})).json()["call"]
    assert (call["requestQuery"], call["requestHeaders"]["x-one"]) == ({"a": ["1", "2"], "b": ""}, "1")
    assert base64.b64decode(call["requestBodyBase64"]) == b"\0\xff"
    assert ("requestBody" not in call, call["requestBodySize"]) == (True, 2)


async def test_a_body_is_text_of_any_length_or_base64_and_headers_are_an_object(world, orders, stage):
    case_id = await stage.case(allow_multiple_calls=True)

    async def sent(**response):
        given = {"callbackCaseId": case_id, "response": {"responseHeaders": {"x-a": ["1", "2"]}, **response}}
        answer = await orders.post("SetResponse", json=given)
        assert answer.status_code == 200, answer.text
        return await world.system.http.post(stage.made.url)

    many_commas = ',"\\' * codecs.MAX_VALUES
    answer = await sent(responseBody=many_commas)
    assert (answer.text, answer.headers.get_list("x-a")) == (many_commas, ["1", "2"])
    assert (await sent(responseBodyBase64="AP8=")).content == b"\0\xff"
    for wrong in ({"responseBodyBase64": "="}, {"responseBody": 1}, {"responseType": "LETTER"}):
        answer = await orders.post("SetResponse", json={"callbackCaseId": case_id, "response": wrong})
        assert (answer.status_code, reason(answer.json())) == (400, "INVALID_REQUEST")


async def test_an_error_has_the_reason_and_the_details_of_the_server(orders):
    answer = await orders.post("GetCallback", json={"callbackCaseId": "0" * 32})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert (answer.json()["code"], reason(answer.json())) == ("not_found", "CALLBACK_NOT_FOUND")
    answer = await orders.post("GetCallback", json={"callbackCaseId": "x"})
    assert (answer.status_code, reason(answer.json())) == (400, "INVALID_REQUEST")
    (bad,) = [each["debug"] for each in answer.json()["details"] if each["type"] == "google.rpc.BadRequest"]
    assert bad["fieldViolations"][0]["field"] == "callbackCaseId"


@pytest.mark.parametrize(
    ("rpc", "request_", "bad"),
    [
        (
            "GenerateCallbackUrl",
            {"response": {"responseType": "RESPONSE", "responseCode": 999}},
            "response.responseCode: ",
        ),
        (
            "GenerateCallbackUrl",
            {"response": {"responseType": "RESPONSE", "responseHeaders": {"x-a": "1", "Location": "/"}}},
            'response.responseHeaders["Location"]: ',
        ),
        (
            "GenerateCallbackUrl",
            {"response": {"responseType": "RESPONSE", "responseHeaders": {f"x-{each}": "1" for each in range(65)}}},
            "response.responseHeaders: ",
        ),
        ("GenerateCallbackUrl", {**NEW, "labels": {"a b": ""}}, 'labels["a b"]: '),
        ("GenerateCallbackUrl", {**NEW, "prompt": {"choices": [{"value": ""}]}}, "prompt.choices[0].value: "),
        (
            "SetResponse",
            {"callbackCaseId": "0" * 32, "response": {"responseCode": 201}, "updateMask": "responseKode"},
            "updateMask: must name fields of Response: responseType, responseRedirectUrl, ",
        ),
    ],
)
async def test_an_error_names_fields_as_json_does(orders, rpc, request_, bad):
    request = {"callbackActivity": "record"} | request_ if rpc == "GenerateCallbackUrl" else request_
    answer = await orders.post(rpc, json=request)
    assert answer.status_code == 400
    (found,) = [each["debug"] for each in answer.json()["details"] if each["type"] == "google.rpc.BadRequest"]
    told = [f"{each['field']}: {each['description']}" for each in found["fieldViolations"]]
    assert any(each.startswith(bad) for each in told), told
    assert bad in answer.json()["message"]
    assert not re.search("[a-z]_[a-z]", "".join(told) + answer.json()["message"])


async def test_a_problem_of_a_batch_names_fields_as_json_does(orders):
    bad = {"callbackActivity": "record", "response": {"responseType": "RESPONSE", "responseCode": 999}}
    answer = await orders.post("GenerateCallbackUrls", json={"requests": [NEW, bad]})
    made, refused = answer.json()["results"]
    assert made["generated"]["callbackUrl"].endswith(made["generated"]["callbackState"])
    info, fields = refused["problem"]["details"]
    assert (info["@type"], info["reason"]) == ("type.googleapis.com/google.rpc.ErrorInfo", "INVALID_REQUEST")
    assert [each["field"] for each in fields["fieldViolations"]] == ["response.responseCode"]
    assert refused["problem"]["message"].startswith("response.responseCode: ")


async def test_an_error_leaves_the_names_that_the_caller_chose_as_they_are(orders):
    answer = await orders.post("GenerateCallbackUrl", json={**NEW, "labels": {"call_id b": ""}})
    assert answer.status_code == 400
    assert 'labels["call_id b"]: ' in answer.json()["message"]


async def test_an_error_of_a_caller_with_protobuf_names_fields_as_the_contract_does(orders):
    headers = {"Content-Type": "application/proto"}
    content = callbacks_service_pb2.GetCallbackRequest(callback_case_id="x").SerializeToString()
    answer = await orders.post("GetCallback", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("callback_case_id: ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"callbackCaseId": "%032d", "nonsense": 1}' % 0,
        b'{"callbackCaseId": 1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
async def test_a_message_that_is_not_of_the_rpc_is_refused(orders, body):
    answer = await orders.post("GetCallback", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert reason(answer.json()) == "INVALID_REQUEST"


MANY_VALUES = {
    "numbers": (b'{"labels": [%s1]},' % (b"1," * codecs.MAX_VALUES), JSON),
    "texts": (b"[%s1]" % (b'"",' * (codecs.MAX_BODY_BYTES // 3 - 1)), JSON),
    "fields": (b"\x0a\x00" * (MAX_FIELDS + 1), {"Content-Type": "application/proto"}),
}


@pytest.mark.parametrize(("body", "headers"), MANY_VALUES.values(), ids=MANY_VALUES)
async def test_a_message_with_more_values_than_any_request_is_refused_unparsed(orders, body, headers):
    answer = await orders.post("GetCallback", content=body, headers=headers)
    assert (answer.status_code, reason(answer.json())) == (400, "INVALID_REQUEST")
    assert "more values than a request of any RPC" in answer.text


def test_the_time_to_count_the_values_of_a_message_depends_on_its_size_and_not_on_its_texts():
    def seconds(part):
        message = b'["' + part * (3_000_000 // len(part)) + b'",' + b"1," * codecs.MAX_VALUES + b"1]"
        began = time.thread_time()
        with pytest.raises(ConnectError, match="more values"):
            codecs.CODECS[0].decode(message, callbacks_service_pb2.GetCallbackRequest).message()
        return time.thread_time() - began

    texts = (b'","', b"\\\\", b'\\"', b'\\\\\\"')
    assert max(map(seconds, texts)) < 50 * min(seconds(b"1,") for _ in range(5))


class Noted:
    """A format of messages that notes whether it runs on the event loop. It fails if it is told to."""

    def __init__(self, error=None):
        self.error = error
        self.on_the_loop = []

    def parse(self, data, message_class):
        self.on_the_loop.append(threading.current_thread() is threading.main_thread())
        return message_class(callback_case_id=data.decode())

    def format(self, _request, message):
        self.on_the_loop.append(threading.current_thread() is threading.main_thread())
        if self.error:
            raise self.error
        return message.callback.callback_activity_case.encode()


async def get_callback(size, noted):
    """Get a callback of a size by the RPC itself, with messages in a format of the test."""
    async with scripted_server() as server:
        server.answers["GetCallback"] = callbacks_service_pb2.GetCallbackResponse(
            callback=callback_message(callback_activity_case="x" * size)
        )
        rpcs = forwarding.Forwarding(server.address, None, is_local=True)
        endpoint = rpcs.endpoints()[f"{PATH}GetCallback"]
        request = codecs.Received(b"x" * size, callbacks_service_pb2.GetCallbackRequest, noted)
        context = RequestContext(method=endpoint.method, http_method="POST", request_headers=Headers(), timeout_ms=None)
        try:
            return await endpoint.function(request, context)
        finally:
            await rpcs.close()


@pytest.mark.parametrize(("size", "on_the_loop"), [(1, True), (forwarding.INLINE_BYTES + 1, False)])
async def test_large_messages_are_converted_beside_the_event_loop(size, on_the_loop):
    """They would make everything else wait that the console serves."""
    noted = Noted()
    assert await get_callback(size, noted) == b"x" * size
    assert noted.on_the_loop == [on_the_loop] * 2


class Conversions:
    """Conversions by a thread, which note themselves. The first one goes on until the test lets it end."""

    def __init__(self):
        self.done = []
        self._converter = Converter()
        self._has_begun, self.may_end = threading.Event(), threading.Event()

    async def begin(self):
        """Start the first one."""

        def first():
            self._has_begun.set()
            self.may_end.wait(DEADLINE_S)

        self.first = self.start("first", first)
        await asyncio.to_thread(self._has_begun.wait, DEADLINE_S)
        return self

    def start(self, identity, convert=lambda: None):
        return asyncio.create_task(self._converter.run(identity, lambda: self.done.append((identity, convert()))))

    def identities(self):
        return [identity for identity, _ in self.done]


async def test_identities_take_turns_at_the_thread_that_converts():
    conversions = await Conversions().begin()
    others = [conversions.start(identity) for identity in "aaab"]
    await asyncio.sleep(0)  # they wait
    conversions.may_end.set()
    await asyncio.gather(*others)
    assert conversions.identities() == ["first", "a", "b", "a", "a"]


async def test_a_caller_that_leaves_passes_its_turn_at_the_thread_on():
    conversions = await Conversions().begin()
    gone, last = conversions.start("gone"), conversions.start("last")
    await asyncio.sleep(0)  # both wait
    gone.cancel()
    conversions.first.cancel()
    conversions.may_end.set()
    await last
    assert conversions.identities() == ["first", "last"]


async def test_the_thread_that_converts_rests_for_a_multiple_of_the_time_of_a_conversion():
    conversions = await Conversions().begin()
    began = time.monotonic()
    second = conversions.start("second", time.monotonic)
    await asyncio.sleep(0)  # they wait
    conversions.may_end.set()
    await conversions.first
    ended = time.monotonic()
    await second
    assert conversions.done[1][1] - ended >= 0.9 * converter.REST * (ended - began)


async def test_an_error_of_the_console_itself_is_hidden_from_the_caller():
    with pytest.raises(ConnectError, match=r"^the console failed$") as failed:
        await get_callback(1, Noted(OSError("secret of a machine")))
    assert failed.value.code is Code.INTERNAL


@contextlib.asynccontextmanager
async def without_its_message(world, rpc, authorization):
    """Send the head of a request, whose message never arrives, and yield what comes."""
    kind = "application/connect+json" if rpc == "WatchCalls" else "application/json"
    head = f"POST {PATH}{rpc} HTTP/1.1\r\nHost: {world.console.address}\r\nContent-Type: {kind}\r\n"
    reader, writer = await asyncio.open_connection(*world.console.address)
    with contextlib.closing(writer):
        writer.write(f"{head}Content-Length: 9\r\n{authorization}\r\n".encode())
        yield reader


@pytest.mark.parametrize("rpc", ["ListCallbacks", "WatchCalls"])
@pytest.mark.parametrize("authorization", ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic wrong\r\n"])
async def test_a_caller_without_a_known_token_is_refused_before_its_message_and_takes_no_place(
    world, limits, rpc, authorization
):
    limits(admission, MAX_REQUESTS=0)
    async with without_its_message(world, rpc, authorization) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.split()[1] == (b"200" if rpc == "WatchCalls" else b"401")  # a stream has its error at its end
        assert b'"code": "unauthenticated"' in await reader.readuntil(b"]}")


@pytest.mark.parametrize("headers", [JSON, JSON | {"Content-Encoding": "gzip"}])
async def test_a_message_that_cannot_be_read_is_not_read_without_a_token_of_the_role(world, headers):
    expected = ((None, 401), ("wrong", 401), (world.tokens["orders"], 400), (world.tokens["work"], 403))
    for token, status in expected:
        async with caller(world.console, token) as http:
            answer = await http.post("ListCallbacks", content=b"{", headers=headers)
        assert answer.status_code == status, token


@pytest.mark.parametrize(("known_s", "then"), [(forwarding.KNOWN_S, 400), (0, 401)])
async def test_a_token_that_is_revoked_is_refused_at_once_and_after_a_while_unread(store_of, limits, known_s, then):
    limits(forwarding, KNOWN_S=known_s)
    owner = {"roles": frozenset({Role.OWNER}), "activities": frozenset()}
    tokens = (TokenEntry(sha256=hashlib.sha256(b"lost").hexdigest()),)
    entries = {"orders": PrincipalEntry(**owner, tokens=tokens)}
    async with (
        running_services(store_of(), principals=lambda: Principals(entries)) as services,
        running_console(services.address) as console,
        caller(console, "lost") as http,
    ):

        async def statuses():
            answers = [await http.post("ListCallbacks", content=body, headers=JSON) for body in (b"{}", b"{")]
            return [each.status_code for each in answers]

        assert await statuses() == [200, 400]
        entries["orders"] = PrincipalEntry(**owner, tokens=())
        assert await statuses() == [401, then]


async def test_a_watch_ends_with_the_rights_of_its_token(store_of):
    known = principals_of(orders={"roles": {Role.OWNER}})
    async with (
        running_services(store_of(), principals=lambda: known) as services,
        running_console(services.address) as console,
        caller(console, "orders", timeout=DEADLINE_S) as http,
        watching(http) as (stream, _),
    ):
        known = principals_of()
        (end,) = [each async for each in stream]
        assert end.json["error"]["code"] == "unauthenticated"


async def test_unknown_tokens_are_asked_about_a_few_at_a_time_and_make_no_known_one_wait(limits):
    """Each question is a request to the server, which a caller without a token could cause without end."""
    limits(forwarding, MAX_WAITING_PROBES=4, MAX_PROBES=2, KNOWN_S=0, PROBE_TIMEOUT_S=DEADLINE_S)
    gate = asyncio.Event()

    async def answer(_request):
        if server.tokens[-1] == "Bearer known":
            return callbacks_service_pb2.ListCallbacksResponse()
        await gate.wait()
        return grpc.StatusCode.UNAUTHENTICATED

    async with (
        scripted_server() as server,
        running_console(server.address) as console,
        caller(console, "known") as known,
        caller(console) as http,
    ):
        server.answers["ListCallbacks"] = answer

        async def status(number):
            headers = {"Authorization": f"Bearer unknown-{number}"}
            return (await http.post("ListCallbacks", json={}, headers=headers)).status_code

        assert (await known.post("ListCallbacks", json={})).status_code == 200
        asked = len(server.tokens)
        asking = [asyncio.create_task(status(number)) for number in range(5)]
        (refused,), others = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result() == 503
        await wait_until(lambda: len(server.tokens) == asked + 2, what="the first questions")
        assert (await known.post("ListCallbacks", json={})).status_code == 200
        assert len([each for each in server.tokens if each != "Bearer known"]) == 2
        gate.set()
        assert await asyncio.gather(*others) == [401] * 4


async def test_it_remembers_only_some_of_the_known_tokens(limits):
    limits(forwarding, MAX_KNOWN=1)
    async with scripted_server() as server, running_console(server.address) as console:
        server.answers["ListCallbacks"] = callbacks_service_pb2.ListCallbacksResponse()
        for token in ("one", "other", "other", "one"):
            async with caller(console, token) as http:
                assert (await http.post("ListCallbacks", json={})).status_code == 200
    # The server is asked about a token that is not remembered, and then sent the request.
    assert [each.removeprefix("Bearer ") for each in server.tokens] == [*["one"] * 2, *["other"] * 3, *["one"] * 2]


async def test_a_cookie_does_not_count_and_only_one_bearer_token_does(world, orders):
    async with world.visitor("orders") as http:
        del http.headers["Origin"]
        answer = await http.post(f"{PATH}ListCallbacks", json={})
    assert (answer.status_code, reason(answer.json())) == (401, "UNAUTHENTICATED")
    token = orders.headers["Authorization"]
    for given in ("Basic b3JkZXJzOg==", "Bearer wrong", "Bearer ä".encode("latin-1"), f"Bearer {'a' * 5000}", "Bearer"):
        answer = await orders.post("ListCallbacks", json={}, headers={"Authorization": given})
        assert (answer.status_code, reason(answer.json())) == (401, "UNAUTHENTICATED"), given
    async with caller(world.console) as http:
        answer = await http.post("ListCallbacks", json={}, headers=[("Authorization", token), ("Authorization", token)])
    assert answer.status_code == 401


@pytest.mark.parametrize("codec", google_protobuf_codecs(), ids=lambda each: each.name())
async def test_a_client_of_the_connect_project_is_served_with_its_defaults(world, stage, codec):
    case_id = await stage.case()
    endpoints = forwarding.Forwarding("127.0.0.1:1", None, is_local=True).endpoints()
    rpcs = {each.method.name: each.method for each in endpoints.values()}
    options = {"headers": {"Authorization": f"Bearer {world.tokens['orders']}"}}
    async with ConnectClient(world.url, codec=codec) as client:
        request = callbacks_service_pb2.GetCallbackRequest(callback_case_id=case_id)
        reply = await client.execute_unary(request=request, method=rpcs["GetCallback"], **options)
        assert reply.callback.callback_case_id == case_id
        request.callback_case_id = "0" * 32
        with pytest.raises(ConnectError) as refused:
            await client.execute_unary(request=request, method=rpcs["GetCallback"], **options)
        assert (refused.value.code, refused.value.details[0].type_name) == (Code.NOT_FOUND, "google.rpc.ErrorInfo")
        request = callbacks_service_pb2.WatchCallsRequest(callback_case_id=case_id)
        watch = client.execute_server_stream(request=request, method=rpcs["WatchCalls"], **options)
        async with contextlib.aclosing(watch):
            assert (await anext(watch)).resume_token


async def test_a_compressed_message_is_as_limited_as_a_plain_one(orders):
    headers = JSON | {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = await orders.post("ListCallbacks", content=gzip.compress(b"{}"), headers=headers)
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, "identity")
    large = gzip.compress(b" " * (codecs.MAX_BODY_BYTES + 1))
    answer = await orders.post("ListCallbacks", content=large, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")


async def test_a_page_of_another_site_gets_nothing(world, orders):
    for origin in ("null", "http://evil.example", "https://127.0.0.1", world.url.replace("http", "https")):
        answer = await orders.post("ListCallbacks", json={}, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), origin
        preflight = await orders.options("ListCallbacks", headers={"Origin": origin})
        assert (preflight.status_code, [each for each in preflight.headers if "access-control" in each]) == (403, [])
    answer = await orders.post("ListCallbacks", json={}, headers={"Origin": world.url})
    assert (answer.status_code, [each for each in answer.headers if "access-control" in each]) == (200, [])
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    answer = await orders.post("ListCallbacks", json={}, headers={"Host": "evil.example"})
    assert answer.status_code == 421


@pytest.mark.parametrize(
    ("method", "rpc", "kind", "status", "header"),
    [
        ("GET", "ListCallbacks", "application/json", 405, ("allow", "POST")),
        ("POST", "ListCallbacks", "text/plain", 415, ("accept-post", "application/json, application/proto")),
        ("POST", "ListCallbacks", "application/grpc-web", 415, None),
        ("POST", "ListCallbacks", "application/connect+json", 415, None),
        ("POST", "WatchCalls", "application/json", 415, ("accept-post", ", ".join(application.STREAM_TYPES))),
        ("POST", "NoSuchRpc", "application/json", 404, None),
        ("POST", "ListCallbacks/", "application/json", 404, None),
    ],
)  # fmt: skip
async def test_what_is_no_request_of_the_api_is_refused_with_what_it_should_be(
    orders, method, rpc, kind, status, header
):
    answer = await orders.request(method, rpc, content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.json()["message"]
    assert header is None or answer.headers[header[0]] == header[1]


async def test_the_headers_of_the_protocol_are_checked(orders):
    for header, value in (("Connect-Protocol-Version", "2"), ("Connect-Timeout-Ms", "1s"), ("Content-Encoding", "br")):
        answer = await orders.post("ListCallbacks", json={}, headers={header: value})
        assert answer.json()["code"] == ("unimplemented" if header == "Content-Encoding" else "invalid_argument")
    headers = {"Content-Type": "Application/JSON; charset=utf-8", "Connect-Protocol-Version": "1"}
    assert (await orders.post("ListCallbacks", content=b"{}", headers=headers)).status_code == 200


class Peer:
    """A server that knows every caller. It answers with a status, or without one never. It counts those that wait."""

    def __init__(self):
        self.status = None
        self.waiting = 0

    async def answer(self, request):
        if self.status is not None:
            return self.status
        if getattr(request, "page_size", 0):  # the console asks whether it knows the token
            return callbacks_service_pb2.ListCallbacksResponse()
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1


@pytest.fixture(scope="module")
async def peer():
    """The peer, with a console in front of it."""
    peer, authority = Peer(), trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials([(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())])
    peer.authority = authority.cert_pem.bytes()
    async with (
        scripted_server() as server,
        scripted_server(credentials=credentials) as by_tls,
        running_console(server.address, grace_s=0) as peer.console,
    ):
        for each in (server, by_tls):
            each.answers = {"ListCallbacks": peer.answer, "WatchCalls": peer.answer}
        peer.tls_target = by_tls.address
        yield peer


async def test_every_code_has_its_http_status_and_says_nothing_of_the_inside(peer):
    async with caller(peer.console) as http:
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            name = "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()
            peer.status = code
            answer = await http.post("ListCallbacks", json={})
            assert (answer.status_code, answer.json()["code"]) == (HTTP_STATUS[name], name)
            assert "says gRPC" not in answer.text
            async with http.stream(
                "POST", "WatchCalls", content=envelope(b""), headers={"Content-Type": "application/connect+proto"}
            ) as stream:
                (end,) = [each async for each in envelopes(stream)]
            assert (stream.status_code, end.is_end, end.json["error"]["code"]) == (200, True, name)
            assert not [each for each in (*answer.headers, *stream.headers) if each.startswith("trailer")]


async def test_a_server_that_cannot_be_reached_is_unavailable():
    target = f"127.0.0.1:{free_port()}"
    async with running_console(target) as console, caller(console) as http:
        answer = await http.post("ListCallbacks", json={})
    assert (answer.status_code, answer.json()) == (
        503, {"code": "unavailable", "message": "the server cannot be reached"},
    )  # fmt: skip


async def test_the_server_is_reached_by_tls_with_the_authorities_of_now(peer, tmp_path):
    peer.status = grpc.StatusCode.DATA_LOSS
    file = tmp_path / "ca.pem"
    file.write_bytes(trustme.CA().cert_pem.bytes())
    async with running_console(peer.tls_target, server_tls={"ca_file": file}) as console, caller(console) as http:
        assert (await http.post("ListCallbacks", json={})).json()["code"] == "unavailable"
        file.write_bytes(peer.authority)
        assert (await http.post("ListCallbacks", json={})).json()["code"] == "data_loss"


async def test_a_console_without_its_authorities_does_not_start(tmp_path):
    with pytest.raises(StartError, match=r"server_tls: .*none\.pem"):
        async with running_console("127.0.0.1:1", server_tls={"ca_file": tmp_path / "none.pem"}):
            pass


async def test_a_request_ends_at_its_timeout_and_at_that_of_the_console(peer, limits):
    peer.status = None
    async with caller(peer.console) as http:
        answer = await http.post("ListCallbacks", json={}, headers={"Connect-Timeout-Ms": "50"})
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        limits(application, TIMEOUT_MS=50)
        for longer in ({}, {"Connect-Timeout-Ms": "60000"}):
            answer = await http.post("ListCallbacks", json={}, headers=longer)
            assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    await wait_until(lambda: peer.waiting == 0, what="the end of the RPCs")


@pytest.mark.parametrize("rpc", ["ListCallbacks", "WatchCalls"])
async def test_a_caller_that_disconnects_ends_its_rpc(peer, rpc):
    peer.status = None
    kind, body = (
        ("application/json", b"{}") if rpc == "ListCallbacks" else ("application/connect+json", envelope(b"{}"))
    )
    async with caller(peer.console) as http:
        request = asyncio.create_task(http.post(rpc, content=body, headers={"Content-Type": kind}))
        await wait_until(lambda: peer.waiting == 1, what="the RPC")
        request.cancel()
        await wait_until(lambda: peer.waiting == 0, what="the end of the RPC")


async def test_a_message_that_does_not_arrive_ends_its_request(world, limits):
    limits(admission, ARRIVAL_S=0.1)
    authorization = f"Authorization: Bearer {world.tokens['orders']}\r\n"
    async with without_its_message(world, "WatchCalls", authorization) as reader:
        assert b'"code": "deadline_exceeded"' in await reader.readuntil(b"}}")


async def test_the_size_of_a_message_and_the_number_of_requests_are_limited(orders, limits):
    too_large = json.dumps({"callbackCaseId": "a" * codecs.MAX_BODY_BYTES}).encode()
    answer = await orders.post("GetCallback", content=too_large, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")
    limits(admission, MAX_REQUESTS=0)
    answer = await orders.post("ListCallbacks", json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def the_end_of(http, **request):
    """Open a watch that the console refuses, and return its end."""
    headers = {"Content-Type": "application/connect+json"}
    content = envelope(json.dumps(request).encode())
    async with http.stream("POST", "WatchCalls", content=content, headers=headers) as answer:
        first = await anext(envelopes(answer))
    assert answer.status_code == 200
    return first


async def test_the_number_of_watches_is_limited_and_one_that_ends_makes_room(world, limits):
    limits(forwarding, MAX_WATCHES=1)
    async with running_console(world.system.grpc) as console, caller(console, world.tokens["orders"]) as http:
        async with watching(http):
            end = await the_end_of(http)
            assert (end.json["error"]["code"], reason(end.json["error"])) == ("resource_exhausted", "TOO_MANY_WATCHERS")

        async def has_room():
            return not (await the_end_of(http)).is_end

        await wait_until(has_room, what="the end of the watch")


async def test_a_caller_that_does_not_read_its_watch_loses_it(limits):
    limits(application, READ_S=0.1)
    is_lost = asyncio.Event()

    def talk():
        try:
            while True:
                yield callbacks_service_pb2.WatchCallsResponse(resume_token="t" * 4000)
        finally:
            is_lost.set()

    async def watch(_request):
        return talk()

    async with scripted_server() as server, running_console(server.address, grace_s=0) as console:
        server.answers |= {"ListCallbacks": callbacks_service_pb2.ListCallbacksResponse(), "WatchCalls": watch}
        async with caller(console) as http, watching(http):
            await wait_until(is_lost.is_set, what="the end of the watch")


async def test_a_watch_resumes_after_its_last_event_without_a_gap(orders, stage):
    case_id = await stage.case(allow_multiple_calls=True)
    async with watching(orders, callbackCaseId=case_id) as (stream, first):
        token = first.json["resumeToken"]
        await stage.world.system.http.post(stage.made.url)
        types = []
        while "CALL_ENDED" not in types:
            types += [each["type"] for each in (await anext(stream)).json["events"]]
    await stage.world.client.close_callback(case_id)
    again = []
    async with watching(orders, callbackCaseId=case_id, resumeToken=token) as (stream, first):
        again += [each["type"] for each in first.json["events"]]
        while "CASE_CLOSED" not in again:
            again += [each["type"] for each in (await anext(stream)).json["events"]]
    assert again == [*types, "CASE_CLOSED"]


async def test_an_error_of_a_watch_comes_with_its_end(orders):
    end = await the_end_of(orders, callbackCaseId="0" * 32)
    assert (end.is_end, reason(end.json["error"])) == (True, "CALLBACK_NOT_FOUND")


async def test_a_stop_ends_watches_at_once_and_tells_them_to_resume(world):
    async with running_console(world.system.grpc, grace_s=60) as console:
        async with caller(console, world.tokens["orders"]) as http, watching(http) as (stream, _):
            await console.stop()
            (end,) = [each async for each in stream]
        assert (end.json["error"]["code"], reason(end.json["error"])) == ("unavailable", "SERVER_STOPPING")


async def test_without_principals_it_serves_only_the_own_machine(world, store_of):
    own = {"public_url": "https://console.example"}
    host = {"Host": "console.example"}
    async with running_services(store_of()) as services:
        async with running_console(services.address) as console, caller(console) as http:
            assert (await http.post("ListCallbacks", json={})).status_code == 200
        async with running_console(services.address, **own) as console, caller(console, "any") as http:
            answer = await http.post("ListCallbacks", json={}, headers=host)
            assert (answer.status_code, answer.json()["code"]) == (400, "failed_precondition")
    async with running_console(world.system.grpc, **own) as console, caller(console, world.tokens["orders"]) as http:
        for _ in range(2):
            assert (await http.post("ListCallbacks", json={}, headers=host)).status_code == 200


def test_the_openapi_document_is_valid_and_has_every_rpc():
    # The import builds parsers for seconds, which each test process would spend while it collects.
    from openapi_spec_validator import validate

    document = json.loads(DOCUMENT.read_text())
    validate(document)
    assert list(document["paths"]) == list(forwarding.RPCS)
    assert [each["url"] for each in document["servers"]] == ["/", "http://127.0.0.1:8083"]


async def test_the_openapi_document_is_served_without_a_session(world):
    async with world.visitor() as http:
        answer = await http.get("/api/openapi.json")
    assert (answer.status_code, answer.content) == (200, DOCUMENT.read_bytes())


async def test_a_client_that_is_generated_from_the_openapi_document_makes_calls(world, tmp_path, monkeypatch):
    config = Config.from_sources(
        ConfigFile(post_hooks=[]), MetaType.NONE, DOCUMENT, "utf-8", True, tmp_path / "generated"
    )
    data = GeneratorData.from_dict(json.loads(DOCUMENT.read_text()), config=config)
    assert list(Project(openapi=data, config=config).build()) == []
    monkeypatch.syspath_prepend(tmp_path)
    models = importlib.import_module("generated.models")
    service = importlib.import_module("generated.api.callbacks_service")
    rpcs = {
        name: importlib.import_module(f"{service.__name__}.{name}")
        for name in ("generate_callback_url", "get_callback")
    }
    client = importlib.import_module("generated.client").AuthenticatedClient(world.url, world.tokens["orders"])
    response = models.Response(response_type=models.ResponseType.RESPONSE, response_body="ok")
    request = models.GenerateCallbackUrlRequest(callback_activity="record", response=response, time_to_live="90s")
    async with client:
        made = await rpcs["generate_callback_url"].asyncio(client=client, body=request)
        assert (await world.system.http.get(made.callback_url)).text == "ok"
        found = await rpcs["get_callback"].asyncio(
            client=client, body=models.GetCallbackRequest(callback_case_id=made.callback_case_id)
        )
        assert found.callback.status is models.CallbackStatus.CLOSED
        assert found.callback.call_count == 1
        lost = await rpcs["get_callback"].asyncio(
            client=client, body=models.GetCallbackRequest(callback_case_id="0" * 32)
        )
        assert (lost.code, lost.details[0].debug["reason"]) == (models.ErrorCode.NOT_FOUND, "CALLBACK_NOT_FOUND")


async def test_the_five_minutes_by_curl_and_json_alone(world, tmp_path):
    require("curl")
    page = (ROOT / "docs" / "api.md").read_text()
    (block,) = re.findall(r"^```sh\n(API=.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / ".curlrc").write_text(f'header = "Authorization: Bearer {world.tokens["orders"]}"\n')
    environment = {**os.environ, "CURL_HOME": str(tmp_path)}
    known, printed = {}, []
    setup, *commands = re.split(r"\n(?=curl)", block.strip())
    for command in commands:
        for word, value in known.items():
            command = re.sub(rf"\b{re.escape(word)}\b", value, command)
        script = f"{setup.replace('127.0.0.1:8083', str(world.console.address))}\n{command}"
        run = ["bash", "-c", script]
        options = {"env": environment, "capture_output": True, "text": True, "check": True}
        done = await asyncio.to_thread(subprocess.run, run, **options)
        printed.append(done.stdout)
        for word, name in (("URL", "callbackUrl"), ("CASE", "callbackCaseId"), ("CALL", "callId")):
            if found := re.search(rf'"{name}": "([^"]+)"', done.stdout):
                known.setdefault(word, found[1])
    generated, called, listed, calls, call = printed
    assert called.endswith("thank you")
    assert known["CASE"] in listed
    assert known["CALL"] in calls
    assert json.loads(call)["call"]["requestBody"] == "id=tr_7"
    assert json.loads(generated)["warnings"] == []
