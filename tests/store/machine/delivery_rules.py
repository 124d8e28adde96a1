"""Rules for deliveries and notifications."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import DEAD, DELIVERED, PENDING, RUNNING
from store.machine.claim_steps import ClaimSteps
from store.machine.delivery_steps import DeliverySteps
from store.machine.time_steps import TimeSteps
from store.machine.values import RECORDING, bodies

from callback_server.domain import ids
from callback_server.store.transitions.close_case import close_case


class DeliveryRules(ClaimSteps, DeliverySteps, TimeSteps):
    """Rules for deliveries and notifications."""

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

    @precondition(lambda self: self._due_later())
    @rule(data=st.data())
    def something_is_due_of_a_delivery(self, data):
        """Make the next attempt due, or end the lease of the attempt that runs."""
        call = data.draw(st.sampled_from(self._due_later()))
        self._make_due(call)
