"""Pages in a real browser: they are accessible, and their button works without a script."""

import contextlib
import dataclasses

import pytest
from axe_playwright_python.async_playwright import Axe
from quart import Response, request
from soak.counts import combinations, count
from support.browser import chromium, lands_at, site, visitor
from support.edge import answering, new_state, plain, prompting, redirect, refusing, running_edge

from callback_edge import problems
from callback_edge.page_content import Choice, FieldContent, PageContent, PromptContent
from callback_edge.pages.pages import Again

LANGUAGES = ("nl", "en")  # Dutch, which has longer words, on a phone in every run
SIZES = {"phone": {"width": 320, "height": 568}, "desktop": {"width": 1280, "height": 800}}
NAMED = {"agent_detected", "busy", "callback_closed", "call_in_progress", "confirmation_required", "internal",
         "state_unknown", "too_many_requests"}  # fmt: skip
"""Text keys that every run checks: each kind of page, and the longest texts. A soak checks all."""
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40" viewBox="0 0 120 40">
<rect width="120" height="40" rx="8" fill="#b3261e"/><circle cx="20" cy="20" r="10" fill="#fff"/></svg>"""
REFERENCE = "0123456789abcdef0123456789abcdef-0123456789abcdef"
CHOICES = (Choice("approve", "Approve"), Choice("reject", "Reject"))
FIELDS = (
    FieldContent("what", "What did you pay for?", is_required=True),
    FieldContent("amount", "Amount", "number", is_required=True, minimum="1", help="As on the receipt."),
    FieldContent("day", "Day", "date", value="2026-12-03"),
    FieldContent("paid", "Paid at", "date_time", value="2026-12-03T10:50:00Z"),
    FieldContent("project", "Project", "choice", choices=CHOICES),
    FieldContent("costs", "Costs", "choices", choices=CHOICES, value="reject", help="All that apply."),
    FieldContent("note", "N" * 200, "long_text", value="w" * 500),
    FieldContent("receipt", "I have the receipt", "boolean", is_required=True),
)
CONTENT = {
    "/page": PageContent(
        200, "Thank you for your order", "Order 5 has arrived.\nYou get a message.", "To the shop", "https://a.example/"
    ),
    "/page-of-an-error": PageContent(404, "W" * 200, "w" * 2000, "M" * 100, "https://a.example/"),
    "/prompt": PromptContent("Approve order 5?", "It costs 500 euros.", CHOICES),
    "/four": PromptContent("How was it?", "", tuple(Choice(each, each) for each in ("Good", "Bad", "So so", "Other"))),
    "/form": PromptContent("Your expenses", "We pay within a week.", fields=FIELDS),
    "/form-with-errors": PromptContent(
        "Your expenses", "", CHOICES, fields=tuple(dataclasses.replace(each, problem="required") for each in FIELDS)
    ),
    "/long-prompt": PromptContent("W" * 200, "w" * 2000, tuple(Choice(f"{each}", "M" * 100) for each in range(4))),
}
"""Pages with content of a callback, by path: a usual one, and the longest words."""
AXE = {"resultTypes": ["violations", "incomplete"], "rules": {"target-size": {"enabled": True}}}
"""Axe's rules for WCAG 2.2 A and AA and good practices. The size of targets is off by default."""
CONTRAST = {"resultTypes": ["violations", "incomplete"], "runOnly": ["color-contrast"]}
"""The rule about colours. Only they depend on the colour scheme."""


@pytest.fixture(scope="module")
async def browser():
    async with chromium() as running:
        yield running


def show(edge, by_path):
    """Show problems, and contents of callbacks, by their paths on the pages of an edge."""

    @edge.app.get("/<_name>")
    async def shown(_name):
        content, headers = by_path.get(request.path, problems.NOT_FOUND), request.scope["headers"]
        if isinstance(content, problems.Problem):
            again = Again.AT_ADDRESS if content.status >= 400 else None
            answer = edge.exchanges.pages.answer(content, headers, reference=REFERENCE, again=again)
        else:
            pages = edge.exchanges.pages
            if isinstance(content, PageContent):
                answer = await pages.respond(content, headers)
            else:
                problem = problems.FIELDS_INVALID if content.has_problems else problems.CONFIRMATION_REQUIRED
                answer = await pages.ask(problem, content, headers)
        return Response(answer.body, answer.status, answer.headers)


@contextlib.asynccontextmanager
async def viewer(browser, **options):
    """A visitor of pages. At the end the browser has no complaint about them."""
    async with visitor(browser, **options) as page:
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        yield page
        assert [each for each in complaints if "the server responded with a status of" not in each] == []


