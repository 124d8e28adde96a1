"""`EdgeService`: one HTTP request in, what to answer out."""

from __future__ import annotations

from callback.v1 import edge_service_pb2 as edge_pb2
from callback.v1 import edge_service_pb2_grpc as edge_grpc
from callback_server.calls import Calls
from callback_server.domain.principal import Principal, Role
from callback_server.rpc.access import Access
from callback_server.rpc.method import require_valid, rpc
from callback_server.wire import converters


class EdgeServicer(edge_grpc.EdgeServiceServicer):
    """Hands requests of the edge to the call's path."""

    def __init__(self, calls: Calls, access: Access) -> None:
        self._calls = calls
        self.access = access

    @rpc(Role.EDGE)
    async def Invoke(  # noqa: N802  # gRPC's name
        self, request: edge_pb2.InvokeRequest, _caller: Principal
    ) -> edge_pb2.InvokeResponse:
        """Makes the call. It runs to its recorded end even if this RPC is cancelled."""
        require_valid(request)
        answer = await self._calls.invoke(
            request.state, request.state_query_parameter, converters.request_from(request)
        )
        return edge_pb2.InvokeResponse(call_id=answer.call_id, response=converters.response_to(answer.response))

    @rpc(Role.EDGE)
    async def ReportCallerGone(  # noqa: N802  # gRPC's name
        self, request: edge_pb2.ReportCallerGoneRequest, _caller: Principal
    ) -> edge_pb2.ReportCallerGoneResponse:
        """Records that a caller has hung up."""
        require_valid(request)
        await self._calls.caller_gone(request.call_id)
        return edge_pb2.ReportCallerGoneResponse()
