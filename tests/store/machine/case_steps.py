"""What an owner does with a case, on the store and on the model."""

import hashlib

from model.life import HOLD, ModelCase
from store.machine.system import System
from store.machine.values import CHOICES, KEEP, KEPT_BYTES, MOST_HELD, RECORDING, REMIND_AFTER_MS, WINDOW_MS

from callback_server.domain import ids
from callback_server.domain.case import AnswerMode, CallMode, GetGuard, NewCase, Settings
from callback_server.domain.notification import Reason
from callback_server.domain.response import Response, ResponseType
from callback_server.store import keys
from callback_server.store.pointers import NONCE_BYTES
from callback_server.store.queries.read import read_case
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.create_case import CaseStored, create_case
from callback_server.store.transitions.erase_calls import erase_calls
from callback_server.store.transitions.set_response import set_response


class CaseSteps(System):
    """Steps that create and change cases."""

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
            mode=CallMode(mode), state_query_parameter=parameter, time_to_live_ms=3_600_000 if expires else None,
            settings=Settings(labels=labels, prompt=CHOICES if has_choices else None, remind_after_ms=after_ms),
            response=Response(type=ResponseType.RESPONSE, body=body or None),
            verification_profile=profile, get_guard=guard,
            answer_mode=AnswerMode(answer), ordered=ordered, fallback=fallback, closed_response=closed_response,
            repeat_window_ms=WINDOW_MS if has_window else 0, no_repeat=no_repeat,
            notify=tuple(Reason(each) for each in notify),
        )  # fmt: skip
        stored = self.do(create_case(self.scripts, case))
        assert stored == CaseStored(self._expiry(case.id))
        assert (stored.expire_time_ms is not None) is expires
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
