"""Proof: the machine of a single store loses its power under load, again and again.

A library in the process of the store (`syncs.c`) logs each fsync. The store is killed, and its append-only file is cut
to what an fsync had covered: what the operating system had not written is lost, as in a power loss.
"""

import asyncio
import os
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Final

from callback_launcher.child import running
from callback_launcher.launcher import Launcher
from callback_launcher.store import Store
from callback_launcher.wait import wait_until
from callback_prove.errors import ProveError
from callback_prove.history import History, Injected
from callback_prove.proof import Settings, say, under_load, wait_for_successes
from callback_prove.system import System

BEHIND_BYTES: Final = 4096
"""Number of bytes without an fsync that are worth a power loss where these are expected."""
BEHIND_TIMEOUT_S: Final = 30.0
"""Time limit for a store to have them, in seconds."""
COMPILER_OPTIONS: Final = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


async def prove(settings: Settings, history: History) -> None:
    """Run the proof.

    Raises:
        ProveError: The proof has no result.
    """
    library = compile_library(settings.directory)
    launcher = Launcher(settings.directory, settings.durability)
    store = SyncedStore(launcher, "store-1", library)
    system = System(launcher, store.url, size=settings.size)
    async with running(store), under_load(system, history, settings) as workload:
        lost_bytes = 0
        for cycle in range(settings.cycles):
            await wait_for_successes(workload, settings.min_successes)
            if settings.durability == "everysec":
                # Servers refuse a store that has lost its epochs, which they opened when it started.
                await wait_until(partial(store.has_synced, store.written()), timeout_s=BEHIND_TIMEOUT_S)
                await wait_until(store.is_behind, timeout_s=BEHIND_TIMEOUT_S)
            history.add(Injected(at=time.time(), fault="power_loss", process=store.name))
            lost_bytes += store.lose_power()
            await asyncio.to_thread(store.start)
            say(f"power loss {cycle + 1} of {settings.cycles}; {lost_bytes} bytes cut so far")


def compile_library(directory: Path) -> Path:
    """Compile the library that logs each fsync, and return its path.

    Raises:
        ProveError: This machine is not Linux, or has no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not Path("/proc/self/fd").is_dir():
        raise ProveError("the proof power-loss needs Linux: it watches the store by LD_PRELOAD and /proc")
    if compiler is None:
        raise ProveError("the proof power-loss needs a C compiler: install gcc (on Debian: gcc libc6-dev)")
    library, source = directory / "syncs.so", Path(__file__).with_name("syncs.c")
    done = subprocess.run(  # noqa: S603  # the compiler of this machine
        [compiler, *COMPILER_OPTIONS, "-o", str(library), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ProveError(f"{compiler} does not compile {source}:\n{done.stderr}")
    return library


class SyncedStore(Store):
    """A store that logs each of its fsyncs, as a line of a file with the size of what it covered."""

    def __init__(self, launcher: Launcher, name: str, library: Path) -> None:
        self._syncs = launcher.directory / f"{name}.syncs"
        self._on_disk = 0
        """Size of the append-only file after the last cut."""
        environment = {"LD_PRELOAD": str(library), "SYNC_LOG": str(self._syncs)}
        super().__init__(launcher, name, "--auto-aof-rewrite-percentage", "0", environment=environment)  # one file

    def written(self) -> int:
        """Return the size of the append-only file."""
        return self._sizes()[2]

    async def has_synced(self, size: int) -> bool:
        """Return whether that much of the append-only file is certainly on disk."""
        return self._sizes()[1] >= size

    async def is_behind(self) -> bool:
        """Return whether some written data is not on disk."""
        _, synced, written = self._sizes()
        return written - synced >= BEHIND_BYTES

    def _sizes(self) -> tuple[Path, int, int]:
        """Return the append-only file, how much of it is certainly on disk, and its size."""
        (file,) = (self.data / "appendonlydir").glob("*.incr.aof")
        return file, max(self._on_disk, synced_size(self._syncs, file.name)), file.stat().st_size

    def lose_power(self) -> int:
        """Kill it, and cut its append-only file to what is certainly on disk. Return the number of bytes cut.

        Raises:
            ProveError: It logged no fsync of the file.
        """
        self.kill()
        file, synced, written = self._sizes()
        if not 0 < synced <= written:
            raise ProveError(f"{self._syncs} says {synced} of {written} bytes of {file}: the library was not loaded")
        os.truncate(file, synced)
        self._on_disk = synced
        self._syncs.unlink()  # what was logged is about bytes that are gone
        return written - synced


def synced_size(syncs: Path, name: str) -> int:
    """Return how many bytes of the append-only file `name` are certainly on disk.

    These are the bytes that were written before the start of an fsync that completed.
    """
    lines = [line.split(" ", 1) for line in syncs.read_text(encoding="utf-8").splitlines()]
    return max((int(size) for size, path in lines if path.endswith(f"/{name}")), default=0)
