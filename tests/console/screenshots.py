"""Screenshots of every view of the console, empty and full, as PNG files in `dist/screenshots`, and some in `docs`.

`tasks.py test tests/console/screenshots.py` makes them: on screens from that of a phone to a wide one, light and dark.
The data is that of a shop, some of it with long texts. Look at them after a change of a page, and commit those in
`docs`. No run of all tests makes them.
"""

import asyncio
import contextlib
import datetime
from pathlib import Path
from urllib.parse import urlencode

from support.browser import sign_in, visitor
from support.wait import wait_until

from callback import AnswerMode, CallFilter, GetGuard, Prompt, Reject, Response

LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", "locale": "en"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", "locale": "en"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "locale": "nl-NL"},
    "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "en"},
    "tablet": {"viewport": {"width": 768, "height": 1024}, "color_scheme": "light", "locale": "nl-NL"},
    "wide": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", "locale": "en"},
}
HOUR = datetime.timedelta(hours=1)
JSON = {"content-type": "application/json"}
ORDER = '{"id": "tr_7", "status": "paid", "amount": {"value": "49.90", "currency": "EUR"}, "lines": [{"sku": "mug"}]}'
FOLDER = Path(__file__).parents[2] / "dist" / "screenshots"
DOCS = Path(__file__).parents[2] / "docs"
IN_DOCS = {("overview", "light"), ("call-held", "light"), ("waiting", "phone-dark")}
"""Views and looks that are shown in docs/console.md, as much of each as the screen has."""
ORDER_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
LONG_NAME = "Van-der-Meulen-en-Zonen-Internationale-Handelsmaatschappij"
FORM = {"name": "Ann de Vries", "email": "ann@example.org", "arrives": "2026-12-24"}


async def take(browser, world, principal, views):
    """Take screenshots of views, by name, in every look."""
    for look, options in LOOKS.items():
        async with visitor(browser, **options) as page:
            if principal is None:
                await page.goto(f"{world.url}/waiting")
                await page.screenshot(path=FOLDER / f"sign-in-{look}.png", full_page=True)
                continue
            await sign_in(page, world.url, world.tokens[principal])
            for name, path in views.items():
                await page.goto(f"{world.url}{path}")
                for part in ("#findings", "#failing"):  # they load by themselves
                    await page.locator(f"{part}[hx-trigger=load]").wait_for(state="detached")
                await page.screenshot(path=FOLDER / f"{name}-{look}.png", full_page=True)
                if (name, look) in IN_DOCS:
                    await page.screenshot(path=DOCS / f"console-{name}.png")


