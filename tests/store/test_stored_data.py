"""Stored data of this schema version and of every earlier one keeps its meaning: `tests/data/stored-N`.

A store can still hold cases of each of these versions, so every transition is tried on all of them.
"""

import contextlib

import pytest
import redis.asyncio
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from model.life import (
    ACK,
    CLOSED,
    FAILED,
    IN_PROGRESS,
    INTERRUPTED,
    NOT_STARTED,
    REJECTED,
    RUNNING,
    SUCCEEDED,
    ModelCall,
    ModelCase,
)  # fmt: skip
from soak.counts import SOAK, combinations, count
from store.machine.life_machine import LifeMachine, machine_on
from store.machine.values import KEEP, KEPT_BYTES, MOST_HELD, WINDOW_MS
from support.services import running_services
from support.store import KINDS, StoreProcess
from support.stored import expected, load, marked, whole
from support.tree import ROOT

from callback.v1 import callbacks_service_pb2 as pb2
from callback_server.domain.case import NewCase
from callback_server.domain.guard import RequestIntent
from callback_server.operations.repair import Repair
from callback_server.store import keys
from callback_server.store.packing import unpack_content, unpack_effect
from callback_server.store.queries.read import read_cases
from callback_server.store.queries.read_events import read_end_position

STORED = {version: ROOT / "tests" / "data" / f"stored-{version}" for version in range(1, keys.SCHEMA_VERSION + 1)}
STATE_KEY, BOX_URL = "k" * 32, "https://box.example"
"""The settings with which the data was written."""


def told_by(version):
    """Return the expected data of the cases, as the release wrote it."""
    return [*expected(STORED[version]).values()]


@pytest.fixture(scope="module")
async def read(tmp_path_factory):
    """Run the services on the data of each version, without sweeps, and return them with the time of loading."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for version, data in STORED.items():
            store = stack.enter_context(StoreProcess(tmp_path_factory.mktemp("read")))
            async with redis.asyncio.Redis(port=store.port) as client:
                now_ms = await load(client, data)
            services = await stack.enter_async_context(running_services(store, state_key=STATE_KEY, box_url=BOX_URL))
            found[version] = services, now_ms
        yield found


@pytest.mark.parametrize("version", STORED)
async def test_a_case_and_its_calls_are_read_as_the_release_that_wrote_them_read_them(read, version):
    services, now_ms = read[version]
    for told in told_by(version):
        case_id = told["case"]["callbackCaseId"]
        case = (await services.callbacks.GetCallback(pb2.GetCallbackRequest(callback_case_id=case_id))).callback
        assert marked(MessageToDict(case), now_ms) == told["case"], told["name"]
        calls = await services.calls_of(case)
        # The release that wrote them knew no other reason.
        expected = [{"reason": "CALL_REASON_CALL"} | call for call in told["calls"]]
        assert [marked(MessageToDict(call), now_ms) for call in calls] == expected, told["name"]


@pytest.mark.parametrize("version", STORED)
async def test_a_request_id_gets_the_url_that_the_release_gave(read, version):
    services, _ = read[version]
    for told in told_by(version):
        request = ParseDict(whole(told["request"]), pb2.GenerateCallbackUrlRequest())
        answer = await services.callbacks.GenerateCallbackUrl(request)
        assert (answer.callback_state, answer.callback_case_id) == (told["state"], told["case"]["callbackCaseId"])


@pytest.mark.parametrize("version", STORED)
@pytest.mark.parametrize("chosen", [{}, {"status": "OPEN"}, {"status": "CLOSED"}, {"callbackActivity": "push"},
                                    {"status": "IN_PROGRESS", "callbackActivity": "brief"}], ids=str)  # fmt: skip
async def test_a_list_has_the_stored_cases(read, version, chosen):
    services, _ = read[version]
    wanted = {name: f"CALLBACK_STATUS_{value}" if name == "status" else value for name, value in chosen.items()}
    request = ParseDict({"pageSize": 1000, **wanted}, pb2.ListCallbacksRequest())
    page = await services.callbacks.ListCallbacks(request)
    fitting = {told["case"]["callbackCaseId"] for told in told_by(version) if wanted.items() <= told["case"].items()}
    assert {case.callback_case_id for case in page.callbacks} == fitting != set()
    created = [case.create_time.ToMicroseconds() for case in page.callbacks]
    assert created == sorted(created, reverse=True)


async def lengthen_windows(client):
    """Make each window of the data as long as those of the machine: a test can take longer than the data's."""
    names = [key.decode() async for key in client.scan_iter(count=10_000)]
    cases = {name.rpartition(":")[2]: name for name in names if ":case:" in name}
    windows = {case_id: await client.hmget(name, "repeat_window", "repeats_until") for case_id, name in cases.items()}
    longer_ms = {case_id: WINDOW_MS - int(window) for case_id, (window, _) in windows.items() if window}
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.pexpire(name, WINDOW_MS, xx=True)
    for name in (name for name in names if ":call:" in name):
        if await client.hexists(name, "window"):
            pipeline.hset(name, "window", WINDOW_MS)
    for case_id, (_, until) in windows.items():
        if case_id in longer_ms:
            pipeline.hset(cases[case_id], "repeat_window", WINDOW_MS)
        if until:
            pipeline.hset(cases[case_id], "repeats_until", int(until) + longer_ms[case_id])
    for name in (name for name in names if ":answers:" in name):
        for member in await client.zrange(name, 0, -1):
            pipeline.zincrby(name, longer_ms[name.rpartition(":")[2]], member)
    await pipeline.execute()


