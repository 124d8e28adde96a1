"""A call of a new case that runs in the background of a test."""

import asyncio

from support.services import response

from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge


class Called:
    """A call in progress. `answer` is an awaitable of the caller's answer."""

    def __init__(self, services, made, answer):
        self._services = services
        self.case_id = made.callback_case_id
        self.state = made.callback_state
        self.answer = answer

    @classmethod
    async def make(cls, services, activity, *, edge_stub=None, body=b"", **case):
        """Create a case, and call it with this body."""
        made = await services.callbacks.GenerateCallbackUrl(
            rpc.GenerateCallbackUrlRequest(callback_activity=activity, response=response(), **case)
        )
        invoked = (edge_stub or services.edge).Invoke(
            edge.InvokeRequest(state=made.callback_state, request_method="post", request_body=body)
        )
        return cls(services, made, asyncio.ensure_future(_of(invoked)))

    async def code(self):
        """Return the HTTP code of the caller's answer."""
        return (await self.answer).response.response_code

    async def recorded(self):
        """Return the recorded call."""
        calls = await self._services.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=self.case_id))
        (call,) = calls.calls
        return call

    async def case(self):
        """Return the case as it is now."""
        got = await self._services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=self.case_id))
        return got.callback


async def _of(invoked):
    return await invoked
