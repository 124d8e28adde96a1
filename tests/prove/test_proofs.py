"""The proofs: each with a reduced load in every run, and with its full one in a soak."""

import re
import shutil
from pathlib import Path

import pytest
import redis
from prove.reduced import REDUCED
from soak.counts import SOAK, count
from support.edge import running_edge
from support.services import running_services
from support.tools import require
from support.wait import DEADLINE_S

from callback import AsyncCallbackClient, CallbackStatus, Response, Worker
from callback_cli import proving
from callback_launcher import child
from callback_prove import faults, main, workload
from callback_prove.checker import Promise
from callback_prove.faults import FAULTS
from callback_prove.history import Generated, Injected, Ran, Recorded, of_type
from callback_prove.main import HISTORY, PROOFS, Proof, prove, run
from callback_prove.modes import MODES
from callback_prove.proof import OwnSystem, Settings
from callback_prove.system import Size
from callback_prove.tunnel import Tunnel


@pytest.fixture(autouse=True)
def light_on_the_processor(limits):
    """Look less often whether a process has started, and wait less between two faults."""
    limits(child, POLL_S=0.2)
    limits(faults, RATE_S=count(1.0, faults.RATE_S))


async def prove_it(name, directory, durability="always", **options):
    """Run a proof, by default reduced except in a soak. Return its history and the broken promises."""
    options = ({} if SOAK else REDUCED) | {"durability": durability} | options
    return await prove(name, Settings(directory=directory, **options))


async def test_every_promise_is_kept_while_processes_are_killed_stopped_and_suspended(tmp_path):
    options = {"seconds": 3600} if SOAK else {"size": Size(servers=2, edges=1, workers=1, handlers=1, http_handlers=1)}
    history, violations = await prove_it("processes", tmp_path, **options)
    assert violations == []
    assert {fault.process.rpartition("-")[0] for fault in of_type(history.steps, Injected)} == set(FAULTS)
    assert {step.mode for step in of_type(history.steps, Generated)} == set(MODES)


async def test_every_promise_is_kept_over_http_while_handlers_and_servers_are_killed(tmp_path):
    options = {"seconds": 600} if SOAK else {}
    size = Size(servers=2, edges=1, workers=0, handlers=0, http_handlers=2)
    history, violations = await prove_it("processes", tmp_path, **options, size=size)
    assert violations == []
    killed = {fault.process.rpartition("-")[0] for fault in of_type(history.steps, Injected)}
    assert killed == {"store", "server", "edge", "http-handler"}
    assert len(of_type(history.steps, Ran)) >= count(10, 10_000)


@pytest.mark.parametrize(("durability", "cycles"), [("always", count(2, 200)), ("everysec", 3)])
async def test_a_power_loss_breaks_no_promise_except_where_a_loss_was_accepted(tmp_path, durability, cycles):
    require("gcc")
    options = {"quiet_s": 0} if durability == "everysec" else {}
    _, violations = await prove_it("power-loss", tmp_path, durability, cycles=cycles, **options)
    assert bool(violations) is (durability == "everysec")


@pytest.mark.parametrize("name", ["failover", "sentinel", *(["cluster", "network", "rolling-restart"] if SOAK else [])])
async def test_a_failover_breaks_no_promise_with_replicated(tmp_path, name):
    cycles = count(1, 1 if name == "rolling-restart" else 50)
    assert (await prove_it(name, tmp_path, "replicated:1", cycles=cycles))[1] == []


async def test_the_system_of_a_user_is_judged_and_its_callbacks_are_closed(store_of, tmp_path, limits):
    # Held calls are answered when the watch shows them, and an answer that a busy machine delays is not lost.
    limits(workload, LIST_INTERVAL_S=3600, CLIENT_TIMEOUT_S=DEADLINE_S)
    async with (
        Tunnel("127.0.0.1:1") as front,
        running_services(store_of(), box_url=f"http://{front.address}", sweeps=True) as services,
        running_edge(services.address) as edge,
        AsyncCallbackClient(services.address) as client,
    ):
        front.target = f"127.0.0.1:{edge.port}"
        other = await client.generate_callback_url("record", Response())
        own = OwnSystem(
            client=lambda: AsyncCallbackClient(services.address),
            worker=lambda handlers: Worker(handlers, services.address),
            namespace="prove-1",
        )
        history, violations = await prove("own-system", Settings(directory=tmp_path, own=own, **REDUCED | {"rate": 20}))
        assert violations == []
        assert {step.mode for step in of_type(history.steps, Generated)} == set(MODES)
        assert [each.case_id async for each in client.list_callbacks(status=CallbackStatus.OPEN)] == [other.case_id]


def test_the_command_line_knows_every_proof():
    (name,) = (each for each in proving.prove.params if each.name == "name")
    assert [*name.type.choices] == [*PROOFS]


OPTIONS = {"durability": None, "seed": 0, "seconds": None, "cycles": 1}


@pytest.mark.parametrize(("status", "code"), [("OPEN", 0), ("", 1)])
def test_a_broken_promise_is_printed_and_its_history_is_kept(limits, capsys, status, code):
    async def prove_nothing(_settings, history):
        history.add(Generated(at=0, mode="single", case_id="case"), Recorded(case_id="case", status=status))

    limits(main, PROOFS={"processes": Proof(prove_nothing)})
    assert run("processes", directory=None, **OPTIONS) == code
    printed = capsys.readouterr()
    home = Path(re.search(r" in (/\S+)", printed.err)[1])
    if code:
        assert f"BROKEN 1 times: {Promise.URL_KEPT}" in printed.out
        assert f"history: {home / HISTORY}" in printed.out
        shutil.rmtree(home)
    else:
        assert "violations: 0" in printed.out
        assert not home.exists()


def test_a_proof_that_breaks_off_is_no_broken_promise(tmp_path, capsys):
    def client():
        raise redis.ResponseError("unknown subcommand 'MIGRATESLOTS'")

    own = OwnSystem(client=client, worker=None, namespace="prove-1")
    assert run("own-system", directory=tmp_path / "proof", own=own, **OPTIONS) == 69
    output = capsys.readouterr()
    assert output.out == ""
    assert "ResponseError: unknown subcommand 'MIGRATESLOTS'" in output.err
    assert str(tmp_path / "proof" / HISTORY) in output.err


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("power-loss", "needs a C compiler: install gcc"),
        ("network", "needs network namespaces: run it as root on Linux, with the program ip"),
    ],
)
def test_a_proof_that_needs_more_of_the_machine_says_what(tmp_path, monkeypatch, capsys, name, needed):
    monkeypatch.setenv("PATH", "")
    assert run(name, directory=tmp_path / "proof", **OPTIONS) == 69
    output = capsys.readouterr()
    assert output.out == ""
    assert needed in output.err
    assert str(tmp_path / "proof" / HISTORY) in output.err
