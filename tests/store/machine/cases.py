"""What owners do: they create, change, close and erase cases."""

import dataclasses

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from model.life import ACK, CLOSED, HOLD, MULTIPLE, RETRYABLE, SINGLE, ModelCase
from store.machine.system import KEYS, System, pointer_name
from store.machine.values import (
    CHOICES,
    FALLBACK,
    FAR_MS,
    GONE,
    KEEP,
    KEPT_BYTES,
    LATE,
    MOST_CASES,
    MOST_HELD,
    RECORDING,
    REMIND_AFTER_MS,
    WINDOW_MS,
    bodies,
    labels,
)

from callback_server.contract.converters import content_attributes
from callback_server.domain import ids
from callback_server.domain.case import AnswerMode, CallMode, GetGuard, NewCase, Settings
from callback_server.domain.guard import RequestIntent
from callback_server.domain.notification import CallReason
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.pointers import NONCE_BYTES
from callback_server.store.queries.read import read_case
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.close_case import CloseResult, close_case
from callback_server.store.transitions.create_cases import (
    CaseStored,
    CorrelationKeyInUse,
    KnownRequest,
    RequestConflict,
    create_cases,
)
from callback_server.store.transitions.erase_calls import erase_calls
from callback_server.store.transitions.extend_case import ExtendResult, extend_case
from callback_server.store.transitions.set_response import set_response


