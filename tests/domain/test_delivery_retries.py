"""Retries of a delivery: what follows an attempt, how long each backoff can be, and when the server gives up."""

import pytest

from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Outcome
from callback_server.domain.retries import DEFAULT_RETRIES, Retries

FAILED = Outcome(CallStatus.FAILED, failure=CallFailure.HANDLER_ERROR)
DEAD = (DeliveryStatus.DEAD, None)


def after(retries=DEFAULT_RETRIES, *, attempts=1, asked=None, age_ms=0, jitter=0.0, outcome=FAILED):
    asked = attempts if asked is None else asked
    return retries.next_step(outcome, attempts=attempts, asked=asked, age_ms=age_ms, jitter=jitter)


def pending(backoff_ms):
    return DeliveryStatus.PENDING, backoff_ms


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (FAILED, pending(0)),
        (Outcome(CallStatus.NOT_STARTED, failure=CallFailure.HANDLER_UNREACHABLE), pending(0)),
        (Outcome(CallStatus.FAILED, failure=CallFailure.WORKERS_LOST), DEAD),
        (Outcome(CallStatus.REJECTED), DEAD),
        (Outcome(CallStatus.SUCCEEDED), (DeliveryStatus.DELIVERED, None)),
    ],
)
def test_an_attempt_follows_a_failure_unless_it_cost_workers(outcome, then):
    assert after(outcome=outcome) == then


def test_the_longest_backoff_doubles_from_a_second_to_an_hour():
    backoffs = [after(attempts=attempts, jitter=1.0) for attempts in range(1, 15)]
    assert backoffs == [pending(min(1000 * 2**doublings, 3_600_000)) for doublings in range(14)]
    assert backoffs[-1] == after(attempts=10**6, jitter=1.0) == pending(3_600_000)


@pytest.mark.parametrize(("jitter", "backoff_ms"), [(0.0, 0), (0.25, 1000), (1.0, 4000)])
def test_a_backoff_is_a_random_part_of_the_longest_one(jitter, backoff_ms):
    assert after(attempts=3, jitter=jitter) == pending(backoff_ms)


def test_a_delivery_is_given_up_after_its_attempts():
    retries = Retries(max_attempts=3)
    assert [after(retries, attempts=attempts) for attempts in (1, 2, 3, 4)] == [pending(0), pending(0), DEAD, DEAD]


def test_a_delivery_is_given_up_if_its_next_attempt_would_be_too_late():
    retries = Retries(max_age_ms=10_000)
    assert after(retries, age_ms=9_000, jitter=1.0) == pending(1000)
    assert after(retries, age_ms=9_001, jitter=1.0) == DEAD


def test_attempts_in_which_no_handler_was_asked_use_up_time_alone():
    retries = Retries(max_attempts=3, max_age_ms=10_000)
    assert after(retries, attempts=1000, asked=2) == pending(0)
    assert after(retries, attempts=1000, asked=2, age_ms=10_001) == DEAD
