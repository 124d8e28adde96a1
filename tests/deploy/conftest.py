"""Fixtures for what is deployed."""

import pytest
from support.deployed import PROXIES, running_fleet, running_proxy
from support.handler import handler_service


@pytest.fixture(scope="session")
async def handler():
    """A handler service of the samples' activity, `order-paid`."""
    async with handler_service("order-paid") as service:
        yield service


@pytest.fixture(scope="session")
async def fleet(tmp_path_factory, store_of, handler):
    """Two servers and two edges that nobody restarts."""
    directory = tmp_path_factory.mktemp("fleet")
    async with running_fleet(directory, store_of(), activities=handler.config) as running:
        yield running


@pytest.fixture(scope="session", params=PROXIES)
async def proxy(request, tmp_path_factory, fleet):
    """nginx, then haproxy, before those edges."""
    directory = tmp_path_factory.mktemp("proxy")
    async with running_proxy(request.param, directory / request.param, fleet.addresses) as running:
        yield running


@pytest.fixture
async def http(proxy):
    """A caller of the proxy, in HTTP/1.1."""
    async with proxy.browser() as client:
        yield client
