"""The body of the response of a case is stored once for each version, and kept while a call or an answer names it."""

import pytest
from support.cases import new_case

from callback_server.domain.call import CallStatus, DeliveryStatus, Outcome, Request, identity_of
from callback_server.domain.case import AnswerMode, CallMode
from callback_server.domain.guard import RequestIntent
from callback_server.domain.response import Response, ResponseType
from callback_server.domain.verification import UNVERIFIED
from callback_server.operations.repair import Fault, FaultKind, Repair
from callback_server.store import keys
from callback_server.store.packing import MAX_INLINE_BODY_BYTES
from callback_server.store.queries.read import read_call, read_case, read_held
from callback_server.store.recording import Recording
from callback_server.store.transitions.claim_call import EarlierCallEnded, claim_call
from callback_server.store.transitions.create_cases import create_cases
from callback_server.store.transitions.finish_call import ResponseReplaced, finish_call
from callback_server.store.transitions.finish_delivery import finish_delivery
from callback_server.store.transitions.follow_call import follow_call
from callback_server.store.transitions.mark_waiting import mark_waiting
from callback_server.store.transitions.replay_call import replay_call
from callback_server.store.transitions.set_response import set_response

RECORDING = Recording(calls_per_case=2)
WINDOW_MS = 3_600_000
ALL = -60_000
"""A retention that is over for all that has ended."""

on_a_cluster_too = pytest.mark.parametrize("store", ["valkey", "redis-cluster"], indirect=True)


def large(letter):
    """Return a response whose body is stored apart."""
    body = letter.encode() * (MAX_INLINE_BODY_BYTES + 1)
    return Response(type=ResponseType.RESPONSE, code=200, headers=(), body=body)


@pytest.fixture
async def bodies(cases):
    """Cases on a store of which every server reads calls that name a body."""
    cases.scripts.names_bodies = True
    cases.recording = RECORDING
    return cases


async def made(bodies, activity="record", **fields):
    """Create a case with a large response."""
    fields = {"activity": activity, "response": large("a")} | fields
    case = new_case(**fields)
    await create_cases(bodies.scripts, [case], recording=Recording())
    return case


async def replaced(bodies, case, letter):
    """Replace the response of a case."""
    stored = await read_case(bodies.scripts, case.id)
    await set_response(bodies.scripts, stored, large(letter), owner=None, recording=RECORDING)


async def claimed(bodies, case):
    """Make a call and return its id."""
    return (await bodies.claim(case)).call_id


async def requested(bodies, case, call_id):
    """Send the same request as every time, as a call with this id."""
    request = Request("post", body=b"same")
    return await claim_call(
        bodies.scripts, call_id=call_id, state_sha256=case.state_sha256, parameter="", request=request,
        sent=identity_of(request), intent=RequestIntent.CALL, verification=UNVERIFIED, leases=bodies.leases,
        recording=RECORDING, platform_url=None, calls_per_minute=None, limited_owners=[], replica="", can_deliver=False,
    )  # fmt: skip


async def finished(bodies, call_id, response, *, version, case_body, **more):
    """End a call with an answer that was merged with a version of the response of its case."""
    return await finish_call(
        bodies.scripts, call_id=call_id, outcome=Outcome(CallStatus.SUCCEEDED, response), recording=RECORDING,
        version=version, case_body=case_body, **more,
    )  # fmt: skip


async def body_of(bodies, call_id):
    """Return the body of the answer that is recorded of a call."""
    return (await read_call(bodies.scripts, call_id)).outcome.response.body


async def copies(plain):
    """Return how many bodies the store has, of how many bytes, whatever they belong to."""
    count = 0
    async for key in plain.scan_iter(count=10_000):
        kind = await plain.type(key)
        values = [await plain.get(key)] if kind == b"string" else []
        if kind == b"hash":
            values = await plain.hvals(key)
        count += sum(len(value) > MAX_INLINE_BODY_BYTES for value in values)
    return count


async def expire_tombstones(plain):
    """Let the time be over for which the bodies are kept that are named by what is counted no more."""
    async for key in plain.scan_iter("*:former_body:*", count=10_000):
        if await plain.pttl(key) >= 0:
            await plain.pexpire(key, 0)


@on_a_cluster_too
async def test_the_body_of_a_response_is_stored_once_for_all_calls_that_it_answers(bodies, plain):
    case = await made(bodies)
    calls = [await claimed(bodies, case) for _ in range(2)]
    handled = await made(bodies, "push")
    running = await claimed(bodies, handled)
    await finished(bodies, running, handled.response, version=0, case_body=handled.response.body)
    assert {await body_of(bodies, call_id) for call_id in (*calls, running)} == {large("a").body}
    assert await copies(plain) == 2  # one for each case


