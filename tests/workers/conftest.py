"""The gRPC services on a real store, and calls of an activity that workers serve."""

import pytest
from support.services import running_services

from callback_server.domain.activity import Activity


@pytest.fixture
async def services(store_of):
    """The services; `act` has a deadline of 20 s, `brief` one of 1 s."""
    activities = {"act": Activity("act", 20_000), "brief": Activity("brief", 1_000)}
    async with running_services(store_of(), activities=activities) as running:
        yield running
