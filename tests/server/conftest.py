"""The gRPC services on a real store, in this process."""

import pytest
from support.limits import limited
from support.services import running_services
from support.store import StoreProcess, folder_in_memory

from callback_server.calls import sweeper


@pytest.fixture(scope="session", autouse=True)
def short_pauses_between_sweeps():
    """Let a control plane in this process sweep more often, so that no test waits a second for each attempt."""
    with limited(sweeper, SWEEP_INTERVAL_S=0.1):
        yield


@pytest.fixture(scope="session")
def shared_store():
    """Run a store that no test empties below the services of a module."""
    with StoreProcess(folder_in_memory()) as store:
        yield store


@pytest.fixture(scope="module")
async def shared_services(shared_store):
    """Run both services with the default policy and no activities, for the tests of a module."""
    shared_store.flush()
    async with running_services(shared_store) as running:
        yield running


@pytest.fixture
def services(shared_services, shared_store):
    """Return the services of the module, with an empty store."""
    shared_store.flush_below()
    return shared_services


@pytest.fixture(scope="module")
async def shared_other(shared_services, shared_store):
    """Run a second server on the store of the first one, for the tests of a module."""
    async with running_services(shared_store) as running:
        yield running


@pytest.fixture
def both(services, shared_other):
    """Return two servers of the module on one store, which is empty."""
    return services, shared_other
