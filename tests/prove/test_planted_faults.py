"""Faults that are planted in the product: a proof finds each, with a copy of the server in which they are."""

import os
import shutil

import pytest
from prove.reduced import REDUCED
from soak.counts import SOAK
from support.tree import PACKAGES

from callback_prove import faults
from callback_prove.checker import Promise
from callback_prove.history import Generated, of_type
from callback_prove.main import prove
from callback_prove.proof import Settings

FAULTS = {
    # The bodies of calls on cases for multiple calls have a point. Other modes have repeats, which wait for the write.
    "an answer without its write": (
        Promise.SUCCESS_KEPT,
        "multiple",
        "calls/invoke.py",
        "        is_last = not may_be_delivered(grant)\n",
        """        if b"." in request.body:
            return self._renderer.outcome_of_decision(grant.response, result.decision)
        is_last = not may_be_delivered(grant)
""",
    ),
    "a double run": (
        Promise.ONE_RUN,
        "single",
        "calls/invoke.py",
        "            result = await self._dispatcher.dispatch(grant, request)\n",
        "            result = await self._dispatcher.dispatch(grant, request)\n" * 2,
    ),
    "a lost finish": (
        Promise.DELIVERED,
        "ack",
        "store/lua/finish_delivery.lua",
        "redis.call('HSET', call_key(call_id), 'ended_fencing_token', fencing_token)\n",
        "if status ~= 'PENDING' then return reply('OK', 0, 0) end\n",
    ),
    "a skipped lease": (
        Promise.ONE_AT_A_TIME,
        "retryable",
        "store/lua/claim_call.lua",
        "redis.call('ZADD', leases_key(), now + lease_ms, call_id)\nif is_held",
        "local is_skipped = case.mode == 'RETRYABLE' and number == 1\n"
        "redis.call('ZADD', leases_key(), is_skipped and now or now + lease_ms, call_id)\nif is_held",
    ),
    "a watch with a gap": (
        Promise.WATCHED,
        "record",
        "calls/watch.py",
        "        self._kept += events\n",
        "        self._kept += events[2::3]\n",
    ),
}
"""By name: the promise that it breaks, the mode in which it does, the file, and the text that is replaced."""
TOGETHER = "all together"


@pytest.mark.parametrize("name", [TOGETHER, *(FAULTS if SOAK else ())])
async def test_a_proof_finds_a_fault_that_is_planted_in_the_product(tmp_path, monkeypatch, limits, name):
    planted = FAULTS.values() if name == TOGETHER else [FAULTS[name]]
    product, directory = tmp_path / "product", tmp_path / "proof"
    directory.mkdir()
    shutil.copytree(PACKAGES["callback_server"], product / "callback_server")
    for _, _, file, text, instead in planted:
        path = product / "callback_server" / file
        before = path.read_text()
        assert text in before
        path.write_text(before.replace(text, instead, 1))
    monkeypatch.setenv("PYTHONPATH", str(product), prepend=os.pathsep)
    limits(faults, FAULTS={})
    # Without the faults, all calls and deliveries would end in a few seconds.
    options = REDUCED | {"rate": 20, "min_successes": 2, "quiet_s": 6}
    history, violations = await prove("processes", Settings(directory=directory, **options))
    modes = {step.case_id: step.mode for step in of_type(history.steps, Generated)}
    found = {(violation.promise, modes[violation.case_id]) for violation in violations}
    assert {(promise, mode) for promise, mode, *_ in planted} - found == set()