async def adopt(machine, version):
    """Load the data into the store of a machine, and make the model of it."""
    now_ms = await load(machine.client, STORED[version])
    await lengthen_windows(machine.client)
    ends = await read_end_position(machine.scripts)
    machine.heard.update(dict(enumerate(ends.numbers)))
    stored = told_by(version)
    case_ids = [told["case"]["callbackCaseId"] for told in stored]
    cases = dict(zip(case_ids, await read_cases(machine.scripts, case_ids, bodies=True), strict=True))
    reads = {}
    for told, case_id in zip(stored, case_ids, strict=True):
        partition = keys.partition_of(case_id)
        reads[case_id] = ("HGETALL", keys.key(partition, "case", case_id))
        reads[case_id, "answers"] = ("zrange", keys.key(partition, "answers", case_id), 0, -1)
        for call_id in (*(call["callId"] for call in told["calls"]), *told["deleted"]):
            reads[call_id, "fields"] = ("hmget", keys.key(partition, "call", call_id), *CALL_FIELDS)
            reads[call_id, "lease"] = ("zscore", keys.key(partition, "leases"), call_id)
    found = await machine.read_all(reads)
    pointers = await machine.read_all(
        {
            case_id: ("get", keys.key(keys.partition_of(case_id), "pointer", found[case_id][b"pointer"].decode()))
            for case_id in case_ids
        }
    )
    repeats = [key.decode() async for key in machine.client.scan_iter(match="*:repeat:*", count=10_000)]
    known = await machine.read_all({key: ("get", key) for key in repeats})
    for told, case_id in zip(stored, case_ids, strict=True):
        case, fields = cases[case_id], found[case_id]
        machine.new[case_id] = NewCase(
            id=case_id, state_sha256=bytes.fromhex(case_id) + fields[b"sha"],
            fingerprint=fields[b"fingerprint"], owner=case.owner,
            activity=case.activity, mode=case.mode, state_query_parameter=case.state_query_parameter,
            time_to_live_ms=case.expire_time_ms,
            settings=case.settings, response=case.response, answer_mode=case.answer_mode, ordered=case.ordered,
            fallback=case.fallback, pointer=fields[b"pointer"].decode(), nonce=pointers[case_id][32:],
        )  # fmt: skip
        model = machine.model[case_id] = ModelCase(
            id=case_id, mode=case.mode, activity=case.activity, owner=case.owner, response=case.response, keep=KEEP,
            status=case.status, reason=case.close_reason, call_count=case.call_count, version=case.version,
            strips=machine.strips, labels=case.settings.labels, answer_mode=case.answer_mode, ordered=case.ordered,
            most_held=MOST_HELD, keep_bytes=KEPT_BYTES, has_window=case.repeat_window_ms is not None,
            has_windows=b"repeats_until" in fields,
            known={key.rpartition(":")[2]: known[key].decode() for key in repeats if f":{case_id}:" in key},
        )  # fmt: skip
        for member in found[case_id, "answers"]:
            call_id, _, size = member.decode().partition(":")
            model.kept[call_id] = (None, int(size))  # no rule sends a stored request again, which would get the answer
        if case.status != CLOSED and case.expire_time_ms is not None and case.expire_time_ms <= now_ms:
            model.expires_due = case.expire_time_ms

        def call_of(call_id, case=case):
            return model_call(case, call_id, found[call_id, "fields"], found[call_id, "lease"], now_ms)

        for call in reversed(told["calls"]):
            kept = model.calls[call["callId"]] = call_of(call["callId"])
            if case.status == IN_PROGRESS and kept.status == RUNNING:
                model.holder = kept.id
        for call_id in told["deleted"]:
            model.gone[call_id] = call_of(call_id)
        machine.granted += [*model.calls, *model.gone]
        machine.adopted |= model.calls.keys()


CALL_FIELDS = (
    "status", "attempt", "response", "response_body", "version", "effect", "answer_digest", "delivery",
    "attempts_started", "ended_fencing_token", "at_claim", "fallback_sent", "caller_gone", "digest",
)  # fmt: skip


