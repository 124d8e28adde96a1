"""A Hypothesis state machine: the scripts on a real store against the model, everything compared after each step."""

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model.life import (
    ACK,
    CLOSED,
    DEAD,
    DELIVERED,
    FAILED,
    HOLD,
    IN_PROGRESS,
    INTERRUPTED,
    LATER,
    MULTIPLE,
    NOT_STARTED,
    NOW,
    OPEN,
    PENDING,
    REJECTED,
    RETRYABLE,
    RUNNING,
    SINGLE,
    SUCCEEDED,
    ModelCase,
)  # fmt: skip
from msgspec.structs import replace

from callback_server.domain import ids
from callback_server.domain.activity import Activity
from callback_server.domain.call import (
    CallFailure,
    CallStatus,
    DeliveryStatus,
    Grant,
    Outcome,
    Request,
    RequestIdentity,
)
from callback_server.domain.case import (
    AnswerMode,
    CallMode,
    CloseReason,
    Fallback,
    GetGuard,
    NewCase,
    Prompt,
    Settings,
)
from callback_server.domain.event import EventFilter
from callback_server.domain.guard import RequestIntent
from callback_server.domain.notification import Reason, expiry_id, reason_of, reminder_id
from callback_server.domain.response import Response, ResponseType, complete
from callback_server.domain.timeouts import AwaitedCallEnded, CallResolved, CaseExpired, HoldTimeEnded, LeaseEnded
from callback_server.repair import Repair
from callback_server.store import keys
from callback_server.store.connection import client as connection
from callback_server.store.connection import pipelined_connection
from callback_server.store.connection.client import connect
from callback_server.store.packing import MAX_INLINE_BODY_BYTES, pack_content
from callback_server.store.pointers import NONCE_BYTES
from callback_server.store.queries import read_events
from callback_server.store.queries.list_cases import list_cases
from callback_server.store.queries.list_owner_calls import CallFilter, list_owner_calls
from callback_server.store.queries.read import read_call, read_calls, read_case, read_cases, read_held
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import claim_call as claims
from callback_server.store.transitions import resolve_case as resolutions
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.change_pauses import change_pauses
from callback_server.store.transitions.claim_call import (
    CaseClosed,
    ClaimRefusal,
    ConfirmationRequired,
    EarlierCall,
    EarlierCallRuns,
    Leases,
    RateLimited,
    Verification,
    VerificationRequired,
    claim_call,
)
from callback_server.store.transitions.close_case import CloseResult, close_case
from callback_server.store.transitions.create_case import CaseStored, KnownRequest, RequestConflict, create_case
from callback_server.store.transitions.erase_calls import EraseResult, erase_calls
from callback_server.store.transitions.extend_case import ExtendResult, extend_case
from callback_server.store.transitions.finish_call import FinishResult, ResponseReplaced, finish_call
from callback_server.store.transitions.finish_delivery import DeliveryFinished, finish_delivery
from callback_server.store.transitions.follow_call import FallbackSent, FollowResult, follow_call
from callback_server.store.transitions.mark_caller_gone import mark_caller_gone
from callback_server.store.transitions.mark_fallback import mark_fallback
from callback_server.store.transitions.mark_waiting import mark_waiting
from callback_server.store.transitions.replay_call import ReplayResult, replay_call
from callback_server.store.transitions.resolve_case import ResolvedBatch, ResolveRefusal, resolve_case
from callback_server.store.transitions.set_response import set_response
from callback_server.store.transitions.sweep_partition import sweep_partition
from callback_server.store.transitions.take_deliveries import take_deliveries

KEEP = 1
KEPT_BYTES = 1200
RECORDING = Recording(calls_per_case=KEEP, repeat_bytes_per_case=KEPT_BYTES)
RETENTION_MS = 3_600_000
PAST_RETENTION_MS = -60_000  # past the retention of all that has ended, unless a window is not over
# A test can take longer than a lease of the product. Without a deadline of its own, an activity of stored data has the
# default lease, and the machine distinguishes it from one that is due by its length.
LEASES = Leases({"push": Activity("push", deadline_ms=3_600_000)}, default_ms=3_600_000)
WINDOW_MS = 3_600_000
PER_MINUTE = 2
OVER_MS = 7
MOST_HELD = 2
RESOLVED_AT_ONCE = 1
REMIND_AFTER_MS = (3_600_000, 7_200_000)
FAR_MS = 4_000_000_000_000  # the year 2096
BRIEFLY_MS = 60_000  # an answer that no window keeps is kept for this time, at most
EARLY, MIDDLE, LATE = 10, 20, 30  # milliseconds after the epoch: due, in this order


READ_ALL = """#!lua flags=no-writes,allow-cross-slot-keys
local replies = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do replies[i] = redis.call(unpack(command)) end
return replies
"""


@contextlib.contextmanager
def machine_on(store):
    """Return the class of the machine for a store."""
    loop = asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patch:
        # A disk that is slow once fails one example, which does not fail again: Hypothesis takes that for a strategy
        # that depends on more than what was drawn.
        for module in (connection, pipelined_connection):
            patch.setattr(module, "SOCKET_TIMEOUT_S", 60.0)
        patch.setattr(claims, "MAX_HELD_CALLS", MOST_HELD)
        patch.setattr(resolutions, "BATCH_CALLS", RESOLVED_AT_ONCE)
        client = connect(store.url)
        due = []
        scripts = Scripts(client, due.append)
        yield type("Machine", (LifeMachine,), {"loop": loop, "client": client, "scripts": scripts, "due": due})
        loop.run_until_complete(client.aclose())
        loop.close()


CAME = Request("post", headers=(("x-came", "1"),), body=b"body")
GAVE = (("x-gave", "1"),)
PLATFORM_URL = "https://platform.example"
MOST_CASES = 5
# The fields of a call. While the call runs, the answer fields hold the response of its grant.
RECORDED = {b"request_body", b"recorded_request", b"drops_body", b"detail"}
ANSWERED = {b"response", b"response_body", b"platform_url", b"delivery_detail", b"delivery_response", b"delivery_body"}
GONE_WITH_CASE = ("fallback", "resolution", "held", "closed_response")
SIZED = (b"request", b"request_body", b"response", b"response_body", b"delivery_response", b"delivery_body")
CHOICES = Prompt("Agree?", choices=(("yes", "Yes"), ("no", "No")))
FALLBACK = Fallback(100, Response(type=ResponseType.RESPONSE, body=b"later"))
LEFT = complete(Response(type=ResponseType.RESPONSE, code=200), platform_url=None)
GONE = Response(type=ResponseType.PAGE, code=410, heading="Done")
DIGESTS = ("", "a" * 64, "b" * 64)


def _due(case_id, activity, word, call_id=None, effect=None, status=None):
    if word == "CASE_EXPIRED":
        return CaseExpired(case_id, activity)
    if word == "AWAITED_CALL_ENDED":
        return AwaitedCallEnded(call_id, frozenset({"replica"}))
    if word == "RESOLVED":
        return CallResolved(call_id, activity, effect, CallStatus(status))
    return (LeaseEnded if word == "LEASE_ENDED" else HoldTimeEnded)(call_id, activity, effect)


def _case_of(told):
    return told.case_id if isinstance(told, CaseExpired) else ids.case_id_of_call(told.call_id)


def _kept_size(settings, response):
    """Return the bytes of an answer as it is kept for repeats."""
    content, body = pack_content(settings, response)
    return len(b"%d:" % len(content)) + len(content) + len(body)


ends = st.sampled_from([SUCCEEDED, SUCCEEDED, REJECTED, FAILED, NOT_STARTED])
bodies = st.sampled_from([b"", b"one", b"\x00\xff two", b"apart".ljust(MAX_INLINE_BODY_BYTES + 1)])
labels = st.dictionaries(st.sampled_from(["team", "a/b"]), st.sampled_from(["x", "", "x:y}{\0ü"]), max_size=2)


