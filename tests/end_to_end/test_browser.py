"""Callbacks in a real browser: redirected by a bank, or posted by another origin, it lands on the right page."""

import asyncio
import contextlib
import datetime
import json

import pytest
from playwright.async_api import Error as PlaywrightError
from soak.counts import combinations
from support.browser import lands_at, site, visitor
from support.handlers import accept, answering, override, reject
from support.system import system_of_its_own
from support.wait import wait_until

from callback import CallbackStatus, CallStatus, CloseReason, GetGuard, InvalidRequestError, Redirect, Response
from callback.v1 import callback_pb2 as resources

REDIRECT = resources.RESPONSE_TYPE_REDIRECT
HOSTILE = [
    "//evil.example/", "/\\evil.example/", "\\\\evil.example/", "javascript:document.title='evil'",
    "data:text/html,evil",
    "https:evil.example", "http:/\\evil.example", "https://user@evil.example/", "///evil.example", "/\t/evil.example/",
    " //evil.example/", "https://evil.example\\@platform.example/", "file:///etc/passwd", "",
]  # fmt: skip
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
"""The user agent of a browser that a person uses. That of these tests names itself HeadlessChrome."""
PATIENTLY = {"answer_deadline": datetime.timedelta(seconds=30)}
"""Settings of a case whose browser is not told to wait, however long a busy machine takes for an answer."""


@pytest.fixture(scope="module")
async def running_sites():
    """Run two sites: the bank (or another sender that redirects the browser), and the platform of the owner."""
    async with site("127.0.0.2") as bank, site("127.0.0.3") as platform:
        platform.pages["/page/thankyou"] = "<title>Thank you</title>"
        yield bank, platform


@pytest.fixture(scope="module")
async def around(running_sites, world, tmp_path_factory):
    """Run a system whose platform is one of these sites, with the handler of `world`."""
    config = f'activities.push = {{ target = "{world.handler.target}", deadline_s = 30 }}'
    server = {"CALLBACK_PLATFORM_URL": running_sites[1].origin, "CALLBACK_REDIRECT_SCHEMES": "shopapp"}
    async with system_of_its_own(tmp_path_factory.mktemp("browser"), config=config, server=server) as system:
        yield type(world)(system, world.handler, world.mortal)


@pytest.fixture
async def sites(running_sites):
    """The sites, which have seen no other visitor than this test's."""
    for each in running_sites:
        await each.forget()
    return running_sites


@pytest.fixture
async def page(browser, sites):
    async with visitor(browser) as opened:
        yield opened


def link(url):
    return f'<title>Bank</title><a id="back" href="{url}">Back to the shop</a>'


def form(action, **fields):
    """Return a page that submits a form by itself, as OAuth's `form_post` and SAML's POST binding do."""
    inputs = "".join(f"<input type=hidden name='{name}' value='{value}'>" for name, value in fields.items())
    return f"<body onload='document.forms[0].submit()'><form method=post action='{action}'>{inputs}</form>"


async def test_a_bank_sends_the_browser_back_and_it_lands_on_the_platform(page, sites, around):
    bank, platform = sites

    async def decide(request, _context):
        query = {pair.name: pair.value for pair in request.request_query}
        return accept() if query.get("trxid") == "0050000513453434" else reject()

    name = around.handler.play(decide)
    case = await around.client.generate_callback_url(
        "push", Redirect("/page/thankyou"), activity_case=name, **PATIENTLY
    )
    bank.pages["/pay"] = link(f"{case.url}?trxid=0050000513453434&ec=a%20b")
    await page.goto(f"{bank.origin}/pay?session=secret")
    await page.click("#back")
    await lands_at(page, f"{platform.origin}/page/thankyou")
    assert await page.title() == "Thank you"

    (request,) = around.handler.requests(name)
    assert (request.request_method, request.request_body) == ("get", b"")
    assert request.request_query_string == "trxid=0050000513453434&ec=a%20b"
    assert (await around.client.get_callback(case.case_id)).close_reason is CloseReason.CONSUMED
    ((method, target, headers),) = platform.visits()
    assert (method, target) == ("GET", "/page/thankyou")
    assert_tells_nothing(headers, case)

    answer = await page.goto(f"{case.url}?trxid=0050000513453434")
    assert answer.status == 410
    assert "can no longer be used" in await page.inner_text("h1")
    assert case.state not in await page.content()
    assert len(around.handler.requests(name)) == 1


