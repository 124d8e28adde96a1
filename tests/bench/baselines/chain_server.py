"""Inner half of the hand-written chain, a baseline: a grpc.aio server that runs one EVALSHA for each call.

Usage: `chain_server.py PORT STORE_PORT`. The script looks up the answer of the state and records the call; it keeps the
last 100 calls of each state. There are `CASES` states with an answer: `/0`, `/1` and so on.
"""

import asyncio
import sys

import grpc
import redis.asyncio
import uvloop
from google.rpc.http_pb2 import HttpRequest, HttpResponse

CASES = 64
SCRIPT = """
local answer = redis.call('HGET', KEYS[1], 'answer')
if answer then
    redis.call('RPUSH', KEYS[2], ARGV[1])
    redis.call('LTRIM', KEYS[2], -100, -1)
end
return answer
"""


async def main(port, store_port):
    """Serve until the process is killed."""
    store = redis.asyncio.Redis(port=store_port, max_connections=1000)
    script = await store.script_load(SCRIPT)
    for number in range(CASES):
        await store.hset(f"case:{{{number}}}", "answer", b"thank you")

    async def call(request, _context):
        keys = f"case:{{{request.uri}}}", f"calls:{{{request.uri}}}"
        answer = await store.evalsha(script, 2, *keys, request.SerializeToString())
        return HttpResponse(status=404) if answer is None else HttpResponse(status=200, body=answer)

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(call, HttpRequest.FromString, HttpResponse.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("chain.Chain", {"Call": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*map(int, sys.argv[1:])))
