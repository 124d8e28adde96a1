"""The token in the address where a caller waits: servers alone make it, each one the same."""

import asyncio

import pytest
from server.test_held import SOON, generate
from support.services import running_services

from callback.v1 import edge_service_pb2 as edge
from callback_server.calls.waiting import WaitTokens

CALL = "0" * 32 + "-" + "1" * 16


def tokens_of(*keys):
    made = WaitTokens()
    made.use_keys(*keys)
    return made.tokens(CALL)


def test_a_token_depends_on_the_key_and_the_call_and_those_of_other_keys_are_known():
    ours, theirs = tokens_of(b"k" * 32), tokens_of(b"l" * 32)
    assert ours != theirs
    assert tokens_of(b"l" * 32, b"k" * 32) == [*theirs, *ours]
    other = WaitTokens()
    other.use_keys(b"k" * 32)
    assert other.tokens(CALL[::-1]) != ours


@pytest.mark.parametrize(
    ("first", "second"), [("k" * 32, "k" * 32), (None, None), (None, "k" * 32)], ids=["shared", "none", "new"]
)
async def test_a_repeat_at_another_server_is_told_the_same_address(store_of, first, second):
    store = store_of()
    async with running_services(store, state_key=first) as one, running_services(store, state_key=second) as other:
        made = await generate(one, **SOON)
        path = (await one.call(made)).wait_path
        assert path
        assert (await other.call(made)).wait_path == path


async def test_a_repeat_waits_for_the_answer_at_a_server_that_cannot_make_the_address(store_of):
    store = store_of()
    async with running_services(store) as one, running_services(store, state_key="l" * 32) as other:
        made = await generate(one, **SOON)
        path = (await one.call(made)).wait_path
        repeat = asyncio.ensure_future(other.call(made))
        (call,) = await one.running(made)
        await other.repeats(made, 1)
        await one.answer(call.call_id)
        answer = await repeat
        assert (answer.wait_path, answer.repeated_call_id) == ("", call.call_id)
        _, _, call_id, token = path.split("/")
        assert (await other.edge.wait(edge.WaitRequest(call_id=call_id, token=token))).response.response_code == 201
