"""The comparison of everything in the store with the model."""

import collections
import hashlib
import itertools
import time

from hypothesis.stateful import invariant
from model.life import CLOSED, HOLD, NOW, PENDING, RUNNING
from store.machine.system import KEYS, System, pointer_name
from store.machine.values import CAME

from callback_server.domain import ids
from callback_server.domain.call import CallStatus
from callback_server.domain.case import AnswerMode
from callback_server.domain.event import STEP, EventFilter
from callback_server.domain.notification import expiry_id, reason_of, reminder_id
from callback_server.domain.reports import AwaitedCallEnded, CallResolved, CaseExpired, HoldTimeEnded, LeaseEnded
from callback_server.operations.repair import Repair
from callback_server.store import keys
from callback_server.store.queries.list_owner_calls import CallFilter
from callback_server.store.queries.read import read_calls, read_cases
from callback_server.store.queries.read_events import decode_event
from callback_server.store.queries.read_recorded_bytes import read_recorded_bytes

# The fields of a call. While the call runs, the answer fields hold the response of its grant.
RECORDED = {b"request_body", b"recorded_request", b"drops_body", b"detail"}
ANSWERED = {b"response", b"response_body", b"body_of", b"platform_url", b"delivery_detail", b"delivery_response",
            b"delivery_body", b"delivery_shares_body"}  # fmt: skip
GONE_WITH_CASE = ("fallback", "resolution", "held", "closed_response")
SIZED = (b"request", b"request_body", b"response", b"response_body", b"delivery_response", b"delivery_body")


def _due(case_id, activity, word, *facts):
    if word == "CASE_EXPIRED":
        return CaseExpired(case_id, activity, *facts)
    call_id, effect, status = *facts, *[None] * (3 - len(facts))
    if word == "AWAITED_CALL_ENDED":
        return AwaitedCallEnded(call_id, frozenset({"replica"}))
    if word == "RESOLVED":
        return CallResolved(call_id, activity, effect, CallStatus(status))
    return (LeaseEnded if word == "LEASE_ENDED" else HoldTimeEnded)(call_id, activity, effect)


def _case_of(told):
    return told.case_id if isinstance(told, CaseExpired) else ids.case_id_of_call(told.call_id)


