"""A handler needs only the generated stubs, and nothing else of this library, with asyncio and with threads."""

import asyncio
import subprocess
import sys
import textwrap

import pytest
from support.clients import ask_handler, handle_request

from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2 as resources

DECIDES = """
    from callback.v1 import callback_handler_service_pb2 as messages
    from callback.v1 import callback_handler_service_pb2_grpc as services
    from callback.v1 import callback_pb2

    def decide(request):
        if not request.request_body:
            return messages.HandleCallbackResponse(verdict=messages.VERDICT_REJECTED)
        return messages.HandleCallbackResponse(
            verdict=messages.VERDICT_ACCEPTED,
            response=callback_pb2.Response(
                response_type=callback_pb2.RESPONSE_TYPE_RESPONSE,
                response_body=request.request_body[::-1],
            ),
        )
"""

ASYNCIO = (
    DECIDES
    + """
    import asyncio, grpc

    class Handler(services.CallbackHandlerServiceServicer):
        async def HandleCallback(self, request, context):
            return decide(request)

    async def main():
        server = grpc.aio.server()
        services.add_CallbackHandlerServiceServicer_to_server(Handler(), server)
        print(server.add_insecure_port("127.0.0.1:0"), flush=True)
        await server.start()
        await server.wait_for_termination()

    asyncio.run(main())
"""
)

THREADS = (
    DECIDES
    + """
    import grpc
    from concurrent.futures import ThreadPoolExecutor

    class Handler(services.CallbackHandlerServiceServicer):
        def HandleCallback(self, request, context):
            return decide(request)

    server = grpc.server(ThreadPoolExecutor(4))
    services.add_CallbackHandlerServiceServicer_to_server(Handler(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()
"""
)


@pytest.fixture(params=[ASYNCIO, THREADS], ids=["asyncio", "threads"])
async def handler_address(request):
    """Return the address of such a handler, which runs as a program."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(request.param), stdout=subprocess.PIPE
    )
    try:
        yield f"127.0.0.1:{int(await program.stdout.readline())}"
    finally:
        program.kill()
        await program.communicate()


async def test_a_handler_of_bare_stubs_decides(handler_address):
    accepted = await ask_handler(handler_address, handle_request(request_body=b"\x00paid\xff"))
    assert accepted == messages.HandleCallbackResponse(
        verdict=messages.VERDICT_ACCEPTED,
        response=resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, response_body=b"\xffdiap\x00"),
    )
    rejected = await ask_handler(handler_address, handle_request())
    assert rejected == messages.HandleCallbackResponse(verdict=messages.VERDICT_REJECTED)
