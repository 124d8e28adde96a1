"""A scripted control plane and both clients of it."""

import pytest
from support.clients import CLIENTS, scripted_server
from support.store import free_port


@pytest.fixture
async def server():
    async with scripted_server() as scripted:
        yield scripted


@pytest.fixture(params=CLIENTS)
def client_type(request):
    """Each of the two clients: a test that uses it, or `client`, is for both."""
    return CLIENTS[request.param]


@pytest.fixture
async def client(server, client_type):
    """A client of the scripted server which sends everything once."""
    async with client_type(server.address, retry=False) as client:
        yield client


@pytest.fixture
def unused_port():
    """A port of loopback that nothing listens on."""
    return free_port()
