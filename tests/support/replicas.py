"""Stores that can become replicas of each other."""

import contextlib

from support.store import StoreProcess

from callback_launcher.store import REPLICATION


@contextlib.contextmanager
def running_stores(directory, count):
    """Run some stores, each a primary without replicas."""
    with contextlib.ExitStack() as stack:
        stores = (StoreProcess(directory / f"store{n}", settings=REPLICATION) for n in range(count))
        yield [stack.enter_context(store) for store in stores]
