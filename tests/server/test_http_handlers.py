"""HTTP handlers: the request that they get, and what their answers decide."""

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import grpc
import pytest
import standardwebhooks
from server.test_forms import FIELDS, expenses, submit
from server.test_notifications import DELIVERED, QUICK, expire, generate, notifications, refused, remind
from support.http_handlers import OTHER_SECRET, SECRET, HttpHandlerServer, answer, http_activity
from support.services import redirect, refusal, response, running_services
from support.store import free_port
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1.callback_handler_service_pb2 import HandleCallbackRequest
from callback_server import control_plane
from callback_server.handlers.http import handler, pool, request
from callback_server.handlers.http.request import MAX_METADATA_BYTES, MAX_QUERY_BYTES


@contextlib.asynccontextmanager
async def asking(store, folder, *answers, server=(), **settings):
    """Run services whose activity `act` has an HTTP handler that gives these answers."""
    async with (
        HttpHandlerServer(*answers) as handler,
        running_services(
            store, activities={"act": http_activity(handler.url, folder, **settings)}, **dict(server)
        ) as services,
    ):
        services.handler = handler
        yield services


async def outcome(services, **call):
    """Call a new callback, and return its recorded call once it has ended."""
    made = await services.generate("act")
    with contextlib.suppress(grpc.aio.AioRpcError):
        await services.call(made, **call)
    return await services.ended(made)


async def test_the_handler_gets_method_body_named_headers_and_signed_metadata(shared_store, tmp_path):
    async with asking(shared_store, tmp_path, request_headers=["X-Event"]) as services:
        made = await services.generate(
            "act", callback_activity_case="order-5", labels={"order": "5"}, state_query_parameter="state"
        )
        await services.call(
            made, method="put", body=b"\x00body", state_query_parameter="state",
            request_query_string=f"status=paid&state={made.callback_state}&id=5&id=6",
            request_query=[
                {"name": "status", "value": "paid"}, {"name": "state", "value": made.callback_state},
                {"name": "id", "value": "5"}, {"name": "id", "value": "6"},
            ],
            request_headers=[
                {"name": "content-type", "value": "text/x"}, {"name": "x-event", "value": "caf\u00e9"},
                {"name": "authorization", "value": "hunter2"}, {"name": "webhook-id", "value": "mine"},
                {"name": "callback-metadata", "value": "mine"},
            ],
            client_address="192.0.2.1",
        )  # fmt: skip
        (got,) = services.handler.requests
        call = await services.ended(made)
    assert (got.method, got.path, got.body) == ("PUT", "/hook", b"\x00body")
    got.verify()
    assert got.headers["webhook-id"] == call.call_id
    assert [value for name, value in got.fields if name in ("content-type", "x-event")] == ["text/x", "caf\u00e9"]
    assert "hunter2" not in str(got.fields)
    assert "mine" not in str(got.fields)
    assert made.callback_state not in str(got.metadata)
    told = got.metadata
    assert told.pop("deadline").endswith("Z")
    assert 50 < float(told.pop("timeout").removesuffix("s")) <= 60
    assert told == {
        "callId": call.call_id, "callbackSystemCase": made.callback_case_id, "callbackActivity": "act",
        "callbackActivityCase": "order-5", "owner": "local", "attempt": 1, "reason": "CALL", "verified": False,
        "requestMethod": "put", "requestQuery": {"status": "paid", "id": ["5", "6"]}, "clientAddress": "192.0.2.1",
        "labels": {"order": "5"},
    }  # fmt: skip


async def test_a_query_that_does_not_fit_is_no_call_and_what_is_not_needed_is_left_out(shared_store, tmp_path):
    told = {"callback_activity_case": "\u00e9" * 200, "labels": {f"label-{n}": "v" * 200 for n in range(16)}}
    longest = {"name": "a", "value": "v" * (MAX_QUERY_BYTES - len('{"a":""}'))}
    async with asking(shared_store, tmp_path) as services:
        for mode in (pb.ANSWER_MODE_HANDLER, pb.ANSWER_MODE_ACK):
            made = await services.generate("act", answer_mode=mode, **told)
            said = await refusal(services.call(made, request_query=[longest, {"name": "b", "value": ""}]))
            assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "QUERY_TOO_LONG")
            assert (await services.case_of(made)).call_count == 0
            await services.call(made, request_query=[longest])
        await wait_until(lambda: len(services.handler.requests) == 2)
        for got in services.handler.requests:
            got.verify()
            assert len(got.headers["callback-metadata"]) <= MAX_METADATA_BYTES
            assert (got.metadata["leftOut"], "labels" in got.metadata) == (["labels"], False)
        confirmed = await services.generate("act", get_guard=pb.GET_GUARD_CONFIRM)
        shown = services.call(confirmed, method="get", request_query=[longest, longest])
        assert (await refusal(shown)).reason == "QUERY_TOO_LONG"  # before a person confirms
        held = await services.generate("act", answer_mode=pb.ANSWER_MODE_HOLD)
        caller = services.call(held, request_query=[longest, longest])
        await services.answer_running(held)
        await caller


