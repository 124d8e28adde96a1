"""The health of this process, for health checks and edges.

The servicer of grpcio holds a lock while it tells a watcher of a change, and a change needs the lock. So one client
that does not read would keep all others from their answers, and this process from its stop. Here it delays no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from callback_server import metrics
from callback_server.rpc.malformed import Malformed
from callback_server.rpc.services import NAMES

_EDGE_SERVICE: Final = "callback.v1.EdgeService"
_NAMES: Final = ("", *NAMES)
"""The names that a health check can use: the process as a whole (""), or one service. Edges follow the health of
EdgeService: while a server stops or has lost the store, edges use other servers. They connect to one that refuses its
store, and send it no calls: another server may know more of the store, and edges pass that on."""

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """Whether this process stops, and the store responds and is safe."""

    def __init__(self, set_edges_ready: Callable[[bool], None]) -> None:
        """Create it. `set_edges_ready` is called with each change, to tell the connected edges as well."""
        self._set_edges_ready = set_edges_ready
        self._statuses: dict[str, int] = dict.fromkeys(_NAMES, _NOT_SERVING)
        self._changed = asyncio.Event()
        """Set, and replaced by another one, with each change."""
        self._store_state: tuple[bool, bool] | None = None
        self._disk_problem = ""
        self._stopping = False

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a service."""
        await _require_message(request, context)
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=self._statuses[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """Send the status of a service, now and after each change. A slow client misses those in between."""
        await _require_message(request, context)
        sent = None
        while True:
            changed, status = self._changed, self._statuses.get(request.service, _UNKNOWN)
            if status == sent:
                await changed.wait()
            else:
                sent = status
                yield health_pb2.HealthCheckResponse(status=status)

    async def why_not_ready(self) -> str:
        """Return why this process may get no work, in a few words. Empty: it may."""
        if self._stopping:
            return "stopping"
        if self._store_state is not None and self._store_state[0]:
            return ""
        if self._disk_problem:
            return self._disk_problem
        return "the store does not answer, is not safe, or is refused: see store_unsafe and store_refused in the log"

    def set_store_up(self, is_up: bool, disk_problem: str = "", *, is_refused: bool = False) -> None:
        """Set whether the store responds and is safe, and whether its disk, or that it is refused, is why not.

        No effect once the process stops.
        """
        self._disk_problem = disk_problem
        if not self._stopping and (is_up, is_refused) != self._store_state:
            self._store_state = is_up, is_refused
            metrics.STORE_UP.set(is_up)
            self._tell(_NAMES, is_ready=is_up, has_edges=is_up or is_refused)

    def drain(self) -> None:
        """Tell edges to use other servers. Everything else continues."""
        self._stopping = True
        self._tell((_EDGE_SERVICE,), is_ready=False, has_edges=False)

    def stop(self) -> None:
        """Tell all health checks that this process accepts no new work."""
        self._stopping = True
        self._tell(_NAMES, is_ready=False, has_edges=False)

    def _tell(self, names: Collection[str], *, is_ready: bool, has_edges: bool) -> None:
        self._statuses.update(dict.fromkeys(names, _SERVING if is_ready else _NOT_SERVING))
        self._statuses[_EDGE_SERVICE] = _SERVING if has_edges else _NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()
        self._set_edges_ready(is_ready)


async def _require_message(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End a health check whose bytes are no message."""
    if isinstance(request, Malformed):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.problem)
