"""Screenshots of every page of the edge, as PNG files in `dist/screenshots`.

`tasks.py test tests/edge/screenshots.py` makes them: on a wide screen and on a phone, light and dark, in each language,
with a brand and without one. Look at them after a change of a page. No run of all tests makes them.
"""

import dataclasses
import itertools
from pathlib import Path

from quart import Response, request
from support.browser import chromium, visitor
from support.edge import running_edge

from callback_edge import problems
from callback_edge.page_content import Choice, FieldContent, PageContent, PromptContent
from callback_edge.pages.pages import Again

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
FOLDER = Path(__file__).parents[2] / "dist" / "screenshots"
REFERENCE = "0123456789abcdef0123456789abcdef-0123456789abcdef"
BROWSER = [(b"accept", b"text/html")]
TWO = (Choice("approve", "Approve"), Choice("reject", "Reject"))
FOUR = tuple(Choice(each, each) for each in ("Good", "Bad", "So-so", "Other"))
COSTS = (Choice("travel", "Travel"), Choice("food", "Food and drinks"))
FIELDS = (
    FieldContent("what", "What did you pay for?", is_required=True),
    FieldContent("amount", "Amount in euros", "number", is_required=True, help="As on the receipt."),
    FieldContent("day", "Day", "date", value="2026-12-03"),
    FieldContent("paid", "Paid at", "date_time", value="2026-12-03T10:50:00Z"),
    FieldContent("project", "Project", "choice", choices=COSTS),
    FieldContent("costs", "Kinds of costs", "choices", choices=COSTS, value="food", help="All that apply."),
    FieldContent("note", "Note", "long_text"),
    FieldContent("receipt", "I have the receipt", "boolean", is_required=True),
)
ENTERED = {"amount": "12,5", "day": "2025-12-31"}
PROBLEMS = {"what": "required", "amount": "form", "day": "too_small", "costs": "too_small", "receipt": "required"}
WRONG = tuple(
    dataclasses.replace(
        each, problem=PROBLEMS.get(each.name, ""), value=ENTERED.get(each.name, each.value), minimum="2026-01-01"
    )
    for each in FIELDS
)
LONG = tuple(Choice(str(number), f"Refund the order and send {number} mugs once more") for number in range(3))
CONTENT = {
    "page": PageContent(
        200, "Thank you", "Order 5 has arrived.\nYou get a message.", "To the shop", "https://a.example"
    ),
    "page-404": PageContent(
        404, "We do not know this order", "Is the number right?", "To the shop", "https://a.example"
    ),
    "form": PromptContent("Your expenses", "We pay within a week.", fields=FIELDS),
    "form-errors": PromptContent("Your expenses", "We pay within a week.", TWO, fields=WRONG),
    "choices-2": PromptContent("Approve order 5?", "It costs 500 euros.", TWO),
    "choices-3-long": PromptContent("What shall we do?", "", LONG),
    "choices-4": PromptContent("How was it?", "", FOUR),
}


async def take(browser, edge, name):
    """Take screenshots of every page of an edge, whose look has a name."""

    @edge.app.get("/show/<which>")
    async def shown(which):
        headers, pages = [*BROWSER, *request.scope["headers"]], edge.exchanges.pages
        which, _, way = which.partition("~")
        if which == "waiting":
            answer = pages.wait(f"/wait/{REFERENCE}", headers)
        elif isinstance(content := CONTENT.get(which), PageContent):
            answer = await pages.respond(content, headers)
        elif content:
            problem = problems.FIELDS_INVALID if content.has_problems else problems.CONFIRMATION_REQUIRED
            answer = await pages.ask(problem, content, headers)
        else:
            problem = next(each for each in problems.ALL if each.code == which)
            answer = pages.answer(problem, headers, reference=REFERENCE, again=Again[way] if way else None)
        # without its policy and script, the waiting page does not go on
        kept = [(key, value) for key, value in answer.headers if key not in ("content-security-policy", "location")]
        return Response(answer.body.replace(b'http-equiv="refresh"', b""), 200, kept)

    views = ["waiting", *CONTENT, *(each.code for each in problems.ALL if each is not problems.WAITING)]
    views += ["server_unreachable~AT_ADDRESS", "handler_not_started~AT_CALLBACK", "handler_failed~AT_SENDER"]
    for (size, viewport), scheme, language in itertools.product(SIZES.items(), ("light", "dark"), ("en", "nl")):
        how = {"viewport": viewport, "color_scheme": scheme, "locale": language, "reduced_motion": "reduce"}
        async with visitor(browser, java_script_enabled=False, **how) as page:
            for view in views:
                assert (await page.goto(f"http://127.0.0.1:{edge.port}/show/{view}")).status == 200
                file = FOLDER / f"edge{name}-{view.replace('~', '-')}-{size}-{scheme}-{language}.png"
                await page.screenshot(path=file, full_page=True)
        async with visitor(browser, **how) as page:
            await page.route("**/wait/**", end_with_a_download)
            await page.goto(f"http://127.0.0.1:{edge.port}/show/waiting")
            await page.locator(".done").wait_for()
            await page.screenshot(path=FOLDER / f"edge{name}-waited-{size}-{scheme}-{language}.png", full_page=True)


async def end_with_a_download(route):
    """Answer a page that waits: the answer is there, and it is a file."""
    if "prefer" in route.request.headers:
        await route.fulfill(status=204)
    else:
        await route.fulfill(headers={"content-disposition": "attachment"}, body="a ticket")


async def test_screenshots_of_every_page(tmp_path):
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        async with running_edge() as edge:
            await take(browser, edge, "")
        brand = {"brand_name": "Acme & Sons", "brand_url": "https://acme.example/", "brand_color": "#b3261e"}
        async with running_edge(**brand) as edge:
            await take(browser, edge, "-brand")
