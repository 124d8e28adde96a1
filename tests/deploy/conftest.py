"""Fixtures for what is deployed."""

import contextlib

import pytest
from support.deployed import PROXIES, running_fleet, running_proxy
from support.handler import handler_service
from support.system import own_store


@pytest.fixture(scope="module")
async def handler():
    """A handler service of the samples' activity, `order-paid`."""
    async with handler_service("order-paid") as service:
        yield service


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory, handler):
    """Run two servers and two edges that no test restarts, on their own store: servers sweep every store they use."""
    directory = tmp_path_factory.mktemp("fleet")
    store = own_store(directory).start()
    try:
        async with running_fleet(directory, store, activities=handler.config) as running:
            yield running
    finally:
        store.stop()


@pytest.fixture(scope="module")
async def proxies(tmp_path_factory, fleet):
    """Each kind of proxy, before those edges."""
    directory = tmp_path_factory.mktemp("proxies")
    async with contextlib.AsyncExitStack() as stack:
        yield {
            kind: await stack.enter_async_context(running_proxy(kind, directory / kind, fleet.addresses))
            for kind in PROXIES
        }


@pytest.fixture(params=PROXIES)
def proxy(request, proxies):
    """nginx, then haproxy."""
    return proxies[request.param]


@pytest.fixture
async def http(proxy):
    """A caller of the proxy, in HTTP/1.1."""
    async with proxy.browser() as client:
        yield client
