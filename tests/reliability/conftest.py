"""Fixtures of the reliability tests: a handler service, and a store and system that a test can break."""

import pytest
from support.handler import handler_service
from support.system import own_store


@pytest.fixture
async def handler():
    """Run a handler service for the activity `work`. Its deadline is no part of these tests."""
    async with handler_service("work", deadline_s=250) as service:
        yield service
        service.gate.set()


@pytest.fixture
def store(tmp_path):
    """Run a store for one test."""
    with own_store(tmp_path) as process:
        yield process
