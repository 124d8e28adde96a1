"""A script is all or nothing: if a key of its partition has a wrong type, it does everything or changes nothing.

Lua has no rollback. So a script looks at the types of all keys that it may write to before it writes to the first.
A script on what is due, of many cases, leaves a case of which a key has a wrong type as it is, and does the others.
"""

import itertools
import re

import pytest
from redis.exceptions import ResponseError
from support.cases import DONE, Cases, new_case
from support.wait import wait_until

from callback_server.domain.activity import Pause, PausedActivities
from callback_server.domain.call import CallStatus, DeliveryStatus, Outcome, Request
from callback_server.domain.case import AnswerMode, CallMode, Fallback, Settings
from callback_server.domain.notification import CallReason, reminder_id
from callback_server.domain.reports import WrongType
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.packing import MAX_INLINE_BODY_BYTES
from callback_server.store.queries.read import read_case
from callback_server.store.recording import Recording
from callback_server.store.transitions import claim_call
from callback_server.store.transitions.create_cases import create_cases
from callback_server.store.transitions.extend_case import extend_case
from callback_server.store.transitions.finish_call import finish_call
from callback_server.store.transitions.finish_delivery import finish_delivery
from callback_server.store.transitions.follow_call import follow_call
from callback_server.store.transitions.mark_caller_gone import mark_caller_gone
from callback_server.store.transitions.mark_fallback import mark_fallback
from callback_server.store.transitions.mark_waiting import mark_waiting
from callback_server.store.transitions.replay_call import replay_call
from callback_server.store.transitions.resolve_case import resolve_case
from callback_server.store.transitions.set_response import set_response
from callback_server.store.transitions.sweep_partition import sweep_partition

PARTITION = 7
RECORDING = Recording(calls_per_case=1)
RESPONSE = Response(type=ResponseType.RESPONSE, code=200, headers=(), body=b"new")
LARGE = Response(type=ResponseType.RESPONSE, code=200, headers=(), body=b"x" * (MAX_INLINE_BODY_BYTES + 1))


class Prepared(Cases):
    """A partition with calls and cases in many states, always with the same ids."""

    def __init__(self, client):
        super().__init__(client, recording=RECORDING)
        self.states = map(str, itertools.count())

    def case(self, **fields):
        """Return a case of the partition."""
        of_all = {"time_to_live_ms": 3_600_000, "settings": Settings(labels={"team": "x"}), "response": RESPONSE}
        return new_case(states=self.states, partition=PARTITION, **of_all | fields)

    async def create(self, **fields):
        case = self.case(**fields)
        await create_cases(self.scripts, [case], recording=Recording())
        return case

    async def claim_of(self, case, number):
        """Claim a call and return its id."""
        call_id = f"{case.id}-f{number:015x}"  # zeros begin the id of a notification
        await self.claim(case, call_id, body=b"b%d" % number)
        return call_id

    async def prepare(self):
        fallback = Fallback(100, RESPONSE)
        self.single = await self.create(mode=CallMode.SINGLE)
        self.single_call = await self.claim_of(self.single, 1)
        self.multiple = await self.create(fallback=fallback, repeat_window_ms=60_000)
        self.ended = await self.claim_of(self.multiple, 1)
        await self.finish(self.ended)
        self.running = await self.claim_of(self.multiple, 2)
        self.ordered = await self.create(answer_mode=AnswerMode.ACK, ordered=True)
        self.delivered = [await self.claim_of(self.ordered, number) for number in (1, 2)]
        await self.take(PARTITION)
        self.waiting = await self.create(answer_mode=AnswerMode.ACK)
        self.waiting_call = await self.claim_of(self.waiting, 1)
        self.holding = await self.create(activity="form", answer_mode=AnswerMode.HOLD, hold_time_ms=60_000)
        self.held = await self.claim_of(self.holding, 1)
        self.closed = await self.create()
        await self.close(self.closed.id)
        self.recorded = await self.create(activity="record", response=LARGE, repeat_window_ms=60_000)
        self.scripts.names_bodies = True
        await self.claim_of(self.recorded, 1)
        await set_response_of(self, self.recorded, LARGE)
        await self.claim_of(self.recorded, 2)
        self.large_call = await self.claim_of(await self.create(response=LARGE), 1)
        self.sharing = await self.create(answer_mode=AnswerMode.ACK, response=LARGE)
        self.sharing_calls = [await self.claim_of(self.sharing, number) for number in (1, 2)]
        await self.take(PARTITION)
        await finish_with_the_body(self, 1)
        await replay_call(self.scripts, self.sharing_calls[0], owner=None)
        await self.take(PARTITION)
        remind = Settings(labels={"team": "x"}, remind_after_ms=(1, 3_600_000))
        self.reminding = await self.create(settings=remind, notify=(CallReason.REMINDER, CallReason.EXPIRY))
        await wait_until(self.reminded, what="the first reminder")
        self.new = self.case()

    async def reminded(self):
        await self.sweep(PARTITION)
        return await self.client.exists(keys.key(PARTITION, "call", reminder_id(self.reminding.id, 1)))

    async def expire_all(self):
        """Let every lease and expiry be over, and every reminder and delivery be due."""
        for name in ("leases", "expiries", "reminders"):
            key = keys.key(PARTITION, name)
            for member in await self.client.zrange(key, 0, -1):
                await self.client.zadd(key, {member: 1})
                if name == "expiries":
                    await self.client.hset(keys.key(PARTITION, "case", member.decode()), "expires", 1)
        for name in ("due", "notification_due"):
            key = keys.key(PARTITION, name, "push")
            await self.client.zadd(key, dict.fromkeys(await self.client.zrange(key, 0, -1), 1))