class LifeMachine(RuleBasedStateMachine):
    """Cases of two owners, on a store that is emptied before each example. Made by `machine_on`."""

    loop = client = scripts = due = None

    def __init__(self):
        super().__init__()
        self.do(self.client.flushall())  # the scripts stay loaded: sending them again takes longer than an example
        self.due.clear()
        self.model = {}  # case id -> ModelCase
        self.dropped = {}  # the same, of deleted cases
        self.new = {}  # case id -> NewCase, also of deleted cases
        self.granted = []  # call ids
        self.adopted = set()  # call ids, of calls that the store had before
        self.numbers = itertools.count()  # for ids: random ids would make the order and the partitions random
        self.recording = RECORDING
        self.told = collections.defaultdict(list)  # case id -> events that a watcher got
        self.heard = collections.Counter()  # partition -> number of the last event that was read
        self.requested = {}  # (owner, request id) -> case id, of cases that are kept
        self._whole = {}  # digest -> the answer to a case
        self.paused = False  # whether "push" is paused; a second activity is always paused
        self.do(change_pauses(self.scripts, "other", is_paused=True))

    @property
    def strips(self):
        """Return whether a part of a request is not kept."""
        return not (self.recording.bodies and self.recording.headers)

    def do(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def do_all(self, coroutines):
        """Await coroutines together and return their results in order."""

        async def together():
            return await asyncio.gather(*coroutines, return_exceptions=True)

        results = self.do(together())
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    async def read_all(self, commands):
        """Return the replies to commands that only read, in one script: a comparison reads hundreds of values.

        `commands` and the replies are by the same names. A command is its words, as the store gets them.
        """
        replies = await self.client.eval(READ_ALL, 0, json.dumps([*commands.values()]))
        return {
            name: dict(zip(reply[::2], reply[1::2], strict=True)) if word == "HGETALL" else reply
            for (name, (word, *_)), reply in zip(commands.items(), replies, strict=True)
        }

    @property
    def partitions(self):
        """Return the partitions of all cases, also of deleted ones."""
        return {keys.partition_of(case_id) for case_id in self.new}

    # --- actions of the owner

    @initialize(
        modes=st.lists(st.sampled_from([SINGLE, RETRYABLE, MULTIPLE]), min_size=1, max_size=2),
        held=st.lists(st.tuples(st.sampled_from([SINGLE, RETRYABLE, MULTIPLE]), st.booleans()), max_size=2),
        acknowledged=st.lists(st.tuples(st.sampled_from([SINGLE, MULTIPLE, MULTIPLE]), st.booleans()), max_size=1),
        bodies=st.booleans(),
        headers=st.booleans(),
        guard=st.sampled_from(GetGuard),
        has_closed_response=st.booleans(),
    )
    def create_some(self, modes, held, acknowledged, bodies, headers, guard, has_closed_response):
        self.recording = dataclasses.replace(RECORDING, bodies=bodies, headers=headers)
        for model in self.model.values():
            model.strips = self.strips
        gone = GONE if has_closed_response else None
        for mode in modes:
            self._create(
                mode, "push", "shop", "", expires=True, body=b"", labels={"team": "x"}, guard=guard, has_window=True,
                closed_response=gone, notify=("REMINDER", "EXPIRY"),
            )  # fmt: skip
        for mode, notified in held:
            self._create_held(mode, notified=notified)
        for mode, ordered in acknowledged:
            self._create(mode, "push", "shop", "", expires=True, body=b"", labels={}, answer=ACK, ordered=ordered)

    @precondition(lambda self: len(self.new) < MOST_CASES)
    @rule(
        mode=st.sampled_from([SINGLE, RETRYABLE, MULTIPLE]),
        activity=st.sampled_from(["push", "push", "push", "record", "form"]),
        answer=st.sampled_from(AnswerMode),
        ordered=st.booleans(),
        fallback=st.booleans(),
        owner=st.sampled_from(["shop", "shop", "other"]),
        parameter=st.sampled_from(["", "state"]),
        expires=st.booleans(),
        body=bodies,
        labels=labels,
        profile=st.sampled_from(["", "hook"]),
        guard=st.sampled_from(GetGuard),
        has_window=st.booleans(),
        no_repeat=st.sampled_from([False, False, True]),
        has_choices=st.sampled_from([False, False, True]),
        has_closed_response=st.booleans(),
        notify=st.sampled_from([(), (), ("REMINDER",), ("EXPIRY",), ("REMINDER", "EXPIRY")]),
    )
    def create(
        self, mode, activity, answer, ordered, fallback, owner, parameter, expires, body, labels, profile, guard,
        has_window, no_repeat, has_choices, has_closed_response, notify,
    ):  # fmt: skip
        if activity != "push":
            answer = HOLD if activity == "form" else "HANDLER"
        self._create(
            mode, activity, owner, parameter, expires=expires, body=body, labels=labels, profile=profile, guard=guard,
            answer=answer, ordered=ordered and answer == ACK, fallback=FALLBACK if fallback else None,
            has_window=has_window, no_repeat=no_repeat,
            has_choices=has_choices and guard is GetGuard.CONFIRM,
            closed_response=GONE if has_closed_response else None, notify=notify if activity == "push" else (),
        )  # fmt: skip

    @precondition(lambda self: len(self.new) < MOST_CASES or self.requested)
    @rule(
        data=st.data(),
        owner=st.sampled_from(["shop", "other"]),
        request_id=st.sampled_from(["1", "2"]),
        mode=st.sampled_from([SINGLE, MULTIPLE]),
        then=st.lists(st.sampled_from(["same", "other", "dropped"]), min_size=1, max_size=2),
    )
    def request(self, data, owner, request_id, mode, then):
        """Send a request with a request id. Then send the same or another one with that id, or delete the case."""
        if len(self.new) >= MOST_CASES:
            owner, request_id = data.draw(st.sampled_from(list(self.requested)))
        if (owner, request_id) not in self.requested:
            self._create(mode, "push", owner, "", expires=False, body=b"", labels={}, request_id=request_id)
        for what in then:
            case_id = self.requested.get((owner, request_id))
            if case_id is None:
                return
            if what == "dropped":
                self.do(close_case(self.scripts, case_id, owner=owner, recording=RECORDING))
                self.model[case_id].close()
                self.drop(past=True)
                continue
            case = self._new_case(
                f"{owner}:{request_id}", fingerprint=(b"f" if what == "same" else b"g") * 32, owner=owner,
                activity="push", mode=CallMode(mode), parameter="", time_to_live_ms=None, settings=Settings(),
                response=Response(),
            )  # fmt: skip
            expected = KnownRequest(self.new[case_id].nonce) if what == "same" else RequestConflict.CONFLICT
            assert self.do(create_case(self.scripts, case)) == expected

    def _new_case(self, request="", **fields):
        """Return a new case, with a pointer in its own partition for a request that has an id."""
        pointer = hashlib.sha256(request.encode()).hexdigest()[:32] if request else ""
        while True:
            number = next(self.numbers)
            sha = ids.state_hash(f"state {number}")
            case_id = ids.case_id_of(sha)
            if not pointer or keys.partition_of(case_id) == keys.partition_of(pointer):
                break
        nonce = b"%0*d" % (NONCE_BYTES, number) if pointer else b""
        return NewCase(id=case_id, state_sha256=sha, pointer=pointer, nonce=nonce, **fields)

    def _create(
        self, mode, activity, owner, parameter, *, expires, body, labels, profile="", guard=GetGuard.OFF,
        answer="HANDLER", ordered=False, fallback=None, request_id="", has_window=False, no_repeat=False,
        has_choices=False, closed_response=None, notify=(),
    ):  # fmt: skip
        after_ms = REMIND_AFTER_MS if "REMINDER" in notify else ()
        case = self._new_case(
            f"{owner}:{request_id}" if request_id else "", fingerprint=b"f" * 32, owner=owner, activity=activity,
            mode=CallMode(mode), parameter=parameter, time_to_live_ms=3_600_000 if expires else None,
            settings=Settings(labels=labels, prompt=CHOICES if has_choices else None, remind_after_ms=after_ms),
            response=Response(type=ResponseType.RESPONSE, body=body or None), profile=profile, guard=guard,
            answer_mode=AnswerMode(answer), ordered=ordered, fallback=fallback, closed_response=closed_response,
            repeat_window_ms=WINDOW_MS if has_window else 0, no_repeat=no_repeat,
            notify=tuple(Reason(each) for each in notify),
        )  # fmt: skip
        stored = self.do(create_case(self.scripts, case))
        assert stored == CaseStored(self._expiry(case.id))
        assert (stored.expires_ms is not None) is expires
        self.new[case.id] = case
        model = self.model[case.id] = ModelCase(
            id=case.id, notify=notify, reminders_left=len(after_ms),
            mode=mode, activity=activity, owner=owner, response=case.response, keep=KEEP, labels=labels,
            profile=profile, guard=guard, answer_mode=answer, ordered=ordered,
            strips=self.strips, most_held=MOST_HELD, has_window=has_window, no_repeat=no_repeat, keep_bytes=KEPT_BYTES,
            prompt=case.settings.prompt, closed_response=closed_response,
        )  # fmt: skip
        model.tell("CASE_CREATED")
        if request_id:
            self.requested[owner, request_id] = case.id
        return case.id

    def _create_held(self, mode, *, notified=True):
        return self._create(
            mode, "push" if notified else "form", "shop", "", expires=True, body=b"", labels={}, answer=HOLD,
            has_window=True, notify=("REMINDER", "EXPIRY") if notified else (),
        )  # fmt: skip

    @precondition(lambda self: self.model)
    @rule(data=st.data(), same=st.booleans())
    def create_again(self, data, same):
        """Send a request again, or another one for the same case."""
        case = self.new[data.draw(st.sampled_from(list(self.model)))]
        if not same:
            case = NewCase(
                **{name: getattr(case, name) for name in case.__struct_fields__} | {"fingerprint": b"g" * 32}
            )
        expected = CaseStored(self._expiry(case.id)) if same else RequestConflict.CONFLICT
        assert self.do(create_case(self.scripts, case)) == expected

    def _expiry(self, case_id):
        case = self.do(read_case(self.scripts, case_id))
        return case.expires_ms

    @precondition(lambda self: self.new)
    @rule(data=st.data(), body=bodies, stale=st.booleans())
    def set_response(self, data, body, stale):
        """Set a response, and send the claims of running calls again: they keep the response that they had."""
        case_id = self._any_case(data)
        self._set_response(case_id, body, stale=stale)
        for call_id in self.model[case_id].running if case_id in self.model else ():
            self._claim_again(call_id)

    def _set_response(self, case_id, body, *, stale=False):
        model = self.model.get(case_id)
        case = self.do(read_case(self.scripts, case_id))
        if model is None:
            assert case is None
            return
        response = Response(type=ResponseType.RESPONSE, code=201, body=body or None)
        if stale:
            case = type(case)(
                **{name: getattr(case, name) for name in case.__struct_fields__} | {"version": case.version + 1}
            )
        reply = self.do(set_response(self.scripts, case, response, owner=model.owner, recording=RECORDING))
        word = "CLOSED" if isinstance(reply, CaseClosed) else reply.name
        assert word == model.set_response(response, case.version)

    @precondition(lambda self: self.new)
    @rule(data=st.data(), foreign=st.booleans(), intent=st.sampled_from([None, None, *RequestIntent]))
    def close(self, data, foreign, intent):
        """Close a case. Then a request may come."""
        case_id = self._any_case(data)
        model = self.model.get(case_id)
        owner = "nobody" if foreign or model is None else model.owner
        reply = self.do(close_case(self.scripts, case_id, owner=owner, recording=RECORDING))
        assert reply is (CloseResult.UNKNOWN if model is None or foreign else CloseResult[model.close()])
        if intent:
            self._claim_new(case_id, intent=intent)

    @precondition(lambda self: self.new)
    @rule(
        data=st.data(), foreign=st.sampled_from([False, False, False, True]),
        times=st.lists(st.sampled_from(["OK", "OK", "PAST", "TOO_LATE"]), min_size=2, max_size=4), sooner=st.booleans(),
        swept=st.booleans(),
    )  # fmt: skip
    def extend(self, data, foreign, times, sooner, swept):
        """Let a case expire at other times, or at the same one again, and see whether an earlier one has an effect."""
        case_id = self._any_case(data)
        model = self.model.get(case_id)
        for when in times:
            at = {"OK": FAR_MS - sooner, "PAST": LATE, "TOO_LATE": 2 * FAR_MS}[when]
            reply = self.do(
                extend_case(
                    self.scripts, case_id, owner="nobody" if foreign or model is None else model.owner, expires_ms=at,
                    max_ms=FAR_MS, recording=RECORDING,
                )
            )  # fmt: skip
            if model is None or foreign:
                assert reply is ExtendResult.UNKNOWN
            else:
                word = "CLOSED" if isinstance(reply, CaseClosed) else reply.name
                assert word == model.extend(at, allowed=when)
        if swept:
            self.sweep()

    @precondition(lambda self: self.new)
    @rule(data=st.data(), foreign=st.booleans(), again=st.booleans())
    def erase(self, data, foreign, again):
        case_id = self._any_case(data)
        model = self.model.get(case_id)
        owner = "nobody" if foreign or model is None else model.owner
        known = model is not None and not foreign
        expected = EraseResult(model.erase(), before=None) if known else None
        erasure = f"erasure {next(self.numbers)}"
        for _ in range(1 + again):
            assert self._erase(case_id, owner, erasure) == expected

    def _erase(self, case_id, owner, erasure):
        return self.do(erase_calls(self.scripts, case_id, owner=owner, erasure=erasure, before=None))

    # --- actions of callers and handlers

    def _claim(
        self, case_id, call_id, *, parameter=None, intent="CALL", profile=None, message="", digest="", over=False,
        limited=False, can_deliver=False, sha=None,
    ):  # fmt: skip
        """Claim with the profile that the case requires, unless `profile` is given. Each request comes once, unless
        `digest` is given."""
        new = self.new[case_id]
        return self.do(
            claim_call(
                self.scripts, call_id=call_id, state_sha256=sha or new.state_sha256,
                parameter=new.parameter if parameter is None else parameter,
                request=CAME, leases=LEASES, recording=self.recording,
                platform_url=PLATFORM_URL, intent=RequestIntent(intent),
                sent=RequestIdentity("post", digest or call_id.rpartition("-")[2].rjust(64, "0")),
                verification=Verification(
                    new.profile if profile is None else profile, message, WINDOW_MS if message else 0
                ),
                calls_per_minute=PER_MINUTE if limited else None,
                limited_owners=[("nobody", 1, "other"), *([(new.owner, OVER_MS, "limit")] if over else [])],
                replica="replica", can_deliver=can_deliver,
            )
        )  # fmt: skip

    def _compare_claim(self, reply, expected):
        word, fact = expected
        if word == "RESOLVED":
            assert isinstance(reply, Grant), (reply, expected)
            assert reply.resolved is not None
            (_, _, _, whole, _) = self.model[ids.case_id_of_call(reply.call_id)].resolution
            assert (reply.resolved.status, reply.resolved.response) == (fact.status, whole)
            assert (reply.recorded, reply.attempt, reply.effect) == (True, fact.attempt, fact.effect)
        elif word in ("CLAIMED", "RECORDED"):
            assert isinstance(reply, Grant), (reply, expected)
            assert reply.resolved is None
            assert (reply.recorded, reply.attempt, reply.response) == (word == "RECORDED", fact.attempt, fact.response)
            assert reply.effect == (fact.effect if reply.recorded else None)
            assert reply.version == fact.version
            mine = fact.delivery == RUNNING and fact.attempts_started == 1 and fact.at_once and fact.due == LATER
            assert (reply.lease_left_ms > 0) is (mine or not reply.recorded)
            new = self.new[ids.case_id_of_call(reply.call_id)]
            assert (reply.answer_mode, reply.fallback) == (new.answer_mode, None if reply.recorded else new.fallback)
        elif word == "CLOSED":
            reason, response = fact
            assert isinstance(reply, CaseClosed)
            assert (reply.reason, reply.response) == (CloseReason(reason), response)
        elif word == "VERIFY":
            assert isinstance(reply, VerificationRequired)
            assert reply.profile == fact
        elif word == "CONFIRM":
            assert reply == ConfirmationRequired(fact)
        elif word == "LIMITED":
            assert isinstance(reply, RateLimited)
            assert 0 < reply.wait_ms <= max(OVER_MS, 60_000 / PER_MINUTE)
            assert reply.limit in ("limit", "max_calls_per_minute_per_case", "held_calls")
        elif word == "RUNS":
            assert reply == EarlierCallRuns(fact.id, told_to_wait=bool(fact.wait_hash) and not fact.marked)
        elif word == "REPEATED":
            self._compare_repeat(reply, fact)
        else:
            assert reply is ClaimRefusal[word]

    def _compare_repeat(self, earlier, call):
        """Compare what a repeat of a call got that has ended."""
        assert isinstance(earlier, EarlierCall)
        model = self.model[ids.case_id_of_call(call.id)]
        assert (earlier.call_id, earlier.status, earlier.code) == (call.id, call.status, call.code)
        assert (earlier.failure is not None) is (call.status in (FAILED, NOT_STARTED))
        alternative_domain = self.new[ids.case_id_of_call(call.id)].settings.alternative_domain
        assert (earlier.owner, earlier.alternative_domain) == (model.owner, alternative_domain)
        answer = None
        if call.id in model.kept and not call.no_repeat:
            answer = complete(model.kept[call.id][0], platform_url=PLATFORM_URL)
        if call.id not in self.adopted:
            assert earlier.method == "post"
        if answer is None and (model.answer_mode == HOLD or call.wait_hash) and not call.no_repeat:
            return  # it is still kept for its caller
        assert earlier.answer == answer

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim(self, data):
        self._claim_new(self._any_case(data))

    @precondition(lambda self: self._acknowledged())
    @rule(data=st.data(), can_deliver=st.booleans(), paused=st.booleans(), times=st.integers(1, 3), taken=st.booleans(),
          again=st.booleans())  # fmt: skip
    def claim_and_deliver(self, data, can_deliver, paused, times, taken, again):
        case_id = data.draw(st.sampled_from(self._acknowledged()))
        self._pause(paused=paused)
        for _ in range(times):
            call_id = self._claim_new(case_id, can_deliver=can_deliver)
        if taken:
            self.take(paused=False)
        if again and call_id in self.model[case_id].calls:
            reply = self._claim(case_id, call_id, can_deliver=True)
            self._compare_claim(reply, self.model[case_id].claim(call_id, profile=self.new[case_id].profile))

    def _acknowledged(self):
        return [case_id for case_id, model in self.model.items() if model.answer_mode == ACK]

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def others_come_and_go(self, data):
        """Make two more calls while one runs, and end them, if the case allows it."""
        case_id = ids.case_id_of_call(data.draw(st.sampled_from(self._running())))
        for _ in range(2):
            call_id = self._claim_new(case_id)
            if call_id in self._running():
                self._finish(call_id, SUCCEEDED, False, b"")

    @precondition(lambda self: self.new)
    @rule(
        data=st.data(),
        intent=st.sampled_from(RequestIntent),
        profile=st.sampled_from([None, None, "", "other"]),
        over=st.sampled_from([False, False, False, True]),
    )
    def claim_on_other_terms(self, data, intent, profile, over):
        case_id = self._any_case(data)
        self._claim_new(case_id, intent=intent, profile=profile, over=over)
        is_claimed_again = intent is RequestIntent.FORM or self.new[case_id].settings.prompt is not None
        if is_claimed_again and self.new[case_id].guard is GetGuard.CONFIRM:
            self._claim_new(case_id, intent=RequestIntent.CONFIRMED)

    @precondition(lambda self: self.new)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["message", "digest"]),
        value=st.sampled_from(["a" * 64, "b" * 64]),
        between=st.sampled_from(
            [None, SUCCEEDED, REJECTED, FAILED, NOT_STARTED, INTERRUPTED, INTERRUPTED, "windows", "fallback"]
        ),
        terms=st.fixed_dictionaries(
            {}, optional={"intent": st.sampled_from(RequestIntent), "over": st.just(True), "follows": st.just(True)}
        ),
        keep_open=st.booleans(),
        no_repeat=st.sampled_from([False, False, True]),
        body=bodies,
    )
    def a_request_comes_twice(self, data, kind, value, between, terms, keep_open, no_repeat, body):
        """Repeat a request or a message after its call has ended (if it runs), after its window is over, or at once.

        The repeat may wait with the call that runs, and see how it ends.
        """
        case_id = self._any_case(data)
        follows = terms.pop("follows", False)
        self._claim_new(case_id, **{kind: value})
        model = self.model.get(case_id)
        call_id = model.known.get(value) if model else None
        runs = call_id in self._running()
        repeat_id = self._claim_new(case_id, **{kind: value}) if follows else None
        if between == "windows":
            self._end_windows(case_id)
        elif runs and between == "fallback":
            self._mark_fallback(call_id)
        elif runs and between == INTERRUPTED:
            self._end_lease(model.calls[call_id], LATE)
        elif runs and between:
            self._finish(call_id, between, keep_open, body, no_repeat=no_repeat)
        if runs and follows:
            self._follow(call_id, repeat_id)
        self._claim_new(case_id, **{kind: value}, **terms)

    def _follow(self, call_id, repeat_id):
        call, new = self._known(call_id), self.new[ids.case_id_of_call(call_id)]
        if call.status == RUNNING and call.marked and new.fallback is None:
            return
        reply = self.do(follow_call(self.scripts, call_id, repeat_id=repeat_id, replica="replica"))
        if call.status != RUNNING:
            self._compare_repeat(reply, call)
        elif call.marked:
            assert reply == FallbackSent(FALLBACK.response, new.owner, "")
        else:
            assert reply is FollowResult.RUNS
            call.waiters.add(repeat_id)

    def _end_windows(self, case_id):
        """End the windows of the calls of a case that have ended."""
        model = self.model.get(case_id)
        if model is None or not model.has_windows:
            return
        partition, kept = keys.partition_of(case_id), [*model.kept]
        gone = [keys.key(partition, "repeat", case_id, digest) for digest in model.end_windows()]
        gone += [keys.key(partition, "answer", call_id) for call_id in kept]
        if gone:
            self.do(self.client.delete(*gone))
        answers = keys.key(partition, "answers", case_id)
        for member in self.do(self.client.zrange(answers, 0, -1)):
            self.do(self.client.zadd(answers, {member: EARLY}))
        self.do(self.client.hset(keys.key(partition, "case", case_id), "repeats_until", EARLY))
        self.do(self.client.zadd(self._partition_key(case_id, "closed"), {case_id: EARLY}, xx=True))

    @precondition(lambda self: self._multiple())
    @rule(data=st.data())
    def claim_more_than_a_minute_allows(self, data):
        """Start at an even rate, and make so many calls that the last one exceeds the limit."""
        case_id = data.draw(st.sampled_from(self._multiple()))
        self.do(self.client.hdel(keys.key(keys.partition_of(case_id), "case", case_id), "arrival"))
        model = self.model[case_id]
        model.left = PER_MINUTE
        for _ in range(PER_MINUTE + 1):
            self._claim_new(case_id, limited=True)
        model.left = None

    def _multiple(self):
        return [case_id for case_id, model in self.model.items() if model.mode == MULTIPLE]

    def _claim_new(
        self, case_id, *, intent="CALL", profile=None, message="", digest="", over=False, limited=False,
        can_deliver=False,
    ):  # fmt: skip
        call_id = self._new_call_id(case_id)
        given = {"intent": intent, "message": message, "digest": digest, "over": over}
        reply = self._claim(case_id, call_id, profile=profile, limited=limited, can_deliver=can_deliver, **given)
        given["can_deliver"] = can_deliver and not self.paused
        if case_id not in self.model:
            assert reply is ClaimRefusal.UNKNOWN
            return call_id
        new, model = self.new[case_id], self.model[case_id]
        passed = new.profile if profile is None else profile
        given["digest"] = digest or call_id.rpartition("-")[2].rjust(64, "0")
        given["size"] = _kept_size(new.settings, model.response)
        self._compare_claim(reply, model.claim(call_id, profile=passed, **given))
        if isinstance(reply, Grant):
            self.granted.append(call_id)
        if isinstance(reply, EarlierCall | EarlierCallRuns):  # sent again, it is counted once
            again = self._claim(
                case_id, call_id, profile=profile, limited=limited, intent=intent, message=message, digest=digest
            )
            assert again == reply
        return call_id

    def _new_call_id(self, case_id):
        return f"{case_id}-c{next(self.numbers):015x}"

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def claim_again(self, data):
        self._claim_again(data.draw(st.sampled_from([*self.granted, *self._running(), *self._running()])))

    def _claim_again(self, call_id):
        case_id = ids.case_id_of_call(call_id)
        reply = self._claim(case_id, call_id)
        if case_id in self.model:
            self._compare_claim(reply, self.model[case_id].claim(call_id, profile=self.new[case_id].profile))
        else:
            assert reply is ClaimRefusal.STALE

    @precondition(lambda self: self._recorded())
    @rule(data=st.data(), body=st.sampled_from([None, b"", b"another"]))
    def a_recorded_call_that_was_erased_comes_again(self, data, body):
        """Set another response before (None: keep the response), if the case allows that."""
        call_id = data.draw(st.sampled_from(self._recorded()))
        case_id = ids.case_id_of_call(call_id)
        model = self.model[case_id]
        assert self._erase(case_id, None, f"erasure {next(self.numbers)}").calls == model.erase()
        if body is not None:
            self._set_response(case_id, body)
        self._compare_claim(self._claim(case_id, call_id), model.claim(call_id, profile=model.profile))

    def _recorded(self):
        return [call.id for model in self.model.values() for call in model.calls.values() if call.recorded]

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim_in_the_wrong_form(self, data):
        case_id = self._any_case(data)
        wrong = "" if self.new[case_id].parameter else "state"
        assert self._claim(case_id, self._new_call_id(case_id), parameter=wrong) is ClaimRefusal.UNKNOWN

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim_with_another_state(self, data):
        """Claim with a hash that begins with the case's id and continues differently."""
        case_id = self._any_case(data)
        sha = bytes.fromhex(case_id) + bytes(16)
        assert self._claim(case_id, self._new_call_id(case_id), sha=sha) is ClaimRefusal.UNKNOWN

    @precondition(lambda self: self._running())
    @rule(data=st.data(), status=ends, keep_open=st.booleans(), close=st.booleans(), body=bodies,
          merged=st.sampled_from([None, "at the claim", "now"]), due=st.sampled_from([None, NOW, LATER]),
          earlier=st.booleans(), again=st.booleans())  # fmt: skip
    def finish(self, data, status, keep_open, close, body, merged, due, earlier, again):
        """Finish a call that runs, or the attempt of its delivery; or the attempt before it, too late."""
        call_id = data.draw(st.sampled_from(self._running()))
        token = max(self._known(call_id).attempts_started - earlier, 1)
        for _ in range(1 + again):
            self._finish(
                call_id, status, keep_open and not close, body, merged=merged, due=due, token=token, close=close
            )

    @precondition(lambda self: self._running())
    @rule(data=st.data(), status=ends, body=bodies)
    def finish_after_the_response_was_replaced(self, data, status, body):
        """Finish with the response at the claim, and then with the present one."""
        call_id = data.draw(st.sampled_from(self._running()))
        self._set_response(ids.case_id_of_call(call_id), body)
        for merged in ("at the claim", "now"):
            self._finish(call_id, status, False, body, merged=merged)

    @precondition(lambda self: self._held())
    @rule(data=st.data(), status=st.sampled_from([SUCCEEDED, REJECTED]), body=bodies,
          answers=st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=2))  # fmt: skip
    def answer_a_held_call(self, data, status, body, answers):
        """Answer once, or with two answers."""
        call_id = data.draw(st.sampled_from(self._held()))
        ran = self._known(call_id).status == RUNNING
        for digest in answers:
            self._finish(call_id, status, False, body, digest=digest)
        held = self.do(read_held(self.scripts, call_id))
        assert (held.status, held.answer_digest) == (self._known(call_id).status, self._known(call_id).answer_digest)
        if ran and held.answer_digest and held.answer is not None:
            assert (held.answer.headers, held.answer.body) == (GAVE, body)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), accepts=st.sampled_from([True, True, False]), again=st.booleans())
    def mark_a_fallback(self, data, accepts, again):
        call_id = data.draw(st.sampled_from([*self.granted, *self._running(), *self._running()]))
        for _ in range(1 + again):
            self._mark_fallback(call_id, accepts=accepts)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), told=st.lists(st.booleans(), min_size=1, max_size=2), status=ends, body=bodies,
          no_repeat=st.booleans(), erases=st.booleans(), trims=st.booleans())  # fmt: skip
    def a_caller_is_told_to_wait(self, data, told, status, body, no_repeat, erases, trims):
        """The caller of a call, or a repeat, waits at its address, and gets the answer there, although the call is no
        longer kept. An answer that must not be given twice is for the first that asks, if the caller waits."""
        call_id = data.draw(st.sampled_from([*self.granted, *self._running(), *self._running()]))
        case_id = ids.case_id_of_call(call_id)
        model = self.model.get(case_id) or self.dropped[case_id]
        call = self._known(call_id)
        for is_own in told:
            wait_hash = call_id.ljust(64, "0")
            is_marked = self.do(
                mark_waiting(self.scripts, call_id=call_id, wait_hash=wait_hash, method="post", is_own=is_own)
            )
            assert is_marked is model.mark_waiting(call_id, wait_hash, is_own=is_own)
        if not call.wait_hash or case_id not in self.model:
            return
        others = self.do(follow_call(self.scripts, call_id, repeat_id="0", replica="replica", wait_hash="f" * 64))
        assert others is FollowResult.UNKNOWN
        if call.status == RUNNING:
            assert self._at_address(call) is FollowResult.RUNS
            model.calls[call_id].waiters.add("at its address")
        if call.status != RUNNING or call.delivery:
            return
        if erases:
            self._erase(case_id, None, f"erasure {next(self.numbers)}")
            model.erase()
        self._finish(call_id, status, False, body, no_repeat=no_repeat)
        if call.status not in (SUCCEEDED, REJECTED):
            return
        if trims:
            self.drop(past=True)
        if call_id in model.kept:
            assert self.do(self.client.pttl(keys.key(keys.partition_of(call_id), "answer", call_id))) > BRIEFLY_MS
        assert self._at_address(call, without_answer=True) is FollowResult.ENDED
        found = self._at_address(call)
        assert (found.status, found.method) == (call.status, "post")
        if call_id in model.kept:  # else it was erased, or is larger than what the case may keep
            assert (found.answer.headers, found.answer.body) == (GAVE, body)
        elif call.no_repeat and not call.caller_waits:
            assert found.answer is None
        assert self._at_address(call) == found
        if call.no_repeat:
            assert self._at_address(call, asker="another").answer is None

    def _at_address(self, call, *, asker="at its address", **more):
        """Return what the caller of a call gets at its address now."""
        return self.do(
            follow_call(
                self.scripts, call.id, repeat_id=asker, replica="replica", wait_hash=call.wait_hash, **more
            )
        )  # fmt: skip

    def _mark_fallback(self, call_id, *, accepts=True):
        model = self.model.get(ids.case_id_of_call(call_id)) or self.dropped[ids.case_id_of_call(call_id)]
        accepts = accepts and model.answer_mode == "HANDLER"
        is_marked = self.do(
            mark_fallback(self.scripts, call_id=call_id, request=CAME, recording=self.recording, accepts=accepts)
        )
        assert is_marked is model.mark_fallback(call_id, accepts=accepts)

    @precondition(lambda self: self._running())
    @rule(data=st.data(), end=st.sampled_from([NOT_STARTED, FAILED, "lost"]),
          then=st.sampled_from([None, "take", "erase", "replay"]))  # fmt: skip
    def an_attempt_after_a_fallback_may_not_end_its_call(self, data, end, then):
        """No handler is asked, it fails, or its server is lost. Then the call is taken, erased or replayed."""
        call_id = data.draw(st.sampled_from(self._running()))
        call = self._known(call_id)
        self._mark_fallback(call_id)
        if end == "lost" and call in self._in_lease():
            self._end_lease(call, EARLY)
            self.sweep()
        elif end != "lost":
            self._finish(call_id, end, False, b"", due=NOW)
        if then == "take":
            self.take(paused=False)
        elif then == "erase":
            case_id = ids.case_id_of_call(call_id)
            assert self._erase(case_id, None, f"erasure {next(self.numbers)}").calls == self.model[case_id].erase()
        elif then == "replay":
            self._replay(call_id)

    @precondition(lambda self: self.model)
    @rule(
        data=st.data(), digest=st.sampled_from(["c" * 64, "d" * 64]),
        status=st.sampled_from([SUCCEEDED, SUCCEEDED, REJECTED]),
        merged=st.sampled_from(["now", "now", "before"]), late=st.booleans(), foreign=st.booleans(),
        closes=st.sampled_from([False, False, True]), erases=st.booleans(),
        then=st.sampled_from([None, "claim", "again", "sweep", "answer", "expires"]),
    )  # fmt: skip
    def resolve(self, data, digest, status, merged, late, foreign, closes, erases, then):
        """Give a case that holds calls its answer, while or before it holds some. It may be erased afterwards."""
        holding = self._holding()
        still_open = [case_id for case_id in holding if self.model[case_id].status != CLOSED]
        case_id = data.draw(st.sampled_from([*self.model, *holding, *4 * still_open]))
        if late:
            call_id = self._claim_new(case_id)
            if late and call_id in self._running():
                self._end_lease(self._known(call_id), LATE)
        for _ in range(data.draw(st.integers(0, 2))):
            self._claim_new(case_id)
        model = self.model[case_id]
        if closes:
            self.do(close_case(self.scripts, case_id, owner=None, recording=RECORDING))
            model.close()
        answer = Response(type=ResponseType.RESPONSE, code=200, headers=GAVE, body=digest.encode())
        if digest.startswith("d"):
            answer = Response(type=ResponseType.REDIRECT, redirect_url="https://shop.example/paid")
        self._whole[digest] = answer
        version = None if status == REJECTED else model.version - (merged == "before")
        up_to = data.draw(st.sampled_from([model.call_count, model.call_count, model.call_count - 1]))
        if foreign:
            reply = self._resolve(case_id, digest, status, answer, version, up_to, owner="nobody")
            assert reply is ResolveRefusal.UNKNOWN
        self._resolve_and_compare(case_id, digest, status, answer, version, up_to)
        if erases:
            assert self._erase(case_id, None, f"erasure {next(self.numbers)}").calls == self.model[case_id].erase()
        if then == "again":
            self._resolve_and_compare(case_id, digest, status, answer, version, up_to)
        elif then == "sweep":
            self.sweep()
        elif then == "expires" and case_id in self._can_expire():
            self._expire(case_id)
            self.sweep()
        elif then == "answer":
            for call_id in model.running:
                self._finish(call_id, SUCCEEDED, False, b"", digest=DIGESTS[1])
        elif then == "claim":
            call_id = self._claim_new(case_id)
            if call_id in self.model[case_id].calls or call_id in self.model[case_id].gone:
                reply = self._claim(case_id, call_id)
                self._compare_claim(reply, self.model[case_id].claim(call_id, profile=self.new[case_id].profile))

    def _resolve(self, case_id, digest, status, answer, version, up_to, *, owner=None):
        return self.do(
            resolve_case(
                self.scripts, case_id, owner=owner, digest=digest, outcome=Outcome(CallStatus(status), answer),
                version=version, up_to=up_to, recording=self.recording,
            )
        )  # fmt: skip

    def _resolve_and_compare(self, case_id, digest, status, answer, version, up_to):
        model = self.model[case_id]
        reply = self._resolve(case_id, digest, status, answer, version, up_to)
        word, ended = model.resolve(
            digest, status, self._of_answer(answer), whole=answer, size=_kept_size(Settings(), answer),
            left=(None, 0) if answer.type is ResponseType.REDIRECT else (LEFT, _kept_size(Settings(), LEFT)),
            version=version, up_to=up_to, limit=RESOLVED_AT_ONCE,
        )  # fmt: skip
        if word == "OK":
            left = len(model.held) if model.resolution else 0
            assert isinstance(reply, ResolvedBatch)
            assert (reply.left, [call_id for call_id, _ in reply.ended]) == (left, ended)
            assert {replica for call_id, replica in reply.ended if call_id not in self.adopted} <= {"replica"}
            for call_id in ended:
                assert self.do(read_held(self.scripts, call_id)).answer == self._whole[digest]
        elif word == "MERGE":
            assert reply == ResponseReplaced(model.response, model.version)
        elif word == "CLOSED":
            assert reply == CaseClosed(CloseReason(model.reason))
        else:
            assert reply is ResolveRefusal[word]

    def _holding(self):
        return [case_id for case_id, model in self.model.items() if model.answer_mode == HOLD]

    def _held(self):
        """Return the held calls that are kept."""
        return [call.id for model in self.model.values() if model.answer_mode == HOLD for call in model.calls.values()]

    def _known(self, call_id):
        model = self.model.get(ids.case_id_of_call(call_id)) or self.dropped[ids.case_id_of_call(call_id)]
        return model.calls.get(call_id) or model.gone[call_id]

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), times=st.integers(1, 2))
    def a_caller_is_gone(self, data, times):
        """Mark it once or twice, while its call runs, after its end, or when it is no longer kept."""
        call_id = data.draw(st.sampled_from([*self.granted, *self._running(), *self._running()]))
        model = self.model.get(ids.case_id_of_call(call_id))
        for _ in range(times):
            known = model is not None and model.mark_caller_gone(call_id)
            assert self.do(mark_caller_gone(self.scripts, call_id)) is known

    # --- deliveries

    @rule(paused=st.booleans())
    def take(self, paused):
        self._pause(paused=paused)
        taken = []
        order = self._due_by_time()
        for attempts, more in self.do_all(
            take_deliveries(
                self.scripts, partition, limit=50, turn=next(self.numbers), leases=LEASES, recording=RECORDING,
                notifications=notifications,
            )
            for partition in self.partitions
            for notifications in (False, True)
        ):  # fmt: skip
            assert not more
            taken += attempts
        expected = [call for model in self.model.values() if not paused for call in model.take(order)]
        assert sorted(
            (
                each.grant.call_id, each.fencing_token, each.grant.attempt, each.number_since_start,
                each.not_asked_since_start, each.grant.replayed, each.is_call_running,
            )
            for each in taken
        ) == sorted(
            (
                call.id, call.attempts_started, call.attempts_started - call.attempts_not_asked,
                call.attempts_started - call.attempts_before_replay,
                call.attempts_not_asked - call.not_asked_before_replay, call.replayed, call.status == RUNNING,
            )
            for call in expected
        )  # fmt: skip
        for each in taken:
            model = self.model[ids.case_id_of_call(each.grant.call_id)]
            if each.grant.call_id in model.notifications:
                assert (replace(each.grant.response, body=None), each.request) == (
                    replace(model.response, body=None), Request("")
                )  # fmt: skip
                assert len(each.grant.response.body or b"") <= MAX_INLINE_BODY_BYTES
                continue
            call = model.calls[each.grant.call_id]
            assert each.grant.response == (call.response if model.answer_mode == ACK else model.response)
            assert each.grant.version == model.version
            if call.id not in self.adopted:
                assert each.request == CAME

    def _pause(self, *, paused):
        if paused is not self.paused:
            self.do(change_pauses(self.scripts, "push", is_paused=paused))
            self.paused = paused

    @precondition(lambda self: self._delivering())
    @rule(data=st.data(), status=st.sampled_from([DELIVERED, DEAD, PENDING, PENDING]), asked=st.booleans(),
          now=st.booleans(), overtaken=st.booleans(), again=st.booleans(), body=bodies,
          close=st.booleans())  # fmt: skip
    def an_attempt_ends(self, data, status, asked, now, overtaken, again, body, close):
        """End an attempt in time, or after its lease when another one has started. The end may be sent twice."""
        call = data.draw(st.sampled_from(self._delivering()))
        token = call.attempts_started
        if overtaken:
            self._make_due(call)
            self.take(paused=False)
        for _ in range(1 + again):
            self._finish_delivery(call.id, token, status, asked, now, body, close=close)

    @precondition(lambda self: self._delivered())
    @rule(data=st.data(), status=st.sampled_from([DELIVERED, DEAD, PENDING]), earlier=st.integers(0, 1), body=bodies)
    def finish_a_delivery_late_or_again(self, data, status, earlier, body):
        call_id = data.draw(st.sampled_from(self._delivered()))
        self._finish_delivery(
            call_id, max(self._known(call_id).attempts_started - earlier, 1), status, True, True, body
        )

    def _finish_delivery(self, call_id, token, status, asked, now, body, *, close=False):
        asked = asked or status != DEAD
        is_call = reason_of(call_id) is Reason.CALL
        outcome = Outcome(
            CallStatus(SUCCEEDED),
            response=Response(type=ResponseType.RESPONSE, body=body) if is_call else None,
            close=close,
        )
        reply = self.do(
            finish_delivery(
                self.scripts, call_id=call_id, fencing_token=token, request=CAME if is_call else Request(""),
                outcome=outcome if asked else None,
                status=DeliveryStatus(status), wait_ms=0 if now else 3_600_000, recording=self.recording,
            )
        )  # fmt: skip
        case_id = ids.case_id_of_call(call_id)
        model = self.model.get(case_id) or self.dropped[case_id]
        expected = model.finish_delivery(call_id, token, status, asked=asked, now=now, close=close)
        assert reply == (None if expected is None else DeliveryFinished(*expected))
        kept = {**model.calls, **model.notifications}
        if call_id in kept:
            assert self.do(read_call(self.scripts, call_id)).close is kept[call_id].close

    @precondition(lambda self: self._acknowledged())
    @rule(data=st.data(), before=st.sampled_from([None, "expires", "closes"]),
          status=st.sampled_from([DELIVERED, DELIVERED, DEAD]), again=st.booleans())  # fmt: skip
    def a_delivery_closes_its_case(self, data, before, status, again):
        """End a delivery whose handler closes the case, which may have expired or been closed before."""
        case_id = data.draw(st.sampled_from(self._acknowledged()))
        call_id = self._claim_new(case_id)
        self.take(paused=False)
        call = self.model[case_id].calls.get(call_id)
        if call is None or call.delivery != RUNNING:
            return
        if before == "expires" and case_id in self._can_expire():
            self._expire(case_id)
        elif before == "closes":
            self.do(close_case(self.scripts, case_id, owner=None, recording=RECORDING))
            self.model[case_id].close()
        for _ in range(1 + again):
            self._finish_delivery(call_id, call.attempts_started, status, True, True, b"", close=True)

    @precondition(lambda self: self._multiple())
    @rule(data=st.data(), status=ends)
    def a_call_that_is_not_the_newest_closes_its_case(self, data, status):
        case_id = data.draw(st.sampled_from(self._multiple()))
        call_id, _ = self._claim_new(case_id), self._claim_new(case_id)
        if call_id in self._running():
            self._finish(call_id, status, False, b"", close=True)

    def _delivering(self):
        calls = [*self._all_calls(), *self._notifications(), *self._notifications()]
        return [call for call in calls if call.delivery == RUNNING and call.status != RUNNING]

    def _all_calls(self):
        return [call for model in self.model.values() for call in model.calls.values()]

    def _notifications(self):
        return [each for model in self.model.values() for each in model.notifications.values()]

    def _delivered(self):
        known = [(call_id, self._known(call_id)) for call_id in self.granted]
        return [call_id for call_id, call in known if call.attempts_started and call.status != RUNNING]

    @precondition(lambda self: self.granted or self._notifications())
    @rule(data=st.data(), foreign=st.booleans(), again=st.booleans())
    def replay(self, data, foreign, again):
        kept = [call.id for call in self._all_calls() if call.over]
        told = [each.id for each in self._notifications()]
        call_id = data.draw(st.sampled_from([*self.granted, *kept, *kept, *told]))
        model = self.model.get(ids.case_id_of_call(call_id))
        owner = "nobody" if foreign else model and model.owner
        for _ in range(1 + again):
            self._replay(call_id, owner=owner)

    def _replay(self, call_id, *, owner=None):
        model = self.model.get(ids.case_id_of_call(call_id))
        known = model is not None and owner in (None, model.owner)
        assert (
            self.do(replay_call(self.scripts, call_id, owner=owner))
            is ReplayResult[model.replay(call_id) if known else "UNKNOWN"]
        )

    @precondition(lambda self: self._due_later())
    @rule(data=st.data())
    def something_is_due_of_a_delivery(self, data):
        """Make the next attempt due, or end the lease of the attempt that runs."""
        call = data.draw(st.sampled_from(self._due_later()))
        self._make_due(call)

    def _make_due(self, call):
        call.due = NOW
        self.do(self.client.zadd(self._due_key(call.id), {call.id: EARLY}, xx=True))

    def _due_later(self):
        return [call for call in (*self._all_calls(), *self._notifications()) if call.due == LATER]

    def _due_by_time(self):
        """Return the calls whose delivery is due, in the order of their times, and then such notifications."""
        due = {
            keys.key(keys.partition_of(new.id), name, new.activity)
            for new in self.new.values()
            for name in ("due", "notification_due")
        }
        found = self.do(self.read_all({key: ("ZRANGE", key, 0, -1, "WITHSCORES") for key in due}))
        in_time = [
            (float(score), call_id.decode())
            for scores in found.values()
            for call_id, score in zip(scores[::2], scores[1::2], strict=True)
        ]
        in_turn = sorted(in_time, key=lambda each: (reason_of(each[1]) is not Reason.CALL, each))
        return [call_id for _, call_id in in_turn]

    def _due_key(self, call_id):
        case_id = ids.case_id_of_call(call_id)
        name = "due" if reason_of(call_id) is Reason.CALL else "notification_due"
        return keys.key(keys.partition_of(case_id), name, self.new[case_id].activity)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), status=ends, keep_open=st.booleans(), body=bodies)
    def finish_late_or_again(self, data, status, keep_open, body):
        self._finish(data.draw(st.sampled_from(self.granted)), status, keep_open, body)

    def _finish(
        self, call_id, status, keep_open, body, *, digest="", merged=None, due=None, token=None, no_repeat=False,
        close=False,
    ):  # fmt: skip
        answered = status in (SUCCEEDED, REJECTED)
        outcome = Outcome(
            CallStatus(status),
            response=Response(type=ResponseType.RESPONSE, code=200, headers=GAVE, body=body) if answered else None,
            keep_open=keep_open,
            close=close,
            no_repeat=no_repeat,
            failure=None if answered else CallFailure.HANDLER_ERROR,
            detail="" if answered else "broken",
        )
        was_running = call_id in self._running()
        case_id = ids.case_id_of_call(call_id)
        model = self.model.get(case_id) or self.dropped[case_id]
        version = {None: None, "at the claim": self._known(call_id).version, "now": model.version}[merged]
        token = max(self._known(call_id).attempts_started, 1) if token is None else token
        wait_ms = {None: None, NOW: 0, LATER: 3_600_000}[due]
        asked = status != NOT_STARTED
        reply = self.do(
            finish_call(
                self.scripts, call_id=call_id, outcome=outcome, version=version, recording=self.recording,
                answer_digest=digest, fencing_token=token, wait_ms=wait_ms, was_asked=asked,
            )
        )  # fmt: skip
        answer = self._of_answer(outcome.response) if answered else None
        expected = model.finish(
            call_id, status, keep_open=keep_open, answer=answer, answer_digest=digest, version=version,
            fencing_token=token, due=due, asked=asked, no_repeat=no_repeat, whole=outcome.response,
            size=_kept_size(Settings(), outcome.response) if answered else 0, close=close,
        )  # fmt: skip
        call = self._known(call_id)
        if expected == "MERGE":
            assert reply == ResponseReplaced(model.response, model.version)
            return
        if expected == "PENDING":
            assert reply == FinishResult(None, delivery=DeliveryStatus.PENDING, wait_ms=wait_ms)
            return
        delivery = DeliveryStatus(call.delivery) if call.delivery else None
        ended = FinishResult(call.effect, again=not was_running, delivery=delivery)
        assert reply == (ended if expected == "OK" else None)
        if was_running and expected == "OK" and call_id in model.calls:
            if answered:
                outcome = replace(outcome, response=answer)
            if model.calls[call_id].erased:
                outcome = Outcome(outcome.status, keep_open=keep_open, failure=outcome.failure)
            recorded = self.do(read_call(self.scripts, call_id))
            assert recorded.close is close
            assert recorded.outcome == replace(outcome, no_repeat=False, close=False)

    def _of_answer(self, answer):
        if not self.recording.headers:
            answer = replace(answer, headers=())
        return answer if self.recording.bodies else replace(answer, body=b"")

    def _any_case(self, data):
        # Cases with a running call count three times: most of what can go wrong happens there.
        running = [ids.case_id_of_call(call_id) for call_id in self._running()]
        return data.draw(st.sampled_from([*self.new, *running, *running]))

    def _running(self):
        return [call_id for model in self.model.values() for call_id in model.running]

    # --- timeouts

    def _partition_key(self, case_id, name):
        return keys.key(keys.partition_of(case_id), name)

    @precondition(lambda self: self._in_lease())
    @rule(data=st.data(), due=st.sampled_from([EARLY, LATE]))
    def lease_ends(self, data, due):
        self._end_lease(data.draw(st.sampled_from(self._in_lease())), due)

    def _end_lease(self, call, due):
        call.lease_due = due
        self.do(self.client.zadd(self._partition_key(call.id, "leases"), {call.id: due}, xx=True))

    @precondition(lambda self: self._can_expire())
    @rule(data=st.data())
    def expires(self, data):
        self._expire(data.draw(st.sampled_from(self._can_expire())))

    def _expire(self, case_id):
        self.model[case_id].expires_due = self.model[case_id].expires_at = MIDDLE
        self.do(self.client.hset(keys.key(keys.partition_of(case_id), "case", case_id), "expires", MIDDLE))
        self.do(self.client.zadd(self._partition_key(case_id, "expiries"), {case_id: MIDDLE}, xx=True))

    @precondition(lambda self: self._can_remind())
    @rule(
        data=st.data(),
        comes=st.sampled_from([None, PENDING, RUNNING, RUNNING, DELIVERED, DEAD]),
        then=st.sampled_from([[], ["close"], ["resolve"], ["resolve", "expire"], ["expire"]]),
        ends=st.sampled_from([None, DELIVERED, DEAD, PENDING, PENDING]),
        at_last=st.sampled_from([None, "replay", "drop"]),
    )
    def a_reminder_is_due(self, data, comes, then, ends, at_last):
        """A reminder is due, and comes so far. Then its case is decided, an attempt ends, and another one may start.

        At last the notifications are replayed, or nothing of the case is kept any more.
        """
        possible = self._can_remind()
        if "resolve" in then:
            held = [case_id for case_id in possible if self.model[case_id].answer_mode == HOLD]
            if not held and len(self.new) < MOST_CASES:
                held = [self._create_held(SINGLE)]
            possible = held or possible
        case_id = data.draw(st.sampled_from(possible))
        model = self.model[case_id]
        model.reminder_due = True
        self.do(self.client.zadd(self._partition_key(case_id, "reminders"), {case_id: EARLY}, xx=True))
        if comes is not None:
            self.sweep()
        if comes not in (None, PENDING):
            self.take(paused=False)
        if comes in (DELIVERED, DEAD):
            self._end_attempts_of_notifications(model, comes)
        if "close" in then:
            reply = self.do(close_case(self.scripts, case_id, owner=None, recording=RECORDING))
            assert reply is CloseResult[model.close()]
        if "resolve" in then:
            answer = Response(type=ResponseType.RESPONSE, code=200, headers=GAVE, body=b"c" * 64)
            self._whole["c" * 64] = answer
            self._resolve_and_compare(case_id, "c" * 64, SUCCEEDED, answer, model.version, model.call_count)
        if "expire" in then and case_id in self._can_expire():
            self._expire(case_id)
            self.sweep()
        if ends is not None:
            self._end_attempts_of_notifications(model, ends)
            self.sweep()
            self.take(paused=False)
        if at_last == "replay":
            for call_id in [*model.notifications]:
                self._replay(call_id)
        elif at_last == "drop":
            self._end_attempts_of_notifications(model, DELIVERED)
            self.drop(past=True)

    def _end_attempts_of_notifications(self, model, status):
        """End the attempts that run of the notifications of a case."""
        for each in [*model.notifications.values()]:
            if each.delivery == RUNNING:
                self._finish_delivery(each.id, each.attempts_started, status, True, True, b"")

    def _can_remind(self):
        return [case_id for case_id, model in self.model.items() if model.reminders_left and not model.reminder_due]

    def _in_lease(self):
        calls = [call for model in self.model.values() for call in model.calls.values()]
        return [call for call in calls if call.in_lease and call.lease_due is None]

    def _can_expire(self):
        return [
            case_id
            for case_id, model in self.model.items()
            if model.status != CLOSED and self._expires(case_id) and model.expires_due is None
        ]

    def _expires(self, case_id):
        return bool(self.new[case_id].time_to_live_ms or self.model[case_id].expires_at)

    @rule()
    def sweep(self):
        partitions = self.partitions
        swept = self.do_all(sweep_partition(self.scripts, partition, recording=RECORDING) for partition in partitions)
        for model in self.model.values():
            model.sweep()
        for calls, name in ((self._all_calls(), "deliveries"), (self._notifications(), "notifications")):
            due = {keys.partition_of(call.id) for call in calls if call.due == NOW}
            assert {at for at, each in zip(partitions, swept, strict=True) if getattr(each, name)} == due

    @rule(past=st.booleans(), windows=st.booleans())
    def drop(self, past, windows=True):
        """Apply the retention, before or past it, and before or past all windows."""
        for case_id in self.model if past and windows else ():
            self._end_windows(case_id)
        retention_ms = PAST_RETENTION_MS if past else RETENTION_MS
        self.do_all(
            apply_retention(self.scripts, partition, retention_ms=retention_ms) for partition in self.partitions
        )
        if past:
            for case_id, model in list(self.model.items()):
                for call in [call for call in model.calls.values() if call.over]:
                    model.delete(call.id)
                waits = any(not each.over for each in model.notifications.values())
                if model.status == CLOSED and not model.calls and not model.has_windows and not waits:
                    self.dropped[case_id] = self.model.pop(case_id)
            self.requested = {request: kept for request, kept in self.requested.items() if kept in self.model}

    # --- invariants

    @invariant()
    def store_and_model_agree(self):
        self.do(self._compare())

    async def _compare(self):
        stored = [key.decode() async for key in self.client.scan_iter(count=10_000)]
        await self._compare_cases([key for key in stored if ":repeat:" in key])
        await self._compare_events()
        await self._compare_label_index([key for key in stored if ":label:" in key])
        await self._compare_pointers([key for key in stored if ":pointer:" in key])

    def teardown(self):
        """Check that the lists and the cases agree as `callback repair` sees it."""

        async def found():
            repair = Repair(self.scripts, makes_entries=False, removes_entries=False)
            return [(step.faults, step.not_examined) async for step in repair.steps(10_000)]

        assert {str(each) for each in self.do(found())} <= {"([], {})"}

    async def _compare_pointers(self, stored):
        found = await self.read_all({key: ("GET", key) for key in stored})
        cases = [self.new[case_id] for case_id in self.model if self.new[case_id].pointer]
        assert found == {
            keys.key(keys.partition_of(case.id), "pointer", case.pointer): case.id.encode() + case.nonce
            for case in cases
        }

    async def _compare_events(self):
        pages = await self.scripts.run_on_partitions(
            read_events.SCRIPT,
            {
                partition: read_events.SCRIPT.pack(first_number=self.heard[partition] + 1, limit=1000)
                for partition in self.partitions
            },
        )
        for partition, (first, *events) in pages.items():
            after = self.heard[partition]
            assert first == (after + 1 if events else 0)
            self.heard[partition] = after + len(events)
            for event in map(read_events.decode_event, events):
                after_it = (event.case_status, event.close_reason, event.call_status, event.delivery_status)
                self.told[event.case_id].append((event.type, event.call_id, *after_it))
                new = self.new[event.case_id]
                assert (event.activity, event.owner) == (new.activity, new.owner)
                assert EventFilter(owner=new.owner, labels=new.settings.labels).matches(event)
        for case_id, model in {**self.model, **self.dropped}.items():
            assert self.told[case_id] == model.events

    async def _compare_label_index(self, stored):
        expected = {}
        for case_id, model in self.model.items():
            for name, value in model.labels.items():
                digest = hashlib.sha1(f"{len(name)}:{name}{value}".encode()).hexdigest()
                key = keys.key(keys.partition_of(case_id), "label", model.owner, digest)
                expected.setdefault(key, set()).add(case_id)
        found = await self.read_all({key: ("ZRANGE", key, 0, -1) for key in stored})
        assert {key: {member.decode() for member in members} for key, members in found.items()} == expected

    async def _compare_cases(self, stored_repeats):
        cases = dict(zip(self.new, await read_cases(self.scripts, list(self.new), bodies=True), strict=True))
        reads = {}
        for case_id in self.new:
            partition = keys.partition_of(case_id)
            for name in GONE_WITH_CASE:
                reads[case_id, name] = ("EXISTS", keys.key(partition, name, case_id))
            if case_id in self.model:
                reads[case_id, "queue"] = ("LRANGE", keys.key(partition, "queue", case_id), 0, -1)
                reads[case_id, "calls"] = ("ZRANGE", keys.key(partition, "calls", case_id), 0, -1)
                reads[case_id, "sums"] = ("HMGET", keys.key(partition, "case", case_id), "unfinished", "bytes")
                reads[case_id, "expiry"] = ("ZSCORE", keys.key(partition, "expiries"), case_id)
                reads[case_id, "held calls"] = ("ZRANGE", keys.key(partition, "held", case_id), 0, -1)
        possible = [
            call_id
            for new in self.new.values() if new.notify
            for call_id in (*(reminder_id(new.id, number) for number in (1, 2, 3)), expiry_id(new.id))
        ]  # fmt: skip
        for call_id in possible:
            reads[call_id, "exists"] = ("EXISTS", keys.key(keys.partition_of(call_id), "call", call_id))
        found = await self.read_all(reads)
        told = [call_id for call_id in possible if found[call_id, "exists"]]
        assert set(told) == {each.id for each in self._notifications()}
        repeats = await self._read_repeats(stored_repeats)
        call_ids = {case_id: [call_id.decode() for call_id in found[case_id, "calls"]] for case_id in self.model}
        listed = [*itertools.chain(*call_ids.values()), *told]
        kept = {call.id: call for call in await read_calls(self.scripts, listed)}
        found |= await self.read_all(
            {(call_id, "call"): ("HGETALL", keys.key(keys.partition_of(call_id), "call", call_id)) for call_id in kept}
            | {(call_id, "due"): ("ZSCORE", self._due_key(call_id), call_id) for call_id in kept}
        )
        due = collections.defaultdict(list)
        for told in self.due:
            due[_case_of(told)].append(told)
        for case_id, case in cases.items():
            if case_id not in self.model:
                assert case is None
                assert not any(found[case_id, name] for name in GONE_WITH_CASE)
                continue
            assert case is not None
            calls = [kept[call_id] for call_id in call_ids[case_id]]
            self._compare_case(case, calls, kept, found, due[case_id], repeats[case_id])
        await self._compare_indexes()

    async def _read_repeats(self, stored):
        """Return by which digests the calls of each case are found: the call and the milliseconds that are left."""
        found = await self.read_all({(key, what): (what, key) for key in stored for what in ("GET", "PTTL")})
        repeats = collections.defaultdict(dict)
        for key in stored:
            case_id, digest = key.split(":")[-2:]
            repeats[case_id][digest] = found[key, "GET"], found[key, "PTTL"]
        return repeats

    def _compare_case(self, case, calls, kept, found, due, repeats):
        """Compare a case and its calls, oldest first, with the model."""
        new, model = self.new[case.id], self.model[case.id]
        assert (case.status, case.close_reason, case.call_count, case.version, case.response, case.owner) == (
            model.status, model.reason, model.call_count, model.version, model.response, model.owner
        )  # fmt: skip
        assert (case.expires_ms is not None) is self._expires(case.id)
        if model.expires_at is not None:
            assert case.expires_ms == model.expires_at
        if model.status != CLOSED:
            assert (found[case.id, "expiry"] and float(found[case.id, "expiry"])) == case.expires_ms
        assert (case.notify, case.reminders) == (model.notify, len(model.reminders))
        assert (case.profile, case.guard) == (model.profile, model.guard)
        assert (case.answer_mode, case.ordered, case.fallback) == (new.answer_mode, new.ordered, new.fallback)
        assert (case.closed_response, case.settings.prompt) == (new.closed_response, new.settings.prompt)
        assert case.hold_time_ms == (new.hold_time_ms if new.answer_mode is AnswerMode.HOLD else None)
        assert case.resolved == (model.resolution[0] if model.resolution else "")
        assert [member.decode() for member in found[case.id, "held calls"]] == model.held
        assert [member.decode() for member in found[case.id, "queue"]] == model.queue
        assert [
            (call.id, call.status, call.erased, call.fallback_sent, call.caller_gone, call.repeats) for call in calls
        ] == [
            (call.id, call.status, call.erased, call.marked, call.caller_gone, len(call.repeats))
            for call in model.calls.values()
        ]
        assert due == [_due(case.id, model.activity, *what) for what in model.due]
        known = {digest: call_id.decode() for digest, (call_id, _) in repeats.items()}
        assert known == model.known
        for digest, (_, left_ms) in repeats.items():
            assert (left_ms == -1) if known[digest] in model.running else left_ms > 0
        unfinished, bytes_of_ended = found[case.id, "sums"]
        assert int(unfinished or 0) == len([call for call in model.calls.values() if not call.over])
        assert int(bytes_of_ended or 0) == sum(
            len(found[call.id, "call"].get(name, b"")) for name in SIZED for call in calls if model.calls[call.id].over
        )
        for call in calls:
            self._compare_call(call, found[call.id, "call"], model)
            self._compare_delivery(call, found[call.id, "due"], model.calls[call.id])
        told = [kept[call_id] for call_id in model.notifications]
        assert [call.reason for call in told] == [reason_of(call.id) for call in told]
        for call in told:
            self._compare_delivery(call, found[call.id, "due"], model.notifications[call.id])

    def _compare_call(self, call, fields, model):
        assert call.status != RUNNING or b"response" in fields
        if not call.erased and call.id not in self.adopted:
            is_held = model.answer_mode == HOLD and call.status == RUNNING
            whole = is_held or not model.calls[call.id].partial
            is_cut_later = model.calls[call.id].partial if is_held else model.calls[call.id].trims
            assert (b"recorded_request" in fields) is (call.status == RUNNING and is_cut_later)
            assert call.request.headers == (CAME.headers if whole or self.recording.headers else ())
            assert fields[b"request_body"] == (CAME.body if whole or self.recording.bodies else b"")
            assert call.request_body_size == len(CAME.body)
        elif call.erased:
            assert not set(fields) & (RECORDED if call.status == RUNNING else RECORDED | ANSWERED)
            assert fields[b"request"] == b""

    async def _compare_indexes(self):
        calls = [call for model in self.model.values() for call in model.calls.values()]
        closed = {case_id for case_id, model in self.model.items() if model.status == CLOSED}
        expected = {
            ("leases",): {call.id for call in calls if call.in_lease},
            ("ended",): {call.id for call in calls if call.over},
            ("closed",): closed,
            ("expiries",): {
                case_id for case_id in self.model
                if case_id not in closed and self._expires(case_id)
            },
            ("reminders",): {case_id for case_id, model in self.model.items() if model.reminders_left},
            **{
                (name, owner): self._marked(mark, owner)
                for name, mark in (("waiting", "WAITING"), ("dead", "DEAD"))
                for owner in ("shop", "other")
            },
        }  # fmt: skip
        found = await self.read_all(
            {
                (name, partition): ("ZRANGE", keys.key(partition, *name), 0, -1)
                for name in expected
                for partition in self.partitions
            }
        )
        for name, members in expected.items():
            assert {member.decode() for partition in self.partitions for member in found[name, partition]} == members, (
                name
            )

    def _marked(self, mark, owner):
        return {
            call.id
            for model in self.model.values()
            for call in (*model.calls.values(), *model.notifications.values())
            if model.owner == owner
            and (
                call.delivery == DEAD and not call.erased
                if mark == "DEAD"
                else model.answer_mode == HOLD and call.status == RUNNING
            )
        }

    @rule(owner=st.sampled_from(["shop", "other"]), mark=st.sampled_from(CallFilter), size=st.integers(1, 3))
    def list_marked_in_pages(self, owner, mark, size):
        found, after = [], None
        while True:
            page, after = self.do(list_owner_calls(self.scripts, mark, owner=owner, after=after, limit=size))
            assert not set(page) & set(found)
            found += page
            if after is None:
                break
        assert (set(found), len(found)) == (self._marked(mark, owner), len(set(found)))

    def _compare_delivery(self, call, score, model):
        if model.delivery is None:
            assert (call.delivery, score) == (None, None)
            return
        assert (call.delivery.status, call.delivery.attempts) == (
            model.delivery,
            model.attempts_started - model.attempts_not_asked,
        )
        assert (call.delivery.next_ms is not None) is (model.delivery == PENDING and model.due is not None)
        assert (score is not None) is (model.due is not None)
        if score is not None:
            assert (float(score) <= (time.time() + 60) * 1000) is (model.due == NOW)

    @rule(owner=st.sampled_from(["shop", "other"]), status=st.sampled_from([None, OPEN, IN_PROGRESS, CLOSED]),
          activity=st.sampled_from([None, "push", "record"]), labels=labels, size=st.integers(1, 4))  # fmt: skip
    def list_in_pages(self, owner, status, activity, labels, size):
        expected = [
            case_id for case_id, model in self.model.items()
            if model.owner == owner and status in (None, model.status) and activity in (None, model.activity)
            and labels.items() <= model.labels.items()
        ]  # fmt: skip
        found, after = [], None
        while True:
            page, after = self.do(
                list_cases(
                    self.scripts,
                    owner=owner,
                    activities=[activity] if activity else [],
                    status=status,
                    labels=labels,
                    after=after,
                    limit=size,
                )
            )
            found += page
            if after is None:
                break
        assert found == expected[::-1]