def assert_tells_nothing(headers, case):
    """Check that the target site of a callback learns neither the callback's URL nor the site before it."""
    assert case.state not in json.dumps(headers)
    assert "referer" not in headers


@pytest.mark.parametrize("method", ["get", "post"])
async def test_double_click_reload_and_back_run_the_handler_once_and_end_on_the_same_page(page, sites, around, method):
    bank, _ = sites
    gate = asyncio.Event()

    async def decide(_request, _context):
        await gate.wait()
        headers = [("content-type", "text/html")]
        return accept(override(headers, response_body=b"<title>Paid</title><h1>Paid</h1>"))

    name = around.handler.play(decide)
    parameter = "state" if method == "post" else ""
    case = await around.client.generate_callback_url(
        "push", Response(), activity_case=name, state_query_parameter=parameter, **PATIENTLY
    )
    if method == "get":
        bank.pages["/pay"] = link(f"{case.url}?trxid=1")
    else:
        fields = f"<input type=hidden name=state value={case.state}><input type=hidden name=code value=1>"
        bank.pages["/pay"] = (
            f"<form method=post action={case.url.partition('?')[0]}>{fields}<button id=back>Back to the shop</button>"
        )
    await page.goto(f"{bank.origin}/pay")

    async def script(text):
        await page.evaluate(f"() => {{ setTimeout(() => {{ {text} }}, 200) }}")  # it ends before the page is left

    click = "document.getElementById('back').click();"
    await script(click + click)
    await wait_until(lambda: around.handler.requests(name), what="the call")
    await page.goto(f"{bank.origin}/pay")  # it gives up the request that waits

    async def has_repeats(count):
        (call,) = [call async for call in around.client.list_calls(case.case_id)]
        return call.repeat_count >= count

    await script(click)
    await wait_until(lambda: has_repeats(1), what="a repeat")
    gate.set()
    await lands_at(page, f"{around.system.url}/*")
    assert await page.title() == "Paid"

    await page.reload()
    assert await page.title() == "Paid"
    await page.go_back()
    await page.click("#back")
    await lands_at(page, f"{around.system.url}/*")
    assert await page.title() == "Paid"
    assert len(around.handler.requests(name)) == 1
    assert await has_repeats(3)
    assert (await around.client.get_callback(case.case_id)).close_reason is CloseReason.CONSUMED


@pytest.mark.parametrize(
    ("parameter", "fields"),
    [
        ("state", {"code": "SplxlOBeZQQYbYS6WxSbIA", "iss": "https://idp.example", "note": "a+b &amp; é"}),
        ("RelayState", {"SAMLResponse": "PHNhbWxwOlJlc3BvbnNlLz4=" * 2000}),
    ],
)
async def test_a_form_of_another_origin_arrives_and_is_followed_by_get(page, sites, around, parameter, fields):
    idp, platform = sites
    name = around.handler.play(answering(accept()))
    case = await around.client.generate_callback_url(
        "push", Redirect("/page/thankyou?from=idp"), activity_case=name, state_query_parameter=parameter, **PATIENTLY
    )
    idp.pages["/login"] = form(case.url.partition("?")[0], **{parameter: case.state}, **fields)
    sent = []

    async def note(route):
        sent.append(route.request.post_data_buffer)
        await route.continue_()

    await page.route("**/cbq/**", note)
    await page.goto(f"{idp.origin}/login")
    await lands_at(page, f"{platform.origin}/page/thankyou?from=idp")

    (request,) = around.handler.requests(name)
    assert (request.request_method, request.request_query_string) == ("post", "")
    assert [request.request_body] == sent
    assert request.request_body.startswith(f"{parameter}={case.state}&".encode())
    headers = {field.name: field.value for field in request.request_headers}
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["origin"] == idp.origin
    assert (await around.last_call(case)).body == request.request_body
    ((method, target, headers),) = platform.visits()
    assert (method, target) == ("GET", "/page/thankyou?from=idp")
    assert_tells_nothing(headers, case)


