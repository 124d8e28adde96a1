"""Callbacks and the pages of other sites in a real browser: their scripts, as the callback allows it."""

import asyncio
import datetime
import json

import pytest
from support.browser import site, visitor
from support.wait import wait_until

from callback import Response

SOON = datetime.timedelta(seconds=0.1)
FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options)
        const [location, retryAfter] = ["location", "retry-after"].map(name => answer.headers.get(name))
        return {status: answer.status, text: await answer.text(), location, retryAfter}
    } catch (error) {
        return error.name
    }
}"""
NOT_ALLOWED = "TypeError"
"""All that a script learns where the browser does not let it read the answer, or make the request."""


@pytest.fixture(scope="module")
async def shop():
    async with site("127.0.0.2") as running:
        running.pages["/"] = "<title>Shop</title>"
        yield running


@pytest.fixture(scope="module")
async def stranger():
    async with site("127.0.0.3") as running:
        running.pages["/"] = "<title>Stranger</title>"
        yield running


async def fetch(page, url, **options):
    """Make a request by a script on a page."""
    return await page.evaluate(FETCH, [url, options])


def put(text, **options):
    """Return options of a request that needs a preflight."""
    return {"method": "PUT", "body": text, "headers": {"Content-Type": "application/json", "X-Own": "1"}} | options


async def call_count(world, case):
    return (await world.client.get_callback(case.case_id)).call_count


async def test_a_script_of_an_allowed_site_calls_and_reads_answers_and_problems(browser, world, shop, stranger):
    case = await world.client.generate_callback_url("record", Response("welcome"), allowed_origins=[shop.origin])
    async with visitor(browser) as at_shop, visitor(browser) as elsewhere:
        await at_shop.goto(f"{shop.origin}/")
        await elsewhere.goto(f"{stranger.origin}/")
        assert await fetch(elsewhere, case.url, **put("1")) == NOT_ALLOWED
        assert await fetch(at_shop, case.url, **put("1", credentials="include")) == NOT_ALLOWED
        assert await call_count(world, case) == 0
        for _ in range(2):  # the second is a repeat
            answer = await fetch(at_shop, case.url, **put("1"))
            assert (answer["status"], answer["text"]) == (200, "welcome")
        closed = await fetch(at_shop, case.url, **put("2"))
        assert (closed["status"], json.loads(closed["text"])["code"]) == (410, "callback_closed")
        assert await fetch(elsewhere, case.url) == NOT_ALLOWED
        assert await call_count(world, case) == 1


async def test_a_script_that_is_told_to_wait_gets_the_answer_at_the_address_of_its_call(browser, world, shop, stranger):
    case = await world.client.generate_callback_url(
        "form", Response("welcome"), answer_deadline=SOON, allowed_origins=[shop.origin]
    )
    async with visitor(browser) as at_shop, visitor(browser) as elsewhere:
        await at_shop.goto(f"{shop.origin}/")
        await elsewhere.goto(f"{stranger.origin}/")
        told = await fetch(at_shop, case.url, method="POST", body="id=7")
        assert (told["status"], told["retryAfter"]) == (202, "1")
        address = f"{world.system.url}{told['location']}"
        waiting = asyncio.create_task(fetch(at_shop, address))
        await world.client.resolve_callback(case.case_id)
        answer = await waiting
        assert (answer["status"], answer["text"]) == (200, "welcome")
        assert await fetch(elsewhere, address) == NOT_ALLOWED


async def test_a_script_of_every_site_reads_where_all_are_allowed_and_of_none_where_none_is(browser, world, stranger):
    everyone = await world.client.generate_callback_url("record", Response("welcome"), allowed_origins=["*"])
    no_one = await world.client.generate_callback_url("record", Response("welcome"))
    async with visitor(browser) as page:
        await page.goto(f"{stranger.origin}/")
        assert (await fetch(page, everyone.url, **put("1")))["text"] == "welcome"
        assert await fetch(page, everyone.url, **put("1", credentials="include")) == NOT_ALLOWED
        assert await fetch(page, no_one.url, **put("1")) == NOT_ALLOWED
        assert await call_count(world, no_one) == 0
        # A request that a form could make is made without asking, as ever: only its answer cannot be read.
        assert await fetch(page, no_one.url, method="POST", body="id=7") == NOT_ALLOWED
        await wait_until(lambda: call_count(world, no_one), what="the call")


def checkout(url):
    """Return a page that posts a form into a frame, as 3-D Secure does."""
    return f"""<title>Checkout</title><iframe name="step"></iframe>
        <form method="post" action="{url}" target="step"><input name="id" value="7"></form>
        <script>document.forms[0].submit()</script>"""


async def test_a_frame_of_a_named_site_waits_and_shows_the_answer_and_no_other_frame_does(
    browser, world, shop, stranger
):
    case = await world.client.generate_callback_url(
        "form",
        Response("<p>Paid", headers={"Content-Type": "text/html"}),
        answer_deadline=SOON,
        frame_origins=[shop.origin],
    )
    shop.pages["/checkout"] = stranger.pages["/checkout"] = checkout(case.url)

    def is_refusal(message):
        return f"frame-ancestors {shop.origin}" in message.text

    async with visitor(browser, locale="en") as at_shop, visitor(browser, locale="en") as elsewhere:
        await at_shop.goto(f"{shop.origin}/checkout")
        frame = at_shop.frame_locator("iframe")
        await frame.get_by_role("heading", name="One moment, please").wait_for()
        async with elsewhere.expect_console_message(is_refusal):
            await elsewhere.goto(f"{stranger.origin}/checkout")
        await world.client.resolve_callback(case.case_id)
        await frame.get_by_text("Paid").wait_for()
        async with elsewhere.expect_console_message(is_refusal):
            await elsewhere.reload()  # there is an answer now, for the same request
        assert await elsewhere.frame_locator("iframe").get_by_text("Paid").count() == 0
    assert await call_count(world, case) == 1
