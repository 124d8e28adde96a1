"""Traces on and off: sampling, the stop, the extra, and a process that does not trace."""

import asyncio
import subprocess
import sys
import threading

import pytest
from support.handlers import accept, stub_handler
from support.otlp import exporting_to, otlp_receiver
from support.services import running_services
from support.wait import DEADLINE_S, wait_until

from callback_edge.edge import Edge
from callback_edge.settings import EdgeSettings
from callback_process.entry_point import StartError
from callback_server import control_plane
from callback_server.control_plane import ControlPlane
from callback_server.settings import ActivitySettings, ServerSettings

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


@pytest.fixture
async def receiver(monkeypatch):
    """Run a receiver of the spans of this process, which sends them at its stop."""
    async with otlp_receiver() as receiver:
        for name, value in exporting_to(receiver, OTEL_BSP_SCHEDULE_DELAY="3600000").items():
            monkeypatch.setenv(name, value)
        yield receiver


async def test_a_process_that_stops_sends_the_spans_that_are_left(store, receiver, limits):
    limits(control_plane, FLUSH_S=DEADLINE_S)
    async with running_services(store, tracing=True, grace_s=DEADLINE_S) as services:
        made = await services.generate()
        assert receiver.spans() == []
    (span,) = receiver.spans()
    assert span.attributes["callback.case_id"] == made.callback_case_id


async def test_a_process_stops_and_ends_while_its_collector_answers_nothing(store, receiver):
    receiver.gate = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S), running_services(store, tracing=True, grace_s=0) as services:
        await services.generate()
    await wait_until(lambda: receiver.requests, what="the end of the traces")
    (thread,) = (each for each in threading.enumerate() if "shut_down" in each.name)
    assert thread.daemon  # the process does not wait for it at its end
    receiver.gate.set()
    await wait_until(receiver.spans, what="the span that was left")


async def test_a_handler_gets_the_trace_context_of_a_call_that_is_not_sampled(store, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with stub_handler() as handler:
        activities = {"push": ActivitySettings(target=handler.target)}
        seen = []

        async def script(request, context):
            seen.append((request.traceparent, dict(context.invocation_metadata())["traceparent"]))
            return accept()

        name = handler.play(script)
        async with running_services(store, tracing=True, activities=activities) as services:
            await services.call(await services.generate("push", callback_activity_case=name), method="get")
        [(message, metadata)] = seen
        assert message == metadata
        assert message.startswith("00-")
        assert not int(message[-2:], 16) & 1
        assert receiver.requests == []


def test_a_process_that_does_not_trace_imports_nothing_for_it():
    program = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert program.stdout == "\n"


@pytest.mark.parametrize(
    ("part", "create"),
    [
        ("edge", lambda: Edge(EdgeSettings(tracing=True))),
        ("server", lambda: ControlPlane(ServerSettings(tracing=True))),
    ],
    ids=["edge", "server"],
)
def test_without_the_extra_the_start_says_what_to_install(monkeypatch, part, create):
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "callback_process.traces", raising=False)
    monkeypatch.delitem(sys.modules, f"callback_{part}.tracing", raising=False)
    with pytest.raises(StartError, match=r"requires OpenTelemetry: install Callback with its extra \[otel\]"):
        create()
