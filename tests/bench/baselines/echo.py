"""Bare gRPC server, a baseline: grpc.aio on uvloop, which returns each message unchanged. `echo.py PORT`."""

import asyncio
import sys

import grpc
import uvloop
from google.rpc.http_pb2 import HttpRequest


async def main(port):
    """Serve until the process is killed."""

    async def echo(request, _context):
        return request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo, HttpRequest.FromString, HttpRequest.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", {"Echo": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
