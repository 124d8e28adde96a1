"""Backup and restore as the page on operations describes them: a backup under load, loss of the store, a restore."""

import asyncio
import os
import re
import shutil
import signal
import subprocess

import pytest
import redis
from soak.counts import SOAK
from support.deployed import SAMPLES
from support.store import StoreProcess
from support.system import own_store, running_system
from support.tools import require
from support.wait import wait_until, wait_until_sync

from callback import CallbackStatus, Response


def start_backup(store, copy):
    """Start the sample script in the way that the page describes."""
    # The tests already need redis-server, which includes redis-cli. It works with Redis and with Valkey.
    cli = f"{require('redis-cli')} -p {store.port}"
    # A shell cannot trap a signal that is ignored when it starts, as SIGHUP is in tests that run with nohup.
    command = ["env", "--default-signal=HUP", "sh", str(SAMPLES / "backup.sh"), str(store.directory), str(copy)]
    return subprocess.Popen(command, env={**os.environ, "CLI": cli}, stderr=subprocess.PIPE, text=True)


def back_up(store, copy):
    """Run the sample script to its end, and return its exit code and its standard error."""
    with start_backup(store, copy) as backup:
        said = backup.communicate()[1]
    return backup.returncode, said


@pytest.fixture
def rewriting_store(tmp_path):
    """Run a store that rewrites its append-only file during the whole test, so that every backup waits."""
    settings = ("--auto-aof-rewrite-percentage", "73", "--rdb-key-save-delay", "10000000")
    with own_store(tmp_path, settings=settings) as store:
        with redis.Redis(port=store.port) as client:
            client.mset({str(n): "x" for n in range(100)})
            client.bgrewriteaof()
        yield store


class Business:
    """Owner that creates cases and calls them one after the other. `calls` has the acknowledged calls."""

    def __init__(self, system):
        self._system = system
        self.calls = []
        """(case, body) of each answered call."""

    async def go_on(self):
        """Create and call cases until the task is cancelled."""
        while True:
            case = await self._system.client.generate_callback_url("record", Response("ok"))
            body = os.urandom(2000)
            assert (await self._system.http.post(case.url, content=body)).status_code == 200
            self.calls.append((case, body))


@pytest.mark.parametrize("kind", ["valkey", "redis"] if SOAK else ["valkey"])
async def test_a_restore_brings_back_everything_from_the_start_of_the_backup(tmp_path, kind):
    store = own_store(tmp_path, kind=kind).start()
    (tmp_path / "first").mkdir()
    async with running_system(tmp_path / "first", store) as system:
        business = Business(system)
        working = asyncio.create_task(business.go_on())
        await wait_until(lambda: len(business.calls) >= 20, what="some business")
        waiting = await system.client.generate_callback_url("record", Response("thank you"))
        consumed_later = await system.client.generate_callback_url("record", Response("thank you"))
        before = list(business.calls)

        code, said = await asyncio.to_thread(back_up, store, tmp_path / "copy")
        assert code == 0, said

        during = len(business.calls)
        await wait_until(lambda: len(business.calls) >= during + 5, what="more business")
        since = await system.client.generate_callback_url("record", Response("thank you"))
        assert (await system.http.get(consumed_later.url)).status_code == 200
        working.cancel()
        await asyncio.wait([working])
        store.kill()
    shutil.rmtree(store.directory)

    new = tmp_path / "new"
    new.mkdir()
    shutil.copytree(tmp_path / "copy", new / "appendonlydir")
    restored = StoreProcess(new, kind=kind).start()
    (tmp_path / "second").mkdir()
    try:
        async with running_system(tmp_path / "second", restored) as system:

            def url(case):
                return system.url + case.url[case.url.index("/cb/") :]

            for case, body in before:
                assert (await system.client.get_callback(case.case_id)).status is CallbackStatus.CLOSED
                (call,) = [call async for call in system.client.list_calls(case.case_id)]
                assert (await system.client.get_call(call.call_id)).body == body
            answer = await system.http.post(url(waiting), content=b"after all")
            assert (answer.status_code, answer.text) == (200, "thank you")
            # The page warns of this: the restored store has nothing that came after the backup.
            assert (await system.http.get(url(since))).status_code == 404
            assert (await system.client.get_callback(consumed_later.case_id)).status is CallbackStatus.OPEN
            assert (await system.http.get(url(consumed_later))).status_code == 200
    finally:
        restored.stop()


def rewriting(store):
    """Return the growth, in percent, at which the store rewrites its append-only file."""
    command = [require("redis-cli"), "-p", str(store.port), "--raw", "config", "get", "auto-aof-rewrite-percentage"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[-1]


def test_a_backup_leaves_the_settings_of_the_store_as_they_were(tmp_path):
    with own_store(tmp_path, kind="redis", settings=("--auto-aof-rewrite-percentage", "73")) as store:
        assert back_up(store, tmp_path / "copy") == (0, "")
        assert rewriting(store) == "73"
        assert back_up(store, tmp_path / "copy") == (1, f"backup.sh: {tmp_path / 'copy'} already exists\n")
        shutil.rmtree(store.directory / "appendonlydir")
        assert back_up(store, tmp_path / "other")[0] != 0
        assert rewriting(store) == "73"
        assert not (tmp_path / "other").exists()


def test_a_backup_that_is_ended_leaves_the_settings_as_they_were(rewriting_store, tmp_path):
    """Only one runs at a time, and after a kill the next one explains how to continue."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        with start_backup(rewriting_store, tmp_path / "copy") as backup:
            wait_until_sync(lambda: rewriting(rewriting_store) == "0", what="a backup that waits")
            backup.send_signal(number)
            assert backup.wait() == 1
        assert rewriting(rewriting_store) == "73"
        assert not (tmp_path / "copy").exists()
    with start_backup(rewriting_store, tmp_path / "first") as first:
        wait_until_sync(lambda: rewriting(rewriting_store) == "0", what="a backup that waits")
        code, said = back_up(rewriting_store, tmp_path / "second")
        assert (code, rewriting(rewriting_store)) == (1, "0"), said
        first.kill()
    code, said = back_up(rewriting_store, tmp_path / "third")
    assert code == 1
    remedy = re.search(r"If none is running: (.+) \(or its previous value\)\n", said)
    subprocess.run(remedy[1].split(), check=True, stdout=subprocess.DEVNULL)
    assert rewriting(rewriting_store) == "100"


def test_a_backup_of_an_unreachable_store_and_of_one_that_does_not_let_its_rewriting_wait_fails(tmp_path):
    store = own_store(tmp_path, settings=("--rename-command", "CONFIG", ""))
    assert back_up(store, tmp_path / "copy")[0] != 0
    with store:
        assert back_up(store, tmp_path / "copy")[0] != 0
        assert not (tmp_path / "copy").exists()
