"""What `_async_client.py` uses of asyncio and of gRPC for asyncio. `_sync_grpc.py` has the same names for threads."""

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING

import grpc

from callback.connection._cancellation import is_being_cancelled
from callback.v1 import callbacks_service_pb2 as messages

if TYPE_CHECKING:
    from grpc.aio import UnaryStreamCall, UnaryUnaryMultiCallable

    UnaryMethod = UnaryUnaryMultiCallable
    WatchStream = UnaryStreamCall[messages.WatchCallsRequest, messages.WatchCallsResponse]

__all__ = ["CANCELLED", "Channel", "event_loop", "is_being_cancelled", "library", "sleep", "wait"]

CANCELLED = asyncio.CancelledError
"""Raised by gRPC for a request whose channel or stream was closed, and by asyncio in a task that is cancelled."""
Channel = grpc.aio.Channel
"""A connection to a server."""
library = grpc.aio
"""The library that opens a channel."""
event_loop = asyncio.get_running_loop
"""Return the event loop to which a channel belongs that is opened now."""
sleep = asyncio.sleep
"""Pause, in seconds."""


async def wait(end: Future[None], timeout: float) -> None:  # a wait that expires is no error
    """Wait for an end, at most for the timeout in seconds."""
    await asyncio.wait([asyncio.wrap_future(end)], timeout=timeout)
