"""One running system with principals, and a console in front of it, for all tests of the console."""

import asyncio
import contextlib
import json
import ssl

import httpx
import pytest
import trustme
from flows.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider
from flows.serving import serving
from support.browser import chromium
from support.console import running_console
from support.keyrings import write_keyring
from support.system import own_store, running_system
from support.wait import wait_until
from support.workers import connected

from callback import AsyncCallbackClient, CallFilter, Handlers, Response, Worker
from callback_console.settings import OpenIdSettings
from callback_server.access.roles import EVERY_ACTIVITY, Role
from callback_server.access.tokens import add_token

CONFIG = """
[activities.hasty]
deadline_s = 5
[activities.unserved]
deadline_s = 0.5
[profiles.partner]
kind = "address"
networks = ["192.0.2.0/24"]
"""
"""Activities with a short deadline, and a verification profile that no request here passes."""
ROLES = {
    "orders": Role.OWNER, "stranger": Role.OWNER, "shop": Role.OWNER, "operator": Role.ADMIN, "edge": Role.EDGE,
    "work": Role.WORKER,
}  # fmt: skip
OK = Response("ok")
SUBJECTS = {"user-7": "orders", "user-8": "operator"}
"""Users of the OpenID provider who are principals."""


class World:
    """The system. `tokens` are those of its principals by name, `client` is that of the owner `orders`.

    `issuer` is an OpenID provider that the server knows, and `openid` has the settings of a console that uses it.
    """

    def __init__(self, system, tokens, client, console, issuer, openid):
        self.issuer = issuer
        self.openid = openid
        self.system = system
        self.tokens = tokens
        self.client = client
        self.console = console
        self.url = f"http://{console.address}"

    def client_of(self, name):
        """Return a client of a principal, to be entered."""
        return AsyncCallbackClient(self.system.grpc, token=self.tokens[name])

    async def generate(self, activity="record", response=OK, *, client=None, **options):
        """Generate a callback of the owner `orders`, or of another client's."""
        return await (client or self.client).generate_callback_url(activity, response, **options)

    async def call(self, made, query="", *, client=None, **request):
        """Call a callback, and return the id of its newest call."""
        await self.system.http.post(f"{made.url}{query}", **request)
        return (await (client or self.client).list_calls_page(made.case_id)).items[0].call_id

    async def hold(self, made, *, client=None, **request):
        """Make a call that is held, and return its id and the task of its caller."""
        caller = asyncio.create_task(self.system.http.post(made.url, timeout=None, **request))

        async def held():
            waiting = (client or self.client).list_owner_calls(CallFilter.WAITING)
            return [each.call_id async for each in waiting if each.case_id == made.case_id]

        (call_id,) = await wait_until(held, what="a held call")
        return call_id, caller

    def working(self, decide, *activities):
        """Return a worker of activities, to be entered, whose calls `decide` handles."""
        handlers = Handlers()
        for activity in activities:
            handlers.activity(activity)(decide)
        return connected(Worker(handlers, self.system.grpc, token=self.tokens["work"]))

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
    principals = directory / "principals.toml"
    tokens = {
        name: add_token(principals, name, [role], None, activities=(EVERY_ACTIVITY,) if role is Role.WORKER else ())
        for name, role in ROLES.items()
    }
    tokens["finance"] = add_token(principals, "finance", [Role.WORKER], None, activities=["form"], answers=True)
    (directory / "edge.token").write_text(tokens["edge"])
    (directory / "openid.secret").write_text(f"{CLIENT_SECRET}\n")
    ca_file = directory / "ca.pem"
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(ca_file)
    authority.issue_cert("127.0.0.5").configure_cert(tls)
    provider = Provider(names_itself=True)
    with (
        own_store(directory) as store,  # other tests, which run meanwhile in this session, empty the shared one
        serving(provider.app, "127.0.0.5", tls) as provider.issuer,
    ):
        with principals.open("a") as file:
            for subject, name in SUBJECTS.items():
                file.write(f'[[principals.{name}.subjects]]\nissuer = "{provider.issuer}"\nsubject = "{subject}"\n')
        openid = OpenIdSettings(
            issuer=provider.issuer,
            client_id=CLIENT_ID,
            client_secret_file=directory / "openid.secret",
            ca_file=ca_file,
        )
        issuer = {"audiences": [CLIENT_ID], "ca_file": str(ca_file), "private_networks": ["127.0.0.5"]}
        options = {
            "config": CONFIG,
            "server": {
                "CALLBACK_PRINCIPALS_FILE": str(principals),
                "CALLBACK_KEYRING_FILE": str(write_keyring(directory / "keyring.toml", "key")),
                "CALLBACK_ISSUERS": json.dumps({provider.issuer: issuer}),
            },
            "edge": {"CALLBACK_EDGE_SERVER_TOKEN_FILE": str(directory / "edge.token")},
        }
        async with (
            running_system(directory, store, **options) as system,
            AsyncCallbackClient(system.grpc, token=tokens["orders"]) as client,
            running_console(system.grpc) as console,
        ):
            yield World(system, tokens, client, console, provider, openid)


@pytest.fixture(scope="session")
async def browser():
    async with chromium() as running:
        yield running
