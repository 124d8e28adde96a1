"""What `_sync_client.py` uses of gRPC for threads. `_async_grpc.py` has the same names for asyncio."""

import time
from typing import TYPE_CHECKING

import grpc

from callback.v1 import audit_service_pb2_grpc, callbacks_service_pb2_grpc, operations_service_pb2_grpc
from callback.v1 import callbacks_service_pb2 as messages

if TYPE_CHECKING:
    from grpc import UnaryUnaryMultiCallable

    from callback.v1.audit_service_pb2_grpc import AuditServiceStub
    from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
    from callback.v1.operations_service_pb2_grpc import OperationsServiceStub

    UnaryMethod = UnaryUnaryMultiCallable
    WatchStream = grpc._CallIterator[messages.WatchCallsResponse]  # noqa: SLF001  # exists for type checkers only

CANCELLED = ValueError
"""Raised by gRPC for a request whose channel or stream was closed."""
Channel = grpc.Channel
"""A connection to a server."""
insecure_channel = grpc.insecure_channel
"""Create a channel without TLS."""
secure_channel = grpc.secure_channel
"""Create a channel with TLS."""
sleep = time.sleep
"""Pause, in seconds."""


def is_being_cancelled() -> bool:
    """Return whether the caller itself is being cancelled: never, because a thread cannot be."""
    return False


def callbacks(channel: Channel) -> "CallbacksServiceStub":
    """Return the stub of `CallbacksService`."""
    return callbacks_service_pb2_grpc.CallbacksServiceStub(channel)


def operations(channel: Channel) -> "OperationsServiceStub":
    """Return the stub of `OperationsService`."""
    return operations_service_pb2_grpc.OperationsServiceStub(channel)


def audit(channel: Channel) -> "AuditServiceStub":
    """Return the stub of `AuditService`."""
    return audit_service_pb2_grpc.AuditServiceStub(channel)
