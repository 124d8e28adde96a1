"""One running system for all end-to-end tests, with a handler that follows the script of a test."""

from types import SimpleNamespace

import pytest
from support.browser import chromium
from support.edge import http_request, parse_answers, send_raw
from support.handlers import stub_handler
from support.store import free_port
from support.system import system_of_its_own

PLATFORM = "https://platform.example"
HASTY_S = 8


@pytest.fixture(scope="session")
async def world(tmp_path_factory):
    """Run the system and its handlers.

    `handler` serves `push`, and `hasty` with a short deadline. A test starts its own handler at the target of
    `mortal`. No handler listens for `nobody`.
    """
    mortal, nobody = (f"127.0.0.1:{free_port()}" for _ in range(2))
    async with stub_handler() as handler:
        config = f"""
            activities.push = {{ target = "{handler.target}", deadline_s = 30 }}
            activities.hasty = {{ target = "{handler.target}", deadline_s = {HASTY_S} }}
            activities.mortal = {{ target = "{mortal}", deadline_s = 30, connect_timeout_s = 10 }}
            activities.nobody = {{ target = "{nobody}", connect_timeout_s = 0.2 }}
        """
        async with system_of_its_own(tmp_path_factory.mktemp("system"), config=config) as system:
            yield World(system, handler, mortal)


@pytest.fixture(scope="session")
async def browser():
    async with chromium() as running:
        yield running


class World(SimpleNamespace):
    """Running system and its handlers."""

    def __init__(self, system, handler, mortal):
        super().__init__(system=system, client=system.client, handler=handler, mortal=mortal)
        self.port = int(system.url.rpartition(":")[2])

    async def ask(self, url, method="GET", headers=(), body=b""):
        """Send one request on its own connection, and return the response as it was on the wire."""
        path = url.removeprefix(self.system.url)
        raw = await send_raw(self.port, http_request(path, method, headers, body))
        (answer,) = parse_answers(raw, [method])
        answer.assert_fixed_headers()
        return answer

    async def last_call(self, case):
        """Return the newest recorded call of a case, with its body, or None if the case has no call."""
        page = await self.client.list_calls_page(case.case_id, page_size=1)
        return await self.client.get_call(page.items[0].call_id) if page.items else None
