"""A model of the life of a case and of its calls, in plain Python, around the life table of the domain.

The scripts are compared with it after each step. The model has no clock: a lease or an expiry has no due time, or one
that has passed.
"""

from dataclasses import dataclass, field

from callback_server.domain.case import CallMode
from callback_server.domain.life import LIFE, STATUS_DURING_CALL, CallEnd
from callback_server.domain.response import code_alone

SINGLE, RETRYABLE, MULTIPLE = "SINGLE", "RETRYABLE", "MULTIPLE"
OPEN, IN_PROGRESS, CLOSED = "OPEN", "IN_PROGRESS", "CLOSED"
RUNNING, SUCCEEDED, REJECTED, FAILED = "RUNNING", "SUCCEEDED", "REJECTED", "FAILED"
ACK, HOLD = "ACK", "HOLD"
PENDING, DELIVERED, DEAD = "PENDING", "DELIVERED", "DEAD"
NOW, LATER = "NOW", "LATER"
INTERRUPTED, NOT_STARTED = "INTERRUPTED", "NOT_STARTED"


def end_of(status, *, keep_open, close):
    """Return the row of the life table for a call that ended with a status."""
    if status == SUCCEEDED and close:
        return CallEnd.CLOSED
    return CallEnd.KEPT_OPEN if keep_open and status == SUCCEEDED else CallEnd(status)


@dataclass
class ModelCall:
    id: str
    attempt: int
    response: object
    version: int
    """The version of the response."""
    status: str = RUNNING
    lease_due: int | None = None
    """When the lease ended; None while it lasts."""
    recorded: bool = False
    erased: bool = False
    effect: object = None
    """The effect of its end on the case, a `CaseEffect`. None: the case is as it was."""
    answer: object = None
    """The answer, if the call succeeded. A recorded call is answered with the response at its claim."""
    answer_digest: str = ""
    """A digest of the answer to a held call."""
    partial: bool = False
    """Whether its request is not kept whole."""
    delivery: str | None = None
    attempts_started: int = 0
    """How many attempts have started."""
    ended_fencing_token: int | None = None
    """The fencing token of the last attempt that was ended."""
    attempts_before_replay: int = 0
    """How many attempts there were before the replay."""
    attempts_not_asked: int = 0
    not_asked_before_replay: int = 0
    due: str | None = None
    """When its delivery is due: NOW or LATER. None: it waits behind another one, or there is none."""
    at_once: bool = False
    """Whether its first attempt started with its claim."""
    replayed: bool = False
    marked: bool = False
    """Whether its caller gets the fallback."""
    trims: bool = False
    """Whether its request, which the delivery after a fallback needs whole, is cut at its end."""
    caller_gone: bool = False
    body_dropped: bool = False
    """Whether bodies that were recorded of it were dropped."""
    digest: str = ""
    """By which a repeat of it is recognized. Empty: its repeats are calls."""
    is_event: bool = False
    """Whether it came to an endpoint: its repeats are found beside the correlation key."""
    no_repeat: bool = False
    close: bool = False
    """Whether its handler closed the case."""
    wait_hash: str = ""
    """The hash of the token in the address where its caller, or a repeat, waits."""
    caller_waits: bool = False
    """Whether its caller waits there, and not only a repeat."""
    waiters: set[str] = field(default_factory=set)
    """The repeats that wait with it."""
    repeats: set[str] = field(default_factory=set)
    """The repeats that were counted."""
    code: int | None = None
    """The code of its answer, once it is not kept any more. None: a redirect has none."""

    @property
    def over(self):
        """Return whether the call has ended and has no delivery to run."""
        return self.status != RUNNING and self.delivery not in (PENDING, RUNNING)

    @property
    def in_lease(self):
        """Return whether it runs and has a lease: always, unless its delivery waits for the next attempt."""
        return self.status == RUNNING and self.delivery != PENDING