async def test_an_answer_with_a_body_of_its_own_is_stored_with_its_call(bodies, plain):
    case = await made(bodies, "push")
    call_id = await claimed(bodies, case)
    await finished(bodies, call_id, large("z"), version=0, case_body=case.response.body)
    assert await body_of(bodies, call_id) == large("z").body
    await replaced(bodies, case, "b")  # nothing names the body at the claim any more
    assert await copies(plain) == 2


@on_a_cluster_too
async def test_a_body_that_was_replaced_goes_with_the_last_call_that_names_it(bodies, plain):
    case = await made(bodies)
    first, second = await claimed(bodies, case), await claimed(bodies, case)
    await replaced(bodies, case, "b")
    third = await claimed(bodies, case)  # the first one is recorded no more
    assert await read_call(bodies.scripts, first) is None
    await expire_tombstones(plain)
    assert [await body_of(bodies, call_id) for call_id in (second, third)] == [large("a").body, large("b").body]
    await claimed(bodies, case)
    await expire_tombstones(plain)
    assert await copies(plain) == 1


async def test_a_body_that_nothing_names_goes_at_once(bodies, plain):
    case = await made(bodies, "push")
    for letter in "bcd":
        call_id = await claimed(bodies, case)
        await finished(bodies, call_id, large("z"), version=None, case_body=None)
        await replaced(bodies, case, letter)
    await bodies.erase(case.id)
    assert await copies(plain) == 1


async def test_a_call_that_is_read_while_it_is_erased_has_its_body_or_none(bodies, monkeypatch):
    case = await made(bodies)
    call_id = await claimed(bodies, case)
    await replaced(bodies, case, "b")
    read_together = bodies.scripts.read_together

    async def erase_after_it(commands):
        monkeypatch.undo()
        found = await read_together(commands)
        await bodies.erase(case.id)
        return found

    monkeypatch.setattr(bodies.scripts, "read_together", erase_after_it)
    call = await read_call(bodies.scripts, call_id)
    assert (call.erased, call.outcome.response) == (True, None)


@pytest.mark.parametrize("gone", ["erased", "past the retention"])
async def test_erasing_calls_and_the_end_of_their_retention_delete_the_bodies_they_name(bodies, plain, gone):
    case = await made(bodies, "push")
    call_id = await claimed(bodies, case)
    await finished(bodies, call_id, case.response, version=0, case_body=case.response.body)
    await replaced(bodies, case, "b")
    assert await copies(plain) == 2
    if gone == "erased":
        await bodies.erase(case.id)
    else:
        await bodies.retain(keys.partition_of(case.id), retention_ms=ALL)
    assert await copies(plain) == 1


async def test_a_claim_that_is_sent_again_gets_the_body_at_the_claim(bodies):
    for activity in ("push", "record"):
        case = await made(bodies, activity)
        call_id = f"{case.id}-{1:016x}"
        await requested(bodies, case, call_id)
        await replaced(bodies, case, "b")
        assert (await requested(bodies, case, call_id)).response.body == large("a").body
        if activity == "record":  # also while only its tombstone is left
            await bodies.retain(keys.partition_of(case.id), retention_ms=ALL)
            assert (await requested(bodies, case, call_id)).response.body == large("a").body


async def test_a_finish_that_merged_a_response_before_gets_the_body_of_the_present_one(bodies):
    case = await made(bodies, "push")
    call_id = await claimed(bodies, case)
    await replaced(bodies, case, "b")
    reply = await finished(bodies, call_id, case.response, version=0, case_body=case.response.body)
    assert reply == ResponseReplaced(large("b"), 1)
    await finished(bodies, call_id, reply.response, version=1, case_body=reply.response.body)
    assert await body_of(bodies, call_id) == large("b").body


@on_a_cluster_too
async def test_a_repeat_gets_the_body_as_it_was_for_as_long_as_its_window_lasts(bodies, plain):
    case = await made(bodies, repeat_window_ms=WINDOW_MS)
    await requested(bodies, case, f"{case.id}-{1:016x}")
    await replaced(bodies, case, "b")
    await bodies.retain(keys.partition_of(case.id), retention_ms=ALL)  # the call is recorded no more
    repeat = await requested(bodies, case, f"{case.id}-{2:016x}")
    assert isinstance(repeat, EarlierCallEnded)
    assert repeat.answer.body == large("a").body
    assert await copies(plain) == 2
    await bodies.erase(case.id)
    await expire_tombstones(plain)
    assert await copies(plain) == 1


