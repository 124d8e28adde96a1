"""One control plane and one edge for all tests of the edge; a test that needs other settings runs its own."""

import pytest
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
def plane(shared_plane):
    """What stands for the control plane, as new."""
    shared_plane.reset()
    return shared_plane


@pytest.fixture
def edge(shared_edge):
    return shared_edge
