"""Traces of the whole path of a call, as a collector gets them."""

import asyncio
import functools
from urllib.parse import urlsplit

import pytest
from support.handlers import accept
from support.wait import wait_until
from tracing.conftest import trace_context

from callback import AnswerMode, Response

GENERATE = "callback.v1.CallbacksService/GenerateCallbackUrl"
INVOKE = "callback.v1.EdgeService/StreamInvocations"
HANDLE = "callback.v1.CallbackHandlerService/HandleCallback"


async def generate(traced, activity, **settings):
    """Generate a callback from a program that traces, and return it with the ids of that program's span."""
    creator, traceparent = trace_context()
    made = await traced.system.client.generate_callback_url(
        activity, Response(b"answer"), traceparent=traceparent, **settings
    )
    return made, creator


async def spans_of(traced, made, *names):
    """Wait until there is a span of each name in the traces of a callback's calls, and return them in this order."""

    def found():
        traces = {span.trace_id for span in traced.receiver.spans(case_id=made.case_id)}
        spans = [span for span in traced.receiver.spans() if span.trace_id in traces]
        by_name = [next((span for span in spans if span.name == name), None) for name in names]
        return by_name if all(by_name) else None

    return await wait_until(found, what=f"the spans {names} of {made.case_id}")


async def test_the_trace_of_a_call_leads_from_the_caller_to_the_worker_and_is_linked_to_who_generated_it(traced):
    made, creator = await generate(traced, "work")
    caller, traceparent = trace_context()
    answer = await traced.system.http.post(made.url, content=b"paid", headers={"traceparent": traceparent})
    assert answer.content == b"done"
    names = GENERATE, "POST /cb/{state}", INVOKE, "send work", "process work"
    generated, edge, call, offer, worker = spans = await spans_of(traced, made, *names)

    assert (generated.trace_id, generated.parent_id) == creator
    assert (edge.service, edge.kind, edge.parent_id) == ("callback-edge", "SERVER", "")
    assert edge.trace_id not in (caller[0], creator[0])
    assert edge.links == (caller, creator)
    for span, parent in ((call, edge), (offer, call), (worker, offer)):
        assert (span.trace_id, span.parent_id) == (edge.trace_id, parent.span_id)
    assert call.links == (creator,)
    assert offer.links == worker.links == ()
    assert [(each.service, each.kind) for each in (call, offer, worker)] == [
        ("callback-server", "SERVER"),
        ("callback-server", "PRODUCER"),
        ("worker", "CONSUMER"),
    ]
    (handled,) = [each for each in traced.calls if each.case_id == made.case_id]
    assert handled.traceparent == offer.traceparent
    assert not any(span.is_error for span in spans)


async def test_what_a_server_logs_of_a_call_has_the_ids_of_its_span(traced):
    made, _ = await generate(traced, "work")
    await traced.system.http.post(made.url)
    (call,) = await spans_of(traced, made, INVOKE)
    logged = {
        each["event"]: (each.get("trace_id"), each.get("span_id"))
        for each in traced.system.servers[0].events()
        if each.get("case_id") == made.case_id
    }
    assert logged["call_started"] == logged["call_ended"] == (call.trace_id, call.span_id)


async def test_attributes_follow_the_semantic_conventions(traced):
    made, _ = await generate(traced, "work")
    await traced.system.http.put(made.url + "?status=paid")
    edge, call, offer = await spans_of(traced, made, "PUT /cb/{state}", INVOKE, "send work")
    host, _, port = traced.system.url.removeprefix("http://").partition(":")
    call_id = call.attributes["callback.call_id"]
    assert edge.attributes == {
        "http.request.method": "PUT",
        "http.route": "/cb/{state}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": host,
        "server.port": int(port),
        "callback.call_id": call_id,
    }
    of_call = {
        "callback.activity": "work",
        "callback.case_id": made.case_id,
        "callback.call_id": call_id,
        "callback.attempt": 1,
        "callback.reason": "CALL",
    }
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": INVOKE,
        "rpc.response.status_code": "OK",
        **of_call,
    }
    assert offer.attributes == {
        "messaging.system": "callback",
        "messaging.operation.name": "offer",
        "messaging.operation.type": "send",
        "messaging.destination.name": "work",
        "messaging.message.id": call_id,
        "callback.verdict": "ACCEPTED",
        "callback.worker": "orders-1",
        **of_call,
    }


async def test_a_push_handler_gets_the_trace_context_as_metadata_and_in_the_message(traced):
    metadata = []

    async def script(_request, context):
        metadata.extend(context.invocation_metadata())
        return accept()

    name = traced.push.play(script)
    made, _ = await generate(traced, "push", activity_case=name)
    await traced.system.http.get(made.url)
    (span,) = await spans_of(traced, made, HANDLE)
    host, _, port = traced.push.target.partition(":")
    assert span.kind == "CLIENT"
    assert (span.attributes["server.address"], span.attributes["server.port"]) == (host, int(port))
    assert dict(metadata)["traceparent"] == traced.push.requests(name)[0].traceparent == span.traceparent