async def test_the_answers_that_a_case_has_no_room_for_take_their_bodies_with_them(bodies, plain):
    case = await made(bodies, repeat_window_ms=WINDOW_MS)
    bodies.recording = Recording(calls_per_case=1, repeat_bytes_per_case=2 * len(large("a").body))
    for number, letter in enumerate("bcdef"):
        await bodies.claim(case, body=b"%d" % number)
        await replaced(bodies, case, letter)
    await expire_tombstones(plain)
    assert await copies(plain) == 2  # the present one, and the last that was replaced: its call is recorded


async def test_the_answer_at_the_address_of_a_call_outlives_its_case(bodies, plain):
    case = await made(bodies, "push", mode=CallMode.SINGLE)
    call_id = await claimed(bodies, case)
    await mark_waiting(bodies.scripts, call_id=call_id, wait_hash="h", method="post", is_own=True)
    await finished(bodies, call_id, case.response, version=0, case_body=case.response.body)
    for _ in range(2):  # the case goes after its calls
        await bodies.retain(keys.partition_of(case.id), retention_ms=ALL)
    assert await read_case(bodies.scripts, case.id) is None
    found = await follow_call(bodies.scripts, call_id, repeat_id="r", replica="", wait_hash="h")
    assert found.answer.body == large("a").body
    await expire_tombstones(plain)
    assert await copies(plain) == 0


async def test_the_caller_of_a_held_call_gets_the_body_of_the_response(bodies):
    case = await made(bodies, "form", answer_mode=AnswerMode.HOLD, hold_time_ms=WINDOW_MS)
    call_id = await claimed(bodies, case)
    await finished(bodies, call_id, case.response, version=0, case_body=case.response.body, answer_digest="d")
    await replaced(bodies, case, "b")
    assert (await read_held(bodies.scripts, call_id)).answer.body == large("a").body


async def test_a_held_call_whose_body_an_older_server_has_replaced_has_no_answer_and_not_an_empty_one(bodies, plain):
    case = await made(bodies, "form", answer_mode=AnswerMode.HOLD, hold_time_ms=WINDOW_MS)
    call_id = await claimed(bodies, case)
    await finished(bodies, call_id, case.response, version=0, case_body=case.response.body, answer_digest="d")
    await plain.delete(keys.key(keys.partition_of(case.id), "body", case.id))  # as that server does
    held = await read_held(bodies.scripts, call_id)
    assert (held.status, held.answer) == (CallStatus.SUCCEEDED, None)


async def test_a_delivery_gets_the_body_as_it_was_at_the_claim_and_is_recorded_with_it(bodies, plain):
    case = await made(bodies, "push", answer_mode=AnswerMode.ACK)
    call_id = await claimed(bodies, case)
    await replaced(bodies, case, "b")
    [attempt], _ = await bodies.take(keys.partition_of(case.id))
    assert attempt.grant.response.body == large("a").body
    for response in (attempt.grant.response, large("z"), attempt.grant.response):
        await replay_call(bodies.scripts, call_id, owner=None)
        [attempt] = (await bodies.take(keys.partition_of(case.id)))[0] or [attempt]
        await finish_delivery(
            bodies.scripts, call_id=call_id, fencing_token=attempt.fencing_token, request=attempt.request,
            outcome=Outcome(CallStatus.SUCCEEDED, response), status=DeliveryStatus.DELIVERED, backoff_ms=0,
            recording=RECORDING,
        )  # fmt: skip
        assert (await read_call(bodies.scripts, call_id)).delivery.response == response
        assert await copies(plain) == 2 + (response == large("z"))


async def test_while_a_server_of_the_release_before_runs_each_call_has_a_copy(bodies, plain):
    bodies.scripts.names_bodies = False
    case = await made(bodies)
    await claimed(bodies, case)
    await claimed(bodies, case)
    assert await copies(plain) == 3
    bodies.scripts.names_bodies = True
    named = await claimed(bodies, case)
    bodies.scripts.names_bodies = False  # one started again: what names a body is read and deleted all the same
    await replaced(bodies, case, "b")
    assert await body_of(bodies, named) == large("a").body
    for _ in range(2):
        await claimed(bodies, case)
    await expire_tombstones(plain)
    assert [key async for key in plain.scan_iter("*:former_body:*")] == []


async def repaired(bodies, *, changes):
    """Return what a repair finds."""
    repair = Repair(bodies.scripts, makes_entries=changes, removes_entries=changes)
    return [fault async for step in repair.steps(100) for fault in step.faults]


