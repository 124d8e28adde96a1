"""Screenshots of every view of the console, empty and full, as PNG files in `dist/screenshots`, and some in `docs`.

`tasks.py test tests/console/screenshots.py` makes them: on a wide screen and on a phone, light and dark. The data is
that of a shop. Look at them after a change of a page, and commit those in `docs`. No run of all tests makes them.
"""

import asyncio
import contextlib
import datetime
from pathlib import Path
from urllib.parse import urlencode

from support.browser import sign_in, visitor
from support.wait import wait_until

from callback import (
    Accept,
    AnswerMode,
    AsyncCallbackClient,
    CallFilter,
    CallStatus,
    GetGuard,
    Handlers,
    Prompt,
    Redirect,
    Reject,
    Response,
    Worker,
)

LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", "locale": "en"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark", "locale": "en"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "locale": "nl-NL"},
    "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "en"},
}
HOUR = datetime.timedelta(hours=1)
JSON = {"content-type": "application/json"}
ORDER = '{"id": "tr_7", "status": "paid", "amount": {"value": "49.90", "currency": "EUR"}, "lines": [{"sku": "mug"}]}'
FOLDER = Path(__file__).parents[2] / "dist" / "screenshots"
DOCS = Path(__file__).parents[2] / "docs"
IN_DOCS = {("overview", "light"), ("call-held", "light"), ("waiting", "phone-dark")}
"""Views and looks that are shown in docs/console.md, as much of each as the screen has."""
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


class Shop:
    """The callbacks of a shop, with calls of every kind."""

    def __init__(self, world, client):
        self._world = world
        self._client = client
        self._callers = []

    async def generate(self, activity, response=None, **options):
        """Generate a callback of the shop."""
        response = Response("thank you") if response is None else response
        return await self._client.generate_callback_url(activity, response, **options)

    async def call(self, made, query="", **request):
        """Call a callback, and return the id of its newest call."""
        await self._world.system.http.post(f"{made.url}{query}", **request)
        return (await self._client.list_calls_page(made.case_id)).items[0].call_id

    async def hold(self, made, **request):
        """Call a callback that holds its caller, and return the id of the call."""
        self._callers.append(asyncio.create_task(self._world.system.http.post(made.url, timeout=None, **request)))

        async def held():
            calls = (await self._client.list_calls_page(made.case_id)).items
            return [each.call_id for each in calls if each.status is CallStatus.RUNNING]

        return (await wait_until(held, what="a held call"))[0]

    async def close(self):
        """Answer what is held."""
        async for each in self._client.list_owner_calls(CallFilter.WAITING):
            await self._client.answer_call(each.call_id)
        await asyncio.gather(*self._callers)


async def plant(world, shop):
    """Make callbacks and calls, and return the views of them, by name."""
    webhook = await shop.generate(
        "record", allow_multiple_calls=True, labels={"customer": "x", "order": "5"}, activity_case="payment of order 5"
    )
    headers = JSON | {"authorization": "Bearer a-credential-of-the-caller", "user-agent": "Mollie HTTP client"}
    json_call = await shop.call(webhook, "?testmode=true&id=tr_7", content=ORDER, headers=headers)
    form_call = await shop.call(webhook, "?testmode=false", data=FORM)
    xml_call = await shop.call(
        webhook, content="<order id='5'><line sku='mug'>2</line></order>", headers={"content-type": "text/xml"}
    )
    hex_call = await shop.call(webhook, content=bytes(range(256)), headers={"content-type": "application/octet-stream"})
    for number, activity in enumerate(["order-paid"] * 4 + ["invoice-sent"] * 3 + ["login"] * 3):
        made = await shop.generate(
            activity,
            Redirect("https://shop.example/thanks"),
            labels={"customer": "xyz"[number % 3], "order": str(number)},
        )
        await shop.call(made, "?status=open")
    for number in range(4):
        made = await shop.generate(
            "ship-order", answer_mode=AnswerMode.ACK, labels={"customer": "xyz"[number % 3], "order": str(number)}
        )
        failing = await shop.call(made, content=ORDER, headers=JSON)
    prompt = Prompt(
        "Refund 49.90 euros to Ann de Vries?",
        "Order 6, two mugs. They arrived broken.",
        {"all": "Refund all of it", "half": "Refund half", "none": "Refund nothing"},
    )
    approval = await shop.generate(
        "form",
        Response("{}", headers=JSON),
        labels={"customer": "y", "order": "6"},
        activity_case="refund of order 6",
        prompt=prompt,
        hold_time=3 * HOUR,
        get_guard=GetGuard.CONFIRM,
        time_to_live=48 * HOUR,
    )
    held = await shop.hold(approval, data={"callback_choice": "all"})
    guest = await shop.generate("form", labels={"guest": "Ann"})
    await shop.hold(guest, data=FORM)
    return {
        "waiting": "/waiting",
        "callbacks": "/callbacks",
        "callbacks-filtered": "/callbacks?label=customer%3Dx&last=FAILED",
        "callback": f"/callbacks/{webhook.case_id}",
        "callback-held": f"/callbacks/{approval.case_id}",
        "callback-failed": f"/callbacks/{made.case_id}",
        "call-json": f"/calls/{json_call}",
        "call-form": f"/calls/{form_call}",
        "call-xml": f"/calls/{xml_call}",
        "call-hex": f"/calls/{hex_call}",
        "call-held": f"/calls/{held}",
        "call-dead": f"/calls/{failing}",
        "comparison": f"/calls/{json_call}/compare?with={form_call}",
        "api": "/api",
        "not-found": f"/calls/{'0' * 32}-{'0' * 16}",
    }


async def test_screenshots_of_every_view(browser, world):
    FOLDER.mkdir(parents=True, exist_ok=True)
    empty = ("waiting", "callbacks", "dead", "overview", "audit")
    await take(browser, world, None, {})
    await take(browser, world, "operator", {f"{each}-empty": f"/{each}" for each in empty})
    handlers = Handlers()

    async def decide(call):
        if call.activity == "invoice-sent":
            raise ValueError("no price for the mug")
        if call.activity == "ship-order":
            raise Reject("the address is not complete")
        return Accept()

    for activity in ("login", "invoice-sent", "ship-order"):
        handlers.activity(activity)(decide)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(Worker(handlers, world.system.grpc, token=world.tokens["work"]).working())
        client, operator = [
            await stack.enter_async_context(AsyncCallbackClient(world.system.grpc, token=world.tokens[name]))
            for name in ("shop", "operator")
        ]
        shop = Shop(world, client)
        stack.push_async_callback(shop.close)
        views = await plant(world, shop)

        async def are_dead_and_counted():
            dead = [each async for each in client.list_owner_calls(CallFilter.DEAD)]
            return len(dead) == 4 and any(each.call_count for each in (await operator.get_statistics()).minutes)

        await wait_until(are_dead_and_counted, what="dead calls, and calls in the statistics")
        await operator.pause_activity("ship-order", reason="The carrier has no trucks until noon. Ann knows more.")
        stack.push_async_callback(operator.resume_activity, "ship-order")
        await take(browser, world, "shop", views)
        of = {"owner": "shop", "activity": "invoice-sent", "status": "FAILED", "reason": "failure.HANDLER_ERROR"}
        group = f"/dead/group?{urlencode(of)}"
        await take(
            browser,
            world,
            "operator",
            {"dead": "/dead?owner=shop", "group": group, "overview": "/overview", "audit": "/audit"},
        )
