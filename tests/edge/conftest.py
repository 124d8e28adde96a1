"""One control plane and one edge for all tests of the edge; a test that needs other settings runs its own."""

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
    """What stands for the control plane, as new. No call outlasts its test: the next one counts its own."""
    shared_plane.reset()
    yield shared_plane
    await shared_plane.until(lambda: shared_plane.started == shared_plane.ended + shared_plane.cancelled)


@pytest.fixture
def edge(shared_edge):
    return shared_edge


@pytest.fixture(autouse=True)
def log(caplog):
    """Gives what the edge logs, and fails a test in which an error came about that it does not expect (and clear)."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert [entry for entry in entries if entry["log_level"] == "error"] == []
    others = [each for each in caplog.get_records("call") if each.levelno >= logging.WARNING]
    assert [each.getMessage() for each in others if not each.name.startswith("grpc")] == []
