"""The services of the contract that a server has, in the order of the reference."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from callback.v1 import (
    audit_service_pb2,
    callbacks_service_pb2,
    edge_service_pb2,
    operations_service_pb2,
    worker_service_pb2,
)

CALLBACKS_SERVICE: Final = callbacks_service_pb2.DESCRIPTOR.services_by_name["CallbacksService"]
OPERATIONS_SERVICE: Final = operations_service_pb2.DESCRIPTOR.services_by_name["OperationsService"]
AUDIT_SERVICE: Final = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
EDGE_SERVICE: Final = edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"]
WORKER_SERVICE: Final = worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"]
GUARDED: Final[tuple[ServiceDescriptor, ...]] = (
    CALLBACKS_SERVICE,
    OPERATIONS_SERVICE,
    AUDIT_SERVICE,
    EDGE_SERVICE,
    WORKER_SERVICE,
)
"""All of them: each method needs a principal."""
NAMES: Final = tuple(service.full_name for service in GUARDED)
