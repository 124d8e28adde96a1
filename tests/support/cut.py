"""Power loss of a store: data that was written but not yet synced to disk is lost. A log of the syncs shows which."""

import os
import subprocess
from pathlib import Path

from support.tools import require


def logging_syncs(directory):
    """Return the `wrapper` that makes a store log each of its syncs as a line of `directory/syncs`.

    The library that writes the lines (`syncs.c`) is compiled into the directory. It runs inside the store's process, so
    no sync is missed, even on a busy machine.
    """
    library, source = directory / "syncs.so", Path(__file__).with_name("syncs.c")
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([require("gcc"), *options, "-o", str(library), str(source)], check=True)
    return (require("env"), f"LD_PRELOAD={library}", f"SYNC_LOG={directory / 'syncs'}")


def synced_size(syncs, name):
    """Return the number of bytes of the append-only file `name` that were certainly on disk.

    These are the bytes that were written before the start of a sync that completed.
    """
    lines = [line.split(" ", 1) for line in syncs.read_text().splitlines()]
    return max((int(size) for size, path in lines if path.endswith(f"/{name}")), default=0)


def lose_power(store, directory):
    """Kill a store that logs its syncs in a directory, and truncate its append-only file to the synced size.

    Return the number of bytes that were lost.
    """
    store.kill()
    (file,) = (store.directory / "appendonlydir").glob("*.incr.aof")
    synced, written = synced_size(directory / "syncs", file.name), file.stat().st_size
    assert synced <= written
    os.truncate(file, synced)
    return written - synced
