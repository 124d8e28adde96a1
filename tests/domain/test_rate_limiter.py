"""The per-key rate limiter."""

import pytest

from callback_process import rate_limiter as module
from callback_process.rate_limiter import RateLimiter

MINUTE = 60 * 10**9


@pytest.mark.parametrize("per_minute", [1, 3, 7, 60, 9973])
def test_a_rate_allows_a_burst_of_one_minute_and_then_one_event_per_interval(per_minute):
    rate = RateLimiter(per_minute)
    for _ in range(per_minute):
        assert rate.wait_ns("a", 0) == 0
        rate.charge("a", 0)
    wait = rate.wait_ns("a", 0)
    assert 0 < wait <= MINUTE // per_minute
    assert rate.wait_ns("b", 0) == 0
    assert rate.wait_ns("a", wait) == 0
    rate.charge("a", wait)
    assert rate.wait_ns("a", wait) > 0
    assert rate.wait_ns("a", 3 * MINUTE) == 0


def test_keys_that_are_no_longer_limited_are_removed():
    rate = RateLimiter(60)
    for n in range(10_000):
        rate.charge(str(n), n * MINUTE // 100)
    assert len(rate.due) < 20


def test_the_oldest_keys_are_removed_beyond_the_maximum(limits):
    limits(module, MAX_KEYS=100)
    rate = RateLimiter(1)
    for n in range(1000):
        rate.charge(str(n), n)
    assert [*rate.due] == [str(n) for n in range(900, 1000)]