async def test_a_page_of_a_handler_does_not_leak_its_url(page, sites, around):
    _, platform = sites
    body = f'<a id="on" href="{platform.origin}/page/thankyou">on</a><img src="{platform.origin}/pixel">'
    case = await around.client.generate_callback_url(
        "record", Response(body, headers={"Content-Type": "text/html"}), allow_multiple_calls=True
    )
    await page.goto(case.url)
    await page.click("#on")
    await lands_at(page, f"{platform.origin}/page/thankyou")
    assert {target for _, target, _ in platform.visits()} == {"/pixel", "/page/thankyou"}
    for _, _, headers in platform.visits():
        assert "referer" not in headers


async def test_a_hostile_redirect_never_leads_a_browser_anywhere(page, sites, around):
    bank, platform = sites
    left = []
    page.on("request", lambda request: left.append(request.url))
    for url in HOSTILE:
        if url:
            with pytest.raises(InvalidRequestError):
                await around.client.generate_callback_url("push", Redirect(url))
        name = around.handler.play(answering(accept(override(response_type=REDIRECT, response_redirect_url=url))))
        case = await around.client.generate_callback_url("push", Response(b""), activity_case=name, **PATIENTLY)
        left.clear()
        bank.pages["/pay"] = link(case.url)
        await page.goto(f"{bank.origin}/pay")
        async with page.expect_response(case.url) as answered:
            await page.click("#back")
        answer = await answered.value
        assert (answer.status, await answer.header_value("location")) == (502, None), url
        await page.wait_for_load_state()
        assert page.url == case.url, url
        assert [each for each in left if not each.endswith("/favicon.ico")] == [f"{bank.origin}/pay", case.url], url
        assert (await around.last_call(case)).status is CallStatus.FAILED, url
    assert platform.visits() == []


@pytest.mark.parametrize("how", ["at once", "after it has waited", "by the button that confirms"])
async def test_a_browser_is_sent_into_an_app_that_the_operator_lists(page, around, how):
    """No app is installed here: Chromium asks for the URL of the app, and stays where it is."""
    into = {
        "at once": {"activity": "record"},
        "after it has waited": {"activity": "form", "answer_deadline": datetime.timedelta(seconds=0.1)},
        "by the button that confirms": {"activity": "record", "get_guard": GetGuard.CONFIRM},
    }[how]
    case = await around.client.generate_callback_url(response=Redirect("shopapp://paid?order=5"), **into)
    async with page.expect_event("requestfailed", lambda request: request.url == "shopapp://paid?order=5") as asked:
        with contextlib.suppress(PlaywrightError):  # the navigation ends at the app
            await page.goto(case.url)
        if "waited" in how:
            await around.client.resolve_callback(case.case_id)
        elif "confirms" in how:
            await page.get_by_role("button").click(no_wait_after=True)
    request = await asked.value
    assert request.failure == "net::ERR_ABORTED"
    assert request.redirected_from.url.startswith(around.system.url)


async def test_a_path_stays_on_the_platform(page, sites, around):
    bank, platform = sites
    paths = ["/", "/page/thankyou?next=//evil.example#x", "/a//b", "/.//evil.example", "/%2f%2fevil.example", "/@evil"]
    for path in paths:
        case = await around.client.generate_callback_url("record", Redirect(path))
        bank.pages["/pay"] = link(case.url)
        await page.goto(f"{bank.origin}/pay")
        await page.click("#back")
        await lands_at(page, f"{platform.origin}/*")
    assert [method for method, _, _ in platform.visits()] == ["GET"] * len(paths)


async def by_mouse(page):
    await page.get_by_role("button").click()


async def by_keyboard(page):
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")


