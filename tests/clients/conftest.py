"""A scripted control plane and a client of it."""

import pytest
from support.clients import scripted_server
from support.store import free_port

from callback import CallbackClient


@pytest.fixture
async def server():
    async with scripted_server() as scripted:
        yield scripted


@pytest.fixture
async def client(server):
    async with CallbackClient(server.address) as client:
        yield client


@pytest.fixture
def unused_port():
    """A port of loopback that nothing listens on."""
    return free_port()
