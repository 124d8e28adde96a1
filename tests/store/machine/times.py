"""What becomes due: leases, expiries, reminders; and what the sweep and the retention do then."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import CLOSED, DEAD, DELIVERED, HOLD, NOW, PENDING, RUNNING, SINGLE, SUCCEEDED
from store.machine.system import System
from store.machine.values import EARLY, GAVE, LATE, MIDDLE, MOST_CASES, PAST_RETENTION_MS, RECORDING, RETENTION_MS

from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.close_case import CloseResult, close_case
from callback_server.store.transitions.drop_bodies import OLDEST, drop_bodies
from callback_server.store.transitions.sweep_partition import sweep_partition


class Times(System):
    """Timeouts, reminders, sweeps and retention."""

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
            self.correlated = {key: kept for key, kept in self.correlated.items() if kept in self.model}

    @rule(owner=st.sampled_from(["", "shop"]))
    def drop_bodies(self, owner):
        """Drop all bodies that may go, of an owner or of all."""
        self.do_all(
            drop_bodies(self.scripts, partition, owner=owner, target=0, start=OLDEST) for partition in self.partitions
        )
        for model in self.model.values():
            for call in model.calls.values() if owner in ("", model.owner) else ():
                is_recorded = not call.partial or "body" not in self.recording.unrecorded
                if call.over and call.delivery != DEAD and not call.erased and is_recorded:
                    call.body_dropped = call.partial = True

    def _end_lease(self, call, due):
        call.lease_due = due
        self.do(self.client.zadd(self._partition_key(call.id, "leases"), {call.id: due}, xx=True))

    def _expire(self, case_id):
        self.model[case_id].expires_due = self.model[case_id].expires_at = MIDDLE
        self.do(self.client.hset(keys.key(keys.partition_of(case_id), "case", case_id), "expires", MIDDLE))
        self.do(self.client.zadd(self._partition_key(case_id, "expiries"), {case_id: MIDDLE}, xx=True))

    def _end_windows(self, case_id):
        """End the windows of the calls of a case that have ended."""
        model = self.model.get(case_id)
        if model is None or not model.has_windows:
            return
        partition, kept = keys.partition_of(case_id), [*model.kept]
        ended, copies = model.end_windows()
        gone = [keys.key(partition, "repeat", case_id, digest) for digest in ended]
        gone += [keys.key(partition, "repeat", self.new[case_id].correlation, digest) for digest in copies]
        gone += [keys.key(partition, "answer", call_id) for call_id in kept]
        if gone:
            self.do(self.client.delete(*gone))
        answers = keys.key(partition, "answers", case_id)
        for member in self.do(self.client.zrange(answers, 0, -1)):
            self.do(self.client.zadd(answers, {member: EARLY}))
        self.do(self.client.hset(keys.key(partition, "case", case_id), "repeats_until", EARLY))
        self.do(self.client.zadd(self._partition_key(case_id, "closed"), {case_id: EARLY}, xx=True))

    @precondition(lambda self: self._in_lease())
    @rule(data=st.data(), due=st.sampled_from([EARLY, LATE]))
    def lease_ends(self, data, due):
        self._end_lease(data.draw(st.sampled_from(self._in_lease())), due)

    @precondition(lambda self: self._can_expire())
    @rule(data=st.data())
    def expires(self, data):
        self._expire(data.draw(st.sampled_from(self._can_expire())))

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
