"""A full disk under the store: the store exits without a word, and server and doctor name the cause."""

import asyncio
import contextlib
import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.store import StoreProcess
from support.system import running_system
from support.wait import wait_until

from callback import Response, UnavailableError
from callback_process.entry_point import StartError
from callback_process.findings import Level
from callback_server.control_plane import ControlPlane
from callback_server.operations import doctor
from callback_server.settings import ServerSettings
from callback_server.store import health
from callback_server.store.disk import why_full


@pytest.fixture
def disk(tmp_path):
    """Return a disk of a few megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", directory], check=False)
    if mounted.returncode:
        pytest.skip("this user cannot mount a disk")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


def fill(disk):
    """Leave a few bytes of a disk."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def test_a_full_disk_is_named_by_a_server_that_runs_and_by_doctor(tmp_path, disk):
    with StoreProcess(disk) as store:
        async with running_system(tmp_path, store) as system:
            fill(disk)
            with pytest.raises(UnavailableError):  # a write that needs more than what is left of a block
                await system.client.generate_callback_url("record", Response("x" * 65_536))
            await wait_until(lambda: system.server.events("store_disk_full"), what="the name of the cause")
            full = system.server.events("store_disk_full")[0]["problem"]
            assert full.startswith(f"the disk of the store is full: {disk} has ")
            await asyncio.to_thread(store.wait, 60)

            async def said():
                return (await system.server.admin("/readyz")).text.startswith(full[:40])

            await wait_until(said, what="the reason of a server that is not ready")
            settings = ServerSettings(store_url=store.url, admin_bind=system.server.facts["admin"])
            found = [each async for each in doctor.check_store(settings)]
            assert (Level.PROBLEM, "store disk space", True) in [
                (each.level, each.check, each.seen.startswith(full[:40])) for each in found
            ]


async def test_a_server_that_starts_on_a_full_disk_says_so_once_and_ends_with_the_reason(disk, limits):
    limits(health, START_WAIT_S=2)
    with StoreProcess(disk) as store:
        fill(disk)
        found = {each.check: each async for each in doctor.check_store(ServerSettings(store_url=store.url))}
        assert found["store disk space"].is_problem
        with capture_logs() as logs, pytest.raises(StartError, match="the disk of the store is full: "):
            async with ControlPlane(ServerSettings(store_url=store.url)):
                pass
        (line,) = [each for each in logs if each["event"] == "waiting_for_store"]
        assert line["error"].startswith("the disk of the store is full: ")


def test_a_disk_that_cannot_be_looked_at_is_not_called_full():
    assert why_full(frozenset({"/nowhere/at/all", str(Path.cwd())}), "Connection refused") == ""
    assert why_full(frozenset(), "MISCONF Errors writing to the AOF file: No space left on device").startswith(
        "the disk of the store is full: MISCONF"
    )
