"""Resending until the store answers: whether an earlier attempt may have taken effect, and the time limit."""

import itertools

import pytest

from callback_server.store.connection import resend as resend_module
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend_knowing

UNSENT, UNSURE = False, True


async def resent(send, *, unsure_s=10):
    return await resend_knowing(send, unsent_s=10, unsure_s=unsure_s)


@pytest.fixture
def sends(limits):
    """Return a function that makes a send: it fails in these ways, one after another, and then succeeds.

    Each reading of the clock advances it by a second. The first pause is 0, so all later ones are 0 too.
    """
    limits(resend_module, FIRST_PAUSE_S=0, CLOCK=itertools.count().__next__)

    def failing(failures):
        outcomes = iter(failures)

        async def send():
            for maybe_done in outcomes:
                raise StoreError("away", maybe_done=maybe_done)
            return "answer"

        return send

    return failing


@pytest.mark.parametrize(
    ("failures", "unsure"),
    [
        ([], False), ([UNSENT], False), ([UNSURE], True), ([UNSENT, UNSURE], True), ([UNSURE, UNSENT], True),
    ],
)  # fmt: skip
async def test_a_result_says_whether_an_earlier_attempt_may_have_done_it(sends, failures, unsure):
    assert await resent(sends(failures)) == ("answer", unsure)


@pytest.mark.parametrize("before", [[], [UNSENT], [UNSURE], [UNSENT, UNSURE], [UNSURE, UNSENT]])
@pytest.mark.parametrize("last", [UNSENT, UNSURE])
async def test_the_final_error_says_whether_any_attempt_may_have_done_it(sends, before, last):
    with pytest.raises(StoreError, match="away") as caught:
        await resent(sends([*before, *[last] * 20]))
    assert caught.value.maybe_done is any([*before, last])


@pytest.mark.parametrize(
    ("failures", "times"), [([UNSENT] * 20, 10), ([UNSURE] * 20, 5), ([UNSENT] * 2 + [UNSURE] + [UNSENT] * 20, 5)]
)
async def test_a_command_that_may_have_been_done_is_sent_again_for_its_own_time(sends, failures, times):
    send, sent = sends(failures), 0

    async def counted():
        nonlocal sent
        sent += 1
        return await send()

    with pytest.raises(StoreError):
        await resent(counted, unsure_s=5)
    assert sent == times
