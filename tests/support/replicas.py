"""Stores that can become replicas of each other."""

import contextlib

from support.store import StoreProcess

from callback_launcher.store import REPLICATION


@contextlib.contextmanager
def running_stores(directory, count):
    """Run some stores, each a primary without replicas."""
    with contextlib.ExitStack() as stack:
        stores = []
        for n in range(count):
            (directory / f"store{n}").mkdir()
            stores.append(StoreProcess(directory / f"store{n}", settings=REPLICATION).start())
            stack.callback(stores[-1].kill)  # one that is stopped (SIGSTOP) takes no other signal
        yield stores
