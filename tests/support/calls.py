"""A call of a new callback that runs in the background of a test."""

from callback.v1 import callbacks_service_pb2 as rpc


class Called:
    """A call in progress. `answer` is the future of the caller's answer."""

    def __init__(self, services, made, body=b""):
        self.services = services
        self.made = made
        self.case_id = made.callback_case_id
        self.answer = services.call(made, body=body)

    @classmethod
    async def make(cls, services, activity, *, body=b"", **fields):
        """Generate a callback with these fields, and call it with this body."""
        return cls(services, await services.generate(activity, **fields), body)

    async def code(self):
        """Return the HTTP code of the caller's answer."""
        return (await self.answer).response.response_code

    async def recorded(self):
        """Return the recorded call, without its body."""
        request = rpc.ListCallsRequest(callback_case_id=self.case_id)
        (call,) = (await self.services.callbacks.ListCalls(request)).calls
        return call

    async def case(self):
        """Return the case as it is now."""
        return await self.services.case_of(self.made)