async def test_the_fields_that_a_person_filled_in_arrive_typed_unless_they_do_not_fit(store_of, tmp_path):
    long = pb.PromptField(name="note", label="Note", kind=pb.FIELD_KIND_LONG_TEXT)
    labels = {f"label-{n}": "v" * 200 for n in range(16)}
    async with asking(store_of(), tmp_path, notifications=True, server={"sweeps": True}) as services:

        async def metadata_of(call):
            await call
            got = services.handler.requests[-1]
            got.verify()
            return got.metadata

        async def form(**more):
            return await expenses(services, "act", fields=[*FIELDS[:2], long], **more)

        filled = [("amount", "12.50"), ("note", "a\r\nb")]
        told = await metadata_of(submit(services, await form(), filled))
        assert (told["fields"], told.get("leftOut")) == ({"amount": 12.5, "note": "a\nb"}, None)
        filled = [("amount", "1"), ("note", "v" * 6_000)]
        told = await metadata_of(submit(services, await form(labels=labels), filled))
        assert told["leftOut"] == ["labels", "fields"]
        assert not {"fields", "labels"} & told.keys()
        assert not {"fields", "leftOut"} & (await metadata_of(services.call(await services.generate("act")))).keys()
        reminded = await form(remind_after=[{"seconds": 60}], notify=[pb.CALL_REASON_REMINDER])
        await remind(services, reminded)
        await notifications(services, reminded, DELIVERED)
        assert "fields" not in services.handler.requests[-1].metadata


async def test_a_call_whose_metadata_does_not_fit_was_not_started(shared_store, tmp_path, limits):
    limits(request, MAX_METADATA_BYTES=100)
    async with asking(shared_store, tmp_path) as services:
        made = await services.generate("act")
        assert (await refusal(services.call(made))).reason == "HANDLER_NOT_STARTED"
        (call,) = await services.calls_of(made)
        assert (call.status, call.failure) == (pb.CALL_STATUS_NOT_STARTED, pb.CALL_FAILURE_TOO_LARGE)
        assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN
        assert services.handler.requests == []


async def test_a_signature_of_another_secret_or_content_does_not_verify(shared_store, tmp_path):
    async with asking(shared_store, tmp_path) as services:
        await services.call(await services.generate("act"), body=b"paid")
        (got,) = services.handler.requests
    got.verify(SECRET)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        got.verify(OTHER_SECRET)
    for changed in ({"body": b"open"}, {"headers": got.headers | {"callback-metadata": "e30"}}):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            type(got)(**vars(got) | changed).verify()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (answer(201, b"made"), pb.CALL_STATUS_SUCCEEDED, 201),
        (answer(204), pb.CALL_STATUS_SUCCEEDED, 204),
        (answer(400, b"made"), pb.CALL_STATUS_REJECTED, 400),
        (answer(409, b"made"), pb.CALL_STATUS_REJECTED, 409),
        (answer(422, b"made"), pb.CALL_STATUS_REJECTED, 422),
        (answer(200, b"made", "Callback-Decision: reject"), pb.CALL_STATUS_REJECTED, 200),
        (answer(403, b"made", "callback-decision: reject"), pb.CALL_STATUS_REJECTED, 403),
    ],
)
async def test_the_answer_is_that_of_the_caller(shared_store, tmp_path, sent, status, code):
    fields = b"content-type: text/x\r\nx-kept: 5\r\nx-dropped: 6\r\n\r\n"
    async with asking(
        shared_store, tmp_path, sent.replace(b"\r\n\r\n", b"\r\n" + fields, 1), response_headers=["X-Kept"]
    ) as services:
        made = await services.generate("act", response=response(response_body=b"of the case"))
        said = (await services.call(made)).response
        ended = await services.ended(made)
    assert (ended.status, said.response_code, said.response_body) == (status, code, b"" if code == 204 else b"made")
    assert [(each.name, each.value) for each in said.response_headers.headers] == [
        ("content-type", "text/x"), ("x-kept", "5"),
    ]  # fmt: skip


async def test_a_redirect_of_the_handler_is_that_of_the_caller(shared_store, tmp_path):
    sent = answer(307, b"", "location: https://shop.example/thanks")
    async with asking(shared_store, tmp_path, sent) as services:
        said = (await services.call(await services.generate("act"))).response
        assert len(services.handler.requests) == 1
    assert said == redirect(response_redirect_url="https://shop.example/thanks")


