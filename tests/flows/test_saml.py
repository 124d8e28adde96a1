"""Login at a SAML identity provider, in a browser.

The signed assertion arrives in a form. The handler accepts it only if it is intact and belongs to the login request.
"""

import re
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from flows.serving import serving
from support.tools import require

from callback import CallbackStatus, CallStatus, CloseReason

USER = "user-7"
ENTITY, OTHER = "https://shop.example/saml", "https://other.example/saml"
SIGNATURE = re.compile(r"<(\w+:)?Signature .*?</(\w+:)?Signature>", re.DOTALL)
ASSERTION = re.compile(r"<(\w+:)?Assertion .*</(\w+:)?Assertion>", re.DOTALL)


@pytest.fixture(scope="module")
def running(world, tmp_path_factory):
    require("xmlsec1")
    # pysaml2 takes seconds to import, which each test process would spend while it collects.
    from flows.saml_identity_provider import IdentityProvider, write_service_metadata

    directory = tmp_path_factory.mktemp("saml")
    idp = IdentityProvider(directory, USER)
    services = {ENTITY: directory / "shop.xml", OTHER: directory / "other.xml"}
    for entity, path in services.items():
        write_service_metadata(path, entity, f"{world.url}/cbq/RelayState")
    with serving(idp.app, "127.0.0.5") as origin:
        idp.start(origin, services.values())
        yield idp


@pytest.fixture
def idp(running, world):
    running.reset()
    world.platform.pages["/login/done"] = "<title>Welcome</title>"
    return running


@pytest.fixture
async def login(idp, world, listening):
    async with listening(
        "saml_login.py",
        SAML_IDENTITY_PROVIDER=idp.entity,
        SAML_IDENTITY_PROVIDER_METADATA=str(idp.metadata),
        SAML_ENTITY_ID=ENTITY,
        SAML_CONSUMER=f"{world.url}/cbq/RelayState",
    ) as names:
        yield names


def state_of(url):
    return dict(parse_qsl(urlsplit(url).query))["RelayState"]


async def statuses(world, case):
    """Return the statuses of the calls of the case, oldest first."""
    return [call.status async for call in world.client.list_calls(case)][::-1]


async def test_a_visitor_logs_in_and_lands_on_the_platform_once(page, world, login, lands_on):
    case, url = await login["begin"](world.patient)
    await page.goto(url)
    await page.click("#go")
    await lands_on("/login/done", state_of(url))
    assert login["logged_in"] == {case: USER}
    assert await statuses(world, case) == [CallStatus.SUCCEEDED]
    assert (await world.client.get_callback(case)).close_reason is CloseReason.CONSUMED

    (arrival,) = page.arrivals
    assert arrival.method == "POST"
    assert (await page.request.fetch(arrival)).url == page.url
    assert (await page.request.fetch(arrival, params={"another": "request"})).status == 404
    assert await statuses(world, case) == [CallStatus.SUCCEEDED]


def another_name(response):
    assert USER in response
    return response.replace(USER, "the boss")


def no_signature(response):
    assert SIGNATURE.search(response)
    return SIGNATURE.sub("", response)


def wrapped(response):
    """Return the signed assertion after an unsigned one (XML signature wrapping)."""
    signed = ASSERTION.search(response)[0]
    forged = re.sub(r' ID="[^"]*"', ' ID="forged"', another_name(SIGNATURE.sub("", signed)), count=1)
    return response.replace(signed, forged + signed)


def no_assertion(response):
    return ASSERTION.sub("", response)


def not_xml(_response):
    return "no response at all"


LIES = {
    **{tamper.__name__: {"tamper": tamper} for tamper in (another_name, no_signature, wrapped, no_assertion, not_xml)},
    "signed by another": {"is_impostor": True},
    "for another service": {"audience": OTHER},
}


async def is_refused(world, login, case, url):
    """Send the response to a login as a browser does, and check that the handler refuses it and the case stays open."""
    async with httpx.AsyncClient() as visitor:
        fields = re.findall(r'name="(\w+)" value="([^"]*)"', (await visitor.post(url)).text)
        answer = await visitor.post(f"{world.url}/cbq/RelayState", data=dict(fields))
    assert answer.text == "This login is not valid."
    assert login["logged_in"] == {}
    assert (await world.client.get_callback(case)).status is CallbackStatus.OPEN
    assert await statuses(world, case) == [CallStatus.REJECTED]


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_an_incomplete_response_is_refused(world, idp, login, lie):
    idp.lie(**lie)
    await is_refused(world, login, *await login["begin"](world.patient))


async def test_a_login_that_was_refused_can_be_retried(page, world, idp, login, lands_on):
    idp.lie(tamper=no_signature)
    case, url = await login["begin"](world.patient)
    await is_refused(world, login, case, url)
    idp.reset()
    await page.goto(url)
    await page.click("#go")
    await lands_on("/login/done", state_of(url))
    assert login["logged_in"] == {case: USER}
    assert await statuses(world, case) == [CallStatus.REJECTED, CallStatus.SUCCEEDED]


async def test_a_response_to_another_login_is_refused(world, idp, login):
    _, theirs = await login["begin"](world.patient)
    case, ours = await login["begin"](world.patient)
    idp.lie(relay_state=state_of(ours))
    await is_refused(world, login, case, theirs)
