"""The store, the model of its cases, and what the model says about them."""

import asyncio
import collections
import hashlib
import itertools
import json

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from model.life import ACK, CLOSED, DEAD, HOLD, LATER, MULTIPLE, RUNNING
from store.machine.values import RECORDING

from callback_server.domain import ids
from callback_server.domain.notification import CallReason, reason_of
from callback_server.store import keys
from callback_server.store.packing import pack_content
from callback_server.store.queries.list_owner_calls import CallFilter
from callback_server.store.transitions.change_pauses import change_pauses

KEYS = ["tr_7", "tr_8"]
"""The correlation keys."""
READ_ALL = """#!lua flags=no-writes,allow-cross-slot-keys
local replies = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do replies[i] = redis.call(unpack(command)) end
return replies
"""


def pointer_name(text):
    """Return the name of a pointer, made from a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def kept_size(settings, response):
    """Return the bytes of an answer as it is kept for repeats."""
    content, body = pack_content(settings, response)
    return len(b"%d:" % len(content)) + len(content) + len(body)


class System(RuleBasedStateMachine):
    """Cases of two owners, on a store that is emptied before each example."""

    loop = client = scripts = due = None

    def __init__(self):
        super().__init__()
        self.do(self.client.flushall())  # the scripts stay loaded: sending them again takes longer than an example
        self.due.clear()
        self.scripts.names_bodies = True
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
        self.correlated = {}  # correlation key -> id of its newest case, if that is kept
        self.copies = collections.defaultdict(dict)  # correlation key -> message -> the call of that event
        self._whole = {}  # digest -> the answer to a case
        self.paused = False  # whether "push" is paused; a second activity is always paused
        self.do(change_pauses(self.scripts, "other", is_paused=True))

    @property
    def strips(self):
        """Return whether a part of a request is not kept."""
        return bool(self.recording.unrecorded)

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

    def _partition_key(self, case_id, name):
        return keys.key(keys.partition_of(case_id), name)

    def _any_case(self, data):
        # Cases with a running call count three times: most of what can go wrong happens there.
        running = [ids.case_id_of_call(call_id) for call_id in self.running()]
        return data.draw(st.sampled_from([*self.new, *running, *running]))

    def _known(self, call_id):
        model = self.model.get(ids.case_id_of_call(call_id)) or self.dropped[ids.case_id_of_call(call_id)]
        return model.calls.get(call_id) or model.gone[call_id]

    def _all_calls(self):
        return [call for model in self.model.values() for call in model.calls.values()]

    def running(self):
        return [call_id for model in self.model.values() for call_id in model.running]

    def _in_lease(self):
        calls = [call for model in self.model.values() for call in model.calls.values()]
        return [call for call in calls if call.in_lease and call.lease_due is None]

    def _held(self):
        """Return the held calls that are kept."""
        return [call.id for model in self.model.values() if model.answer_mode == HOLD for call in model.calls.values()]

    def _holding(self):
        return [case_id for case_id, model in self.model.items() if model.answer_mode == HOLD]

    def _acknowledged(self):
        return [case_id for case_id, model in self.model.items() if model.answer_mode == ACK]

    def _multiple(self):
        return [case_id for case_id, model in self.model.items() if model.mode == MULTIPLE]

    def _recorded(self):
        return [call.id for model in self.model.values() for call in model.calls.values() if call.recorded]

    def _notifications(self):
        return [each for model in self.model.values() for each in model.notifications.values()]

    def _delivering(self):
        calls = [*self._all_calls(), *self._notifications(), *self._notifications()]
        return [call for call in calls if call.delivery == RUNNING and call.status != RUNNING]

    def _delivered(self):
        known = [(call_id, self._known(call_id)) for call_id in self.granted]
        return [call_id for call_id, call in known if call.attempts_started and call.status != RUNNING]

    def _due_later(self):
        return [call for call in (*self._all_calls(), *self._notifications()) if call.due == LATER]

    def _due_key(self, call_id):
        case_id = ids.case_id_of_call(call_id)
        name = "due" if reason_of(call_id) is CallReason.CALL else "notification_due"
        return keys.key(keys.partition_of(case_id), name, self.new[case_id].activity)

    def _can_expire(self):
        return [
            case_id
            for case_id, model in self.model.items()
            if model.status != CLOSED and self._expires(case_id) and model.expires_due is None
        ]

    def _expires(self, case_id):
        return bool(self.new[case_id].time_to_live_ms or self.model[case_id].expires_at)

    def _can_remind(self):
        return [case_id for case_id, model in self.model.items() if model.reminders_left and not model.reminder_due]

    def _marked(self, mark, owner):
        return {
            call.id
            for model in self.model.values()
            for call in (*model.calls.values(), *model.notifications.values())
            if model.owner == owner
            and {
                CallFilter.DEAD: call.delivery == DEAD and not call.erased,
                CallFilter.WAITING: model.answer_mode == HOLD and call.status == RUNNING,
                CallFilter.ENDED: call.id in model.calls and call.over,
            }[mark]
        }