async def assert_accessible_and_fits(page, options, *about):
    found = (await Axe().run(page, options=options)).response
    assert found["passes"]
    assert [each["id"] for each in found["violations"] + found["incomplete"]] == [], about
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize(("size", "scheme"), combinations(SIZES, ["light", "dark"]))
async def test_pages_with_a_brand_are_accessible_and_show_it(browser, tmp_path, size, scheme):
    logos = {"brand_logo_file": tmp_path / "light.svg", "brand_logo_dark_file": tmp_path / "dark.svg"}
    for file in logos.values():
        file.write_text(LOGO)
    async with (
        viewer(browser, viewport=SIZES[size], color_scheme=scheme, locale="en") as page,
        running_edge(
            brand_name="Acme & Sons", brand_url="https://acme.example/", brand_color="#b3261e", **logos
        ) as edge,
    ):
        by_path = CONTENT | {"/error": problems.CALLBACK_CLOSED}
        show(edge, by_path)
        for path in by_path:
            await page.goto(f"http://127.0.0.1:{edge.port}{path}")
            await assert_accessible_and_fits(page, AXE, path)
            logo = page.get_by_role("img", name="Acme & Sons")
            assert await logo.evaluate("image => image.complete && image.naturalWidth > 0")
            assert (await page.title()).endswith(" · Acme & Sons")
            action = page.locator("button, .action").first
            ground = await action.evaluate("each => getComputedStyle(each).backgroundColor")
            assert (ground == "rgb(179, 38, 30)") is (scheme == "light")
        link = page.get_by_role("link", name="Go to Acme & Sons")
        assert await link.get_attribute("href") == "https://acme.example/"


@pytest.mark.parametrize(("size", "language"), combinations(SIZES, LANGUAGES))
async def test_every_page_is_accessible_and_fits_the_screen(browser, language, size):
    how = {"color_scheme": "light", "locale": language, "reduced_motion": "reduce", "bypass_csp": False}
    # The page that waits does not stay: tests/end_to_end/test_waiting_in_chromium.py looks at it.
    entries = {problem.text_key: problem for problem in problems.ALL - {problems.WAITING}}
    by_path = {f"/{entries[key].code}": entries[key] for key in count(NAMED, entries)} | CONTENT
    async with viewer(browser, viewport=SIZES[size], **how) as page, running_edge() as edge:
        show(edge, by_path)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        grounds = {"light": set(), "dark": set()}
        for path, content in by_path.items():
            url = f"http://127.0.0.1:{edge.port}{path}"
            is_refused = isinstance(content, PromptContent) and content.has_problems
            assert (await page.goto(url)).status == getattr(content, "status", 422 if is_refused else 200)
            for scheme, options in (("light", AXE), ("dark", CONTRAST)):
                await page.emulate_media(color_scheme=scheme)
                await assert_accessible_and_fits(page, options, path, scheme)
                grounds[scheme].add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            seen = await page.evaluate(
                """() => ({
                    language: document.documentElement.lang,
                    title: document.title,
                    heading: document.querySelector("h1").innerText,
                    moving: document.getAnimations().length,
                    edges: [...document.querySelectorAll("button")].map((each) => each.getBoundingClientRect().left),
                    widths: [...document.querySelectorAll("button")].map((each) => each.getBoundingClientRect().width),
                    grounds: [...document.querySelectorAll("button")].map((e) => getComputedStyle(e).backgroundColor),
                })"""
            )
            assert (seen["language"], seen["moving"]) == (language, 0)
            assert seen["title"] == seen["heading"]
            if path == "/long-prompt":  # each of its buttons has a line of its own
                assert len(seen["edges"]) == 4
                assert len(set(seen["edges"])) == 1
            if path == "/four":
                assert len(set(seen["edges"])) == (2 if size == "desktop" else 1)
                assert len(set(seen["widths"])) == 1
                assert [each != "rgba(0, 0, 0, 0)" for each in seen["grounds"]] == [True, False, False, False]
            await page.emulate_media(color_scheme="light")
            assert {each for each in asked if not each.endswith("/favicon.ico")} == {url}
            asked.clear()
        assert grounds == {"light": {"rgb(242, 244, 247)"}, "dark": {"rgb(15, 19, 24)"}}


@pytest.fixture(scope="module")
async def running_sites():
    """Run two other sites: one has the link, the other is the target of the redirect."""
    async with site("127.0.0.2") as bank, site("127.0.0.3") as shop:
        shop.pages["/thankyou"] = "<title>Thank you</title>"
        yield bank, shop


@pytest.fixture
async def elsewhere(running_sites):
    """The other sites, which have seen no other visitor than this test's."""
    for each in running_sites:
        await each.forget()
    return running_sites


async def test_a_choice_is_posted_by_its_button(browser, plane, edge, elsewhere):
    _, shop = elsewhere

    async def script(request, context):
        if request.request_method == "post":
            return redirect(f"{shop.origin}/thankyou")
        return await prompting(approve="Approve", reject="Reject")(request, context)

    plane.script = script
    for choice in CHOICES:
        async with visitor(browser, java_script_enabled=False) as page:
            await page.goto(f"http://127.0.0.1:{edge.port}/cb/{new_state()}?a=1")
            assert await page.title() == "Approve order 5?"
            await page.get_by_role("button", name=choice.label).click()
            await lands_at(page, f"{shop.origin}/thankyou")
            assert plane.requests[-1].request_body == f"callback_choice={choice.value}".encode()


