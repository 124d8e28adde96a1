"""What is due, and what the sweep and the retention do then, on the store and on the model."""

from hypothesis import strategies as st
from hypothesis.stateful import rule
from model.life import CLOSED, NOW
from store.machine.system import System
from store.machine.values import EARLY, MIDDLE, PAST_RETENTION_MS, RECORDING, RETENTION_MS

from callback_server.store import keys
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.sweep_partition import sweep_partition


class TimeSteps(System):
    """Steps by which time passes."""

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
        gone = [keys.key(partition, "repeat", case_id, digest) for digest in model.end_windows()]
        gone += [keys.key(partition, "answer", call_id) for call_id in kept]
        if gone:
            self.do(self.client.delete(*gone))
        answers = keys.key(partition, "answers", case_id)
        for member in self.do(self.client.zrange(answers, 0, -1)):
            self.do(self.client.zadd(answers, {member: EARLY}))
        self.do(self.client.hset(keys.key(partition, "case", case_id), "repeats_until", EARLY))
        self.do(self.client.zadd(self._partition_key(case_id, "closed"), {case_id: EARLY}, xx=True))
