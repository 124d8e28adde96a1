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
    """None: any number."""
    max_age_ms: int = 3 * 24 * 3_600_000
    """How long after its start or its replay a delivery is tried, in milliseconds."""

    def wait_ms(self, attempts: int, age_ms: int, part: float) -> int | None:
        """Return the wait after `attempts` in milliseconds, or None to give up. `part`, 0 to 1, is the jitter."""
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return None
        longest = min(self.max_ms, self.initial_ms * 2 ** min(attempts - 1, _MOST_DOUBLINGS))
        wait = round(longest * part)
        return None if age_ms + wait > self.max_age_ms else wait


DEFAULT_RETRIES: Final = Retries()
"""The retries of an activity that declares none."""
