"""A scripted server, and the command line connected to it."""

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
    """Return a function that runs `callback …` against the scripted server."""
    return functools.partial(run_callback, CALLBACK_TARGET=server.address)


@pytest.fixture
def unused_port():
    """Return a loopback port on which nothing listens."""
    return free_port()
