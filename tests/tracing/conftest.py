"""A system of processes that trace, with a receiver of their spans, a push handler, an HTTP handler, and a worker."""

import contextlib
import secrets
from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from support.handlers import stub_handler
from support.http_handlers import SECRET, HttpHandlerServer
from support.otlp import exporting_to, otlp_receiver
from support.system import own_store, running_system
from support.workers import connected

from callback import Handlers, Reject, Response, Worker


def trace_context():
    """Return a new trace context: its ids, and its text."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return (trace, span), f"00-{trace}-{span}-01"


@pytest.fixture
def store(store_of):
    """Return an empty store for the control planes of one test."""
    return store_of("valkey")


@pytest.fixture(scope="session")
async def traced(tmp_path_factory):
    """Run the system: `system`, its `receiver`, a `push` handler, an `http_handler`, and the `calls` of the worker.

    The worker serves `work`, which makes a span of its own, `flaky`, which fails at the first attempt, and `broken`,
    whose exception has the body of the request.
    """
    directory = tmp_path_factory.mktemp("traced")
    with own_store(directory) as store:
        async with contextlib.AsyncExitStack() as parts:
            receiver = await parts.enter_async_context(otlp_receiver())
            push = await parts.enter_async_context(stub_handler())
            http_handler = await parts.enter_async_context(HttpHandlerServer())
            secret = directory / "handler-secret"
            secret.write_text(SECRET)
            config = f"""
                server.tracing = true
                edge.tracing = true
                activities.push = {{ target = "{push.target}" }}
                activities.http = {{ target = "{http_handler.url}?token=hidden", http.secret_files = ["{secret}"] }}
                activities.flaky = {{ retry = {{ initial_s = 0.01 }} }}
            """
            environment = exporting_to(receiver)
            system = await parts.enter_async_context(
                running_system(directory, store, config=config, server=environment, edge=environment)
            )
            calls = []
            provider = TracerProvider(resource=Resource.create({"service.name": "worker"}), shutdown_on_exit=False)
            exporter = OTLPSpanExporter(f"http://{receiver.address}")
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
            parts.callback(provider.shutdown)
            handlers = _handlers(calls, provider.get_tracer("worker"))
            await parts.enter_async_context(connected(Worker(handlers, system.grpc, name="orders-1")))
            yield SimpleNamespace(system=system, receiver=receiver, push=push, http_handler=http_handler, calls=calls)


def _handlers(calls, tracer):
    handlers = Handlers()

    @handlers.activity("work")
    async def work(call):
        calls.append(call)
        parent = extract({"traceparent": call.traceparent})
        with tracer.start_as_current_span("process work", context=parent, kind=SpanKind.CONSUMER):
            return Response(b"done")

    @handlers.activity("flaky")
    async def flaky(call):
        calls.append(call)
        if call.attempt == 1:
            raise RuntimeError("the first attempt fails")
        return Response(b"done")

    @handlers.activity("broken")
    async def broken(call):
        if b"reject" in call.body:
            raise Reject(Response(call.body, code=400))
        raise ValueError(call.body.decode())

    return handlers
