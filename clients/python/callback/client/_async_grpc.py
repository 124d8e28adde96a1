"""What `_async_client.py` uses of asyncio and of gRPC for asyncio. `_sync_grpc.py` has the same names for threads."""

import asyncio
from typing import TYPE_CHECKING

import grpc

from callback.connection._cancellation import is_being_cancelled
from callback.v1 import audit_service_pb2_grpc, callbacks_service_pb2_grpc, operations_service_pb2_grpc
from callback.v1 import callbacks_service_pb2 as messages

if TYPE_CHECKING:
    from grpc.aio import UnaryStreamCall, UnaryUnaryMultiCallable

    from callback.v1.audit_service_pb2_grpc import AuditServiceAsyncStub  # these exist for type checkers only
    from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceAsyncStub
    from callback.v1.operations_service_pb2_grpc import OperationsServiceAsyncStub

    UnaryMethod = UnaryUnaryMultiCallable
    WatchStream = UnaryStreamCall[messages.WatchCallsRequest, messages.WatchCallsResponse]

__all__ = [
    "CANCELLED",
    "Channel",
    "audit",
    "callbacks",
    "insecure_channel",
    "is_being_cancelled",
    "operations",
    "secure_channel",
    "sleep",
]

CANCELLED = asyncio.CancelledError
"""Raised by gRPC for a request whose channel or stream was closed, and by asyncio in a task that is cancelled."""
Channel = grpc.aio.Channel
"""A connection to a server."""
insecure_channel = grpc.aio.insecure_channel
"""Create a channel without TLS."""
secure_channel = grpc.aio.secure_channel
"""Create a channel with TLS."""
sleep = asyncio.sleep
"""Pause, in seconds."""


def callbacks(channel: Channel) -> "CallbacksServiceAsyncStub":
    """Return the stub of `CallbacksService`."""
    return callbacks_service_pb2_grpc.CallbacksServiceStub(channel)


def operations(channel: Channel) -> "OperationsServiceAsyncStub":
    """Return the stub of `OperationsService`."""
    return operations_service_pb2_grpc.OperationsServiceStub(channel)


def audit(channel: Channel) -> "AuditServiceAsyncStub":
    """Return the stub of `AuditService`."""
    return audit_service_pb2_grpc.AuditServiceStub(channel)