class Comparison(System):
    """Invariants of the store."""

    @invariant()
    def store_and_model_agree(self):
        self.do(self.compare())

    async def compare(self):
        stored = [key.decode() async for key in self.client.scan_iter(count=10_000)]
        await self._compare_cases([key for key in stored if ":repeat:" in key])
        await self._compare_events()
        await self._compare_recorded_bytes()
        await self._compare_label_index([key for key in stored if ":label:" in key])
        await self._compare_pointers([key for key in stored if ":pointer:" in key])
        await self._compare_correlation([key for key in stored if ":correlation:" in key])
        await self._compare_copies([key for key in stored if ":repeat:" in key])
        await self._compare_bodies([key for key in stored if ":uses:" in key or ":former_body:" in key])

    async def _compare_bodies(self, stored):
        """A body is there while a call or an answer names its version. One that nothing names any more expires."""
        calls = {call_id: model.id for model in self.model.values() for call_id in model.calls}
        reads = {key: ("HGETALL", key) if ":uses:" in key else ("PTTL", key) for key in stored}
        for call_id, case_id in calls.items():
            call = keys.key(keys.partition_of(case_id), "call", call_id)
            reads[call_id] = ("HMGET", call, "body_of", "answer_of")
        found = await self.read_all(reads)
        named, answers = collections.Counter(), set()
        for call_id, case_id in calls.items():
            body_of, answer_of = (version and version.decode() for version in found[call_id])
            if body_of is not None:
                named[case_id, body_of] += 1
            if answer_of is not None and call_id in self.model[case_id].kept:
                answers.add((case_id, answer_of))
        former = {tuple(key.split(":")[-2:]): found[key] for key in stored if ":former_body:" in key}
        counted = {tuple(key.split(":")[-2:]): int(found[key].get(b"calls", 0)) for key in stored if ":uses:" in key}
        assert {version: count for version, count in counted.items() if count} == named
        for case_id, version in named.keys() | answers:
            assert int(version) == self.model[case_id].version or (case_id, version) in former
        for version, left_ms in former.items():
            assert version in counted
            assert (left_ms == -1) is (version in named), version

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
            if not case.correlation
        }

    async def _compare_correlation(self, stored):
        """A pointer of a key has the newest case and the requests of the cases that are kept. One is open at most."""
        expected = collections.defaultdict(dict)
        for case in [self.new[case_id] for case_id in self.model if self.new[case_id].correlation]:
            fields = expected[keys.key(keys.partition_of(case.id), "correlation", case.correlation)]
            if case.id in self.correlated.values():
                fields[b"case"] = case.id.encode()
            if case.pointer:
                fields[case.pointer.encode()] = case.id.encode() + case.nonce
        found = await self.read_all({key: ("HGETALL", key) for key in stored})
        assert found == {key: fields for key, fields in expected.items() if fields}
        unclosed = [self.new[model.id].correlation for model in self.model.values() if model.status != CLOSED]
        assert max(collections.Counter(filter(None, unclosed)).values(), default=0) <= 1

    async def _compare_copies(self, stored):
        """The call of an event with a message id is found beside its key, whichever case had it."""
        running, repeats = self.running(), await self._read_repeats(stored)
        for key in KEYS:
            found = {digest: each for digest, each in repeats[pointer_name(key)].items() if len(digest) == 64}
            assert {digest: call_id.decode() for digest, (call_id, _) in found.items()} == self.copies[key]
            for call_id, left_ms in found.values():
                assert (left_ms == -1) if call_id.decode() in running else left_ms > 0

    async def _compare_events(self):
        found = await self.read_all(
            {
                partition: ("XRANGE", keys.key(partition, "events"), f"0-{self.heard[partition] + 1}", "+")
                for partition in self.partitions
            }
        )
        for partition, entries in found.items():
            for number, (stored_id, (_, packed)) in enumerate(entries, self.heard[partition] + 1):
                assert stored_id == b"0-%d" % number
                self.heard[partition] = number
                event = decode_event(packed)
                if event.type == STEP:
                    continue
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
                sums = ("unfinished", "bytes", "recorded")
                reads[case_id, "sums"] = ("HMGET", keys.key(partition, "case", case_id), *sums)
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
        found |= await self.read_all(
            {
                (call_id, "named"): ("STRLEN", self._named_body(call_id, cases, version))
                for call_id in kept
                if (version := found[call_id, "call"].get(b"body_of")) is not None
            }
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

    def _size(self, fields, named):
        """Return the bytes that a call counts for, of which the body that it names has `named`."""
        size = named + sum(len(fields.get(name, b"")) for name in SIZED)
        if b"delivery_shares_body" in fields:
            size += named or len(fields[b"response_body"])
        return size

    def _named_body(self, call_id, cases, version):
        """Return the key of the body that a call names."""
        case_id, version = ids.case_id_of_call(call_id), version.decode()
        is_current = int(version) == cases[case_id].version
        name = ("body", case_id) if is_current else ("former_body", case_id, version)
        return keys.key(keys.partition_of(case_id), *name)

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
        assert (case.expire_time_ms is not None) is self._expires(case.id)
        if model.expires_at is not None:
            assert case.expire_time_ms == model.expires_at
        if model.status != CLOSED:
            assert (found[case.id, "expiry"] and float(found[case.id, "expiry"])) == case.expire_time_ms
        assert (case.notify, case.reminders) == (model.notify, len(model.reminders))
        assert (case.verification_profile, case.get_guard) == (model.profile, model.guard)
        assert (case.answer_mode, case.ordered, case.fallback) == (new.answer_mode, new.ordered, new.fallback)
        assert (case.closed_response, case.settings.prompt) == (new.closed_response, new.settings.prompt)
        assert case.hold_time_ms == (new.hold_time_ms if new.answer_mode is AnswerMode.HOLD else None)
        assert case.resolved == (model.resolution[0] if model.resolution else "")
        assert [member.decode() for member in found[case.id, "held calls"]] == model.held
        assert [member.decode() for member in found[case.id, "queue"]] == model.queue
        assert [
            (call.id, call.status, call.erased, call.fallback_sent, call.caller_gone, call.repeat_count)
            for call in calls
        ] == [
            (call.id, call.status, call.erased, call.marked, call.caller_gone, len(call.repeats))
            for call in model.calls.values()
        ]
        assert due == [_due(case.id, model.activity, *what) for what in model.due]
        known = {digest: call_id.decode() for digest, (call_id, _) in repeats.items()}
        assert known == model.known
        for digest, (_, left_ms) in repeats.items():
            assert (left_ms == -1) if known[digest] in model.running else left_ms > 0
        unfinished, bytes_of_ended, recorded = found[case.id, "sums"]
        assert int(unfinished or 0) == len([call for call in model.calls.values() if not call.over])
        assert int(bytes_of_ended or 0) == sum(
            self._size(found[call.id, "call"], found.get((call.id, "named"), 0))
            for call in calls
            if model.calls[call.id].over
        )
        if not self.adopted:
            assert int(recorded or 0) == sum(int(found[call.id, "call"][b"size"]) for call in calls)
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
            assert call.request.headers == (CAME.headers if whole or "headers" not in self.recording.unrecorded else ())
            has_body = (whole or "body" not in self.recording.unrecorded) and not model.calls[call.id].body_dropped
            assert fields[b"request_body"] == (CAME.body if has_body else b"")
            # Also the bodies of its answers alone can have been dropped.
            assert call.body_dropped or not model.calls[call.id].body_dropped
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
                for name, mark in (("waiting", CallFilter.WAITING), ("dead", CallFilter.DEAD))
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

    async def _compare_recorded_bytes(self):
        reads = {case_id: ("HGET", keys.key(keys.partition_of(case_id), "case", case_id), "recorded")
                 for case_id in self.model}  # fmt: skip
        expected = collections.defaultdict(int)
        for case_id, recorded in (await self.read_all(reads)).items():
            expected[keys.partition_of(case_id), self.model[case_id].owner] += int(recorded or 0)
        found = await read_recorded_bytes(self.scripts)
        assert {(partition, owner): size for partition, each in enumerate(found) for owner, size in each.items()} == {
            of_owner: size for of_owner, size in expected.items() if size
        }

    def _compare_delivery(self, call, score, model):
        if model.delivery is None:
            assert (call.delivery, score) == (None, None)
            return
        assert (call.delivery.status, call.delivery.attempts) == (
            model.delivery,
            model.attempts_started - model.attempts_not_asked,
        )
        assert (call.delivery.next_attempt_time_ms is not None) is (model.delivery == PENDING and model.due is not None)
        assert (score is not None) is (model.due is not None)
        if score is not None:
            assert (float(score) <= (time.time() + 60) * 1000) is (model.due == NOW)