@pytest.mark.parametrize(("press", "parameter"), combinations([by_mouse, by_keyboard], ["", "state"]))
async def test_a_person_confirms_and_the_handler_gets_the_confirmed_get(browser, sites, around, press, parameter):
    mail, platform = sites
    name = around.handler.play(answering(accept()))
    case = await around.client.generate_callback_url(
        "push",
        Redirect("/page/thankyou"),
        activity_case=name,
        state_query_parameter=parameter,
        get_guard=GetGuard.CONFIRM,
        **PATIENTLY,
    )
    url = f"{case.url}{'&' if parameter else '?'}trxid=5&a=%20b&&c"
    async with visitor(browser, java_script_enabled=False, locale="nl-NL") as page:
        mail.pages["/mail"] = f'<a id="link" href="{url.replace("&", "&amp;")}">Bevestig uw bestelling</a>'
        await page.goto(f"{mail.origin}/mail")
        await page.click("#link")
        await lands_at(page, url)
        assert await page.inner_text("button") == "Doorgaan"
        await page.reload()
        assert around.handler.requests(name) == []
        before = await around.client.get_callback(case.case_id)
        assert (before.status, before.call_count) == (CallbackStatus.OPEN, 0)

        await press(page)
        await lands_at(page, f"{platform.origin}/page/thankyou")
        (request,) = around.handler.requests(name)
        assert (request.request_method, request.request_body) == ("get", b"")
        assert f"?{request.request_query_string}" == url[url.index("?") :]
        assert [field.name for field in request.request_headers if field.name.startswith("content-")] == []
        (call,) = (await around.client.list_calls_page(case.case_id)).items
        recorded = await around.client.get_call(call.call_id)
        assert (recorded.method, recorded.body, recorded.status) == ("get", b"", CallStatus.SUCCEEDED)
        assert (await around.client.get_callback(case.case_id)).close_reason is CloseReason.CONSUMED
        ((method, target, headers),) = platform.visits()
        assert (method, target) == ("GET", "/page/thankyou")
        assert "referer" not in headers

        answer = await page.goto(url)
        assert answer.status == (404 if parameter else 410)


async def test_a_second_click_does_nothing_twice_and_ends_on_the_same_page(browser, sites, around):
    """Click twice with JavaScript disabled, as only a script could prevent a second click."""
    _, platform = sites
    gate = asyncio.Event()

    async def script(_request, _context):
        await gate.wait()
        return accept()

    name = around.handler.play(script)
    case = await around.client.generate_callback_url(
        "push", Redirect("/page/thankyou"), activity_case=name, get_guard=GetGuard.CONFIRM, **PATIENTLY
    )
    async with visitor(browser, java_script_enabled=False) as page:
        await page.goto(case.url)
        box = await page.locator("button").bounding_box()
        place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await page.mouse.click(*place)  # page.click would wait for the response
        await wait_until(lambda: around.handler.requests(name))
        await page.mouse.click(*place)

        async def waits():
            return (await around.client.list_calls_page(case.case_id)).items[0].repeat_count == 1

        await wait_until(waits, what="the second request")
        gate.set()
        await lands_at(page, f"{platform.origin}/page/thankyou")
        answer = await page.goto(case.url)  # it was to be confirmed, so it is not the same request
        assert answer.status == 410
        assert await page.inner_text("h1") == "This link can no longer be used"
        assert "If you used it and do not know the result, please check" in await page.inner_text("p")
        assert len(around.handler.requests(name)) == 1


async def test_a_link_preview_gets_a_neutral_page_and_does_not_use_up_the_callback(browser, sites, around):
    _, platform = sites
    name = around.handler.play(answering(accept()))
    case = await around.client.generate_callback_url(
        "push", Redirect("/page/thankyou"), activity_case=name, get_guard=GetGuard.DETECT, **PATIENTLY
    )
    async with visitor(browser, user_agent="Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)") as page:
        answer = await page.goto(case.url)
        assert (answer.status, await page.title()) == (200, "Open this link in a browser")
    assert around.handler.requests(name) == []
    assert (await around.client.get_callback(case.case_id)).status is CallbackStatus.OPEN

    async with visitor(browser, user_agent=PERSON) as page:
        await page.goto(case.url)
        assert page.url == f"{platform.origin}/page/thankyou"
        assert len(around.handler.requests(name)) == 1
