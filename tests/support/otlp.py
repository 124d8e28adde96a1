"""A receiver of traces in memory: the TraceService of OpenTelemetry's protocol, served over gRPC."""

import contextlib
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it was received. Ids are in hexadecimal digits."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[tuple[str, str], ...]
    attributes: dict = field(hash=False)
    is_error: bool

    @property
    def traceparent(self):
        """Its trace context, sampled and with a random id."""
        return f"00-{self.trace_id}-{self.span_id}-03"


class Receiver(services.TraceServiceServicer):
    """What was received."""

    def __init__(self):
        self.address = None
        self.requests = []
        self.gate = None
        """Event before which it answers nothing. None: it answers at once."""
        self._spans = []

    async def Export(self, request, context):
        """Take spans."""
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            self._spans += [_span(service, span) for scope in resource.scope_spans for span in scope.spans]
        return messages.ExportTraceServiceResponse()

    def spans(self, **wanted):
        """Return the spans with these values, in order of their arrival: fields of `ReceivedSpan`, or an attribute."""
        return [span for span in self._spans if all(_has(span, name, value) for name, value in wanted.items())]


def _has(span, name, value):
    return getattr(span, name) == value if hasattr(span, name) else span.attributes.get(f"callback.{name}") == value


def _span(service, span):
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_values(span.attributes),
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _values(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextlib.asynccontextmanager
async def otlp_receiver():
    """Run a `Receiver`."""
    receiver, server = Receiver(), grpc.aio.server()
    services.add_TraceServiceServicer_to_server(receiver, server)
    receiver.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(None)


def exporting_to(receiver, **more):
    """Return the environment of a process that sends its spans to a receiver, soon after they end."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver.address}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **more,
    }