async def plant(world, stack):
    """Make callbacks of the shop, and calls of every kind. Return the views of them, by name."""

    async def make(activity="record", **options):
        return await world.generate(activity, client=world.shop, **{"response": Response("thank you")} | options)

    async def call(made, query="", **request):
        return await world.call(made, query, client=world.shop, **request)

    async def hold(made, form):
        call_id, caller = await world.hold(made, client=world.shop, data=form)
        stack.push_async_callback(asyncio.wait, [caller])
        stack.push_async_callback(world.shop.answer_call, call_id)
        return call_id

    webhook = await make(
        allow_multiple_calls=True, labels={"customer": "x", "order": "5"}, activity_case="payment of order 5"
    )
    headers = JSON | {"authorization": "Bearer a-credential-of-the-caller", "user-agent": "Mollie HTTP client"}
    json_call = await call(webhook, "?testmode=true&id=tr_7", content=ORDER, headers=headers)
    form_call = await call(webhook, "?testmode=false", data=FORM)
    xml = "<order id='5'><line sku='mug'>2</line></order>"
    xml_call = await call(webhook, content=xml, headers={"content-type": "text/xml"})
    hex_call = await call(webhook, content=bytes(range(256)), headers={"content-type": "application/octet-stream"})
    activities = [*["order-paid"] * 4, *["invoice-sent"] * 3, *["login"] * 3, *["ship-order"] * 4]
    for number, activity in enumerate(activities):
        mode = AnswerMode.ACK if activity == "ship-order" else AnswerMode.HANDLER
        made = await make(activity, answer_mode=mode, labels={"customer": "xyz"[number % 3], "order": str(number)})
        failing = await call(made, content=ORDER, headers=JSON)
    choices = {"all": "Refund all of it", "half": "Refund half", "none": "Refund nothing"}
    approval = await make(
        "form", response=Response("{}", headers=JSON), labels={"customer": "y", "order": "6"},
        activity_case="refund of order 6", hold_time=3 * HOUR, get_guard=GetGuard.CONFIRM, time_to_live=48 * HOUR,
        prompt=Prompt("Refund 49.90 euros to Ann de Vries?", "Order 6, two mugs. They arrived broken.", choices),
    )  # fmt: skip
    held = await hold(approval, {"callback_choice": "all"})
    trace = {"order": ORDER_ID, "trace": f"00-{ORDER_ID.replace('-', '')}-{ORDER_ID[:8] * 2}-01", "customer": LONG_NAME}
    long = await make("invoice-and-delivery-note-of-the-whole-order", labels=trace, activity_case=ORDER_ID)
    long_call = await call(long, f"?order={ORDER_ID}&customer={LONG_NAME}", content=ORDER, headers=JSON)
    await hold(await make("form", labels=trace, activity_case=ORDER_ID, hold_time=4 * HOUR), FORM)
    await hold(await make("form", labels={"guest": "Ann"}), FORM)
    return {
        "waiting": "/waiting",
        "callbacks": "/callbacks",
        "callbacks-filtered": "/callbacks?label=customer%3Dx&last=FAILED",
        "callback": f"/callbacks/{webhook.case_id}",
        "callback-held": f"/callbacks/{approval.case_id}",
        "callback-failed": f"/callbacks/{made.case_id}",
        "callback-long": f"/callbacks/{long.case_id}",
        **{f"call-{name}": f"/calls/{call_id}" for name, call_id in (
            ("json", json_call), ("form", form_call), ("xml", xml_call), ("hex", hex_call), ("held", held),
            ("dead", failing), ("long", long_call),
        )},
        "comparison": f"/calls/{json_call}/compare?with={form_call}",
        "api": "/api",
        "not-found": f"/calls/{'0' * 32}-{'0' * 16}",
    }  # fmt: skip


async def decide(call):
    if call.activity == "invoice-sent":
        raise ValueError("no price for the mug")
    if call.activity == "ship-order":
        raise Reject("the address is not complete")


async def test_screenshots_of_every_view(browser, world):
    FOLDER.mkdir(parents=True, exist_ok=True)
    await take(browser, world, None, {})
    empty = ("waiting", "callbacks", "dead", "overview", "audit")
    await take(browser, world, "operator", {f"{each}-empty": f"/{each}" for each in empty})
    async with (
        world.working(decide, "login", "invoice-sent", "ship-order"),
        world.client_of("shop") as world.shop,
        world.client_of("operator") as operator,
        contextlib.AsyncExitStack() as stack,
    ):
        views = await plant(world, stack)

        async def are_dead_and_counted():
            dead = [each async for each in world.shop.list_owner_calls(CallFilter.DEAD)]
            return len(dead) == 4 and any(each.call_count for each in (await operator.get_statistics()).minutes)

        await wait_until(are_dead_and_counted, what="dead calls, and calls in the statistics")
        await operator.pause_activity("ship-order", reason="The carrier has no trucks until noon. Ann knows more.")
        stack.push_async_callback(operator.resume_activity, "ship-order")
        await take(browser, world, "shop", views)
        of = {"owner": "shop", "activity": "invoice-sent", "status": "FAILED", "reason": "failure.HANDLER_ERROR"}
        group = f"/dead/group?{urlencode(of)}"
        views = {"dead": "/dead?owner=shop", "group": group, "overview": "/overview", "audit": "/audit"}
        await take(browser, world, "operator", views)
