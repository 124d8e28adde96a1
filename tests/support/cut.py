"""A power loss: what the store had written but not yet forced to disk is gone. A log of its syncs shows what."""

import os
import subprocess
from pathlib import Path

from support.tools import require


def logging_syncs(directory):
    """What to start a store with, as its `wrapper`, so that each of its syncs is a line of `directory/syncs`.

    The library that writes them (`syncs.c`) is compiled into the directory. It is part of the store's own process, so
    no sync is missed, however busy the machine is.
    """
    library, source = directory / "syncs.so", Path(__file__).with_name("syncs.c")
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([require("gcc"), *options, "-o", str(library), str(source)], check=True)
    return (require("env"), f"LD_PRELOAD={library}", f"SYNC_LOG={directory / 'syncs'}")


def synced_size(syncs, name):
    """How much of the append-only file `name` was on disk for certain, in bytes.

    That is what was written before a sync began that came to its end.
    """
    lines = [line.split(" ", 1) for line in syncs.read_text().splitlines()]
    return max((int(size) for size, path in lines if path.endswith(f"/{name}")), default=0)


def lose_power(store, directory):
    """Kill a store that logs its syncs in a directory, and cuts its append-only file back to what was on disk.

    Returns how many bytes went.
    """
    store.kill()
    (file,) = (store.directory / "appendonlydir").glob("*.incr.aof")
    synced, written = synced_size(directory / "syncs", file.name), file.stat().st_size
    assert synced <= written
    os.truncate(file, synced)
    return written - synced