@pytest.mark.parametrize("location", ["/hook/", "https://127.0.0.1:{port}/hook", "http://127.0.0.1:{port}/hook/"])
async def test_a_redirect_to_the_target_in_another_form_fails_the_call(shared_store, tmp_path, location):
    async with asking(shared_store, tmp_path) as services:
        port = services.handler.port
        services.handler.answers = [answer(308, b"", f"location: {location.format(port=port)}")]
        ended = await outcome(services)
    assert ended.failure == pb.CALL_FAILURE_INVALID_RESPONSE
    assert "its own URL in another form" in ended.failure_detail


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("keep-open", pb.CALLBACK_STATUS_OPEN, pb.CLOSE_REASON_UNSPECIFIED),
        ("Close, no-repeat", pb.CALLBACK_STATUS_CLOSED, pb.CLOSE_REASON_CONSUMED),
    ],
)
async def test_the_decision_says_what_becomes_of_the_callback(shared_store, tmp_path, words, status, reason):
    async with asking(shared_store, tmp_path, answer(200, b"", f"callback-decision: {words}")) as services:
        made = await services.generate("act", allow_multiple_calls="lose" in words)
        await services.call(made)
        case = await services.case_of(made)
    assert (case.status, case.close_reason) == (status, reason)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
async def test_every_other_code_fails_the_call(shared_store, tmp_path, status):
    async with asking(shared_store, tmp_path, answer(status, b"hunter2", 'www-authenticate: Basic realm="a"')) as all_:
        made = await all_.generate("act")
        said = await refusal(all_.call(made))
        ended = await all_.ended(made)
    assert (said.reason, ended.failure) == ("HANDLER_FAILED", pb.CALL_FAILURE_HANDLER_ERROR)
    assert ended.failure_detail == f"the handler answered {status}"
    assert "hunter2" not in said.text


async def test_a_delivery_is_repeated_with_the_same_id_and_a_call_is_not(store_of, tmp_path):
    async with asking(
        store_of(), tmp_path, answer(500), answer(503), answer(200), retry=QUICK, server={"sweeps": True}
    ) as services:
        made = await services.generate("act", answer_mode=pb.ANSWER_MODE_ACK)
        acknowledged = await services.call(made, body=b"paid")
        call = await services.delivery(acknowledged.call_id, DELIVERED, pb.DELIVERY_STATUS_DEAD)
        got = list(services.handler.requests)
        services.handler.answers = [answer(500)]
        failed = await outcome(services)
    assert call.delivery.status == DELIVERED
    assert {each.headers["webhook-id"] for each in got} == {acknowledged.call_id}
    assert [each.metadata["attempt"] for each in got] == [1, 2, 3]
    assert failed.status == pb.CALL_STATUS_FAILED
    assert [each.headers["webhook-id"] for each in services.handler.requests[3:]] == [failed.call_id]


async def test_a_handler_that_is_away_was_not_started_and_is_reached_once_it_is_back(shared_store, tmp_path):
    away = http_activity(f"http://127.0.0.1:{free_port()}/hook", tmp_path)
    async with running_services(shared_store, activities={"act": away}) as services:
        made = await services.generate("act")
        said = await refusal(services.call(made))
        (call,) = await services.calls_of(made)
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        assert (call.status, call.failure) == (pb.CALL_STATUS_NOT_STARTED, pb.CALL_FAILURE_HANDLER_UNREACHABLE)
        assert "127.0.0.1: Connect" in call.failure_detail
        assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN


async def test_a_call_whose_time_was_over_before_it_was_sent_was_not_started(shared_store, tmp_path, monkeypatch):
    jumps = itertools.count(step=100)  # as for a process that is suspended between two looks at the clock
    async with asking(shared_store, tmp_path) as services:
        made = await services.generate("act")
        monkeypatch.setattr(handler, "time", SimpleNamespace(monotonic=lambda: next(jumps)))
        assert (await refusal(services.call(made))).reason == "HANDLER_NOT_STARTED"
        assert services.handler.requests == []
        assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN


async def test_a_connection_is_used_again_while_it_is_fresh(shared_store, tmp_path, limits):
    async with asking(shared_store, tmp_path) as services:
        for _ in range(3):
            await services.call(await services.generate("act"))
        assert services.handler.connections == 1
        limits(pool, MAX_IDLE_S=0)
        for _ in range(2):
            await services.call(await services.generate("act"))
        assert (services.handler.connections, len(services.handler.requests)) == (2, 5)


