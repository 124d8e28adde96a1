"""Retries of deliveries: exponential backoff with full jitter, and an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MOST_DOUBLINGS: Final = 40


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and for how long, the deliveries of an activity are tried."""

    initial_ms: int = 1_000
    """The longest wait after the first attempt, in milliseconds. It doubles with each attempt."""
    max_ms: int = 3_600_000
    """The longest wait after any attempt, in milliseconds."""
    max_attempts: int | None = None
    """The highest number of attempts in which a handler is asked. None: any number."""
    max_age_ms: int = 3 * 24 * 3_600_000
    """How long after its start or its replay a delivery is tried, in milliseconds."""

    def wait_ms(self, attempts: int, asked: int, age_ms: int, part: float) -> int | None:
        """Return the time until the next attempt in milliseconds, or None to give up.

        Args:
            attempts: The number of attempts so far: each one doubles the longest wait.
            asked: In how many of them a handler was asked.
            age_ms: How long ago the delivery started or was replayed, in milliseconds.
            part: The jitter, from 0 to 1.
        """
        if self.max_attempts is not None and asked >= self.max_attempts:
            return None
        longest = min(self.max_ms, self.initial_ms * 2 ** min(attempts - 1, _MOST_DOUBLINGS))
        wait = round(longest * part)
        return None if age_ms + wait > self.max_age_ms else wait


DEFAULT_RETRIES: Final = Retries()
"""The retries of an activity that declares none."""
