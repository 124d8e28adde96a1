"""A scripted control plane, and the command line pointed at it."""

import functools

import pytest
from support.clients import run_callback, scripted_server
from support.store import free_port


@pytest.fixture
async def server():
    async with scripted_server() as scripted:
        yield scripted


@pytest.fixture
def callback(server):
    """Runs `callback …` against the scripted server."""
    return functools.partial(run_callback, CALLBACK_TARGET=server.address)


@pytest.fixture
def unused_port():
    """A port of loopback that nothing listens on."""
    return free_port()
