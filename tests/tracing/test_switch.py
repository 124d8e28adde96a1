"""Traces on and off: sampling, the stop, the extra, and a process that does not trace."""

import asyncio
import importlib
import subprocess
import sys
import threading

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from support.handlers import accept, stub_handler
from support.otlp import exporting_to, otlp_receiver
from support.services import response, running_services
from support.wait import DEADLINE_S, wait_until

from callback.v1 import callbacks_service_pb2 as pb2
from callback.v1.edge_service_pb2 import InvokeRequest
from callback_process.entry_point import StartError
from callback_server import control_plane
from callback_server.settings import ActivitySettings

PROGRAM = """
import sys
from callback_edge import main as edge
from callback_edge.edge import Edge
from callback_edge.settings import EdgeSettings
from callback_server import main as server
from callback_server.control_plane import ControlPlane
from callback_server.settings import ServerSettings

async def start():
    Edge(EdgeSettings())
    ControlPlane(ServerSettings())

import asyncio
asyncio.run(start())
traces = "opentelemetry.sdk.trace", "opentelemetry.exporter", "callback_process.traces"  # redis-py imports metrics
print(*(name for name in sys.modules if name.startswith(traces)))
"""


def set_environment(monkeypatch, receiver, **more):
    for name, value in exporting_to(receiver, **more).items():
        monkeypatch.setenv(name, value)


def generating(activity="record", **settings):
    """Return a request for a callback."""
    return pb2.GenerateCallbackUrlRequest(
        callback_activity=activity, response=response(response_body=b"answer"), **settings
    )


async def test_a_process_that_stops_sends_the_spans_that_are_left(store, monkeypatch):
    async with otlp_receiver() as receiver:
        set_environment(monkeypatch, receiver, OTEL_BSP_SCHEDULE_DELAY="3600000")
        monkeypatch.setattr(control_plane, "FLUSH_S", DEADLINE_S)
        async with running_services(store, tracing=True, grace_s=DEADLINE_S) as services:
            made = await services.callbacks.GenerateCallbackUrl(generating())
            assert receiver.spans() == []
        (span,) = receiver.spans()
        assert span.attributes["callback.case_id"] == made.callback_case_id


async def test_a_process_stops_and_ends_while_its_collector_answers_nothing(store, monkeypatch):
    answers, waiting, shut_down = threading.Event(), [], BatchSpanProcessor.shutdown

    def wait(processor):
        waiting.append(threading.current_thread())
        answers.wait()
        shut_down(processor)

    monkeypatch.setattr(BatchSpanProcessor, "shutdown", wait)
    async with otlp_receiver() as receiver:
        set_environment(monkeypatch, receiver, OTEL_BSP_SCHEDULE_DELAY="3600000")
        try:
            async with asyncio.timeout(DEADLINE_S), running_services(store, tracing=True, grace_s=0) as services:
                await services.callbacks.GenerateCallbackUrl(generating())
            (thread,) = await wait_until(lambda: waiting, what="the end of the traces")
            assert thread.daemon  # the process does not wait for it at its end
        finally:
            answers.set()
        await wait_until(receiver.spans, what="the span that was left")


async def test_a_handler_gets_the_trace_context_of_a_call_that_is_not_sampled(store, monkeypatch):
    async with otlp_receiver() as receiver, stub_handler() as handler:
        set_environment(monkeypatch, receiver, OTEL_TRACES_SAMPLER="always_off", OTEL_BSP_SCHEDULE_DELAY="3600000")
        activities = {"push": ActivitySettings(target=handler.target)}
        seen = []

        async def script(request, context):
            seen.append((request.traceparent, dict(context.invocation_metadata())["traceparent"]))
            return accept()

        name = handler.play(script)
        async with running_services(store, tracing=True, activities=activities) as services:
            made = await services.callbacks.GenerateCallbackUrl(generating("push", callback_activity_case=name))
            await services.edge.Invoke(InvokeRequest(state=made.callback_state, request_method="get"))
        [(message, metadata)] = seen
        assert message == metadata
        assert message.startswith("00-")
        assert not int(message[-2:], 16) & 1
        assert receiver.requests == []


def test_a_process_that_does_not_trace_imports_nothing_for_it():
    program = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert program.stdout == "\n"


@pytest.mark.parametrize("part", ["edge", "server"])
def test_without_the_extra_the_start_says_what_to_install(monkeypatch, part):
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "callback_process.traces", raising=False)
    monkeypatch.delitem(sys.modules, f"callback_{part}.tracing", raising=False)
    module = importlib.import_module("callback_edge.edge" if part == "edge" else "callback_server.control_plane")
    with pytest.raises(StartError, match=r"requires OpenTelemetry: install Callback with its extra \[otel\]"):
        module._load_tracing()
