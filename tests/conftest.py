"""Fixtures for all tests."""

import hypothesis
import pytest
from support.store import StoreProcess

hypothesis.settings.register_profile(
    "callback",
    deadline=None,  # machines are shared: a slow example is no failure
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("callback")


@pytest.fixture(scope="session")
def store_of(tmp_path_factory):
    """Gives a running store of a kind, the same for the whole session, and empty."""
    stores = {}

    def get(kind="valkey"):
        if kind not in stores:
            stores[kind] = StoreProcess(tmp_path_factory.mktemp(kind), kind=kind).start()
        stores[kind].flush()
        return stores[kind]

    yield get
    for store in stores.values():
        store.stop()
