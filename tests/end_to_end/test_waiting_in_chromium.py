"""A visitor who waits: the page becomes the answer, with and without a script, whatever is restarted meanwhile."""

import asyncio
import contextlib
import datetime

import pytest
from axe_playwright_python.async_playwright import Axe
from soak.counts import combinations
from support.browser import lands_at, site, visitor
from support.system import system_of_its_own
from support.wait import wait_until
from support.workers import connected, handlers_of

from callback import CallStatus, GetGuard, Redirect, Response, Worker

CHECK = "M6 12.5l4 4L18 8"
"""What the sign of what is done is drawn with."""
HEADINGS = {"en": "One moment, please", "nl": "Een ogenblik"}


@pytest.fixture(scope="module")
async def shop():
    async with site("127.0.0.3") as running:
        running.pages["/thankyou"] = "<title>Thank you</title>"
        yield running


@pytest.fixture(scope="module")
async def system(tmp_path_factory):
    config = "activities.late = { deadline_s = 3 }"
    async with system_of_its_own(tmp_path_factory.mktemp("system"), config=config) as running:
        yield running


@contextlib.asynccontextmanager
async def waiting(browser, url, *, scripts=True, posts=False, **options):
    """A page that has opened a URL, or posted a form to it, and shows that it waits."""
    async with visitor(browser, java_script_enabled=scripts, locale="en", **options) as page:
        await open_in(page, url, posts=posts)
        assert await page.title() == HEADINGS["en"]
        yield page


async def open_in(page, url, *, posts):
    """Open a URL in a page, or post a form to it by a double click."""
    if not posts:
        await page.goto(url)
        return
    await page.set_content(f"<form method=post action='{url}'><input name=id value=7><button>Pay</button></form>")
    await page.get_by_role("button").dblclick()
    await lands_at(page, url)


async def shows(page, text, url):
    """Wait until a page shows a text.

    A Chromium with a window loads a page again whose server it did not reach. This one has none, so a visitor does it.
    """

    async def is_shown():
        if page.url.startswith("chrome-error:"):
            await page.goto(url)
        return await page.get_by_text(text).is_visible()

    await wait_until(is_shown, what=f"a page with {text}")


async def assert_one_call(system, case):
    (call,) = (await system.client.list_calls_page(case.case_id)).items
    assert call.status is CallStatus.SUCCEEDED


@pytest.mark.parametrize("restarted", ["server", "edge"])
async def test_visitors_who_wait_get_the_answer_after_a_restart(browser, system, restarted):
    async with contextlib.AsyncExitStack() as visitors:
        pages = {}
        for scripts, posts in [(True, False), (False, False), (True, True)]:
            case = await system.client.generate_callback_url("form", Response("welcome"))
            pages[case] = await visitors.enter_async_context(waiting(browser, case.url, scripts=scripts, posts=posts))
        process = getattr(system, restarted)
        await asyncio.to_thread(process.stop)
        await asyncio.to_thread(process.start)
        for case, page in pages.items():
            await system.client.resolve_callback(case.case_id)
            await shows(page, "welcome", case.url)
            await assert_one_call(system, case)


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_visitor_who_closes_the_browser_and_opens_the_url_again_comes_back(browser, system, shop, scripts):
    case = await system.client.generate_callback_url("form", Redirect(f"{shop.origin}/thankyou"))
    async with waiting(browser, case.url, scripts=scripts):
        pass
    async with waiting(browser, case.url, scripts=scripts) as page:
        await system.client.resolve_callback(case.case_id)
        await lands_at(page, f"{shop.origin}/thankyou")
    async with visitor(browser, java_script_enabled=scripts) as page:
        await page.goto(case.url)
        assert await page.title() == "Thank you"
        await assert_one_call(system, case)


PROBLEM = {"Content-Type": "application/problem+json", "Retry-After": "60"}
"""Headers that an answer of the edge has, too."""


@pytest.mark.parametrize("posts", [False, True])
async def test_a_visitor_who_reloads_goes_back_and_opens_another_tab_makes_one_call(browser, system, shop, posts):
    shop.pages["/"] = "<title>Shop</title>"

    async def visit(scripts):
        case = await system.client.generate_callback_url("form", Redirect(f"{shop.origin}/thankyou"))
        async with waiting(browser, case.url, scripts=scripts, posts=posts) as page:
            await page.reload()
            assert await page.title() == HEADINGS["en"]
            if not posts:  # Chromium goes back to the page of a form only if the visitor agrees to send it again
                await page.goto(f"{shop.origin}/")
                await page.go_back()
                assert await page.title() == HEADINGS["en"]
            tab = await page.context.new_page()
            await open_in(tab, case.url, posts=posts)
            await system.client.resolve_callback(case.case_id)
            for each in (page, tab):
                await lands_at(each, f"{shop.origin}/thankyou")
            await assert_one_call(system, case)

    await asyncio.gather(visit(True), visit(False))


@pytest.mark.parametrize(("code", "headers"), combinations([200, 202, 503], [PROBLEM, {}]))
async def test_the_page_becomes_any_answer_of_a_handler(browser, system, code, headers):
    case = await system.client.generate_callback_url("form", Response())
    async with waiting(browser, case.url) as page:
        await system.client.resolve_callback(case.case_id, Response("the shop is closed", code=code, headers=headers))
        await page.get_by_text("the shop is closed").wait_for()


