"""What grpc.aio writes on standard error passes through the log."""

import subprocess
import sys

PROGRAM = """
import asyncio, logging, sys
import grpc, uvloop
from callback_server.rpc.grpc_aio.log_filter import hide_received_data

# The log goes to standard output, so standard error has only what is printed past it.
logging.basicConfig(stream=sys.stdout, format="%(message)s")
hide_received_data()

async def main():
    loop = asyncio.get_running_loop()
    runs, is_cancelled, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(_request, _context):
        runs.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            is_cancelled.set()
        await gate.wait()
        return b""

    server = grpc.aio.server()
    methods = {"Wait": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary("/test/Wait")(b"")
    await runs.wait()
    call.cancel()
    await is_cancelled.wait()
    await server.stop(0)
    loop.call_soon(gate.set)  # the handler ends in the last turn of the loop

# Only uvloop, which the server uses, takes a further turn after it was told to stop.
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def test_a_cancellation_in_the_last_turn_of_the_loop_is_not_printed_past_the_log():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    # That grpc logged it shows that the cancellation took the way on which grpc also prints it.
    assert "gRPC could not serve a request: CancelledError" in ran.stdout.splitlines()
    assert "Traceback" not in ran.stderr
