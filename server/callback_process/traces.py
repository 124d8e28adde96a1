"""Traces of a process, by OpenTelemetry: its spans, and trace contexts as text.

Import this module only if the setting `tracing` is on: nothing else imports OpenTelemetry. The variables `OTEL_…` of
the environment choose the sampler, the limits, and where spans go, as OpenTelemetry defines them. Spans are sent by
OTLP over gRPC. Names of attributes are those of its semantic conventions, or begin with `callback.`.

A trace context is the text of a `traceparent` (W3C Trace Context, section 3.2). The empty text is none.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Mapping
from typing import Final

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased
    from opentelemetry.trace import (
        Link,
        NonRecordingSpan,
        Span,
        SpanContext,
        SpanKind,
        StatusCode,
        TraceFlags,
        get_current_span,
        set_span_in_context,
        use_span,
    )
except ImportError as error:
    raise ImportError(
        "the setting tracing requires OpenTelemetry: install Callback with its extra [otel], see docs/install.md"
    ) from error

from callback_process import logs
from callback_process.entry_point import StartError

__all__ = ["Span", "SpanKind", "Traces", "add_link", "current_span", "running", "set_failed", "traceparent_of"]

Attribute = str | int | bool
current_span = get_current_span
"""Returns the span in which the current task runs."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?"
)


class Traces:
    """The traces of one process, from their creation to `stop`.

    Args:
        service: The `service.name` of the spans, unless the environment has one.

    Raises:
        StartError: OpenTelemetry refuses a variable of the environment.
    """

    def __init__(self, service: str) -> None:
        named = OTELResourceDetector().detect().attributes.get("service.name")
        try:
            self._provider = TracerProvider(
                resource=Resource.create({} if named else {"service.name": service}), shutdown_on_exit=False
            )
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except Exception as error:
            raise StartError(f"tracing cannot start, with the variables OTEL_… as they are: {error}") from error
        self._tracer = self._provider.get_tracer("callback")
        self._follows_parents = isinstance(self._provider.sampler, ParentBased)
        logs.add_ids_of_span(_ids_of_current_span)

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Attribute],
        *,
        parent: str = "",
        links: tuple[str, ...] = (),
    ) -> Span:
        """Start a span. A trace context that is malformed is none.

        Args:
            name: The name.
            kind: The kind.
            attributes: The attributes with which it starts, which a sampler can use.
            parent: The trace context of its parent. Empty: it is a root.
            links: The trace contexts to which it is linked.
        """
        linked = [Link(context) for each in links if (context := _context_of(each))]
        around, context = Context(), _context_of(parent)
        if context is not None:
            around = set_span_in_context(NonRecordingSpan(context), around)
        return self._tracer.start_span(name, around, kind, attributes, linked)

    def drops(self, parent: str) -> bool:
        """Return whether a child of a trace context is never sampled. It needs no span then."""
        return self._follows_parents and parent != "" and not is_sampled(parent)

    async def stop(self, limit_s: float) -> None:
        """Send what is left, for at most `limit_s` seconds. Spans that end later are dropped."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=shut_down, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await stopped.wait()


def _context_of(traceparent: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None or (match[1] == "00" and match[5]):  # only a later version may have more
        return None
    return SpanContext(int(match[2], 16), int(match[3], 16), is_remote=True, trace_flags=TraceFlags(int(match[4], 16)))


def well_formed(traceparent: str) -> str:
    """Return a trace context that came from outside in its one form. Empty if it is malformed."""
    context = _context_of(traceparent)
    return "" if context is None else _text_of(context)


def traceparent_of(span: Span) -> str:
    """Return the trace context of a span. Empty if OpenTelemetry is disabled by its environment."""
    context = span.get_span_context()
    return _text_of(context) if context.is_valid else ""


def is_sampled(traceparent: str) -> bool:
    """Return whether a trace context is sampled. It must be well-formed."""
    return bool(int(traceparent[53:55], 16) & TraceFlags.SAMPLED)


def _ids_of_current_span() -> dict[str, str]:
    """Return the ids of the span in which the current task runs, by the names that OpenTelemetry has for logs."""
    context = get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if context.is_valid else {}


def _text_of(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def add_link(span: Span, traceparent: str) -> None:
    """Link a span to a trace context, if there is one and the span has not ended."""
    context = _context_of(traceparent)
    if context is not None and span.is_recording():
        span.add_link(context)


def running(span: Span) -> contextlib.AbstractContextManager[Span]:
    """Return a context in which the span is the current one, also of tasks that start there. It ends no span.

    An exception is not recorded: its text can contain what no trace may have.
    """
    return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def set_failed(span: Span, error_type: str) -> None:
    """Record that what a span stands for has failed, by a word of few possible ones."""
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)
