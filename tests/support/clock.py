"""A store whose wall clock a test sets: a library runs inside its process (`clock.c`)."""

import struct
import subprocess
import time
from pathlib import Path

import redis
from support.store import StoreProcess
from support.tools import require
from support.wait import wait_until_sync


class ClockedStore(StoreProcess):
    """A store with a clock of its own, which agrees with the machine's until it is set."""

    def __init__(self, directory, **options):
        self.process = None
        self._offset = directory / "offset"
        self.set_clock(0)
        library, source = directory / "clock.so", Path(__file__).with_name("clock.c")
        options_of_compiler = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([require("gcc"), *options_of_compiler, "-o", str(library), str(source)], check=True)
        wrapper = (require("env"), f"LD_PRELOAD={library}", f"CLOCK_OFFSET={self._offset}")
        super().__init__(directory, wrapper=wrapper, **options)

    def set_clock(self, ahead_s):
        """Set the clock to this distance from the machine's, and wait until scripts see it if the store runs."""
        self._write(round(ahead_s * 1_000_000), 0)
        if self.process is not None:
            wait_until_sync(lambda: abs(self._seen_s() - time.time() - ahead_s) < 0.2, what="the other time")

    def stop_clock(self):
        """Let the clock stand still, and wait until scripts see it."""
        now_s = self._seen_s()
        self._write(0, round(now_s * 1_000_000))
        wait_until_sync(lambda: abs(self._seen_s() - now_s) < 1e-6, what="a clock that stands still")

    def _write(self, *numbers):
        with self._offset.open("r+b" if self._offset.exists() else "w+b") as file:
            file.write(struct.pack("2q", *numbers))

    def _seen_s(self):
        """Return the time that scripts see. The store reads its clock a few times a second."""
        with redis.Redis(port=self.port) as client:
            seconds, microseconds = client.eval("return redis.call('TIME')", 0)
        return int(seconds) + int(microseconds) / 1e6
