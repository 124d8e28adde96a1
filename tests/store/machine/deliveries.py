"""How deliveries and notifications are taken, and how they end."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from model.life import ACK, DEAD, DELIVERED, NOW, PENDING, RUNNING, SUCCEEDED
from msgspec.structs import replace
from store.machine.system import System
from store.machine.values import CAME, EARLY, LEASES, RECORDING, bodies

from callback_server.domain import ids
from callback_server.domain.call import CallStatus, DeliveryStatus, Outcome, Request
from callback_server.domain.notification import CallReason, reason_of
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.packing import MAX_INLINE_BODY_BYTES
from callback_server.store.queries.read import read_call
from callback_server.store.transitions.change_pauses import change_pauses
from callback_server.store.transitions.close_case import close_case
from callback_server.store.transitions.finish_delivery import DeliveryFinished, finish_delivery
from callback_server.store.transitions.replay_call import ReplayResult, replay_call
from callback_server.store.transitions.take_deliveries import take_deliveries


class Deliveries(System):
    """Attempts of deliveries and notifications, and replays."""

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
        not_paused = [model for model in self.model.values() if not (paused and model.activity == "push")]
        expected = [call for model in not_paused for call in model.take(order)]
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
        in_turn = sorted(in_time, key=lambda each: (reason_of(each[1]) is not CallReason.CALL, each))
        return [call_id for _, call_id in in_turn]

    def _make_due(self, call):
        call.due = NOW
        self.do(self.client.zadd(self._due_key(call.id), {call.id: EARLY}, xx=True))

    def _finish_delivery(self, call_id, token, status, asked, now, body, *, close=False):
        asked = asked or status != DEAD
        is_call = reason_of(call_id) is CallReason.CALL
        outcome = Outcome(
            CallStatus(SUCCEEDED),
            response=Response(type=ResponseType.RESPONSE, body=body) if is_call else None,
            close=close,
        )
        reply = self.do(
            finish_delivery(
                self.scripts, call_id=call_id, fencing_token=token, request=CAME if is_call else Request(""),
                outcome=outcome if asked else None,
                status=DeliveryStatus(status), backoff_ms=0 if now else 3_600_000, recording=self.recording,
            )
        )  # fmt: skip
        case_id = ids.case_id_of_call(call_id)
        model = self.model.get(case_id) or self.dropped[case_id]
        expected = model.finish_delivery(call_id, token, status, asked=asked, now=now, close=close)
        assert reply == (None if expected is None else DeliveryFinished(*expected))
        kept = {**model.calls, **model.notifications}
        if call_id in kept:
            assert self.do(read_call(self.scripts, call_id)).close is kept[call_id].close

    def _end_attempts_of_notifications(self, model, status):
        """End the attempts that run of the notifications of a case."""
        for each in [*model.notifications.values()]:
            if each.delivery == RUNNING:
                self._finish_delivery(each.id, each.attempts_started, status, True, True, b"")

    def _replay(self, call_id, *, owner=None):
        model = self.model.get(ids.case_id_of_call(call_id))
        known = model is not None and owner in (None, model.owner)
        assert (
            self.do(replay_call(self.scripts, call_id, owner=owner))
            is ReplayResult[model.replay(call_id) if known else "UNKNOWN"]
        )

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
