"""When a delivery that failed is tried again: exponential, with full jitter, and not for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MOST_DOUBLINGS: Final = 40


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and how long, an activity's deliveries are tried."""

    initial_ms: int = 1_000
    """The longest wait after the first attempt; it doubles with each."""
    max_ms: int = 3_600_000
    """The longest wait after any."""
    max_attempts: int | None = None
    """None: any number."""
    max_age_ms: int = 3 * 24 * 3_600_000
    """How long after its beginning, or its replay, it is tried at all."""

    def wait_ms(self, attempts: int, age_ms: int, part: float) -> int | None:
        """How long to wait after so many attempts; None: it is dead. `part`, from 0 to 1, is the jitter."""
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return None
        longest = min(self.max_ms, self.initial_ms * 2 ** min(attempts - 1, _MOST_DOUBLINGS))
        wait = round(longest * part)
        return None if age_ms + wait > self.max_age_ms else wait


DEFAULT_RETRIES: Final = Retries()
"""Those of an activity that does not say otherwise."""