@pytest.fixture
async def made(store, plain):
    async with connect(store.url) as client:
        made = Prepared(client)
        await made.prepare()
        yield made


async def set_response_of(made, case, response):
    stored = await read_case(made.scripts, case.id)
    await set_response(made.scripts, stored, response, owner=None, recording=RECORDING)


def finish_first_delivery(made, outcome, status, backoff_ms):
    return finish_delivery(
        made.scripts, call_id=made.delivered[0], fencing_token=1, request=Request("post"), outcome=outcome,
        status=status, backoff_ms=backoff_ms, recording=RECORDING,
    )  # fmt: skip


def finish_with_the_body(made, attempt):
    """End an attempt of a delivery with an answer that has the body of the response at the claim."""
    return finish_delivery(
        made.scripts, call_id=made.sharing_calls[0], fencing_token=attempt, request=Request("post"),
        outcome=Outcome(CallStatus.SUCCEEDED, LARGE), status=DeliveryStatus.DEAD, backoff_ms=0, recording=RECORDING,
    )  # fmt: skip


TRANSITIONS = {
    "create_cases": lambda made: create_cases(made.scripts, [made.new], recording=Recording()),
    "claim_call": lambda made: made.claim_of(made.multiple, 9),
    "claim_call, recorded": lambda made: made.claim_of(made.recorded, 9),
    "claim_call, acknowledged": lambda made: made.claim_of(made.ordered, 9),
    "claim_call, held": lambda made: made.claim_of(made.holding, 9),
    "finish_call": lambda made: made.finish(made.running),
    "finish_call, single": lambda made: made.finish(made.single_call),
    "finish_call, with the body of the response": lambda made: finish_call(
        made.scripts, call_id=made.large_call, outcome=Outcome(CallStatus.SUCCEEDED, LARGE), recording=RECORDING,
        version=0, case_body=LARGE.body, audit=b"- 1-1 mac entry",
    ),
    "finish_delivery, with the body of the response": lambda made: finish_with_the_body(made, 2),
    "finish_delivery": lambda made: finish_first_delivery(made, DONE, DeliveryStatus.DELIVERED, 0),
    "finish_delivery, again later": lambda made: finish_first_delivery(
        made, Outcome(CallStatus.FAILED), DeliveryStatus.PENDING, 1000
    ),
    "close_case": lambda made: made.close(made.multiple.id),
    "close_case, reminded": lambda made: made.close(made.reminding.id),
    "extend_case": lambda made: extend_case(
        made.scripts, made.reminding.id, owner=None, expires_ms=4_000_000_000_000, max_ms=2**52, recording=RECORDING
    ),
    "set_response": lambda made: set_response_of(made, made.multiple, RESPONSE),
    "set_response, of which calls name the body": lambda made: set_response_of(made, made.recorded, RESPONSE),
    "resolve_case": lambda made: resolve_case(
        made.scripts, made.holding.id, owner=None, digest="d", outcome=DONE, version=None, up_to=0,
        recording=RECORDING,
    ),
    "erase_calls": lambda made: made.erase(made.waiting.id),
    "replay_call": lambda made: replay_call(made.scripts, made.ended, owner=None),
    "replay_call, waiting": lambda made: replay_call(made.scripts, made.waiting_call, owner=None),
    "mark_fallback": lambda made: mark_fallback(
        made.scripts, call_id=made.running, request=Request("post"), recording=RECORDING, accepts=True
    ),
    "mark_caller_gone": lambda made: mark_caller_gone(made.scripts, made.running),
    "mark_waiting": lambda made: mark_waiting(
        made.scripts, call_id=made.running, wait_hash="h", method="post", is_own=True
    ),
    "follow_call": lambda made: follow_call(made.scripts, made.running, repeat_id="r", replica="replica"),
    "sweep_partition": lambda made: sweep_partition(
        made.scripts, PARTITION, recording=RECORDING, paused=PausedActivities(9, {"other": Pause()})
    ),
    "take_deliveries": lambda made: made.take(PARTITION),
    "take_deliveries, notifications": lambda made: made.take(PARTITION, notifications=True),
    "apply_retention": lambda made: made.retain(PARTITION, retention_ms=-600_000),
}  # fmt: skip
HANDLES = {
    "sweep_partition": ("leases", "expiries", "reminders"), "take_deliveries": ("due",),
    "take_deliveries, notifications": ("notification_due",),
}  # fmt: skip
"""The lists of which a script handles what is due."""


