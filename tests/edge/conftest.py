"""One control plane and one edge for all tests of the edge. A test with other settings runs its own edge."""

import logging

import pytest
import structlog
from support.edge import control_plane, running_edge


@pytest.fixture(scope="session")
async def shared_plane():
    async with control_plane() as plane:
        yield plane


@pytest.fixture(scope="session")
async def shared_edge(shared_plane):
    async with running_edge(shared_plane.target) as edge:
        yield edge


@pytest.fixture
async def plane(shared_plane):
    """Return the stand-in for the control plane, reset. No call outlasts its test, so each test counts only its own."""
    shared_plane.reset()
    yield shared_plane
    await shared_plane.until(lambda: shared_plane.started == shared_plane.ended + shared_plane.cancelled)


@pytest.fixture
def edge(shared_edge):
    return shared_edge


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request):
    """Return the name of an event loop, for a process of an edge."""
    return request.param


@pytest.fixture(autouse=True)
def log(caplog):
    """Return the log of the edge. Fail a test that leaves an error in it: a test clears the errors that it expects."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert [entry for entry in entries if entry["log_level"] == "error"] == []
    others = [each for each in caplog.get_records("call") if each.levelno >= logging.WARNING]
    assert [each.getMessage() for each in others if not each.name.startswith("grpc")] == []
