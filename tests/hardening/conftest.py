"""One system for all hardening tests: a server and an edge, each in its own process."""

import re

import pytest
from hardening.profiles import PROFILES, SECRET
from support.system import own_store, running_system


@pytest.fixture(scope="module")
async def system(tmp_path_factory):
    """Run a system with short timeouts for bodies and idle connections, and `PROFILES` whose secret is `SECRET`."""
    directory = tmp_path_factory.mktemp("system")
    secret = directory / "secret"
    secret.write_text(SECRET)
    config = "".join(
        f'[profiles.{name}]\nsecret_files = ["{secret}"]\n{declared}\n' for name, declared in PROFILES.items()
    )
    with own_store(directory) as store:
        edge = {"CALLBACK_EDGE_BODY_TIMEOUT_S": "1", "CALLBACK_EDGE_KEEP_ALIVE_TIMEOUT_S": "2"}
        async with running_system(directory, store, config=config, edge=edge) as running:
            yield running


@pytest.fixture(autouse=True)
def nothing_went_wrong(system):
    """Fail a test in which a process ended, logged an error, or wrote a line that is not a log event."""
    yield
    for process in (system.edge, system.server):
        assert process.process.poll() is None, f"{process.log.stem} has ended"
        log = process.log.read_text()
        assert [line for line in log.splitlines() if not re.match(r"\{.*\}$", line)] == []
        assert [event for event in process.events() if event["level"] in ("error", "critical")] == []