async def read_all(plain, command):
    """Return the reply of a command for every key."""
    names = sorted([key async for key in plain.scan_iter(count=10_000)])
    pipeline = plain.pipeline(transaction=False)
    for name in names:
        pipeline.execute_command(command, name)
    return dict(zip(names, await pipeline.execute(), strict=True))


async def contents(client):
    """Return every key with its value and its time to live, 0 if it has none."""
    values, lifetimes = await read_all(client, "DUMP"), await read_all(client, "PTTL")
    return {name: (value, max(lifetimes[name], 0)) for name, value in values.items()}


async def damage(client, key):
    """Give a key another type."""
    is_text = await client.type(key) == b"string"
    await client.delete(key)
    if is_text:
        await client.hset(key, "wrong", "type")
    else:
        await client.set(key, "wrong type")


async def damaged(client, stored, key):
    """Restore what was stored, and give a key another type."""
    pipeline = client.pipeline(transaction=False)
    pipeline.flushall()
    for other, (value, ttl) in stored.items():
        pipeline.restore(other, ttl, value)
    await pipeline.execute()
    await damage(client, key)


async def due_entries(client):
    """Return the entries that `expire_all` has made due and nothing has handled."""
    lists = [keys.key(PARTITION, name) for name in ("leases", "expiries", "reminders")]
    lists += [keys.key(PARTITION, name, "push") for name in ("due", "notification_due")]
    return {name: found for name in lists if (found := set(await client.zrangebyscore(name, 1, 1)))}


@pytest.mark.parametrize("name", TRANSITIONS)
async def test_a_script_does_everything_or_changes_nothing_whichever_key_has_a_wrong_type(made, plain, name):
    if name in HANDLES:
        await made.expire_all()
    stored = await contents(plain)
    partial, refused = [], 0
    for key in stored:
        await damaged(plain, stored, key)
        before = await read_all(plain, "DUMP")
        made.due.clear()
        try:
            await TRANSITIONS[name](made)
            cases = [each.name[:32].encode() for each in made.due if isinstance(each, WrongType)]
        except ResponseError:
            refused += 1
            cases = [b""]  # in the name of every key
        after = await read_all(plain, "DUMP")
        changed = [other for other in {*before, *after} if before.get(other) != after.get(other)]
        if changed := [other for other in changed if any(case_id in other for case_id in cases)]:
            partial.append((key, changed))
    assert not partial
    assert refused


@pytest.mark.parametrize("name", HANDLES)
async def test_a_case_of_which_a_key_has_a_wrong_type_is_reported_and_stops_no_other(made, plain, name):
    await made.expire_all()
    stored = await contents(plain)
    listed = [key for key in await due_entries(plain) if keys.parse(key)[1].partition(":")[0] in HANDLES[name]]
    victims = {member.decode() for key in listed for member in await plain.zrange(key, 0, -1)}
    assert victims
    for victim in victims:
        case_key = keys.key(PARTITION, "case", victim[:32]).encode()
        call_key = keys.key(PARTITION, "call", victim).encode()
        for key in {case_key, call_key} & stored.keys():
            await damaged(plain, stored, key)
            made.due.clear()
            await TRANSITIONS[name](made)
            left = await due_entries(plain)
            assert not left.keys() & set(listed)
            assert victim in {each.name for each in made.due if isinstance(each, WrongType)}


async def test_a_case_of_which_a_key_has_a_wrong_type_is_kept_and_others_are_deleted(made, plain):
    await damage(plain, keys.key(PARTITION, "call", made.ended).encode())
    await damage(plain, keys.key(PARTITION, "calls", made.closed.id).encode())
    other = await made.create()
    await made.close(other.id)
    made.due.clear()
    await TRANSITIONS["apply_retention"](made)
    assert {(each.listed_in, each.name) for each in made.due} == {("ended", made.ended), ("closed", made.closed.id)}
    assert await plain.exists(keys.key(PARTITION, "case", made.closed.id))
    assert not await plain.exists(keys.key(PARTITION, "case", other.id))


async def test_an_error_of_a_script_names_the_line_of_what_the_store_gets(made, plain):
    await damage(plain, keys.key(PARTITION, "calls", made.multiple.id).encode())
    with pytest.raises(ResponseError) as error:
        await made.claim_of(made.multiple, 9)
    (note,) = error.value.__notes__
    name, line = re.match(r"script: (\w+), line (\d+) of ", note).groups()
    assert name == claim_call.SCRIPT.name
    assert "redis.call('ZINTERCARD', 7" in claim_call.SCRIPT.source.splitlines()[int(line) - 1]
