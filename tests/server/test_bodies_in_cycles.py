"""Bodies leave the memory with the end of their calls, and not when the garbage collector runs.

An error kept its body: it was in a reference cycle with the frames that it had passed.
"""

import asyncio
import gc

import pytest
from support.garbage import BODY, large_garbage
from support.services import calls_in_flight, running_services
from support.wait import wait_until

from callback_server import errors
from callback_server.domain.call import CallFailure, Request
from callback_server.handlers.handler import HandlerError


class Failing:
    """A handler that fails."""

    async def handle(self, _grant, _request, *, timeout_s):
        del timeout_s
        raise HandlerError(CallFailure.HANDLER_ERROR, "it failed")


class Waiting:
    """A handler that waits until it is cancelled."""

    async def handle(self, _grant, _request, *, timeout_s):
        await asyncio.sleep(timeout_s)


@pytest.fixture
async def services(store_of):
    async with running_services(store_of(), handlers={"failing": Failing(), "waiting": Waiting()}) as running:
        yield running


def invoke(services, state, body=BODY):
    return services.control_plane.invoker.invoke(state, "", Request("post", body=body)).answer


async def refused(services, state):
    with pytest.raises(errors.CallbackError):
        await invoke(services, state)


async def closed(services):
    made = await services.generate()
    await services.close(made)
    return made.callback_state


async def unknown(_services):
    return "00000000-0000-4000-8000-000000000000"


async def failing(services):
    return (await services.generate("failing", allow_multiple_calls=True)).callback_state


async def busy(services):
    state = (await services.generate("form")).callback_state
    invoke(services, state, b"another")
    await services.running()
    return state


@pytest.mark.parametrize("case", [closed, unknown, failing, busy])
async def test_a_refused_or_failed_call_leaves_no_body_to_the_garbage_collector(services, case):
    state = await case(services)
    with large_garbage() as garbage:
        for _ in range(3):
            await refused(services, state)
        await wait_until(lambda: calls_in_flight() <= (case is busy))
    assert garbage.holders == []


async def test_a_call_that_is_cancelled_leaves_no_body_to_the_garbage_collector(services):
    state = (await services.generate("waiting", allow_multiple_calls=True)).callback_state
    with large_garbage() as garbage:
        running = [invoke(services, state) for _ in range(3)]
        await wait_until(lambda: calls_in_flight() == 3)
        await services.control_plane.invoker.cancel()
        del running
    assert garbage.holders == []


async def test_a_held_call_keeps_no_body_in_memory(services):
    state = (await services.generate("form")).callback_state
    body = bytes(bytearray(BODY))
    invoke(services, state, body)
    await services.running()
    del body

    def is_gone():
        gc.collect()
        return not any(_is_body(held) for each in gc.get_objects() for held in gc.get_referents(each))

    await wait_until(is_gone, what="the end of the body")


def _is_body(held):
    return held is not BODY and isinstance(held, bytes) and held == BODY
