"""The proofs: each with a reduced load in every run, and with its full one in a soak."""

import asyncio
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

from callback import AsyncCallbackClient, CallbackStatus, Response, Worker
from callback_cli import proving
from callback_prove import faults, main, workload
from callback_prove.checker import Promise
from callback_prove.faults import FAULTS
from callback_prove.history import Generated, Injected, Recorded, of_type
from callback_prove.main import HISTORY, PROOFS, Proof, prove, run
from callback_prove.modes import MODES
from callback_prove.proof import OwnSystem, Settings
from callback_prove.system import Size
from callback_prove.tunnel import Tunnel

EVERY_KIND = Size(servers=2, edges=2, workers=1, handlers=1)


def settings(name, directory, durability="always", **options):
    """Return the settings of a proof, whose directory is made: options are the arguments of `Settings`."""
    directory /= f"{name}-{durability}"
    directory.mkdir()
    return name, Settings(directory=directory, **({} if SOAK else REDUCED) | options | {"durability": durability})


async def prove_side_by_side(*proofs):
    """Run proofs that mostly wait, together in a run and one after another in a soak. Return what each shows."""
    if SOAK:
        return [await prove(*proof) for proof in proofs]
    return await asyncio.gather(*(prove(*proof) for proof in proofs))


async def test_no_promise_is_broken_by_kills_power_losses_and_failovers_except_where_a_loss_was_accepted(
    tmp_path, limits
):
    require("gcc")
    limits(faults, RATE_S=count(1.0, faults.RATE_S))
    processes = {"seconds": 3600} if SOAK else {"size": EVERY_KIND}
    (injected, broken), (_, lost), *others = await prove_side_by_side(
        settings("processes", tmp_path, **processes),
        settings("power-loss", tmp_path, "everysec", cycles=3, quiet_s=0),
        settings("power-loss", tmp_path, cycles=count(2, 200)),
        *(settings(name, tmp_path, "replicated:1", cycles=count(1, 50)) for name in ("failover", "sentinel")),
    )
    assert [broken, *(violations for _, violations in others)] == [[]] * 4
    assert lost
    assert {fault.process.rpartition("-")[0] for fault in of_type(injected.steps, Injected)} == set(FAULTS)
    assert {step.mode for step in of_type(injected.steps, Generated)} == set(MODES)


@pytest.mark.skipif(not SOAK, reason="needs minutes: run python3 tasks.py soak")
@pytest.mark.parametrize(("name", "cycles"), [("cluster", 50), ("network", 50), ("rolling-restart", 1)])
async def test_a_failover_of_a_cluster_breaks_no_promise(tmp_path, name, cycles):
    assert (await prove(*settings(name, tmp_path, "replicated:1", cycles=cycles)))[1] == []


async def test_the_system_of_a_user_is_judged_and_its_callbacks_are_closed(store_of, tmp_path, limits):
    # Held calls are answered when the watch shows them, and an answer that a busy machine delays is not lost.
    limits(workload, LIST_INTERVAL_S=3600, CLIENT_TIMEOUT_S=60)
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
        history, violations = await prove("own-system", Settings(directory=tmp_path, own=own, **REDUCED))
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
