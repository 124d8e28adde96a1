"""The gRPC server: its services and limits."""

from __future__ import annotations

import functools
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from callback.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from callback.v1.callbacks_service_pb2_grpc import add_CallbacksServiceServicer_to_server
from callback.v1.edge_service_pb2_grpc import add_EdgeServiceServicer_to_server
from callback.v1.operations_service_pb2_grpc import add_OperationsServiceServicer_to_server
from callback.v1.profiles_service_pb2_grpc import add_ProfilesServiceServicer_to_server
from callback.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from callback_server.access.authenticator import Authenticator
from callback_server.rpc.audit_service import AuditServicer
from callback_server.rpc.callbacks_service import CallbacksServicer
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.grpc_aio.listeners import Listeners, Options
from callback_server.rpc.grpc_aio.log_filter import hide_received_data
from callback_server.rpc.grpc_aio.method_router import Around, MethodRouter
from callback_server.rpc.health import Health
from callback_server.rpc.method import Authenticating, require_roles
from callback_server.rpc.operations_service import OperationsServicer
from callback_server.rpc.profiles_service import ProfilesServicer
from callback_server.rpc.reflection import add_reflection
from callback_server.rpc.services import AUTHENTICATED, NAMES
from callback_server.rpc.worker_service import MAX_MESSAGE_BYTES, MAX_STREAM_AGE_S, WorkerServicer

_OPTIONS: Final[Options] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Clients ping every 5 s while a call runs, edges every 30 s at any time. By default gRPC would disconnect them for
    # it.
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The server pings every connection, to notice a worker that hangs or is cut off. Without the third option, it would
    # notice a hung worker a minute later; without the fourth, it would ping only twice.
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]


def make_server(
    callbacks: CallbacksServicer,
    operations: OperationsServicer,
    audit: AuditServicer,
    profiles: ProfilesServicer,
    edge: EdgeServicer,
    workers: WorkerServicer,
    health_status: Health,
    authenticator: Authenticator,
    *,
    reflect: bool,
    max_in_flight: int,
    around_generation: Around | None,
) -> Listeners:
    """Create the gRPC server with all its services. It does not listen yet.

    Args:
        callbacks: The servicer of `CallbacksService`.
        operations: The servicer of `OperationsService`.
        audit: The servicer of `AuditService`.
        profiles: The servicer of `ProfilesService`.
        edge: The servicer of `EdgeService`.
        workers: The servicer of `WorkerService`.
        health_status: The health that health checks and edges get.
        authenticator: Finds the principal of each request.
        reflect: Whether clients can read the contract by server reflection.
        max_in_flight: The maximum number of concurrent calls. One connection may have as many RPCs, and 1,000 more,
            which are refused with a reason.
        around_generation: Makes each RPC that generates callbacks, by its name. None: the servicer alone does.
    """
    hide_received_data()
    options = [*_OPTIONS, ("grpc.max_concurrent_streams", max_in_flight + 1000)]
    if authenticator.asks_certificates:
        # A certificate is checked only when a connection is made, so each connection ends after an hour. The grace is
        # longer than any call, and than the stream of a worker with the calls that it then has: none of them is cut
        # off.
        grace_ms = (MAX_STREAM_AGE_S + 400) * 1000
        options += [("grpc.max_connection_age_ms", 3_600_000), ("grpc.max_connection_age_grace_ms", grace_ms)]
    servicers: tuple[Authenticating, ...] = (callbacks, operations, audit, profiles, edge, workers)
    for service, servicer in zip(AUTHENTICATED, servicers, strict=True):
        require_roles(service, servicer)
    router = MethodRouter(authenticator, AUTHENTICATED)
    add_CallbacksServiceServicer_to_server(callbacks, router.as_server)
    add_OperationsServiceServicer_to_server(operations, router.as_server)
    add_AuditServiceServicer_to_server(audit, router.as_server)
    add_ProfilesServiceServicer_to_server(profiles, router.as_server)
    add_EdgeServiceServicer_to_server(edge, router.as_server)
    add_WorkerServiceServicer_to_server(workers, router.as_server)
    health_pb2_grpc.add_HealthServicer_to_server(health_status, router.as_server)
    if around_generation is not None:
        for method in ("GenerateCallbackUrl", "GenerateCallbackUrls"):
            router.wrap(f"/callback.v1.CallbacksService/{method}", functools.partial(around_generation, method))
    if reflect:
        add_reflection(router, (*NAMES, health.SERVICE_NAME))
    return Listeners(lambda more: grpc.aio.server(handlers=[router], options=[*options, *more]))
