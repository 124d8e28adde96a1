"""What `_sync_client.py` uses of gRPC for threads. `_async_grpc.py` has the same names for asyncio."""

import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING

import grpc

from callback.v1 import callbacks_service_pb2 as messages

if TYPE_CHECKING:
    from grpc import UnaryUnaryMultiCallable

    UnaryMethod = UnaryUnaryMultiCallable
    WatchStream = grpc._CallIterator[messages.WatchCallsResponse]  # noqa: SLF001  # exists for type checkers only

CANCELLED = ValueError
"""Raised by gRPC for a request whose channel or stream was closed."""
Channel = grpc.Channel
"""A connection to a server."""
library = grpc
"""The library that opens a channel."""
sleep = time.sleep
"""Pause, in seconds."""


def wait(end: concurrent.futures.Future[None], timeout: float) -> None:
    """Wait for an end, at most for the timeout in seconds."""
    concurrent.futures.wait([end], min(timeout, threading.TIMEOUT_MAX))


def event_loop() -> object:
    """Return the event loop to which a channel belongs: none."""
    return None


def is_being_cancelled() -> bool:
    """Return whether the caller itself is being cancelled: never, because a thread cannot be."""
    return False