@dataclass
class ModelCase:
    id: str
    mode: str
    activity: str
    owner: str
    response: object
    keep: int
    """How many ended calls are kept."""
    labels: dict[str, str] = field(default_factory=dict)
    """The labels by which it is found."""
    status: str = OPEN
    reason: str | None = None
    call_count: int = 0
    version: int = 0
    holder: str | None = None
    """The call that holds a single-use case."""
    expires_due: int | None = None
    """When it expired; None while it has not."""
    calls: dict[str, ModelCall] = field(default_factory=dict)
    """The calls that are kept, oldest first."""
    due: list[tuple] = field(default_factory=list)
    """The reports, in order: (`LEASE_ENDED` | `HOLD_TIME_ENDED`, call id, effect on the case), (`CASE_EXPIRED`, number
    of skipped reminders), (`AWAITED_CALL_ENDED`, call id), (`RESOLVED`, call id, effect, status)."""
    gone: dict[str, ModelCall] = field(default_factory=dict)
    """Deleted calls, which have tombstones."""
    profile: str = ""
    guard: str = "OFF"
    has_window: bool = False
    """Whether the same request again is a repeat."""
    no_repeat: bool = False
    keep_bytes: int = 0
    """How many bytes of answers are kept for repeats."""
    known: dict[str, str] = field(default_factory=dict)
    """The call of each digest, of a request or a message, whose window is not over."""
    copies: dict[str, str] = field(default_factory=dict)
    """The same of events, which all cases of a correlation key have in common."""
    kept: dict[str, tuple[object, int]] = field(default_factory=dict)
    """The answer that is kept of a call, and its bytes, in the order in which their windows end."""
    has_windows: bool = False
    """Whether a window of a call that has ended is not over."""
    closed_response: object = None
    """The response to a request once it is closed."""
    prompt: object = None
    """What the page of its guard asks, with choices. None: whether to continue."""
    left: int | None = None
    """How many more calls the rate limit allows. None: any number."""
    answer_mode: str = "HANDLER"
    ordered: bool = False
    queue: list[str] = field(default_factory=list)
    """The calls of an ordered case that are to be delivered, in their order."""
    most_held: int = 100
    """How many of its calls are held at a time."""
    resolution: tuple | None = None
    """The answer that the case was given: its digest, the status, what is recorded of it, the whole, and its size."""
    left_of_resolution: tuple = (None, 0)
    """The same once it is erased: the whole (None: a redirect leaves nothing), and its size."""
    strips: bool = False
    """Whether a part of a request is not kept."""
    notify: tuple[str, ...] = ()
    """The reasons of its notifications."""
    reminders_left: int = 0
    """How many reminders are not due yet."""
    reminder_due: bool = False
    """Whether the next reminder is due."""
    reminders: list[str] = field(default_factory=list)
    """The ids of the reminders that were due."""
    notifications: dict[str, ModelCall] = field(default_factory=dict)
    """The notifications that are kept, in the order of their ids: each with a delivery, and without a status."""
    expires_at: int | None = None
    """When it expires, once that was set another time."""
    events: list[tuple] = field(default_factory=list)
    """The events for watchers, in order: type, call id, and the status and close reason of the case, the status of the
    call and of its delivery at that time."""

    def tell(self, what, call=None):
        """Add an event."""
        delivery = call.delivery if what == "DELIVERY_CHANGED" else ""
        self.events.append(
            (what, call.id if call else "", self.status, self.reason or "", call.status if call else "", delivery)
        )

    def claim(
        self, call_id, *, intent="CALL", profile="", message="", digest="", over=False, can_deliver=False, size=0,
        is_event=False,
    ):  # fmt: skip
        """(`CLAIMED` | `ENDED` | `RUNS` | `REPEATED`, the call) | (`CLOSED`, reason) | (word, None).

        `digest`: of the request; empty: of a request that comes once. `over`: the owner is over its rate limit.
        `can_deliver`: the sender can run a delivery. `size`: the bytes of the answer of a call that the case answers.
        """
        if self.profile and profile != self.profile and not is_event:
            return "VERIFY", self.profile
        if intent == "OPTIONS":
            return "UNKNOWN", None
        if call_id in self.calls or call_id in self.gone:
            call = self.calls.get(call_id) or self.gone[call_id]
            if call.in_lease and call.lease_due is None:
                return "CLAIMED", call
            if self.resolution and call.answer_digest == self.resolution[0]:
                return "RESOLVED", call
            answered = call.recorded and (not call.erased or call.version == self.version)
            return ("ENDED", call) if answered else ("STALE", None)
        self.apply_timeouts()
        digest = message or (digest if self.has_window and not is_event else "")
        known = self.copies if is_event else self.known
        if digest in known and intent != "HANDSHAKE":
            if self.guard == "DETECT" and intent == "GET":
                return "AGENT", None
            if over or self.left == 0:
                return "LIMITED", None
            earlier = self.calls.get(known[digest]) or self.gone[known[digest]]
            if earlier.status == RUNNING and earlier.lease_due is not None:
                self.end_lease(earlier)
            if earlier.status == RUNNING:
                if not earlier.marked and not earlier.wait_hash:
                    earlier.waiters.add(call_id)
                earlier.repeats.add(call_id)
                return "RUNS", earlier
            if self.status == CLOSED or (earlier.status == SUCCEEDED and (message or self.mode == MULTIPLE)):
                earlier.repeats.add(call_id)
                return "REPEATED", earlier
        if self.status == CLOSED:
            return "CLOSED", (self.reason, None if intent == "HANDSHAKE" else self.closed_response)
        if self.guard == "CONFIRM" and (intent in ("GET", "PERSON", "FORM") or (self.prompt and intent != "CONFIRMED")):
            return "CONFIRM", self.prompt
        if self.guard == "DETECT" and intent == "GET":
            return "AGENT", None
        if self.status == IN_PROGRESS:
            return "BUSY", None
        if intent == "HANDSHAKE":
            return "HANDSHAKE", None
        if over or self.left == 0 or (not self.resolution and len(self.held) >= self.most_held):
            return "LIMITED", None
        if self.left is not None:
            self.left -= 1
        self.call_count += 1
        call = self.calls[call_id] = ModelCall(call_id, self.call_count, self.response, self.version)
        status = STATUS_DURING_CALL[CallMode(self.mode)]
        if status == IN_PROGRESS:
            self.holder = call_id
        if digest:
            known[digest] = call_id
        call.digest, call.no_repeat, call.is_event = digest, self.no_repeat, is_event
        call.partial = self.strips and self.answer_mode != ACK
        if self.resolution:
            self.end_hold(call, at_claim=True)
            return "RESOLVED", call
        self.status = status
        if self.activity == "record" or self.answer_mode == ACK:
            call.recorded = True
            self.end(call, SUCCEEDED, has_delivery=self.answer_mode == ACK)
            self.keep_answer(call, self.response, size)
            if self.answer_mode == ACK:
                self.start_delivery(call, can_deliver=can_deliver)
            return "ENDED", call
        self.tell("CALL_STARTED", call)
        return "CLAIMED", call

    def keep_answer(self, call, answer, size):
        """Keep the whole answer to a call that has ended, for its repeats."""
        is_repeated = call.digest and not call.no_repeat
        is_awaited = call.wait_hash and (call.caller_waits or not call.no_repeat)
        if is_repeated:
            call.code = None if answer is None else code_alone(answer)
        if not (is_repeated or is_awaited) or answer is None or call.erased or size > self.keep_bytes:
            return
        self.kept[call.id] = (answer, size)
        while sum(size for _, size in self.kept.values()) > self.keep_bytes:
            del self.kept[next(iter(self.kept))]

    def end_windows(self):
        """End the windows of all calls that have ended. Return the digests, and those of events."""
        ended = {digest for digest, call_id in self.known.items() if call_id not in self.running}
        mine = self.calls.keys() | self.gone.keys()
        copies = {digest for digest, call_id in self.copies.items() if call_id in mine and call_id not in self.running}
        for known, digests in ((self.known, ended), (self.copies, copies)):
            for digest in digests:
                del known[digest]
        self.kept.clear()
        self.has_windows = False
        return ended, copies

    def finish(
        self, call_id, status, *, keep_open, answer=None, answer_digest="", version=None, fencing_token=1, due=None,
        asked=True, no_repeat=False, whole=None, size=0, close=False,
    ):  # fmt: skip
        """Finish a call, or an attempt of its delivery: `OK` | `STALE` | `MERGE` | `PENDING`.

        `version`: of the response that the answer depends on. `due`: when the next attempt is due, NOW or LATER. None:
        no other attempt may follow. `whole`: the whole answer, of which `answer` is recorded, with its `size`.
        """
        call = self.calls.get(call_id) or self.gone[call_id]
        if call.status != RUNNING:
            return "OK" if (call.status, call.answer_digest) == (status, answer_digest) else "STALE"
        if call.delivery and call.ended_fencing_token == fencing_token:
            return "PENDING"
        self.apply_timeouts()
        if call.status != RUNNING:
            return "STALE"
        if call.lease_due is not None:
            self.end_lease(call)
            return "STALE"
        if call.delivery == PENDING or (call.delivery and call.attempts_started != fencing_token):
            return "STALE"
        if version not in (None, self.version):
            return "MERGE"
        if call.delivery:
            call.ended_fencing_token = fencing_token
            call.attempts_not_asked += not asked
            runs_again = not asked or (status == FAILED and self.mode != SINGLE)
            if runs_again and due and not call.erased:
                call.delivery, call.due = PENDING, due
                self.tell("DELIVERY_CHANGED", call)
                return "PENDING"
            if status == SUCCEEDED and not call.erased:
                call.partial = call.partial or call.trims
        call.answer, call.answer_digest = answer, answer_digest
        call.no_repeat = call.no_repeat or no_repeat
        self.end(call, status, keep_open=keep_open, close=close)
        if whole is not None:
            self.keep_answer(call, whole, size)
        return "OK"

    def mark_waiting(self, call_id, wait_hash, *, is_own):
        """Mark a call whose caller, or a repeat, is told to wait. Return whether it was marked while it ran."""
        call = self.calls.get(call_id) or self.gone[call_id]
        if call.status != RUNNING:
            return False
        call.wait_hash = call.wait_hash or wait_hash
        call.caller_waits = call.caller_waits or is_own
        return True

    def mark_fallback(self, call_id, *, accepts):
        """Mark a call whose caller gets the fallback. Return whether it gets it."""
        call = self.calls.get(call_id) or self.gone[call_id]
        if call.status == RUNNING and call.lease_due is None and not call.marked:
            call.marked = True
            if accepts:
                call.trims = call.partial and not call.erased
                call.partial = call.partial and call.erased
                call.delivery, call.attempts_started = RUNNING, 1
                self.tell("DELIVERY_CHANGED", call)
        return call.marked

    def resolve(self, digest, status, answer, *, whole, size, left, version, up_to, limit):
        """Give the case its answer: `OK` and the calls that ended | `NOT_HELD` | `CONFLICT` | `CLOSED` | `MERGE`."""
        if self.answer_mode != HOLD:
            return "NOT_HELD", []
        self.apply_timeouts()
        if self.resolution and self.resolution[0] != digest:
            return "CONFLICT", []
        if not self.resolution:
            for call_id in self.held:
                if self.calls[call_id].lease_due is not None:
                    self.end_lease(self.calls[call_id])
            if self.status == CLOSED and not self.held:
                return "CLOSED", []
            if version not in (None, self.version):
                return "MERGE", []
            if status == REJECTED and self.mode == RETRYABLE:
                ended = [call_id for call_id in self.held if self.calls[call_id].attempt <= up_to]
                for call_id in ended:
                    self.end_with(self.calls[call_id], digest, status, answer, whole, size)
                return "OK", ended
            self.resolution, self.left_of_resolution = (digest, status, answer, whole, size), left
            self._drop_reminders()
            for call_id in self.held:
                self.calls[call_id].lease_due = 0
        ended = self.held[:limit]
        for call_id in ended:
            self.end_lease(self.calls[call_id])
        return "OK", ended

    def end_hold(self, call, *, at_claim=False, trims=True):
        """End a held call at the end of its lease."""
        if self.resolution:
            self.end_with(call, *self.resolution, at_claim=at_claim, trims=trims)
        else:
            self.end(call, FAILED)
            self.due.append(("HOLD_TIME_ENDED", call.id, call.effect))

    def end_with(self, call, digest, status, answer, whole, size, *, at_claim=False, trims=True):
        """End a held call with the answer of its case."""
        call.answer, call.answer_digest = answer, digest
        self.end(call, status, trims=trims)
        self.keep_answer(call, whole, size)
        if not at_claim:
            self.due.append(("RESOLVED", call.id, call.effect, status))

    def set_response(self, response, version):
        """Set the response: `OK` | `CONFLICT` | `CLOSED`."""
        self.apply_timeouts()
        if self.status == CLOSED:
            return "CLOSED"
        if version != self.version:
            return "CONFLICT"
        self.response = response
        self.version += 1
        self.tell("RESPONSE_SET")
        return "OK"

    def extend(self, at, *, allowed):
        """Set when the case expires: `OK` | `SAME` | `CLOSED`, or the word for a time that is not `allowed`."""
        self.apply_timeouts()
        if self.status == CLOSED:
            return "CLOSED"
        if allowed != "OK":
            return allowed
        if self.expires_at == at:
            return "SAME"
        self.expires_at, self.expires_due = at, None
        self.tell("CASE_EXTENDED")
        return "OK"

    def close(self):
        """Close the case: `OK` | `ALREADY`."""
        self.apply_timeouts()
        if self.status == CLOSED:
            return "ALREADY"
        self._close("CLOSED_BY_OWNER")
        self.tell("CASE_CLOSED")
        return "OK"

    def mark_caller_gone(self, call_id):
        """Mark a call whose caller did not get its answer, and return whether the call is kept."""
        call = self.calls.get(call_id)
        if call is None:
            return False
        if not call.caller_gone:
            call.caller_gone = True
            self.tell("CALLER_GONE", call)
        return True

    def erase(self):
        """Erase all calls and the answer of the case, and return how many calls had something recorded."""
        self.kept.clear()
        had = [call for call in self.calls.values() if not call.erased]
        for call in had:
            call.erased = True
        if self.resolution:
            for call_id in self.held:
                self.end_hold(self.calls[call_id], trims=False)
            whole, size = self.left_of_resolution
            self.resolution = (*self.resolution[:2], whole, whole, size)
        for call in reversed(had):
            if call.delivery == PENDING and call.status == RUNNING:
                was_asked = call.attempts_started > call.attempts_not_asked
                self.end(call, FAILED if was_asked else NOT_STARTED, trims=False)
            elif call.delivery == PENDING:
                self.end_delivery(call, DEAD, trims=False)
        return len(had)

    def start_delivery(self, call, *, can_deliver=False):
        """Start a delivery."""
        call.delivery = PENDING
        if self.ordered:
            self.queue.append(call.id)
            if len(self.queue) > 1:
                self.tell("DELIVERY_CHANGED", call)
                return
        call.due = NOW
        if can_deliver:
            call.at_once = True
            self.start_attempt(call)
        else:
            self.tell("DELIVERY_CHANGED", call)

    def start_attempt(self, call):
        """Start an attempt."""
        call.delivery, call.due = RUNNING, None if call.status == RUNNING else LATER
        call.attempts_started += 1
        self.tell("DELIVERY_CHANGED", call)

    def take(self, order):
        """Take the calls and notifications whose delivery is due, in the order of these ids."""
        known = {**self.calls, **self.notifications}
        taken = [known[call_id] for call_id in order if call_id in known and known[call_id].due == NOW]
        for call in [*taken]:
            if self._is_obsolete(call):
                del self.notifications[call.id]
                taken.remove(call)
            elif call.erased:
                self.end_delivery(call, DEAD)
            else:
                self.start_attempt(call)
        return [call for call in taken if not call.erased]

    def finish_delivery(self, call_id, fencing_token, status, *, asked, now, close=False):
        """Return whether the next delivery is due now, whether the case closes, and the recorded status.

        That is None for a reminder that is dropped. None alone: another attempt decides.
        """
        call = self.calls.get(call_id) or self.gone.get(call_id) or self.notifications.get(call_id)
        if call is None:  # a reminder that was dropped
            return None
        if call.ended_fencing_token == fencing_token:
            return False, False, status if call.delivery == RUNNING else call.delivery
        if call.delivery != RUNNING or call.attempts_started != fencing_token:
            return None
        if status != DELIVERED and self._is_obsolete(call):
            del self.notifications[call_id]
            return False, False, None
        call.ended_fencing_token = fencing_token
        call.attempts_not_asked += not asked
        if status == PENDING and not call.erased:
            call.delivery, call.due = PENDING, NOW if now else LATER
            self.tell("DELIVERY_CHANGED", call)
            return False, False, PENDING
        if status == DELIVERED and not call.erased and call_id not in self.notifications:
            call.partial = call.partial or self.strips
        closes = False
        if status == DELIVERED and close:
            self.apply_timeouts()
            call.close, closes = True, self.status != CLOSED
        if closes:
            self._close("CONSUMED")
            self.tell("CASE_CLOSED")
        ended = DELIVERED if status == DELIVERED else DEAD
        return self.end_delivery(call, ended), closes, ended

    def end_delivery(self, call, status, *, trims=True):
        """End a delivery and return whether the next one of an ordered case is due now."""
        call.delivery, call.due = status, None
        self.tell("DELIVERY_CHANGED", call)
        if call.id in self.notifications:
            return False
        if trims:
            self.trim()
        if not self.ordered:
            return False
        self.queue.remove(call.id)
        first = self.calls[self.queue[0]] if self.queue else None
        if first is None or first.due is not None:
            return False
        first.due = NOW
        self.tell("DELIVERY_CHANGED", first)
        return True

    def replay(self, call_id):
        """Replay a call or notification: `OK` | `UNKNOWN` | `UNHANDLED` | `RUNNING` | `INCOMPLETE` | `OBSOLETE`."""
        call = self.calls.get(call_id) or self.notifications.get(call_id)
        if call is None:
            return "UNKNOWN"
        if self.activity in ("record", "form"):
            return "UNHANDLED"
        if call.delivery == RUNNING or (call.status == RUNNING and not call.delivery):
            return "RUNNING"
        if call.erased or call.partial:
            return "INCOMPLETE"
        if self._is_obsolete(call):
            return "OBSOLETE"
        call.replayed = True
        if call.delivery == PENDING:
            if call.due == LATER:
                call.due = NOW
                self.tell("DELIVERY_CHANGED", call)
        else:
            call.attempts_before_replay = call.attempts_started
            call.not_asked_before_replay = call.attempts_not_asked
            if call_id in self.notifications:
                self._notify(call)
            else:
                self.start_delivery(call)
        return "OK"

    def sweep(self):
        due = [call for call in self.calls.values() if call.lease_due is not None]
        for call in sorted(due, key=lambda call: (call.lease_due, call.id)):
            if call.status == RUNNING:
                self.apply_timeouts()
                if call.status == RUNNING and call.lease_due is not None:
                    self.end_lease(call)
        self.apply_timeouts()
        if self.reminder_due:
            self.reminders_left -= 1
            self.reminder_due = False
            self.reminders.append(f"{self.id}-{len(self.reminders) + 1:016x}")
            self._notify(ModelCall(self.reminders[-1], 0, self.response, 0, status=""))

    def end_lease(self, call):
        """End the lease of a call that runs."""
        if self.answer_mode == HOLD:
            self.end_hold(call)
        elif call.delivery and self.mode != SINGLE and not call.erased:
            call.lease_due = None
            call.delivery, call.due = PENDING, NOW
            self.tell("DELIVERY_CHANGED", call)
        else:
            self.end(call, INTERRUPTED)

    def end(self, call, status, *, keep_open=False, close=False, has_delivery=False, trims=True):
        """End a call that runs, and its delivery if it has one. With `has_delivery`, a delivery follows."""
        call.status, call.close = status, close
        ended = end_of(status, keep_open=keep_open, close=close)
        if self.status != CLOSED and (self.holder == call.id or ended is CallEnd.CLOSED):
            effect = call.effect = LIFE[CallMode(self.mode)][ended]
            self.holder = None
            if effect.status == CLOSED:
                self._close(effect.close_reason)
            else:
                self.status = effect.status
        self.tell("CALL_ENDED", call)
        if call.waiters:
            self.due.append(("AWAITED_CALL_ENDED", call.id))
            call.waiters.clear()
        if call.digest:
            if status == NOT_STARTED:
                del (self.copies if call.is_event else self.known)[call.digest]
            else:
                self.has_windows = True
        if status == INTERRUPTED:
            self.due.append(("LEASE_ENDED", call.id, call.effect))
        if call.delivery:
            self.end_delivery(call, DELIVERED if status == SUCCEEDED else DEAD, trims=trims)
        elif trims and not has_delivery:
            self.trim()

    def trim(self):
        """Keep only the newest ended calls."""
        over = [each for each in self.calls.values() if each.over]
        for each in over[: max(len(over) - self.keep, 0)]:
            self.delete(each.id)

    def delete(self, call_id):
        """Delete an ended call."""
        self.gone[call_id] = self.calls.pop(call_id)

    def apply_timeouts(self):
        """Apply the timeouts that are due, in the order of their times."""
        holder = self.calls.get(self.holder) if self.status == IN_PROGRESS else None
        lease = holder.lease_due if holder else None
        expiry = self.expires_due if self.status != CLOSED else None
        if lease is not None and not (expiry is not None and expiry < lease):
            self.end_lease(holder)
        if expiry is not None and self.status != CLOSED:
            pending = [each for each in self.reminders if self._delivery_of(each) == PENDING]
            skipped = len(pending) + self.reminder_due
            self._close("EXPIRED")
            self.tell("CASE_CLOSED")
            self.due.append(("CASE_EXPIRED", skipped))
            if "EXPIRY" in self.notify and not self.resolution:
                self._notify(ModelCall(f"{self.id}-{255:016x}", 0, self.response, 0, status=""))

    def _notify(self, notification):
        """Start the delivery of a notification."""
        self.notifications[notification.id] = notification
        notification.delivery, notification.due = PENDING, NOW
        self.tell("DELIVERY_CHANGED", notification)

    def _delivery_of(self, reminder):
        return self.notifications[reminder].delivery if reminder in self.notifications else None

    def _is_obsolete(self, call):
        return call.id in self.reminders and (self.status == CLOSED or self.resolution is not None)

    def _close(self, reason):
        self.status, self.reason = CLOSED, reason
        self._drop_reminders()

    def _drop_reminders(self):
        self.reminders_left, self.reminder_due = 0, False
        for reminder in self.reminders:
            if reminder in self.notifications and self.notifications[reminder].delivery in (PENDING, DEAD):
                del self.notifications[reminder]

    @property
    def held(self):
        return self.running if self.answer_mode == HOLD else []

    @property
    def running(self):
        return [call.id for call in self.calls.values() if call.status == RUNNING]
