"""The gRPC services on a real store, in this process."""

import pytest
from support.services import running_services

from callback_server.calls import sweeper


@pytest.fixture(autouse=True)
def short_pauses_between_sweeps(limits):
    """Let a control plane in this process sweep more often, so that no test waits a second for each attempt."""
    limits(sweeper, SWEEP_INTERVAL_S=0.1)


@pytest.fixture
async def services(store_of):
    """Run both services with the default policy and no activities."""
    async with running_services(store_of()) as running:
        yield running
