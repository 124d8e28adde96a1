"""Rules for what becomes due: leases, expiries, reminders."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import DEAD, DELIVERED, HOLD, PENDING, RUNNING, SINGLE, SUCCEEDED
from store.machine.case_steps import CaseSteps
from store.machine.delivery_steps import DeliverySteps
from store.machine.end_steps import EndSteps
from store.machine.time_steps import TimeSteps
from store.machine.values import EARLY, GAVE, LATE, MOST_CASES, RECORDING

from callback_server.domain.response import Response, ResponseType
from callback_server.store.transitions.close_case import CloseResult, close_case


class TimeRules(CaseSteps, EndSteps, DeliverySteps, TimeSteps):
    """Rules for what becomes due."""

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
