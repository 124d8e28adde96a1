"""The rate limit of an owner's calls, as one server counts it."""

from callback_server.limits.owner_rate import OwnerRateLimit
from callback_server.limits.quotas import Quota, Quotas

SECOND = 10**9


def test_an_owner_may_be_a_minutes_worth_ahead_and_then_goes_on_evenly():
    now = 1000 * SECOND
    rate = OwnerRateLimit(Quotas(Quota(max_calls_per_minute=6)), clock=lambda: now)
    for _ in range(6):
        assert not rate.limited()
        rate.charge("shop")
    rate.charge("other")
    assert rate.limited() == [("shop", 10_000)]
    now += 19 * SECOND // 2
    assert rate.limited() == [("shop", 500)]
    now += SECOND // 2 - 1
    assert rate.limited() == [("shop", 1)]
    now += 1
    assert not rate.limited()
    rate.charge("shop")
    assert rate.limited() == [("shop", 10_000)]
    now += 60 * SECOND
    for _ in range(6):
        assert not rate.limited()
        rate.charge("shop")
    assert rate.limited() == [("shop", 10_000)]


def test_an_owner_without_calls_is_deleted_from_memory():
    now = 1000 * SECOND
    rate = OwnerRateLimit(Quotas(Quota(max_calls_per_minute=1)), clock=lambda: now)
    for owner in map(str, range(1000)):
        rate.charge(owner)
    assert len(rate.limited()) == 1000
    now += 60 * SECOND
    assert not rate.limited()
    assert rate.limited() == ()  # nobody is looked at
