"""Fixtures of the deployment tests: servers, edges, and the proxies in front of them."""

import contextlib

import pytest
from support.deployed import PROXIES, running_fleet, running_proxy
from support.handler import handler_service
from support.system import own_store


@pytest.fixture(scope="module")
async def handler():
    """Run a handler service for the activity of the samples, `order-paid`."""
    async with handler_service("order-paid") as service:
        yield service


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory, handler):
    """Run two servers and two edges that no test restarts. They have their own store, as servers sweep their store."""
    directory = tmp_path_factory.mktemp("fleet")
    with own_store(directory) as store:
        async with running_fleet(directory, store, activities=handler.config) as running:
            yield running


@pytest.fixture(scope="module")
async def proxies(tmp_path_factory, fleet):
    """Run one proxy of each kind in front of the edges of `fleet`."""
    directory = tmp_path_factory.mktemp("proxies")
    async with contextlib.AsyncExitStack() as stack:
        yield {
            kind: await stack.enter_async_context(running_proxy(kind, directory / kind, fleet.addresses))
            for kind in PROXIES
        }


@pytest.fixture(params=PROXIES)
def proxy(request, proxies):
    """Return the proxy under test: nginx, then haproxy."""
    return proxies[request.param]


@pytest.fixture
async def http(proxy):
    """Return an HTTP/1.1 client of the proxy."""
    async with proxy.browser() as client:
        yield client
