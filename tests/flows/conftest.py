"""Fixtures of the flows: one system, a platform that browsers land on, and a browser."""

import contextlib
import datetime
import json
import re
from types import SimpleNamespace

import pytest
from flows.recipes import BLOCKS, SECRET, recipe
from support.browser import chromium, lands_at, site, visitor
from support.store import free_port
from support.system import own_store, running_system

from callback import AsyncCallbackClient

PLATFORM = "127.0.0.3"
ACTIVITIES = ("openid-login", "saml-login", "payment-webhook", "payment-return")
DEADLINE_S = 60
"""Deadline of the handlers, which is far away on a busy machine too."""


class PatientClient(AsyncCallbackClient):
    """Client whose callbacks tell no browser to wait, however long a busy machine takes for an answer."""

    async def generate_callback_url(self, *arguments, **options):
        return await super().generate_callback_url(
            *arguments, **options, answer_deadline=datetime.timedelta(seconds=DEADLINE_S)
        )


@pytest.fixture(scope="session")
def handler_address():
    """Return the address at which the handlers of the tested recipe listen."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="session")
async def world(tmp_path_factory, handler_address):
    """Run the system on `store`. `client` generates URLs, the edge is at `url`, redirects lead browsers to `platform`.

    `patient` is a client too. The system has the profiles that the recipes declare for senders with their own kind.
    All of them have `SECRET`.
    """
    directory = tmp_path_factory.mktemp("flows")
    (presets,) = [text for language, text in BLOCKS if language == "toml" and text.startswith("[profiles.github]")]
    for name in re.findall(r'"([a-z]+\.[a-z]+)"', presets):
        (directory / name).write_bytes(SECRET)
    config = "\n".join(
        f'activities.{name} = {{ target = "{handler_address}", deadline_s = {DEADLINE_S} }}' for name in ACTIVITIES
    )
    config += "\n" + re.sub(r'"([a-z]+\.[a-z]+)"', rf'"{directory}/\1"', presets)
    with own_store(directory) as store:
        async with (
            site(PLATFORM) as platform,
            running_system(
                directory, store, config=config, server={"CALLBACK_PLATFORM_URL": platform.origin}
            ) as system,
            PatientClient(system.grpc, retry=False) as patient,
        ):
            yield SimpleNamespace(
                client=system.client, patient=patient, url=system.url, platform=platform, target=system.grpc,
                store=store,
            )  # fmt: skip


@pytest.fixture
def listening(handler_address, tmp_path, monkeypatch):
    """Run a recipe with variables while its handlers listen: `async with listening(file, NAME=value, …) as names`."""

    @contextlib.asynccontextmanager
    async def listen(file, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        names = recipe(file, tmp_path)
        async with names["handlers"].listen(handler_address, grace=0):
            yield names

    return listen


@pytest.fixture(scope="session")
async def browser():
    async with chromium() as running:
        yield running


@pytest.fixture
async def page(browser, world):
    """Open a browser page with a session at the platform. It records the requests to callbacks as `arrivals`."""

    def is_to_a_callback(request):
        return request.url.startswith(world.url) and not request.url.startswith(f"{world.url}/wait/")

    world.platform.pages.clear()
    await world.platform.forget()
    async with visitor(browser) as page:
        await page.context.add_cookies(
            [{"name": "session", "value": "visitor", "url": world.platform.origin, "sameSite": "Lax", "httpOnly": True}]
        )
        page.arrivals = []
        page.on("request", lambda request: page.arrivals.append(request) if is_to_a_callback(request) else None)
        yield page


@pytest.fixture
def lands_on(page, world):
    """Wait until the browser has landed on a page of the platform.

    The platform gets the session of the browser, and does not learn where the browser came from.
    """

    async def landed(path, state):
        await lands_at(page, world.platform.origin + path)
        (method, target, headers) = world.platform.visits()[-1]
        assert (method, target) == ("GET", path)
        assert headers["cookie"] == "session=visitor"
        assert "referer" not in headers
        assert "origin" not in headers or headers["origin"] == "null"
        assert state not in json.dumps(headers)
        assert await page.evaluate("document.referrer") == ""

    return landed
