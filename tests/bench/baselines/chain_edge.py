"""Outer half of the hand-written chain, a baseline: Quart on Hypercorn, with one unary gRPC call for each request.

Usage: `chain_edge.py PORT SERVER_PORT`. It has no access control, limits, verification, recording rules, metrics or
logs.
"""

import asyncio
import sys

import grpc
import uvloop
from google.rpc.http_pb2 import HttpHeader, HttpRequest, HttpResponse
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

app = Quart(__name__)


@app.route("/<state>", methods=["GET", "POST"])
async def call(state):
    asked = HttpRequest(
        method=request.method,
        uri=state,
        headers=[HttpHeader(key=key, value=value) for key, value in request.headers.items()],
        body=await request.get_data(),
    )
    answer = await app.call(asked, timeout=8)
    return Response(answer.body, answer.status, [(header.key, header.value) for header in answer.headers])


@app.before_serving
async def connect():
    app.channel = grpc.aio.insecure_channel(f"127.0.0.1:{sys.argv[2]}")
    app.call = app.channel.unary_unary("/chain.Chain/Call", HttpRequest.SerializeToString, HttpResponse.FromString)


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(app, config))
