"""The proofs: each with a reduced load in every run, and with its full one in a soak."""

import tempfile

import pytest
import redis
from soak.counts import SOAK, count
from support.edge import running_edge
from support.services import running_services
from support.tools import require

from callback import AsyncCallbackClient, CallbackStatus, Response, Worker
from callback_cli import proving
from callback_prove import workload
from callback_prove.checker import Promise
from callback_prove.faults import FAULTS
from callback_prove.history import Generated, Injected, Recorded, of_type
from callback_prove.main import HISTORY, PROOFS, Proof, prove, run
from callback_prove.modes import MODES
from callback_prove.proof import OwnSystem, Settings
from callback_prove.system import Size
from callback_prove.tunnel import Tunnel

SMALL = {"callers": 1, "min_successes": 1, "size": Size(servers=1, edges=1, workers=1, handlers=0)}
"""Settings of a reduced run."""


async def test_every_promise_is_kept_while_processes_are_killed_stopped_and_suspended(tmp_path):
    seconds = count(0, 3600)
    small = {} if seconds else {**SMALL, "size": Size(servers=2, edges=2, workers=1, handlers=1)}
    history, violations = await prove(
        "processes", Settings(directory=tmp_path, durability="always", seconds=seconds, **small)
    )
    assert violations == []
    assert {fault.process.rpartition("-")[0] for fault in of_type(history.steps, Injected)} == set(FAULTS)
    assert {step.mode for step in of_type(history.steps, Generated)} == set(MODES)


async def prove_in_cycles(name, directory, durability, cycles, **more):
    settings = Settings(directory=directory, durability=durability, cycles=cycles, **({} if SOAK else SMALL), **more)
    return (await prove(name, settings))[1]


async def test_a_power_loss_breaks_no_promise(tmp_path):
    require("gcc")
    assert await prove_in_cycles("power-loss", tmp_path, "always", count(2, 200)) == []


async def test_the_same_power_loss_does_lose_where_everysec_was_accepted(tmp_path):
    require("gcc")
    assert await prove_in_cycles("power-loss", tmp_path, "everysec", 3, quiet_s=0)


@pytest.mark.parametrize("name", ["failover", "sentinel", *(["cluster", "network", "rolling-restart"] if SOAK else [])])
async def test_a_failover_breaks_no_promise_with_replicated(tmp_path, name):
    assert await prove_in_cycles(name, tmp_path, "replicated:1", count(1, 1 if name == "rolling-restart" else 50)) == []


async def test_the_system_of_a_user_is_judged_and_its_callbacks_are_closed(store_of, tmp_path, monkeypatch):
    monkeypatch.setattr(workload, "LIST_INTERVAL_S", 3600)  # held calls are answered when the watch shows them
    monkeypatch.setattr(workload, "CLIENT_TIMEOUT_S", 60)  # so an answer that a busy machine delays is not lost
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
        settings = Settings(directory=tmp_path, durability="always", seconds=0, rate=20, min_successes=1, own=own)
        history, violations = await prove("own-system", settings)
        assert violations == []
        assert {step.mode for step in of_type(history.steps, Generated)} == set(MODES)
        assert [each.case_id async for each in client.list_callbacks(status=CallbackStatus.OPEN)] == [other.case_id]


def test_the_command_line_knows_every_proof():
    (name,) = (each for each in proving.prove.params if each.name == "name")
    assert [*name.type.choices] == [*PROOFS]


OPTIONS = {"durability": None, "seed": 0, "seconds": None, "cycles": 1}


@pytest.mark.parametrize(("status", "code"), [("OPEN", 0), ("", 1)])
def test_a_broken_promise_is_printed_and_its_history_is_kept(tmp_path, monkeypatch, capsys, status, code):
    async def prove_nothing(_settings, history):
        history.add(Generated(at=0, mode="single", case_id="case"), Recorded(case_id="case", status=status))

    monkeypatch.setitem(PROOFS, "processes", Proof(prove_nothing))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run("processes", directory=None, **OPTIONS) == code
    printed = capsys.readouterr().out
    kept = [*tmp_path.glob(f"*/{HISTORY}")]
    if code:
        assert f"BROKEN 1 times: {Promise.URL_KEPT}" in printed
        assert [f"history: {path}" in printed for path in kept] == [True]
    else:
        assert "violations: 0" in printed
        assert kept == []


def test_a_proof_that_breaks_off_is_no_broken_promise(tmp_path, monkeypatch, capsys):
    async def break_off(_settings, _history):
        raise redis.ResponseError("unknown subcommand 'MIGRATESLOTS'")

    monkeypatch.setitem(PROOFS, "cluster", Proof(break_off))
    assert run("cluster", directory=tmp_path / "proof", **OPTIONS) == 69
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
