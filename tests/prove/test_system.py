"""The processes of a proof, and how it waits for them."""

import asyncio
import sys

import pytest
from support.wait import wait_until

from callback_launcher.launcher import Launcher
from callback_launcher.sentinel import Watched
from callback_process.addresses import Address
from callback_prove.system import Handler

HANDLER = """
import pathlib, signal, sys
while not pathlib.Path(sys.argv[1]).exists():
    signal.sigtimedwait([], 0.01)
print("handlers_listening", flush=True)
signal.pause()
"""


async def test_a_restart_of_a_handler_waits_until_it_can_be_given_calls(tmp_path):
    may_listen = tmp_path / "may-listen"
    may_listen.touch()
    command = [sys.executable, "-S", "-c", HANDLER, str(may_listen)]
    handler = Handler(Launcher(tmp_path), "handler-1", command)
    handler.start()
    try:
        await asyncio.to_thread(handler.restart)
        may_listen.unlink()
        restart = asyncio.create_task(asyncio.to_thread(handler.restart))
        await wait_until((tmp_path / "handler-1.2.diary").exists, what="a third start")
        done, _ = await asyncio.wait([restart], timeout=0.1)
        assert not done
        may_listen.touch()
        await restart
    finally:
        handler.kill()


class Store:
    """A store of the proof, with what it replies to ROLE."""

    def __init__(self, port):
        self.address = Address("127.0.0.1", port)
        self.role = [b"master"]

    async def execute(self, *_words):
        return self.role


class Sentinel:
    """A Sentinel that knows everything and names a primary."""

    address = Address("127.0.0.1", 3)
    log = "its log"

    def __init__(self, *named):
        self.named = [str(store.address) for store in named]

    async def primary(self):
        return self.named[0] if len(self.named) == 1 else self.named.pop(0)

    async def knows_all(self):
        return True


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_the_proof_continues_with_the_primary_that_the_sentinels_name(is_replaced):
    first, second = Store(1), Store(2)
    primary, replica = (second, first) if is_replaced else (first, second)
    replica.role = ["slave", "127.0.0.1", primary.address.port, "connected", 0]
    sentinels = [Sentinel(primary), Sentinel(first, second, primary)]  # one has not heard of the change at first
    assert await Watched(first, second, sentinels).settled() == (primary, replica)
