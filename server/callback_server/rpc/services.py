"""The services of the contract that a server has, in the order of the reference."""

from __future__ import annotations

from typing import Final

from callback.v1 import (
    audit_service_pb2,
    callbacks_service_pb2,
    edge_service_pb2,
    operations_service_pb2,
    profiles_service_pb2,
    worker_service_pb2,
)

AUTHENTICATED: Final = (
    callbacks_service_pb2.DESCRIPTOR.services_by_name["CallbacksService"],
    operations_service_pb2.DESCRIPTOR.services_by_name["OperationsService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    profiles_service_pb2.DESCRIPTOR.services_by_name["ProfilesService"],
    edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
)
"""All of them: each method needs a principal."""
NAMES: Final = tuple(service.full_name for service in AUTHENTICATED)
