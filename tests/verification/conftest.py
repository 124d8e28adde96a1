import pytest
from support.key_source import HOSTS, KeySource


@pytest.fixture(scope="session")
async def running_source():
    async with KeySource(*HOSTS) as source:
        yield source


@pytest.fixture
def source(running_source):
    """Return a source of keys without answers, which nothing has asked yet."""
    running_source.forget()
    return running_source
