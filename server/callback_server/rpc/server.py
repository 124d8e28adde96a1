"""The gRPC server: its services, its limits, its health."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from callback.v1 import callbacks_service_pb2, edge_service_pb2, worker_service_pb2
from callback.v1.callbacks_service_pb2_grpc import add_CallbacksServiceServicer_to_server
from callback.v1.edge_service_pb2_grpc import add_EdgeServiceServicer_to_server
from callback.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from callback_server import metrics
from callback_server.access.authenticator import Authenticator
from callback_server.rpc.callbacks_service import CallbacksServicer
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.grpc_aio.listeners import Listeners, Options
from callback_server.rpc.grpc_aio.method_router import MethodRouter
from callback_server.rpc.method import Servicer, require_roles
from callback_server.rpc.worker_service import MAX_STREAM_AGE_S, WorkerServicer

_GUARDED: Final = (
    callbacks_service_pb2.DESCRIPTOR.services_by_name["CallbacksService"],
    edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
)
_CALLBACK_SERVICE, _EDGE_SERVICE, _WORKER_SERVICE = _GUARDED
SERVICES: Final = tuple(service.full_name for service in _GUARDED)
EDGE_SERVICE: Final = _EDGE_SERVICE.full_name
HEALTH_NAMES: Final = ("", *SERVICES)
"""What a health check can ask for: the process as a whole (""), or one service. Edges follow that of EdgeService: while
a server stops, or has lost the store, they hand their calls to others."""

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""The largest message taken, in bytes: a request with its body, whatever the edge's limit."""
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_OPTIONS: Final[Options] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Clients ping each 5 s while a call runs, edges each 30 s always; the default cuts them off for it.
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Whoever is connected is pinged, so that a worker which hangs or is cut off is noticed in time. Without the third
    # one that hangs is found only after a minute more, and without the fourth it is pinged twice only.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]


class Health:
    """What health checks are told: whether the store answers, and whether this process takes new work."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self.edges: EdgeServicer | None = None
        """Who tells edges, besides."""
        self._store_up: bool | None = None
        self._stopping = False

    async def why_not_ready(self) -> str:
        """Why this process may not get work, in a few words. Empty: it may."""
        if self._stopping:
            return "stopping"
        return "" if self._store_up else "the store does not answer"

    async def set(self, *, store_up: bool) -> None:
        """Tells whether the store answers. Without effect once the process stops."""
        if not self._stopping and store_up is not self._store_up:
            self._store_up = store_up
            metrics.STORE_UP.set(store_up)
            self._tell_edges(store_up)  # at once: a stop that begins meanwhile has the last word
            for name in HEALTH_NAMES:
                await self.servicer.set(name, _SERVING if store_up else _NOT_SERVING)

    async def drain(self) -> None:
        """Tells edges to go elsewhere; all else goes on as before."""
        self._stopping = True
        await self.servicer.set(EDGE_SERVICE, _NOT_SERVING)
        self._tell_edges(False)

    async def stop(self) -> None:
        """Tells everyone that no new work is taken."""
        self._stopping = True
        await self.servicer.enter_graceful_shutdown()

    def _tell_edges(self, whether: bool) -> None:
        if self.edges is not None:
            self.edges.set_ready(whether)


def make_server(
    callbacks: CallbacksServicer,
    edge: EdgeServicer,
    workers: WorkerServicer,
    told: Health,
    access: Authenticator,
    *,
    reflect: bool,
    max_in_flight: int,
) -> Listeners:
    """The server with all its services, bound to nothing yet.

    Args:
        callbacks: `CallbacksService`.
        edge: `EdgeService`.
        workers: `WorkerService`.
        told: what health checks are told.
        access: who may come in.
        reflect: whether the contract can be asked for.
        max_in_flight: how many calls run at a time. One connection can have as many requests, and some to be refused.
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_what_was_sent)
    options = [*_OPTIONS, ("grpc.max_concurrent_streams", max_in_flight + 1000)]
    if access.asks_certificates:
        # A certificate is looked at when a connection is made, so each connection ends in time. No call on it is cut
        # off: none takes as long as the grace, nor does a worker stay so long, with the calls that it has then.
        grace_ms = (MAX_STREAM_AGE_S + 400) * 1000
        options += [("grpc.max_connection_age_ms", 3_600_000), ("grpc.max_connection_age_grace_ms", grace_ms)]
    told.edges = edge
    gate = MethodRouter(access, _GUARDED)
    services = cast("grpc.aio.Server", gate)
    _add(services, _CALLBACK_SERVICE, callbacks, add_CallbacksServiceServicer_to_server)
    _add(services, _EDGE_SERVICE, edge, add_EdgeServiceServicer_to_server)
    _add(services, _WORKER_SERVICE, workers, add_WorkerServiceServicer_to_server)
    health_pb2_grpc.add_HealthServicer_to_server(told.servicer, services)
    if reflect:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        servicer = reflection.aio.ReflectionServicer(names)
        add_ServerReflectionServicer_to_server(servicer, services)  # type: ignore[no-untyped-call]  # generated, bare
    return Listeners(lambda more: grpc.aio.server(handlers=[gate], options=[*options, *more]))


def _add(
    server: grpc.aio.Server,
    service: ServiceDescriptor,
    servicer: Servicer,
    add: Callable[[Servicer, grpc.aio.Server], None],
) -> None:
    """Adds a service. It is the only way in, and lets nothing in that does not say whom it is for."""
    require_roles(service, servicer)
    add(servicer, server)


def _without_what_was_sent(record: logging.LogRecord) -> bool:
    """Takes out of gRPC's own log what somebody sent that it could not read, be it a credential of theirs."""
    kind = record.exc_info[0] if record.exc_info else None
    record.msg, record.args = "gRPC could not serve a request", ()
    if kind is not None:
        record.msg += f": {kind.__name__}"
    record.exc_info = record.exc_text = None
    return True
