"""Load generator that keeps a number of gRPC calls, or lives of a case, in flight: see `arguments`.

It prints its results as JSON. A life has three sequential steps: generate a case for one call, call its URL over HTTP,
and get the 200. The 200 means that the call is on disk and the case is closed.
"""

import argparse
import asyncio
import contextlib
import json
import time
from urllib.parse import urlsplit

import grpc
import uvloop
from bench.kit.connection import Connection, get
from google.rpc.http_pb2 import HttpRequest

from callback.v1.callback_pb2 import RESPONSE_TYPE_RESPONSE, Response
from callback.v1.callbacks_service_pb2 import GenerateCallbackUrlRequest
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub

CONNECTIONS = 4
"""The same number as h2load opens."""
OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
GENERATE = GenerateCallbackUrlRequest(
    callback_activity="record", response=Response(response_type=RESPONSE_TYPE_RESPONSE, response_body=b"thank you")
)
ECHO = HttpRequest(method="POST", uri="record", body=b"thank you")


async def main(options):
    """Keep the calls in flight for the given time, and return the results."""
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(options.target, [OWN_CONNECTION]))
            for _ in range(CONNECTIONS)
        ]
        kinds = [echo(channel) if options.what == "echo" else life(channel, options) for channel in channels]
        end = time.perf_counter() + options.seconds
        done = 0

        async def keep_on(once):
            nonlocal done
            state = {}
            while time.perf_counter() < end:
                await once(state)
                done += 1

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for n in range(options.in_flight):
                group.create_task(keep_on(kinds[n % CONNECTIONS]))
        return {"per_second": done / (time.perf_counter() - began), "requests": done}


def echo(channel):
    """Make one call of the echo."""
    call = channel.unary_unary("/echo.Echo/Echo", HttpRequest.SerializeToString, HttpRequest.FromString)

    async def once(_state):
        assert await call(ECHO) == ECHO

    return once


def life(channel, options):
    """Run one life of a case."""
    generate = CallbacksServiceStub(channel).GenerateCallbackUrl
    metadata = (("authorization", f"Bearer {options.token}"),)
    request = GenerateCallbackUrlRequest.FromString(GENERATE.SerializeToString())
    if options.repeat_window_s is not None:
        request.repeat_window.FromSeconds(options.repeat_window_s)

    async def once(state):
        made = await generate(request, metadata=metadata)
        if not state or not state["connection"].is_open:
            state["connection"] = await Connection.to(options.edge_port)
        assert await state["connection"].ask(get(urlsplit(made.callback_url).path)) == 200

    return once


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["echo", "life"])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--token")
    parser.add_argument("--edge-port", type=int)
    parser.add_argument("--repeat-window-s", type=int, help="of the cases, 0 for none; default: that of the server")
    return parser.parse_args()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(main(arguments()))))
