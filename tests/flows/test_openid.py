"""Login at an OpenID provider, in a browser.

The code arrives in the query or in a form, and the handler trusts only what it has checked.
"""

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from flows.openid_provider import CLIENT_ID, CLIENT_SECRET, USER, Client, Provider, new_key
from flows.serving import serving

from callback import CallStatus, CloseReason

MODES = ["query", "form_post"]
LIES = [{"aud": "another"}, {"iss": "https://evil.example"}, {"exp": 1}, {"nonce": "another"}, {"nonce": ""}]


@pytest.fixture(scope="module")
def running(world):
    provider = Provider()
    provider.client = Client(f"{world.url}/cbq/state")
    with serving(provider.app, "127.0.0.4") as provider.issuer:
        yield provider


@pytest.fixture
def provider(running, world):
    running.reset()
    world.platform.pages["/login/done"] = "<title>Welcome</title>"
    return running


@pytest.fixture
async def login(provider, world, listening):
    async with listening(
        "openid_login.py",
        OPENID_ISSUER=provider.issuer,
        OPENID_CLIENT_ID=CLIENT_ID,
        OPENID_CLIENT_SECRET=CLIENT_SECRET,
        OPENID_REDIRECT_URI=f"{world.url}/cbq/state",
    ) as names:
        yield names


def state_of(url):
    return dict(parse_qsl(urlsplit(url).query))["state"]


async def only_call(world, case):
    (call,) = [call async for call in world.client.list_calls(case)]
    return await world.client.get_call(call.call_id)


@pytest.mark.parametrize("mode", MODES)
async def test_a_visitor_logs_in_and_lands_on_the_platform_once(page, world, provider, login, lands_on, mode):
    case, url = await login["begin"](world.patient, mode)
    await page.goto(url)
    await page.click("#go")
    await lands_on("/login/done", state_of(url))
    assert await page.title() == "Welcome"
    assert login["logged_in"] == {case: USER}

    (arrival,) = page.arrivals
    assert (arrival.method, provider.asked_for_tokens) == ("GET" if mode == "query" else "POST", 1)
    call = await only_call(world, case)
    assert call.status is CallStatus.SUCCEEDED
    sent = call.query if mode == "query" else call.form()
    assert sorted(sent) == ["code", "state"]
    assert (await world.client.get_callback(case)).close_reason is CloseReason.CONSUMED

    again = await page.request.fetch(arrival)
    assert again.url == page.url
    assert (await page.request.fetch(arrival, params={"another": "request"})).status == 404
    assert provider.asked_for_tokens == 1
    assert await only_call(world, case) == replace(call, repeat_count=1)


async def test_a_visitor_whose_login_comes_in_the_fragment_is_told_what_happened(page, world, provider, login):
    """No browser sends a fragment to a server, so the recipe says which response mode to ask for."""
    case, url = await login["begin"](world.patient, "fragment")
    await page.goto(url)
    await page.click("#go")
    await page.get_by_role("heading", name="It is not clear what this belongs to").wait_for()
    assert urlsplit(page.url).fragment.startswith("code=")
    told = await page.inner_text("main")
    assert "sent you here left out the part of the address" in told
    assert "Nothing was done. Please go back to where you started" in told
    assert [call async for call in world.client.list_calls(case)] == []


async def is_turned_away(world, login, case, url, **request):
    """Send a request as a browser does, and check that it shows the handler's message and no user is logged in."""
    async with httpx.AsyncClient(follow_redirects=True) as visitor:
        answer = await visitor.send(visitor.build_request(url=url, **request))
    assert answer.text == "This login is not valid."
    assert login["logged_in"] == {}
    assert (await only_call(world, case)).status is CallStatus.REJECTED
    assert (await world.client.get_callback(case)).close_reason is CloseReason.FAILED


@pytest.mark.parametrize("lies", LIES, ids=str)
async def test_a_token_that_is_not_for_this_login_is_refused(world, provider, login, lies):
    provider.lies = lies
    case, url = await login["begin"](world.patient)
    await is_turned_away(world, login, case, url, method="POST")
    assert provider.asked_for_tokens == 1


async def test_a_token_signed_by_someone_else_is_refused(world, provider, login):
    provider.signs_with = new_key()
    case, url = await login["begin"](world.patient)
    await is_turned_away(world, login, case, url, method="POST")


async def test_a_code_of_another_login_is_rejected(world, provider, login):
    _, theirs = await login["begin"](world.patient)
    async with httpx.AsyncClient() as elsewhere:
        code = dict(parse_qsl(urlsplit((await elsewhere.post(theirs)).headers["location"]).query))["code"]
    case, ours = await login["begin"](world.patient)
    params = {"code": code, "state": state_of(ours)}
    await is_turned_away(world, login, case, f"{world.url}/cbq/state", method="GET", params=params)
    assert provider.asked_for_tokens == 1


async def test_a_visitor_who_cancels_gets_a_message(page, world, provider, login):
    case, url = await login["begin"](world.patient)
    await page.goto(f"{world.url}/cbq/state?{urlencode({'error': 'access_denied', 'state': state_of(url)})}")
    assert await page.inner_text("body") == "The login was cancelled."
    assert (await only_call(world, case)).status is CallStatus.REJECTED
    assert provider.asked_for_tokens == 0
