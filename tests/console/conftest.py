"""One running system with principals, and a console in front of it, for all tests of the console."""

import contextlib

import httpx
import pytest
from support.browser import chromium
from support.console import running_console
from support.system import own_store, running_system

from callback import AsyncCallbackClient
from callback_server.access.roles import EVERY_ACTIVITY, Role
from callback_server.access.tokens import add_token

ROLES = {"orders": Role.OWNER, "stranger": Role.OWNER, "operator": Role.ADMIN, "edge": Role.EDGE, "work": Role.WORKER}


class World:
    """The system. `tokens` are those of its principals by name, `client` is that of the owner `orders`."""

    def __init__(self, system, tokens, client, console):
        self.system = system
        self.tokens = tokens
        self.client = client
        self.console = console
        self.url = f"http://{console.address}"

    @contextlib.asynccontextmanager
    async def visitor(self, name=None, **options):
        """An HTTP client of the console, signed in as a principal if a name is given."""
        async with httpx.AsyncClient(base_url=self.url, headers={"Origin": self.url}, **options) as http:
            if name:
                answer = await http.post("/sign-in", data={"token": self.tokens[name]})
                assert answer.status_code == 303, answer.text
            yield http


@pytest.fixture(scope="session")
async def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("console")
    store = own_store(directory).start()  # other tests, which run meanwhile in this session, empty the shared one
    principals = directory / "principals.toml"
    tokens = {
        name: add_token(principals, name, [role], None, activities=(EVERY_ACTIVITY,) if role is Role.WORKER else ())
        for name, role in ROLES.items()
    }
    (directory / "edge.token").write_text(tokens["edge"])
    options = {
        "server": {"CALLBACK_PRINCIPALS_FILE": str(principals)},
        "edge": {"CALLBACK_EDGE_SERVER_TOKEN_FILE": str(directory / "edge.token")},
    }
    try:
        async with (
            running_system(directory, store, **options) as system,
            AsyncCallbackClient(system.grpc, token=tokens["orders"]) as client,
            running_console(system.grpc) as console,
        ):
            yield World(system, tokens, client, console)
    finally:
        store.stop()


@pytest.fixture(scope="session")
async def browser():
    async with chromium() as running:
        yield running
