"""The systemd units: systemd accepts them, and their permissions suffice for their process with little to spare."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.deployed import SAMPLES, sample
from support.system import System, own_store
from support.tools import require
from support.wait import wait_until

from callback import AsyncCallbackClient, Response
from callback_console.settings import ConsoleSettings
from callback_edge.settings import EdgeSettings
from callback_server.settings import ServerSettings

UNITS = ("callback-server@.service", "callback-edge@.service", "callback-console.service")
SETTINGS = {"server": ServerSettings, "edge": EdgeSettings, "console": ConsoleSettings}
STOP = ("drain_s", "grace_s")
READLINE = {"setfsuid", "setfsgid"}
"""System calls of readline as it opens the description of the terminal as root: Quart imports click's test tools, these
import pdb, and from Python 3.13 on pdb imports readline. Without a permission for these it opens the file anyway."""


@pytest.fixture
def units(tmp_path):
    """Write the units with the path of this environment's program, as systemd checks that the program exists."""
    program = Path(sys.executable).with_name("callback")
    for unit in (*SAMPLES.glob("callback-*.service"), *SAMPLES.glob("callback-*.socket")):
        changes = {"/opt/callback/bin/callback": program} if unit.suffix == ".service" else {}
        (tmp_path / unit.name).write_text(sample(unit.name, changes))
    return tmp_path


def test_systemd_accepts_the_units(units):
    instances = [str(units / unit.name.replace("@", "@1")) for unit in units.iterdir()]
    ran = subprocess.run(
        [require("systemd-analyze"), "verify", "--man=no", *instances], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_few_permissions_beyond_its_work(units, name):
    """Check the exposure level that systemd computes, from 0.0 to 10.0 (everything); the threshold is in tenths."""
    command = [require("systemd-analyze"), "security", "--offline=true", "--threshold=12", str(units / name)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_more_time_to_stop_than_its_process_needs(name):
    (settings,) = [each for kind, each in SETTINGS.items() if kind in name]
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)$", (SAMPLES / name).read_text(), re.MULTILINE)[1])
    assert stop_s > sum(settings.model_fields[each].default for each in STOP if each in settings.model_fields) + 5


def calls_of(group):
    """Return the system calls of a systemd group, including its nested groups."""
    listed = subprocess.run(
        [require("systemd-analyze"), "syscall-filter", group], capture_output=True, check=True, text=True
    ).stdout
    names = {line.strip() for line in listed.splitlines()[1:] if line.strip() and "#" not in line}
    inner = {name for name in names if name.startswith("@")}
    return names - inner | {call for name in inner for call in calls_of(name)}


def allowed(name):
    """Return the system calls that a unit allows."""
    calls = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", (SAMPLES / name).read_text(), re.MULTILINE):
        groups = {call for word in words.removeprefix("~").split() for call in calls_of(word)}
        calls = calls - groups if words.startswith("~") else calls | groups
    return calls | calls_of("@default")


def traced(process, trace):
    """Run a process under strace, which writes the count of its system calls to `trace`."""
    # With -D the tracer is a grandchild, so signals reach the process itself.
    process.interpreter = [require("strace"), "-D", "-f", "-c", "-U", "name", "-o", str(trace), sys.executable]


async def test_a_unit_permits_everything_that_its_process_does(tmp_path):
    store = own_store(tmp_path).start()
    system = System(tmp_path, store)
    processes = {"callback-server@.service": system.server, "callback-edge@.service": system.edge}
    try:
        for name, process in processes.items():
            traced(process, tmp_path / name)
            await asyncio.to_thread(process.start)
        async with AsyncCallbackClient(system.grpc) as client, httpx.AsyncClient() as http:
            case = await client.generate_callback_url("record", Response("thank you"))
            assert (await http.post(case.url, content=b"paid")).text == "thank you"
            for process in processes.values():
                assert (await http.get(f"http://{process.facts['admin']}/metrics")).status_code == 200
    finally:
        for process in processes.values():
            process.stop()
        store.stop()
    for name in processes:
        done = await wait_until(lambda trace=tmp_path / name: trace.exists() and trace.read_text(), what="the trace")
        used = set(re.findall(r"^(\w+)$", done.split("------\n", 1)[-1], re.MULTILINE)) - {"total"}
        assert "epoll_wait" in used
        assert used - allowed(name) - READLINE == set(), name


@pytest.mark.parametrize("name", [*UNITS, "callback-edge@.socket"])
def test_a_unit_waits_for_no_service_that_may_not_exist(name):
    """The store's unit has another name on each system: Debian 12 has no `valkey-server.service`."""
    lines = re.findall(r"^(?:After|Requires|Wants|WantedBy)=(.*)$", (SAMPLES / name).read_text(), re.MULTILINE)
    named = " ".join(lines).split()
    assert {each for each in named if not each.endswith(".target")} <= {"callback-edge@%i.socket"}
