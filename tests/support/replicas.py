"""A store with replicas."""

import asyncio
import contextlib

import redis
from support.store import StoreProcess
from support.wait import wait_until_sync


async def follows(replica, address):
    """Do as `follow`, in another thread, so that the loop can forward what they say."""
    await asyncio.to_thread(follow, replica, address)


def follow(replica, address):
    """Make a store a replica of the one at an address (`host:port`), and wait until it has its data."""
    host, _, port = address.rpartition(":")
    with redis.Redis(port=replica.port) as client:
        client.replicaof(host, int(port))
        wait_until_sync(lambda: client.info("replication").get("master_link_status") == "up", what="a replica")


@contextlib.contextmanager
def running_stores(directory, count):
    """Run some stores, each a primary without replicas."""
    stores = []
    with contextlib.ExitStack() as stack:
        for n in range(count):
            (directory / f"store{n}").mkdir()
            # By default, a primary waits 5 seconds for more replicas.
            settings = ("--repl-diskless-sync-delay", "0")
            stores.append(StoreProcess(directory / f"store{n}", settings=settings).start())
            stack.callback(stores[-1].kill)  # one that is stopped (SIGSTOP) takes no other signal
        yield stores
