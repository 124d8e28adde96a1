"""Retries: how long a request may take in all, how long to wait between its attempts, and which errors to retry."""

import math
import random
import time
from collections.abc import Callable
from datetime import timedelta

from callback import _checks as checks
from callback._errors import CallbackError, DeadlineExceededError, UnavailableError
from callback._reason_errors import WatcherTooSlowError

CLOCK: Callable[[], float] = time.monotonic
"""The clock of timeouts, in seconds."""
DEFAULT_TIMEOUT_S = 10.0
"""How long a request may take with all its attempts, in seconds, unless another timeout is given."""


class Backoff:
    """The time that is left for a request, and the pauses between its attempts.

    Pauses double from `first` to `longest` seconds. Each is shortened at random, so that clients that failed at the
    same time do not retry at the same time.
    """

    def __init__(self, timeout: float, *, first: float = 0.1, longest: float = 2.0) -> None:
        self._end = CLOCK() + timeout
        self._next = first
        self._longest = longest

    @property
    def remaining(self) -> float:
        """The seconds that are left. Negative after the timeout."""
        return self._end - CLOCK()

    def next_pause(self, at_least: timedelta | None = None) -> float:
        """Return how many seconds to wait before the next attempt."""
        pause = self._next * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
        self._next = min(self._next * 2, self._longest)
        return pause if at_least is None else max(pause, at_least.total_seconds())


def wait_backoff(timeout: float, *, longest: float) -> Backoff:
    """Return the backoff of an operation whose timeout may be infinite.

    Raises:
        TypeError: The timeout is not a number.
        ValueError: It is not positive.
    """
    return Backoff(_positive(timeout), longest=longest)


def finite_timeout(timeout: float) -> float:
    """Return the timeout, after checking it.

    Raises:
        TypeError: The timeout is not a number.
        ValueError: It is not positive and finite.
    """
    if not math.isfinite(_positive(timeout)):
        raise ValueError(f"the timeout must be a positive, finite number of seconds, not {timeout!r}")
    return timeout


def _positive(timeout: float) -> float:
    if not checks.seconds("the timeout", timeout) > 0:
        raise ValueError(f"the timeout must be a positive number of seconds, not {timeout!r}")
    return timeout


def is_retryable(error: CallbackError) -> bool:
    """Return whether the same request may succeed in a moment: the server or its store was unreachable."""
    return isinstance(error, UnavailableError) and not isinstance(error, DeadlineExceededError)


def can_resume_watch(error: CallbackError) -> bool:
    """Return whether a watch that ended with this error can resume from its position."""
    return is_retryable(error) or isinstance(error, WatcherTooSlowError)
