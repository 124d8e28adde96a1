"""The claim of an event that is sent again finds its call, also once its correlation key has another case."""

import time

import pytest
from support.cases import LEASES, RECORDING
from support.wait import wait_until

from callback_server.domain import ids
from callback_server.domain.call import Request, identity_of
from callback_server.domain.case import AnswerMode, CallMode
from callback_server.domain.guard import RequestIntent
from callback_server.domain.verification import Verification
from callback_server.store import keys
from callback_server.store.transitions.claim_call import claim_call

KEY = "ab" * 16
"""The name of a correlation key."""
NO_ID = Verification("psp")
SHORT = Verification("psp", "d" * 64, window_ms=1)
LONG = Verification("psp", "d" * 64, window_ms=600_000)


async def claim(cases, call_id, verification):
    """Claim the case that waits for an event, and return the id of the case that gets it."""
    request = Request("post", endpoint="psp", correlation_key="tr_7")
    granted = await claim_call(
        cases.scripts, call_id=call_id, state_sha256=b"", parameter="", request=request, sent=identity_of(request),
        intent=RequestIntent.CONFIRMED, verification=verification, leases=LEASES, recording=RECORDING,
        platform_url=None, calls_per_minute=None, limited_owners=[], replica="", can_deliver=False, is_event=True,
    )  # fmt: skip
    return ids.case_id_of_call(granted.call_id)


async def waiting(cases):
    """Create a case that waits for the key, and is closed by its first event."""
    made = await cases.new(
        mode=CallMode.SINGLE, answer_mode=AnswerMode.ACK, correlation=KEY, partition=keys.partition_of(KEY)
    )
    return made.id


async def until_over(cases, window_ms):
    over = time.time() + window_ms / 1000

    async def is_over():
        seconds, microseconds = await cases.client.time()
        return seconds + microseconds / 1e6 > over

    await wait_until(is_over, what="the end of the window")


@pytest.mark.parametrize("verification", [NO_ID, SHORT, LONG], ids=["no message id", "short window", "long window"])
async def test_a_claim_that_is_sent_again_gets_its_call_and_not_the_next_case_of_the_key(cases, verification):
    first, call_id = await waiting(cases), ids.new_call_id(KEY)
    assert await claim(cases, call_id, verification) == first
    second = await waiting(cases)
    await until_over(cases, SHORT.window_ms)
    assert await claim(cases, call_id, verification) == first
    assert await claim(cases, ids.new_call_id(KEY), NO_ID) == second


async def test_a_copy_behind_the_window_of_its_message_is_an_event_for_the_next_case(cases):
    first = await waiting(cases)
    assert await claim(cases, ids.new_call_id(KEY), SHORT) == first
    second = await waiting(cases)
    await until_over(cases, SHORT.window_ms)
    assert await claim(cases, ids.new_call_id(KEY), SHORT) == second