@on_a_cluster_too
async def test_a_repair_counts_the_calls_that_name_a_body_again(bodies, plain):
    case = await made(bodies)
    calls = [await claimed(bodies, case) for _ in range(2)]
    partition = keys.partition_of(case.id)
    uses = keys.key(partition, "uses", case.id, "0")
    assert await repaired(bodies, changes=False) == []
    for count, kind in ((1, FaultKind.MISSING_ENTRY), (3, FaultKind.ENTRY_WITHOUT_CASE)):
        await plain.hset(uses, "calls", count)
        for changes in (False, True):
            assert await repaired(bodies, changes=changes) == [Fault(kind, partition, "uses", case.id)]
        assert await plain.hget(uses, "calls") == b"2"
    await plain.delete(uses)
    lost = {Fault(FaultKind.MISSING_ENTRY, partition, "uses", call_id) for call_id in calls}
    assert set(await repaired(bodies, changes=False)) == lost
    assert set(await repaired(bodies, changes=True)) <= lost
    assert await repaired(bodies, changes=False) == []
    assert await plain.hget(uses, "calls") == b"2"


LOST = {
    "all": lambda plain, uses: plain.delete(uses),
    "the answers": lambda plain, uses: plain.hdel(uses, "answers"),
    "their windows": lambda plain, uses: plain.hset(uses, "answers_until", 1),
}


@on_a_cluster_too
@pytest.mark.parametrize("lost", LOST)
async def test_a_repair_counts_the_kept_answers_that_name_a_body_again(bodies, plain, lost):
    case = await made(bodies, repeat_window_ms=WINDOW_MS)
    for number in range(1, 3):
        await bodies.claim(case, body=b"%d" % number)
    call_id = f"{case.id}-{3:016x}"
    await requested(bodies, case, call_id)
    await bodies.retain(keys.partition_of(case.id), retention_ms=ALL)  # only the answers are kept
    uses = keys.key(keys.partition_of(case.id), "uses", case.id, "0")
    assert await repaired(bodies, changes=False) == []
    await LOST[lost](plain, uses)
    kinds = {(fault.kind, fault.listed_in) for fault in await repaired(bodies, changes=True)}
    assert kinds == {(FaultKind.MISSING_ENTRY, "uses")}
    assert await repaired(bodies, changes=False) == []
    assert await plain.hget(uses, "answers") == b"3"
    await replaced(bodies, case, "b")
    assert (await requested(bodies, case, f"{case.id}-{4:016x}")).answer.body == large("a").body


@pytest.mark.parametrize("lost", ["all", "the window"])
async def test_a_repair_finds_again_until_when_the_only_answer_of_a_closed_case_names_a_body(bodies, plain, lost):
    case = await made(bodies, mode=CallMode.SINGLE, repeat_window_ms=WINDOW_MS)
    await requested(bodies, case, f"{case.id}-{1:016x}")
    uses = keys.key(keys.partition_of(case.id), "uses", case.id, "0")
    before = await plain.hget(uses, "until")
    await (plain.delete(uses) if lost == "all" else plain.hdel(uses, "until"))
    found = await repaired(bodies, changes=True)
    assert {(fault.kind, fault.listed_in) for fault in found} == {(FaultKind.MISSING_ENTRY, "uses")}
    assert await repaired(bodies, changes=False) == []
    assert await plain.hget(uses, "until") == before


async def test_a_repair_names_the_uses_of_a_body_that_have_a_wrong_type(bodies, plain):
    case = await made(bodies)
    await claimed(bodies, case)
    partition = keys.partition_of(case.id)
    uses = keys.key(partition, "uses", case.id, "0")
    await plain.delete(uses)
    await plain.set(uses, "?")
    for changes in (False, True):
        assert await repaired(bodies, changes=changes) == [Fault(FaultKind.WRONG_TYPE, partition, "uses", case.id)]


async def test_a_repair_deletes_what_a_case_left_that_a_server_of_the_release_before_deleted(bodies, plain):
    case = await made(bodies)
    await claimed(bodies, case)
    await replaced(bodies, case, "b")
    await claimed(bodies, case)
    partition = keys.partition_of(case.id)
    async for key in plain.scan_iter(f"*{case.id}*", count=10_000):
        if keys.parse(key.decode())[1].partition(":")[0] not in ("uses", "former_body"):
            await plain.delete(key)
    for name in ("ended", "closed"):
        await plain.delete(keys.key(partition, name))
    found = [fault for fault in await repaired(bodies, changes=True) if fault.listed_in == "uses"]
    assert found == [Fault(FaultKind.ENTRY_WITHOUT_CASE, partition, "uses", case.id)] * 2
    await expire_tombstones(plain)
    assert [key async for key in plain.scan_iter(f"*{case.id}*:[01]", count=10_000)] == []
