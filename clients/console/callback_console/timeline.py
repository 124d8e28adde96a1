"""The life of a callback as moments in order. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callback import Call, Callback, CallStatus


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment."""

    kind: str
    """Name of its text, such as `call_started`."""
    time: datetime
    call: Call | None = None
    """The call, of a moment of one."""
    since: timedelta | None = None
    """Time since the start of that call, at its end; else since the moment before."""


def timeline(callback: Callback, calls: Sequence[Call], now: datetime) -> list[Moment]:
    """Return the moments of a callback and of some of its calls, the first one first."""
    found = sorted(_moments(callback, calls, now), key=lambda each: each.time)
    moments: list[Moment] = []
    for moment in found:
        before = moments[-1].time if moments else None
        if moment.kind == "call_ended" and moment.call:
            before = moment.call.start_time
        moments.append(Moment(moment.kind, moment.time, moment.call, None if before is None else moment.time - before))
    return moments


def _moments(callback: Callback, calls: Sequence[Call], now: datetime) -> Iterator[Moment]:
    yield Moment("made", callback.create_time)
    for call in reversed(calls):
        yield Moment("call_started", call.start_time, call)
        if call.end_time is not None:
            yield Moment("call_ended", call.end_time, call)
        elif callback.hold_time is not None and call.status is CallStatus.RUNNING:
            yield Moment("hold_ends", call.start_time + callback.hold_time, call)
        if call.delivery is not None and call.delivery.next_attempt_time is not None:
            yield Moment("next_attempt", call.delivery.next_attempt_time, call)
    for notification in callback.notifications:
        yield Moment("notified", notification.start_time, notification)
        if notification.delivery is not None and notification.delivery.next_attempt_time is not None:
            yield Moment("next_attempt", notification.delivery.next_attempt_time, notification)
    if callback.close_time is None and not callback.resolved:
        for delay in callback.remind_after:
            if callback.create_time + delay > now:
                yield Moment("reminds", callback.create_time + delay)
    if callback.close_time is not None:
        yield Moment("closed", callback.close_time)
    elif callback.expire_time is not None and callback.expire_time > now:
        yield Moment("expires", callback.expire_time)
