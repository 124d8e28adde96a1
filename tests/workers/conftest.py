"""Services for the tests of a module, with its activities."""

import pytest
from support.services import running_services


@pytest.fixture
async def services(store_of, request):
    """Run services with the `ACTIVITIES` of the module."""
    async with running_services(store_of(), activities=request.module.ACTIVITIES) as up:
        yield up
