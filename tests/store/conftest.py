"""An empty store for each test, by default Valkey, and connections to it."""

import pytest
import redis.asyncio
from support.cases import cases_on


@pytest.fixture
def store(store_of, request):
    """Return an empty store. Tests on others give their kinds as its parameters."""
    return store_of(getattr(request, "param", "valkey"))


@pytest.fixture
async def cases(store):
    async with cases_on(store) as cases:
        yield cases


@pytest.fixture
async def plain(store):
    """Return a client of redis-py."""
    async with redis.asyncio.Redis(port=store.port) as client:
        yield client
