"""One running system for all of these tests: a server and an edge, each a process of its own."""

import re

import pytest
from support.system import own_store, running_system

SECRET = "a-secret-of-a-sender"


@pytest.fixture(scope="module")
async def system(tmp_path_factory):
    """A system that gives up a body after a second, with the profile `sender`: GitHub's signature by `SECRET`."""
    directory = tmp_path_factory.mktemp("system")
    secret = directory / "secret"
    secret.write_text(SECRET)
    config = f'[profiles.sender]\nkind = "github"\nsecret_files = ["{secret}"]\n'
    store = own_store(directory).start()
    try:
        async with running_system(
            directory, store, config=config, edge={"CALLBACK_EDGE_BODY_TIMEOUT_S": "1"}
        ) as running:
            yield running
    finally:
        store.stop()


@pytest.fixture(autouse=True)
def nothing_went_wrong(system):
    """Fails a test that either process did not survive, or in which it logged an error or anything but events."""
    yield
    for process in (system.edge, system.server):
        assert process.process.poll() is None, f"{process.log.stem} has ended"
        log = process.log.read_text()
        assert [line for line in log.splitlines() if not re.match(r"\{.*\}$", line)] == []
        assert [event for event in process.events() if event["level"] in ("error", "critical")] == []
