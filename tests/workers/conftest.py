"""Services for the tests of a module, with its activities."""

import contextlib

import pytest
from support.services import running_services


@pytest.fixture
async def services(store_of, request):
    """Run services with the `ACTIVITIES` of the module, and room for many calls."""
    async with running_services(store_of(), activities=request.module.ACTIVITIES, max_in_flight_calls=3000) as up:
        yield up


@pytest.fixture(params=["local", "remote"])
async def anywhere(request, store_of):
    """Run the services that get the calls. Their `worker_stub` leads to the same replica, and then to another one."""
    store, activities = store_of(), request.module.ACTIVITIES
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(running_services(store, activities=activities, sweeps=True))
        if request.param == "remote":
            other = await stack.enter_async_context(running_services(store, activities=activities))
            up.worker_stub = other.worker_stub
        yield up