class Cases(System):
    """Creating, changing, closing and erasing cases."""

    def _new_case(self, request="", key="", **fields):
        """Return a new case, in the partition of the pointer of its correlation key, or of a request that has an id."""
        correlation = pointer_name(key) if key else ""
        pointer = pointer_name(f"{key}{request}") if request else ""
        while True:
            number = next(self.numbers)
            sha = ids.state_hash(f"state {number}")
            case_id = ids.case_id_of(sha)
            if keys.partition_of(correlation or pointer or case_id) == keys.partition_of(case_id):
                break
        nonce = b"%0*d" % (NONCE_BYTES, number) if pointer else b""
        return NewCase(
            id=case_id, state_sha256=sha, pointer=pointer, nonce=nonce, correlation=correlation, **fields
        )  # fmt: skip

    def _create(
        self, mode, activity, owner, parameter, *, expires, body, labels, profile="", guard=GetGuard.OFF,
        answer="HANDLER", ordered=False, fallback=None, request_id="", has_window=False, no_repeat=False,
        has_choices=False, closed_response=None, notify=(), key="",
    ):  # fmt: skip
        after_ms = REMIND_AFTER_MS if "REMINDER" in notify else ()
        case = self._new_case(
            f"{owner}:{request_id}" if request_id else "", key, fingerprint=b"f" * 32, owner=owner, activity=activity,
            mode=CallMode(mode), state_query_parameter=parameter, time_to_live_ms=3_600_000 if expires else None,
            settings=Settings(labels=labels, prompt=CHOICES if has_choices else None, remind_after_ms=after_ms),
            response=Response(type=ResponseType.RESPONSE, body=body or None),
            verification_profile=profile, get_guard=guard,
            answer_mode=AnswerMode(answer), ordered=ordered, fallback=fallback, closed_response=closed_response,
            repeat_window_ms=WINDOW_MS if has_window else 0, no_repeat=no_repeat,
            notify=tuple(CallReason(each) for each in notify),
        )  # fmt: skip
        (stored,) = self.do(create_cases(self.scripts, [case], recording=RECORDING))
        assert isinstance(stored, CaseStored)
        assert stored == CaseStored(self._expiry(case.id))
        assert (stored.expire_time_ms is not None) is expires
        self.new[case.id] = case
        model = self.model[case.id] = ModelCase(
            id=case.id, notify=notify, reminders_left=len(after_ms),
            mode=mode, activity=activity, owner=owner, response=case.response, keep=KEEP, labels=labels,
            profile=profile, guard=guard, answer_mode=answer, ordered=ordered,
            strips=self.strips, most_held=MOST_HELD, has_window=has_window, no_repeat=no_repeat, keep_bytes=KEPT_BYTES,
            prompt=case.settings.prompt, closed_response=closed_response, copies=self.copies[key] if key else {},
        )  # fmt: skip
        model.tell("CASE_CREATED")
        if request_id:
            self.requested[owner, f"{key}{request_id}"] = case.id
        if key:
            self.correlated[key] = case.id
        return case.id

    def _create_held(self, mode, *, notified=True):
        return self._create(
            mode, "push" if notified else "form", "shop", "", expires=True, body=b"", labels={}, answer=HOLD,
            has_window=True, notify=("REMINDER", "EXPIRY") if notified else (),
        )  # fmt: skip

    def _expiry(self, case_id):
        case = self.do(read_case(self.scripts, case_id))
        return case.expire_time_ms

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

    def _erase(self, case_id, owner, erasure):
        return self.do(erase_calls(self.scripts, case_id, owner=owner, erasure=erasure, before=None))

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
        self.recording = dataclasses.replace(
            RECORDING, unrecorded=content_attributes(bodies=not bodies, headers=not headers)
        )
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

    @precondition(lambda self: len(self.new) < MOST_CASES or any(len(each) == 1 for _, each in self.requested))
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
            owner, request_id = data.draw(st.sampled_from([each for each in self.requested if len(each[1]) == 1]))
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
                activity="push", mode=CallMode(mode), state_query_parameter="", time_to_live_ms=None,
                settings=Settings(), response=Response(),
            )  # fmt: skip
            known = KnownRequest(self.new[case_id].nonce, self._expiry(case_id))
            expected = known if what == "same" else RequestConflict()
            assert self.do(create_cases(self.scripts, [case], recording=RECORDING)) == [expected]

    @rule(
        key=st.sampled_from(KEYS),
        request_id=st.sampled_from(["", "", "1", "2"]),
        mode=st.sampled_from([SINGLE, SINGLE, RETRYABLE, MULTIPLE]),
        expires=st.booleans(),
        first=st.sampled_from(["", "", "close", "close", "expire", "drop"]),
        same=st.sampled_from([True, True, False]),
    )
    def correlate(self, key, request_id, mode, expires, first, same):
        """Generate a case of a correlation key, after the newest one of that key was closed, or was not."""
        newest = self.correlated.get(key)
        if first in ("close", "drop") and newest:
            reply = self.do(close_case(self.scripts, newest, owner="shop", recording=RECORDING))
            assert reply is CloseResult[self.model[newest].close()]
        if first == "expire" and newest in self._can_expire():
            self._expire(newest)
        if first == "drop":
            self.drop(past=True)
        known, newest = self.requested.get(("shop", f"{key}{request_id}")), self.correlated.get(key)
        if known:
            expected = KnownRequest(self.new[known].nonce, self._expiry(known)) if same else RequestConflict()
        else:
            is_free = not newest or self.model[newest].status == CLOSED
            if is_free and len(self.new) >= MOST_CASES:
                return
            if newest:
                self.model[newest].apply_timeouts()
            if is_free or self.model[newest].status == CLOSED:
                self._create(
                    mode, "push", "shop", "", expires=expires, body=b"", labels={}, has_window=True, key=key,
                    request_id=request_id, profile="hook" if expires else "",
                )  # fmt: skip
                return
            expected = CorrelationKeyInUse(newest)
        case = self._new_case(
            f"shop:{request_id}" if request_id else "", key, fingerprint=(b"f" if same else b"g") * 32, owner="shop",
            activity="push", mode=CallMode(mode), state_query_parameter="", time_to_live_ms=None,
            settings=Settings(), response=Response(),
        )  # fmt: skip
        assert self.do(create_cases(self.scripts, [case], recording=RECORDING)) == [expected]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), same=st.booleans())
    def create_again(self, data, same):
        """Send a request again, or another one for the same case."""
        case = self.new[data.draw(st.sampled_from(list(self.model)))]
        if not same:
            case = NewCase(
                **{name: getattr(case, name) for name in case.__struct_fields__} | {"fingerprint": b"g" * 32}
            )
        expected = CaseStored(self._expiry(case.id)) if same else RequestConflict()
        assert self.do(create_cases(self.scripts, [case], recording=RECORDING)) == [expected]

    @precondition(lambda self: self.new)
    @rule(data=st.data(), body=bodies, stale=st.booleans(), names=st.sampled_from([True, True, True, False]))
    def set_response(self, data, body, stale, names=True):
        """Set a response, and send the claims of running calls again: they keep the response that they had."""
        self.scripts.names_bodies = names  # not: a server of the release before may run
        case_id = self._any_case(data)
        self._set_response(case_id, body, stale=stale)
        for call_id in self.model[case_id].running if case_id in self.model else ():
            self._claim_again(call_id)

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
        expected = (model.erase(), None) if known else None
        erasure = f"erasure {next(self.numbers)}"
        for _ in range(1 + again):
            erased = self._erase(case_id, owner, erasure)
            assert (erased and (erased.calls, erased.before)) == expected
