"""Faults that are planted in the product: a proof finds each, with a copy of the server in which they are."""

import os
import shutil
from collections import Counter
from typing import NamedTuple

import pytest
from prove.reduced import REDUCED
from soak.counts import SOAK
from support.tree import PACKAGES

from callback_prove import faults
from callback_prove.checker import Promise
from callback_prove.history import Generated, of_type
from callback_prove.main import prove
from callback_prove.proof import Settings
from callback_prove.system import Size

CLAIM, END, DELIVERY = "store/lua/claim_call.lua", "store/lua/includes/end_call.lua", "store/lua/includes/delivery.lua"
INVOKE = "calls/invoke.py"
FINISH = "        is_last = not may_be_delivered(grant)\n"
DISPATCH = "            result = await self._dispatcher.dispatch(grant, request)\n"


class Fault(NamedTuple):
    """A text of the server that is replaced by another one, and the promise that this breaks in a mode."""

    promise: Promise
    mode: str
    file: str
    text: str
    instead: str = ""


TOGETHER = {
    # The bodies that end so have no repeats, which would wait for the write.
    "an answer without its write": Fault(
        Promise.SUCCESS_KEPT, "multiple", INVOKE, FINISH,
        '        if request.body.endswith(b"x"):\n'
        "            return self._renderer.outcome_of_decision(grant.response, result.decision)\n" + FINISH),
    "a double run": Fault(Promise.ONE_RUN, "single", INVOKE, DISPATCH, DISPATCH * 2),
    "a lost finish": Fault(
        Promise.DELIVERED, "ack", "store/lua/finish_delivery.lua",
        "redis.call('HSET', call_key(call_id), 'ended_fencing_token', fencing_token)\n",
        "if status ~= 'PENDING' then return reply('OK', 0, 0) end\n"),
    "a skipped lease": Fault(
        Promise.ONE_AT_A_TIME, "retryable", CLAIM,
        "redis.call('ZADD', leases_key(), now + lease_ms, call_id)\nif is_held",
        "local is_skipped = case.mode == 'RETRYABLE' and number == 1\n"
        "redis.call('ZADD', leases_key(), is_skipped and now or now + lease_ms, call_id)\nif is_held"),
    "a watch with a gap": Fault(
        Promise.WATCHED, "record", "calls/watch.py",
        "        self._kept += events\n", "        self._kept += events[2::3]\n"),
    "the query of a request is overlooked": Fault(
        Promise.REPEATED, "record", "domain/call.py", "(request.method, request.query_string, body)",
        "(request.method, body)"),
}  # fmt: skip
"""Faults that are planted together in every run: none hides another."""
ALONE = {
    "an answer before its write": Fault(
        Promise.WRITTEN_FIRST, "single", INVOKE, FINISH,
        FINISH + "        if not isinstance(result.decision, Outcome):\n"
        "            writing = asyncio.create_task(\n"
        "                self._attempts.finish(attempt, result, lease_end, is_last=is_last))\n"
        "            self._decisions.add(writing)\n"
        "            return self._renderer.outcome_of_decision(grant.response, result.decision)\n"),
    "a claim ignores that another call has the case": Fault(
        Promise.ONE_RUN, "single", CLAIM, "if case.status == IN_PROGRESS then return reply('BUSY') end\n"),
    "a claim ignores that the case is closed": Fault(
        Promise.ONE_SUCCESS, "record", CLAIM, "if case.status == 'CLOSED' then\n  local", "if false then\n  local"),
    "the body of a request is overlooked": Fault(
        Promise.REPEATED, "single", "domain/call.py", "(request.method, request.query_string, body)",
        "(request.method, request.query_string)"),
    "a repeat makes a call of its own": Fault(
        Promise.REPEATED, "multiple", CLAIM, "if not is_event and window_ms > 0 and intent", "if false and intent"),
    "a repeat gets no answer": Fault(
        Promise.CODE, "record", CLAIM, "    return reply('REPEATED', answer_again(case, earlier))\n"),
    "a success does not close its case": Fault(
        Promise.ONE_SUCCESS, "single", END, "if status == 'CLOSED' then close_case(case, reason, now) elseif status",
        "if status == 'CLOSED' then set_case_status(case, 'OPEN') elseif status"),
    "a failure does not open its case": Fault(
        Promise.ENDS, "retryable", END,
        " elseif status then set_case_status(case, status) end\n  emit", " end\n  emit"),
    "an answer to a held call counts as a rejection": Fault(
        Promise.ANSWER_KEPT, "held", "rpc/callbacks_service.py",
        "accepted=request.verdict != handler_pb2.VERDICT_REJECTED)\n        if broken",
        "accepted=False)\n        if broken"),
    "a delivery is dead after one attempt": Fault(
        Promise.DELIVERED, "ack", "store/lua/finish_delivery.lua", "if call[4] == '' then\n",
        "if status == 'PENDING' then status = 'DEAD' end\nif call[4] == '' then\n"),
    "a delivery does not start": Fault(
        Promise.DELIVERED, "ack", CLAIM, "running = case.answer_mode == 'ACK' and start_delivery",
        "running = false and start_delivery"),
    "the number of an attempt is given again": Fault(
        Promise.DELIVERED, "ack", DELIVERY, "redis.call('HINCRBY', call_key(call_id), 'attempts_started', 1)",
        "redis.call('HSET', call_key(call_id), 'attempts_started', 1)"),
    "the start of a call is no event": Fault(
        Promise.WATCHED, "single", CLAIM, "emit_event(case, 'CALL_STARTED', call_id, 'RUNNING')\n"),
    "a call is not listed": Fault(
        Promise.CLAIM_FIRST, "single", CLAIM, "redis.call('ZADD', calls_key(case_id), number, call_id)\n"),
    "a body is cut": Fault(
        Promise.SUCCESS_KEPT, "record", CLAIM, "local recorded_request, recorded_body = request, request_body\n",
        "request_body = string.sub(request_body, 2)\nlocal recorded_request, recorded_body = request, request_body\n"),
    "half of the URLs are not stored": Fault(
        Promise.URL_KEPT, "record", "store/lua/create_cases.lua",
        "redis.call('HSET', case_key(case_id), unpack(case_fields))\n",
        "if case_id < '8' then redis.call('HSET', case_key(case_id), unpack(case_fields)) end\n"),
    "a bug for some bodies": Fault(
        Promise.CODE, "multiple", INVOKE, FINISH,
        FINISH + '        if request.body.endswith(b"x"):\n            raise RuntimeError\n'),
}  # fmt: skip
"""Faults of which each is planted alone, in a soak."""
SENT = "                answer = await connection.exchange(sent)\n"
OVER_HTTP = {
    "a request is sent twice": Fault(
        Promise.ONE_RUN, "single", "handlers/http/handler.py", SENT,
        SENT + "                connection.end_exchange()\n" + SENT),
    "a request is sent again after its connection broke": Fault(
        Promise.ONE_RUN, "single", "handlers/http/handler.py",
        "            raise HandlerError(CallFailure.HANDLER_LOST, str(error)) from error\n",
        "            return await self.handle(grant, request, timeout_s=end - time.monotonic())\n"),
}  # fmt: skip
"""Faults of HTTP handlers. A run without kills finds the first one."""
FAULTS = TOGETHER | ALONE


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Return a function that plants faults in the server which proofs start."""
    product = tmp_path / "product"
    shutil.copytree(PACKAGES["callback_server"], product / "callback_server")
    monkeypatch.setenv("PYTHONPATH", str(product), prepend=os.pathsep)

    def plant(those):
        for fault in those:
            path = product / "callback_server" / fault.file
            before = path.read_text()
            path.write_text(before.replace(fault.text, fault.instead, 1))

    return plant


def test_each_fault_changes_the_server():
    texts = {(fault.file, fault.text) for fault in (FAULTS | OVER_HTTP).values()}
    counts = {each: (PACKAGES["callback_server"] / each[0]).read_text().count(each[1]) for each in texts}
    assert Counter(counts.values()) == {1: len(texts)}
    assert len(FAULTS) >= 20


@pytest.mark.parametrize("name", ["all together", *(FAULTS if SOAK else ())])
async def test_a_proof_finds_a_fault_that_is_planted_in_the_product(tmp_path, planted, limits, name):
    those = [FAULTS[name]] if name in FAULTS else [*TOGETHER.values()]
    planted(those)
    await finds(those, tmp_path, limits)


@pytest.mark.parametrize("name", OVER_HTTP if SOAK else [*OVER_HTTP][:1])
async def test_a_proof_finds_a_fault_that_is_planted_in_the_requests_to_http_handlers(tmp_path, planted, limits, name):
    planted([OVER_HTTP[name]])
    size = Size(servers=1, edges=1, workers=0, handlers=0, http_handlers=1)
    await finds([OVER_HTTP[name]], tmp_path, limits, size=size)


async def finds(those, tmp_path, limits, **options):
    """Run a proof, and check that it finds these faults, which are planted."""
    (directory := tmp_path / "proof").mkdir()
    if SOAK:
        settings = Settings(directory=directory, durability="always", seconds=90, **options)
    else:
        limits(faults, FAULTS={})
        # Without the faults, all calls and deliveries would end in a few seconds.
        settings = Settings(directory=directory, **REDUCED | {"rate": 20, "min_successes": 2, "quiet_s": 6} | options)
    history, violations = await prove("processes", settings)
    modes = {step.case_id: step.mode for step in of_type(history.steps, Generated)}
    found = {(violation.promise, modes.get(violation.case_id)) for violation in violations}
    assert {(fault.promise, fault.mode) for fault in those} - found == set()
