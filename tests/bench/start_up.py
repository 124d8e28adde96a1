"""Start-up benchmark: the time from nothing to a running system, and to its end. `start_up.py [ROUNDS]`.

Each round starts `callback up` on an empty directory, waits for its ready line and stops it. Then it does the same with
`callback.testing`, whose system also has a handler. The output is the median and the best time, and the processor time
of a round over all processes. Compare the processor time if the machine is not idle.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from callback import Handlers
from callback.testing import running_system

ROUNDS = 10

handlers = Handlers()


@handlers.activity("order-paid")
async def paid(_call):
    """Accept."""


def up():
    """Start and stop `callback up`, and return the seconds to its ready line and from there to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "callback_cli", "up", f"--data-dir={folder}/data"]
        command += ["--edge=127.0.0.1:0", "--grpc=127.0.0.1:0", "--console=127.0.0.1:0"]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            line = process.stdout.readline()
            ready = time.perf_counter()
            process.terminate()
        assert line.startswith(b"ready"), line
        return ready - began, time.perf_counter() - ready


def fixture():
    """Do as `up` with `running_system`."""
    began = time.perf_counter()
    with running_system(handlers):
        ready = time.perf_counter()
    return ready - began, time.perf_counter() - ready


def processor_s():
    """Return the processor time of all child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(rounds):
    """Measure, and print the results."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for name, once in (("callback up", up), ("callback.testing", fixture)):
        used = processor_s()
        started, stopped = zip(*(once() for _ in range(rounds)), strict=True)
        used = (processor_s() - used) / rounds
        print(
            f"{name:17} ready after {statistics.median(started):.2f} s (best {min(started):.2f}),"
            f" gone after {statistics.median(stopped):.2f} s (best {min(stopped):.2f});"
            f" {used:.2f} s of processor time a round"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
