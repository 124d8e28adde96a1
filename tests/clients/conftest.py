"""A scripted server, and both clients of it."""

import pytest
from support.clients import CLIENTS, scripted_server
from support.store import free_port


@pytest.fixture
async def server():
    async with scripted_server() as scripted:
        yield scripted


@pytest.fixture(params=CLIENTS)
def client_type(request):
    """Return each of the two clients. A test that uses it, or `client`, runs for both."""
    return CLIENTS[request.param]


@pytest.fixture
async def client(server, client_type):
    """Run a client of the scripted server, without retries."""
    async with client_type(server.address, retry=False) as client:
        yield client


@pytest.fixture
def unused_port():
    """Return a loopback port on which nothing listens."""
    return free_port()
