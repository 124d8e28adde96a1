"""The gRPC services on a real store, in this process."""

import pytest
from support.services import running_services


@pytest.fixture
async def services(store_of):
    """Run both services with the default policy and no activities."""
    async with running_services(store_of()) as running:
        yield running
