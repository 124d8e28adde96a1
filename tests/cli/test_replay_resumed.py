"""`callback replay --activity` that is interrupted: run again, it goes on with the others and replays nothing twice."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections import Counter

import grpc
import httpx
from soak.counts import count
from support.fork_server import start
from support.system import own_store, running_system
from support.wait import wait_until

from callback import AnswerMode, CallFilter, Handlers, Reject, Response

TOTAL = count(24, 10_000)
FIRST = TOTAL // 3
"""How many calls the first run can replay before it is interrupted."""
DEADLINE_S = 120 + TOTAL / 10
AT_ONCE = 32


class Orders:
    """A handler that rejects everything until it works, and then counts its runs by call."""

    def __init__(self):
        self.works = False
        self.runs = Counter()
        self.handlers = Handlers()
        self.handlers.activity("orders")(self.handle)

    async def handle(self, call):
        if not self.works:
            raise Reject
        self.runs[call.call_id] += 1


class Limited(grpc.GenericRpcHandler):
    """Passes requests on to a server, except the replays after the first ones, which wait for ever."""

    def __init__(self, channel, first):
        self._channel, self._left = channel, first
        self.is_used_up = False

    def service(self, details):
        async def pass_on(request, context):
            if details.method.endswith("/ReplayCall"):
                self._left -= 1
                if self._left < 0:
                    self.is_used_up = True
                    await asyncio.Event().wait()
            try:
                return await self._channel.unary_unary(details.method)(request, timeout=60)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details(), error.trailing_metadata())

        return grpc.unary_unary_rpc_method_handler(pass_on)


@contextlib.asynccontextmanager
async def limited(target, first):
    """Run a `Limited` server. Yield it, with its address."""
    async with grpc.aio.insecure_channel(target) as channel:
        handler, server = Limited(channel, first), grpc.aio.server()
        server.add_generic_rpc_handlers([handler])
        handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield handler
        finally:
            await server.stop(0)


@contextlib.contextmanager
def replaying(target):
    """Start the command. Yield it, with its standard output as a file."""
    with tempfile.TemporaryFile() as output:
        program = start(
            "callback_cli", "replay", "--activity", "orders", "--json", stdout=output, stderr=output,
            env=os.environ | {"CALLBACK_TARGET": target}, preloaded=("callback_triage.replays",),
        )  # fmt: skip
        program.output = output
        try:
            yield program
        finally:
            program.kill()


async def test_an_interrupted_replay_that_runs_again_replays_nothing_twice(tmp_path):
    orders, places = Orders(), asyncio.Semaphore(AT_ONCE)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(own_store(tmp_path))
        listening = await stack.enter_async_context(orders.handlers.listen("127.0.0.1:0", grace=0))
        config = f'[activities.orders]\ntarget = "{listening.address}"\ndeadline_s = 60\n'
        system = await stack.enter_async_context(running_system(tmp_path, store, config=config))

        async def dies():
            async with places:
                made = await system.client.generate_callback_url("orders", Response(), answer_mode=AnswerMode.ACK)
                # The edge can close a connection that was idle. The same request again makes no second call.
                await wait_until(lambda: is_accepted(made.url), what="an answer")

        async def is_accepted(url):
            with contextlib.suppress(httpx.TransportError):
                return (await system.http.post(url)).status_code == 200

        async def dead():
            return sum([1 async for _ in system.client.list_owner_calls(CallFilter.DEAD, page_size=100)])

        async def all_are_dead():
            return await dead() == TOTAL

        await asyncio.gather(*(dies() for _ in range(TOTAL)))
        await wait_until(all_are_dead, deadline_s=DEADLINE_S, what="the end of all deliveries")
        orders.works = True

        async with limited(system.grpc, FIRST) as proxy:
            with replaying(proxy.address) as program:
                await wait_until(lambda: proxy.is_used_up, deadline_s=DEADLINE_S, what="the first replays")
                program.send_signal(signal.SIGINT)
                assert await asyncio.to_thread(program.wait, DEADLINE_S) == -signal.SIGINT
        assert await dead() == TOTAL - FIRST

        with replaying(system.grpc) as program:
            assert await asyncio.to_thread(program.wait, DEADLINE_S) == 0
            program.output.seek(0)
            printed = program.output.read().decode()
        said = json.loads(printed[printed.index("{") :])
        assert said == {"replayedCallCount": TOTAL - FIRST, "refusedCallCount": 0}
        await wait_until(lambda: len(orders.runs) == TOTAL, deadline_s=DEADLINE_S, what="all replays")
        assert await dead() == 0
        assert set(orders.runs.values()) == {1}
