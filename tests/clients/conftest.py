"""A scripted control plane and a client of it."""

import socket

import pytest
from support.clients import scripted_server

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
