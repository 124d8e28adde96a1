"""Retries of deliveries: whether another attempt follows, and when. Exponential backoff with full jitter, and an end.

A call that still runs, because its caller got a fallback, is not tried again after a failure if its callback must not
run twice. The script that records the end of its attempt decides that (`finish_call.lua`), by the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Outcome

_MOST_DOUBLINGS: Final = 40


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and for how long, the deliveries of an activity are tried."""

    initial_ms: int = 1_000
    """The longest backoff after the first attempt, in milliseconds. It doubles with each attempt."""
    max_ms: int = 3_600_000
    """The longest backoff after any attempt, in milliseconds."""
    max_attempts: int | None = None
    """The highest number of attempts in which a handler is asked. None: any number."""
    max_age_ms: int = 3 * 24 * 3_600_000
    """How long after its start or its replay a delivery is tried, in milliseconds."""

    def next_step(
        self, outcome: Outcome, *, attempts: int, asked: int, age_ms: int, jitter: float
    ) -> tuple[DeliveryStatus, int | None]:
        """Return the status of a delivery after an attempt, and if it is PENDING, the backoff in milliseconds.

        Args:
            outcome: How the attempt ended.
            attempts: The number of attempts so far, this one included: each one doubles the longest backoff.
            asked: In how many of them a handler was asked.
            age_ms: How long ago the delivery started or was replayed, in milliseconds.
            jitter: The part of the longest backoff, from 0 to 1.
        """
        if outcome.status is CallStatus.SUCCEEDED:
            return DeliveryStatus.DELIVERED, None
        # Each attempt after WORKERS_LOST would cost two more workers their streams.
        if outcome.status is CallStatus.REJECTED or outcome.failure is CallFailure.WORKERS_LOST:
            return DeliveryStatus.DEAD, None
        backoff_ms = round(min(self.max_ms, self.initial_ms * 2 ** min(attempts - 1, _MOST_DOUBLINGS)) * jitter)
        if self.are_over(asked=asked, age_ms=age_ms + backoff_ms):
            return DeliveryStatus.DEAD, None
        return DeliveryStatus.PENDING, backoff_ms

    def are_over(self, *, asked: int, age_ms: int) -> bool:
        """Return whether no attempt follows one that failed: the attempts or the time have run out."""
        return age_ms > self.max_age_ms or (self.max_attempts is not None and asked >= self.max_attempts)


DEFAULT_RETRIES: Final = Retries()
"""The retries of an activity that declares none."""