async def test_an_http_handler_gets_the_trace_context_as_a_header(traced):
    made, _ = await generate(traced, "http")
    await traced.system.http.put(made.url)
    call, span = await spans_of(traced, made, INVOKE, "PUT")
    assert (span.service, span.kind, span.links, span.is_error) == ("callback-server", "CLIENT", (), False)
    assert (span.trace_id, span.parent_id) == (call.trace_id, call.span_id)
    assert span.attributes == {
        "http.request.method": "PUT",
        "server.address": "127.0.0.1",
        "server.port": traced.http_handler.port,
        "callback.activity": "http",
        "callback.case_id": made.case_id,
        "callback.call_id": call.attributes["callback.call_id"],
        "callback.attempt": 1,
        "callback.reason": "CALL",
        "callback.verdict": "ACCEPTED",
    }
    (got,) = [each for each in traced.http_handler.requests if each.metadata["callbackSystemCase"] == made.case_id]
    assert got.headers["traceparent"] == span.traceparent


async def test_a_retry_is_a_root_with_links_to_the_call_and_to_who_generated_the_callback(traced):
    made, creator = await generate(traced, "flaky", answer_mode=AnswerMode.ACK)
    await traced.system.http.post(made.url)
    (call,) = await spans_of(traced, made, INVOKE)
    find = functools.partial(traced.receiver.spans, case_id=made.case_id, name="send flaky")
    (first,) = await wait_until(lambda: find(attempt=1))
    (again,) = await wait_until(lambda: find(attempt=2))
    assert (first.trace_id, first.parent_id, first.is_error) == (call.trace_id, call.span_id, True)
    assert first.attributes["error.type"] == "HANDLER_ERROR"
    assert (again.parent_id, again.is_error) == ("", False)
    assert again.trace_id not in (call.trace_id, creator[0])
    assert again.links == ((call.trace_id, call.span_id), creator)
    assert [each.traceparent for each in traced.calls if each.case_id == made.case_id] == [
        first.traceparent,
        again.traceparent,
    ]


@pytest.mark.parametrize(
    "given",
    [
        ["00-0123456789ABCDEF0123456789ABCDEF-0123456789abcdef-01"],
        ["ff-0123456789abcdef0123456789abcdef-0123456789abcdef-01"],
        ["00-0123456789abcdef0123456789abcdef-0123456789abcdef-01-more"],
        ["01-0123456789abcdef0123456789abcdef-0123456789abcdef-01-" + 300 * "x"],
        [f"00-{2:032x}-{1:016x}-01", f"00-{3:032x}-{1:016x}-01"],
    ],
    ids=["in capitals", "of no version", "of version 0 with more", "too long", "given twice"],
)
async def test_a_malformed_trace_context_of_a_caller_is_ignored(traced, given):
    made, creator = await generate(traced, "record")
    headers = [("traceparent", each) for each in given]
    assert (await traced.system.http.get(made.url, headers=headers)).status_code == 200
    (edge,) = await spans_of(traced, made, "GET /cb/{state}")
    assert edge.links == (creator,)


async def test_a_callback_generated_without_a_trace_context_has_calls_without_a_link(traced):
    made = await traced.system.client.generate_callback_url("record", Response(b"answer"))
    await traced.system.http.get(made.url)
    edge, call = await spans_of(traced, made, "GET /cb/{state}", INVOKE)
    assert edge.links == call.links == ()


async def test_a_failed_call_is_an_error_of_edge_and_server_and_a_refused_one_is_none(traced):
    made, _ = await generate(traced, "broken", retryable_after_error=True)
    assert (await traced.system.http.post(made.url, content=b"x")).status_code == 502
    spans = await spans_of(traced, made, "POST /cb/{state}", INVOKE, "send broken")
    types = "handler_failed", "HANDLER_FAILED", "HANDLER_ERROR"
    assert tuple(span.attributes["error.type"] for span in spans) == types
    assert all(span.is_error for span in spans)
    unknown = traced.system.url + "/cb/01234567-89ab-4def-8123-456789abcdef"
    before = len(traced.receiver.spans(name="DELETE /cb/{state}"))
    assert (await traced.system.http.delete(unknown)).status_code == 404
    span = await wait_until(lambda: traced.receiver.spans(name="DELETE /cb/{state}")[before:])
    assert not span[0].is_error
    (call,) = await wait_until(lambda: traced.receiver.spans(name=INVOKE, parent_id=span[0].span_id))
    assert (call.is_error, call.attributes["rpc.response.status_code"]) == (False, "NOT_FOUND")


async def test_a_request_whose_caller_disconnects_is_an_error_without_a_status(traced):
    made, _ = await generate(traced, "form", answer_mode=AnswerMode.HOLD)
    url = urlsplit(made.url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(f"PATCH {url.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await writer.drain()
    writer.close()
    (span,) = await wait_until(lambda: traced.receiver.spans(name="PATCH /cb/{state}"))
    assert (span.is_error, span.attributes["error.type"]) == (True, "caller_gone")
    assert "http.response.status_code" not in span.attributes
