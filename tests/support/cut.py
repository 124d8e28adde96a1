"""A power loss: what the store had written but not yet forced to disk is gone. A trace of its calls shows what."""

import os
import re
import signal
from pathlib import Path

from support.tools import require

_CALL = re.compile(r"(\d+) +(write|pwrite64|writev|fsync|fdatasync)\(\d+<([^>]*)>(.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (write|pwrite64|writev|fsync|fdatasync) resumed>(.*)")
_RESULT = re.compile(r"\) += (\d+)$")


def traced(trace):
    """What to start a store with, as its `wrapper`, so that `trace` gets its writes and syncs."""
    calls = "trace=write,pwrite64,writev,fsync,fdatasync,openat"
    return (require("strace"), "-f", "-y", "-s", "0", "-e", calls, "-o", str(trace))


def kill_traced(store):
    """Kills a traced store, not its tracer, as a crash does. Does nothing if it is dead already."""
    tracer = store.process.pid
    if store.process.poll() is None:
        for child in Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        store.process.wait(30)


def synced_size(trace, name):
    """How much of the append-only file `name` was on disk for certain, and how much was written at all, in bytes.

    For certain is what had been written when its last completed sync began.
    """
    written = synced = 0
    pending = {}  # thread -> (path, what was written when its call began)
    for line in trace.read_text().splitlines():
        if match := _CALL.match(line):
            thread, call, path, rest = match.groups()
            pending[thread] = (path, written)
        elif match := _RESUMED.match(line):
            thread, call, rest = match.groups()
        else:
            continue
        result = _RESULT.search(rest)
        if not result:
            continue  # unfinished: its end comes later, or never came
        path, before = pending.pop(thread)
        if path.endswith(f"/{name}"):
            if call.endswith("sync"):
                synced = before
            else:
                written += int(result[1])
    return synced, written


def lose_power(store, trace):
    """Kills a traced store and cuts its append-only file back to what was on disk. Returns how many bytes went."""
    kill_traced(store)
    (file,) = (store.directory / "appendonlydir").glob("*.incr.aof")
    synced, written = synced_size(trace, file.name)
    assert synced <= written == file.stat().st_size
    os.truncate(file, synced)
    return written - synced