@pytest.mark.parametrize(("language", "scheme"), combinations(HEADINGS, ["light", "dark"]))
async def test_the_page_is_accessible_and_complains_about_nothing(browser, system, language, scheme):
    case = await system.client.generate_callback_url("form", Response("welcome"))
    async with visitor(
        browser, locale=language, color_scheme=scheme, viewport={"width": 320, "height": 568}, bypass_csp=False
    ) as page:
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(case.url)
        assert await page.title() == HEADINGS[language]
        found = (await Axe().run(page)).response
        assert [each["id"] for each in found["violations"] + found["incomplete"]] == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await system.client.resolve_callback(case.case_id)
        await page.get_by_text("welcome").wait_for()
        assert [each for each in complaints if "the server responded with a status of" not in each] == []


def again(page):
    """Return the button with which a visitor tries again."""
    return page.get_by_role("link", name="Try again")


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_visitor_who_came_while_no_worker_was_connected_tries_again_by_a_button(browser, system, scripts):
    case = await system.client.generate_callback_url("late", Response())

    async def handle(call):
        return Response(f"paid by {call.query['by']}")

    async with visitor(browser, java_script_enabled=scripts, locale="en") as page:
        await page.goto(f"{case.url}?by=card")
        await again(page).wait_for()
        assert await page.title() == "Temporarily unavailable"
        assert case.state not in page.url + await page.content()
        async with connected(Worker(handlers_of(late=handle), system.grpc)):
            await again(page).click()
            await page.get_by_text("paid by card").wait_for()


class FailingOnce:
    """A handler whose first call fails once `failing` is set."""

    def __init__(self):
        self.began = asyncio.Event()
        self.failing = asyncio.Event()

    async def handle(self, _call):
        self.began.set()
        if not self.failing.is_set():
            await self.failing.wait()
            raise ValueError
        return Response("welcome")


@contextlib.asynccontextmanager
async def failing_once(system, **options):
    """A case whose handler fails once, and that handler."""
    handler = FailingOnce()
    case = await system.client.generate_callback_url("fails-once", Response(), **options)
    async with connected(Worker(handlers_of(**{"fails-once": handler.handle}), system.grpc)):
        yield case, handler


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_visitor_whose_call_failed_tries_again_if_the_callback_is_open(browser, system, scripts):
    async with (
        failing_once(system, retryable_after_error=True) as (case, handler),
        waiting(browser, case.url, scripts=scripts) as page,
    ):
        handler.failing.set()
        await again(page).click()
        await page.get_by_text("welcome").wait_for()


async def test_a_visitor_whose_call_failed_for_good_is_offered_no_second_try(browser, system):
    async with failing_once(system) as (case, handler), waiting(browser, case.url) as page:
        handler.failing.set()
        await page.get_by_text("handler_failed").wait_for()
        assert await again(page).count() == 0
        assert "check with the organisation" in await page.inner_text("main")


async def test_a_visitor_who_confirmed_a_link_gets_back_to_the_question(browser, system):
    async with (
        failing_once(system, retryable_after_error=True, get_guard=GetGuard.CONFIRM) as (case, handler),
        visitor(browser, locale="en") as page,
    ):
        await page.goto(case.url)
        await page.get_by_role("button").click()
        await handler.began.wait()
        handler.failing.set()
        await again(page).click()
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_text("welcome").wait_for()


async def test_a_visitor_whose_form_failed_is_sent_to_the_site_of_the_form(browser, system):
    async with (
        failing_once(system, retryable_after_error=True) as (case, handler),
        waiting(browser, case.url, posts=True) as page,
    ):
        handler.failing.set()
        await page.get_by_text("go back to the website that sent you here").wait_for()
        assert await again(page).count() == 0


async def test_a_call_that_nobody_answered_in_time_says_so(browser, system):
    hold_time = datetime.timedelta(seconds=3)
    case = await system.client.generate_callback_url("form", Response(), hold_time=hold_time)
    async with visitor(browser, locale="en") as page:
        await page.goto(case.url)
        await page.get_by_text("it was not answered in time").wait_for()
        assert await page.title() == "Not answered in time"


async def test_a_download_after_the_wait_does_not_leave_the_page_waiting(browser, system):
    case = await system.client.generate_callback_url("form", Response())
    async with waiting(browser, case.url, reduced_motion="no-preference") as page:
        assert "do not pay again" in (await page.inner_text("main")).lower()
        assert await page.evaluate("document.getAnimations().length") == 1
        button = page.get_by_role("link", name="Look now")
        assert await button.evaluate("each => getComputedStyle(each).backgroundColor") == "rgba(0, 0, 0, 0)"
        async with page.expect_download() as downloads:
            headers = {"Content-Disposition": 'attachment; filename="ticket.txt"'}
            await system.client.resolve_callback(case.case_id, Response("your ticket", headers=headers))
        assert (await downloads.value).suggested_filename == "ticket.txt"
        await page.get_by_role("heading", name="The answer is here").wait_for()
        assert await page.title() == "The answer is here"
        assert await page.evaluate("document.getAnimations().length") == 0
        assert await page.locator(".done .sign path").get_attribute("d") == CHECK
