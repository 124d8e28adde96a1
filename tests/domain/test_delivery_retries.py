"""Retries of a delivery: how long each wait can be, and when the server gives up."""

import pytest

from callback_server.domain.retries import DEFAULT_RETRIES, Retries


def test_the_longest_wait_doubles_from_a_second_to_an_hour():
    waits = [DEFAULT_RETRIES.wait_ms(attempts, attempts, 0, 1.0) for attempts in range(1, 15)]
    assert waits == [min(1000 * 2**doublings, 3_600_000) for doublings in range(14)]
    assert waits[-1] == DEFAULT_RETRIES.wait_ms(10**6, 10**6, 0, 1.0) == 3_600_000


@pytest.mark.parametrize(("part", "wait_ms"), [(0.0, 0), (0.25, 1000), (1.0, 4000)])
def test_a_wait_is_a_random_part_of_the_longest_one(part, wait_ms):
    assert DEFAULT_RETRIES.wait_ms(3, 3, 0, part) == wait_ms


def test_a_delivery_is_given_up_after_its_attempts():
    retries = Retries(max_attempts=3)
    assert [retries.wait_ms(attempts, attempts, 0, 0.0) for attempts in (1, 2, 3, 4)] == [0, 0, None, None]


def test_a_delivery_is_given_up_if_its_next_attempt_would_be_too_late():
    retries = Retries(max_age_ms=10_000)
    assert (retries.wait_ms(1, 1, 9_000, 1.0), retries.wait_ms(1, 1, 9_001, 1.0)) == (1000, None)


def test_attempts_in_which_no_handler_was_asked_use_up_time_alone():
    retries = Retries(max_attempts=3, max_age_ms=10_000)
    assert retries.wait_ms(1000, 2, 0, 0.0) == 0
    assert retries.wait_ms(1000, 2, 10_001, 0.0) is None
