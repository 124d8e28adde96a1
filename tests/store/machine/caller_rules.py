"""Rules for requests: claims, repeats, and claims that must be refused."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import FAILED, INTERRUPTED, NOT_STARTED, REJECTED, SUCCEEDED
from store.machine.case_steps import CaseSteps
from store.machine.claim_steps import ClaimSteps
from store.machine.delivery_steps import DeliverySteps
from store.machine.end_steps import EndSteps
from store.machine.time_steps import TimeSteps
from store.machine.values import LATE, PER_MINUTE, bodies

from callback_server.domain import ids
from callback_server.domain.case import GetGuard
from callback_server.domain.guard import RequestIntent
from callback_server.store import keys
from callback_server.store.transitions.claim_call import ClaimRefusal
from callback_server.store.transitions.mark_caller_gone import mark_caller_gone


class CallerRules(CaseSteps, ClaimSteps, EndSteps, DeliverySteps, TimeSteps):
    """Rules for what callers do."""

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
            profile = self.new[case_id].verification_profile
            self._compare_claim(reply, self.model[case_id].claim(call_id, profile=profile))

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def others_come_and_go(self, data):
        """Make two more calls while one runs, and end them, if the case allows it."""
        case_id = ids.case_id_of_call(data.draw(st.sampled_from(self.running())))
        for _ in range(2):
            call_id = self._claim_new(case_id)
            if call_id in self.running():
                self.end_call(call_id, SUCCEEDED, False, b"")

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
        if is_claimed_again and self.new[case_id].get_guard is GetGuard.CONFIRM:
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
        runs = call_id in self.running()
        repeat_id = self._claim_new(case_id, **{kind: value}) if follows else None
        if between == "windows":
            self._end_windows(case_id)
        elif runs and between == "fallback":
            self._mark_fallback(call_id)
        elif runs and between == INTERRUPTED:
            if model.calls[call_id] in self._in_lease():  # otherwise its delivery waits for the next attempt
                self._end_lease(model.calls[call_id], LATE)
        elif runs and between:
            self.end_call(call_id, between, keep_open, body, no_repeat=no_repeat)
        if runs and follows:
            self._follow(call_id, repeat_id)
        self._claim_new(case_id, **{kind: value}, **terms)

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

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def claim_again(self, data):
        self._claim_again(data.draw(st.sampled_from([*self.granted, *self.running(), *self.running()])))

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

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim_in_the_wrong_form(self, data):
        case_id = self._any_case(data)
        wrong = "" if self.new[case_id].state_query_parameter else "state"
        assert self._claim(case_id, self._new_call_id(case_id), parameter=wrong) is ClaimRefusal.UNKNOWN

    @precondition(lambda self: self.new)
    @rule(data=st.data())
    def claim_with_another_state(self, data):
        """Claim with a hash that begins with the case's id and continues differently."""
        case_id = self._any_case(data)
        sha = bytes.fromhex(case_id) + bytes(16)
        assert self._claim(case_id, self._new_call_id(case_id), sha=sha) is ClaimRefusal.UNKNOWN

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), times=st.integers(1, 2))
    def a_caller_is_gone(self, data, times):
        """Mark it once or twice, while its call runs, after its end, or when it is no longer kept."""
        call_id = data.draw(st.sampled_from([*self.granted, *self.running(), *self.running()]))
        model = self.model.get(ids.case_id_of_call(call_id))
        for _ in range(times):
            known = model is not None and model.mark_caller_gone(call_id)
            assert self.do(mark_caller_gone(self.scripts, call_id)) is known