async def test_no_other_site_can_frame_the_button(browser, plane, edge, elsewhere):
    bank, _ = elsewhere
    plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
    url = f"http://127.0.0.1:{edge.port}/cb/{new_state()}"
    bank.pages["/trap"] = f'<title>Trap</title><iframe src="{url}"></iframe>'
    async with visitor(browser) as page:
        async with page.expect_console_message(lambda message: "frame-ancestors 'none'" in message.text):
            await page.goto(f"{bank.origin}/trap")
        assert await page.frames[1].locator("button").count() == 0


async def test_a_frame_of_another_site_shows_the_answer_of_a_call_that_takes_longer(browser, plane, edge, elsewhere):
    """The page that waits would show there as a refused connection, although the call succeeds."""
    shop, _ = elsewhere

    async def script(request, _context):
        if request.prefers_page:
            return plain(call_id=REFERENCE, wait_path=f"/wait/{REFERENCE}/{'0' * 64}")
        return plain(b"<title>Paid</title><p>Paid", headers=[("content-type", "text/html")])

    plane.script = script
    url = f"http://127.0.0.1:{edge.port}/cb/{new_state()}"
    shop.pages["/checkout"] = f'<title>Checkout</title><iframe src="{url}"></iframe>'
    async with visitor(browser) as page:
        await page.goto(f"{shop.origin}/checkout")
        assert await page.frame_locator("iframe").locator("p").inner_text() == "Paid"
    assert len(plane.requests) == 1


async def test_a_page_of_a_callback_cannot_register_a_service_worker(browser, plane, edge):
    """It would see the requests for all URLs below `/cb/`, of every owner."""

    async def script(request, _context):
        if request.state == worker:
            return plain(b"onfetch = () => {}", headers=[("content-type", "text/javascript")])
        return plain(b"<title>Page</title>", headers=[("content-type", "text/html")])

    plane.script = script
    own, worker = new_state(), new_state()
    async with visitor(browser) as page:
        await page.goto(f"http://127.0.0.1:{edge.port}/cb/{own}")
        register = """async url => {
            try {
                await navigator.serviceWorker.register(url);
                return "registered";
            } catch (error) {
                return error.message;
            }
        }"""
        for path in (f"/cb/{worker}", f"/cbq/state?state={worker}", "/nowhere"):
            assert "403" in await page.evaluate(register, path)
        assert await page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length") == 0
        assert [each.state for each in plane.requests] == [own]


@pytest.mark.parametrize("way", ["/login", "/through"], ids=["a page", "a redirect"])
@pytest.mark.parametrize("mine", [[], [("cross-origin-opener-policy", "unsafe-none")]], ids=["default", "unsafe-none"])
async def test_a_page_that_opens_a_window_does_not_see_the_callback_of_another_owner_in_it(
    browser, plane, edge, elsewhere, mine, way
):
    """The window goes to a login elsewhere, which leads to the callback: all callbacks have one origin."""
    bank, _ = elsewhere
    own, other = new_state(), new_state()

    async def script(request, _context):
        headers = [("content-type", "text/html"), *(mine if request.state == own else [])]
        return plain(b"<title>Page</title>", headers=headers)

    plane.script = script
    there = f"http://127.0.0.1:{edge.port}/cb/{other}?code=5"
    bank.pages["/login"] = f"<script>location.replace({there!r})</script>"
    bank.redirects["/through"] = there
    async with visitor(browser) as page:
        await page.goto(f"http://127.0.0.1:{edge.port}/cb/{own}")
        async with page.context.expect_page() as opened:
            await page.evaluate("url => { window.opened = window.open(url) }", bank.origin + way)
        await lands_at(await opened.value, there)
        await page.wait_for_function("opened.closed")
        assert await (await opened.value).evaluate("opener") is None


async def test_a_callback_that_says_so_keeps_the_opener_of_its_window(browser, plane, edge, elsewhere):
    bank, _ = elsewhere
    script = b"<script>opener.postMessage('signed in', '*')</script>"
    headers = [("content-type", "text/html"), ("cross-origin-opener-policy", "unsafe-none")]
    plane.script = answering(plain(script, headers=headers))
    bank.pages["/shop"] = "<script>onmessage = event => { document.title = event.data }</script>"
    async with visitor(browser) as page:
        await page.goto(f"{bank.origin}/shop")
        await page.evaluate("url => { window.open(url) }", f"http://127.0.0.1:{edge.port}/cb/{new_state()}")
        await page.wait_for_function("document.title === 'signed in'")