async def test_a_connection_that_the_handler_has_closed_is_not_used_again(shared_store, tmp_path):
    async def closes(_request, writer):
        writer.write(answer(200))
        writer.close()

    async with asking(shared_store, tmp_path, closes) as services:
        for _ in range(3):
            assert (await services.call(await services.generate("act"))).response.response_code == 200
        assert services.handler.connections == 3


async def test_no_more_requests_run_than_the_activity_allows(shared_store, tmp_path):
    may_end = asyncio.Event()

    async def waits(_request, writer):
        await may_end.wait()
        writer.write(answer())

    async with asking(shared_store, tmp_path, waits, max_in_flight=1, connect_timeout_s=0.05, deadline_s=5) as services:
        first, second = await services.generate("act"), await services.generate("act")
        caller = services.call(first)
        await wait_until(lambda: services.handler.requests)
        assert (await refusal(services.call(second))).reason == "HANDLER_NOT_STARTED"
        may_end.set()
        await caller
        await services.call(second)
    assert len(services.handler.requests) == 2


async def test_a_call_that_waits_for_a_connection_when_the_server_stops_was_not_started(store_of, tmp_path, limits):
    limits(control_plane, RECORD_S=20)

    async def never(_request, _writer):
        await asyncio.Event().wait()

    async with asking(
        store_of(), tmp_path, never, max_in_flight=1, connect_timeout_s=60, server={"grace_s": 2}
    ) as services:
        running, waiting = await services.generate("act"), await services.generate("act")
        callers = [services.call(running)]
        await wait_until(lambda: services.handler.requests)
        callers.append(services.call(waiting))
        await services.running(waiting)
        await services.control_plane.stop()
        said = await refusal(callers[1])
    assert said.reason == "HANDLER_NOT_STARTED"


async def test_a_handler_gets_reminders_and_expiries_in_the_same_way(store_of, tmp_path):
    sent = answer(500), answer(200), answer(200, b"", "callback-decision: close")
    async with asking(
        store_of(), tmp_path, *sent, notifications=True, retry=QUICK, server={"sweeps": True}
    ) as services:
        expired, reminded = await generate(services), await generate(services)
        await expire(services, expired)
        (expiry,) = await notifications(services, expired, DELIVERED)
        await remind(services, reminded)
        (reminder,) = await notifications(services, reminded, DELIVERED)
        assert (await services.case_of(reminded)).close_reason == pb.CLOSE_REASON_CONSUMED
        got = services.handler.requests
    assert [each.headers["webhook-id"] for each in got] == [expiry.call_id, expiry.call_id, reminder.call_id]
    assert [each.metadata["reason"] for each in got] == ["EXPIRY", "EXPIRY", "REMINDER"]
    for each in got:
        each.verify()
        assert (each.method, each.body, "requestMethod" in each.metadata) == ("POST", b"", False)


async def test_a_handler_of_calls_alone_gets_no_notification(store_of, tmp_path):
    async with asking(store_of(), tmp_path, server={"sweeps": True}) as services:
        made = await generate(services)
        await expire(services, made)
        await refused(services, made)
        assert services.handler.requests == []


async def test_a_callback_is_made_with_a_warning_if_its_handler_takes_no_notifications(shared_store, tmp_path):
    fields = {"notify": [pb.CALL_REASON_EXPIRY], "time_to_live": {"seconds": 60}}
    async with asking(shared_store, tmp_path) as services:
        (warning,) = (await services.generate("act", **fields)).warnings
        assert warning.reason == rpc.WARNING_REASON_NOTIFICATIONS_NOT_SERVED
        assert warning.text == (
            "the HTTP handler of the activity act takes no notifications: "
            "they wait until its setting http.notifications is true"
        )
        assert not (await services.generate("act")).warnings
    async with asking(shared_store, tmp_path, notifications=True) as services:
        assert not (await services.generate("act", **fields)).warnings


async def test_a_late_answer_fails_the_call(shared_store, tmp_path):
    async def late(_request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlat")
        await asyncio.Event().wait()

    async with asking(shared_store, tmp_path, late, deadline_s=0.2) as services:
        made = await services.generate("act")
        assert (await refusal(services.call(made))).code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await services.ended(made)).failure == pb.CALL_FAILURE_DEADLINE_EXCEEDED


def test_each_field_of_a_call_is_in_the_metadata_or_has_its_reason_not_to_be():
    elsewhere = {"request_body", "request_headers", "traceparent"}  # of the HTTP request
    not_sent = {"response", "request_query_string", "report_error"}  # an HTTP handler has no error but its status
    as_object = {"fields_json"}  # `fields`, in place of the text of an object
    fields = {field.name for field in HandleCallbackRequest.DESCRIPTOR.fields}
    sent = fields - elsewhere - not_sent - as_object
    assert {*request.Metadata.__struct_fields__} == sent | {"fields", "left_out"}