def model_call(case, call_id, fields, lease, now_ms):
    """Make the model of a stored call, of its `CALL_FIELDS` and the end of its lease."""
    status, attempt, response, body, version, effect, answered, delivery, *others = fields
    started, ended, at_claim, sent, gone, digest = others
    return ModelCall(
        id=call_id, attempt=int(attempt), response=unpack_content(response, body or b"")[1] if response else None,
        status=status.decode(), lease_due=int(lease) if lease is not None and int(lease) <= now_ms else None,
        recorded=case.activity == "record" or case.answer_mode == ACK, version=version and int(version),
        effect=unpack_effect(effect or b""), answer_digest=(answered or b"").decode(),
        delivery=delivery and delivery.decode(), attempts_started=int(started or 0),
        ended_fencing_token=ended and int(ended), at_once=at_claim == b"1", marked=sent == b"1",
        caller_gone=gone == b"1", digest=(digest or b"").decode(),
    )  # fmt: skip


class Chosen:
    """A stand-in for the data of Hypothesis: a rule of the machine draws this value."""

    def __init__(self, value):
        self._value = value

    def draw(self, _strategy):
        return self._value


def on_every_case(rule, **choices):
    """Return a function that applies a rule to every case, with each of these choices."""

    def act(machine):
        for case_id in machine.model:
            for values in combinations(*choices.values()):
                getattr(machine, rule)(Chosen(case_id), **dict(zip(choices, values, strict=True)))

    return act


def end_those_that_run(status, *, keep_open=False):
    """Return a function that ends every call that runs."""

    def act(machine):
        for call_id in machine.running():
            machine.end_call(call_id, status, keep_open, b"by now")

    return act


def end_again(machine):
    for call_id in set(machine.granted) - set(machine.running()):
        for status in (SUCCEEDED, REJECTED, FAILED, NOT_STARTED):
            machine.end_call(call_id, status, keep_open=False, body=b"")


def claim_again(machine):
    for call_id in machine.granted:
        machine.claim_again(Chosen(call_id))


def extend(machine):
    for times in (["OK", "OK"], ["PAST"]):
        on_every_case("extend", foreign=[True, False], times=[times], sooner=[False], swept=[False])(machine)
        machine.sweep()


def drop(machine):
    for past in (False, True):
        machine.drop(past)


TRANSITIONS = {
    "create": on_every_case("create_again", same=[True, False]),
    "claim": on_every_case("claim"),
    "claim in the wrong form": on_every_case("claim_in_the_wrong_form"),
    "claim with another state": on_every_case("claim_with_another_state"),
    "claim on other terms": on_every_case(
        "claim_on_other_terms", intent=list(RequestIntent), profile=[None], over=[False]
    ),
    "claim of an owner that made too many": on_every_case(
        "claim_on_other_terms", intent=[RequestIntent.CALL], profile=[None, "hook"], over=[True]
    ),
    "repeat": on_every_case(
        "a_request_comes_twice", kind=["message", "digest"], value=["a" * 64],
        between=[None, SUCCEEDED, FAILED, INTERRUPTED], terms=[{}], keep_open=[False], no_repeat=[False],
        body=[b"by now"],
    ),
    "claim more than a minute allows": on_every_case("claim_more_than_a_minute_allows"),
    "claim again": claim_again,
    **{f"{status}": end_those_that_run(status) for status in (SUCCEEDED, REJECTED, FAILED, NOT_STARTED)},
    "keep open": end_those_that_run(SUCCEEDED, keep_open=True),
    "end again": end_again,
    "set the response": on_every_case("set_response", body=[b"by now", b""], stale=[True, False]),
    "close": on_every_case("close", foreign=[True, False], intent=[None]),
    "extend": extend,
    "erase": on_every_case("erase", foreign=[True, False], again=[False, True]),
    "sweep": LifeMachine.sweep,
    "drop": drop,
}  # fmt: skip


@pytest.mark.parametrize("version", STORED)
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_each_transition_on_each_stored_case_does_what_the_life_table_says(store_of, version, transition):
    with machine_on(store_of()) as machine:
        machine = machine()
        machine.do(adopt(machine, version))
        TRANSITIONS[transition](machine)
        machine.do(machine.compare())
        machine.sweep()
        drop(machine)
        machine.do(machine.compare())


async def repaired(scripts):
    """Make the lists that the version before did not have, as servers do in the background."""
    async for _ in Repair(scripts, makes_entries=True, removes_entries=False).steps(10_000):
        pass


@pytest.mark.parametrize("version", STORED)
@pytest.mark.parametrize("kind", KINDS if SOAK else KINDS[:1])
def test_stored_cases_and_new_ones_live_on_together(store_of, version, kind):
    counts = settings(max_examples=count(1, 300), stateful_step_count=count(10, 50))
    with machine_on(store_of(kind)) as machine:

        class Both(machine):
            def __init__(self):
                super().__init__()
                self.do(adopt(self, version))
                self.do(repaired(self.scripts))

        run_state_machine_as_test(Both, settings=counts)
