"""The console in a real browser: its pages are accessible, live, and show everything from outside as text."""

import asyncio
import contextlib
import datetime
import re
from urllib.parse import quote, urlencode

import pytest
from axe_playwright_python.async_playwright import Axe
from soak.counts import SOAK
from support.browser import lands_at, sign_in, visitor
from support.console import running_console
from support.wait import wait_until

from callback import (
    AnswerMode,
    CallbackStatus,
    CallFilter,
    CallStatus,
    GetGuard,
    PageResponse,
    Prompt,
    Reject,
    Response,
)

AXE = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", "locale": "en"},
    "dark": {"viewport": {"width": 320, "height": 568}, "color_scheme": "dark", "locale": "nl-BE"},
}
ON_A_PHONE = {"waiting", "callbacks", "audit", "held callback", "json", "held", "comparison", "api"}
"""Pages that are looked at on a phone too: each layout once."""
AXE_ON_A_PHONE = ON_A_PHONE if SOAK else {"callbacks", "held", "comparison"}
"""Those that axe sees there: a table, a form, and differences."""
SAME_LAYOUT = {"form", "xml", "text", "acknowledged"}
"""Pages that differ from another one only in what they show as text: axe need not see them."""
AXE_IN_A_SOAK = set() if SOAK else {"search", "held callback", "hex"}
"""Pages made of parts that axe sees on other pages too."""
EVIL = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"
ADDRESSES = [
    *(f"/callbacks?{urlencode({name: EVIL})}" for name in ("activity", "label", "owner", "page", "status")),
    *(f"/audit?{urlencode({name: EVIL})}" for name in ("actor", "action", "callback", "owner", "page")),
    f"/waiting?{urlencode({'owner': EVIL})}",
    f"/sign-in?{urlencode({'next': EVIL})}",
    f"/dead/group?{urlencode({'activity': EVIL, 'reason': 'failure.HANDLER_ERROR'})}",
    f"/calls/{quote(EVIL, safe='')}",
]
EVIL_ADDRESSES = {f"evil address {number}": address for number, address in enumerate(ADDRESSES)}
"""Addresses whose parameters are markup."""
EXPECTED = ("Failed to load resource", "[object Event]", "htmx:afterRequest", "htmx:sendError")
"""Beginnings of complaints about an error page, a console that has stopped, and (by htmx) the end of a stream and a
request that gets no answer."""
DAY = datetime.timedelta(days=1)


@contextlib.asynccontextmanager
async def signed_in(browser, world, name="orders", *, console=None, **options):
    """A page of a principal. What its browser complains about fails the test."""
    url = f"http://{console.address}" if console else world.url
    async with visitor(browser, **options) as page:
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        await sign_in(page, url, world.tokens[name])
        yield page
        assert [each for each in complaints if not each.startswith(EXPECTED)] == []


async def is_accessible(page):
    """Check a page with axe."""
    found = (await Axe().run(page, options=AXE)).response
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


async def press(locator):
    """Press an element of a live part, which can be replaced between the press and the release of a mouse button."""
    await locator.dispatch_event("click")


@pytest.fixture(scope="module")
async def examples(world):
    """Make calls whose every text is markup, and return the addresses of their pages. Two of them are held."""
    client = world.client
    response = Response(EVIL, headers={"content-type": "text/html", "x-evil": EVIL})
    texts = {"labels": {"evil": EVIL}, "activity_case": EVIL}
    many = await world.generate(
        "record", response, closed_response=response, no_repeat=True, allow_multiple_calls=True, **texts
    )
    headers = {"x-evil": EVIL, "user-agent": EVIL}
    json = await world.call(many, f"?{EVIL}={EVIL}", json={"a": [1, {EVIL: EVIL}]}, headers=headers)
    form = await world.call(many, data={EVIL: EVIL}, headers=headers)
    xml = await world.call(many, content=f"<a b='c'><![CDATA[{EVIL}]]></a>", headers=headers)
    prompt = Prompt(EVIL, EVIL, {"yes": EVIL})
    asking = await world.generate(
        "form",
        response,
        get_guard=GetGuard.CONFIRM,
        prompt=prompt,
        hold_time=DAY,
        closed_response=PageResponse(EVIL, EVIL),
        **texts,
    )
    held, caller = await world.hold(asking, data={"callback_choice": "yes"})
    acked = await world.generate(EVIL, Response(EVIL), answer_mode=AnswerMode.ACK, **texts)
    await client.extend_callback(acked.case_id, datetime.datetime.now(datetime.UTC) + DAY)
    acked_call = await world.call(acked, content=b"\0\xff")
    yield {
        "waiting": "/waiting",
        "callbacks": "/callbacks?status=OPEN",
        "search": "/callbacks?last=SUCCEEDED",
        "callback": f"/callbacks/{many.case_id}",
        "held callback": f"/callbacks/{asking.case_id}",
        "acknowledged": f"/callbacks/{acked.case_id}",
        "json": f"/calls/{json}",
        "form": f"/calls/{form}?secrets=shown",
        "xml": f"/calls/{xml}",
        "text": f"/calls/{xml}?body=text&response_body=hex",
        "hex": f"/calls/{acked_call}",
        "held": f"/calls/{held}",
        "comparison": f"/calls/{json}/compare?with={form}",
        "no dead calls": "/dead",
        "audit": "/audit?action=CALLBACK_EXTENDED",
        "api": "/api",
        **EVIL_ADDRESSES,
        "absent": f"/calls/{'0' * 32}-{'0' * 16}",
    }
    await client.answer_call(held)
    await caller


@pytest.mark.parametrize("look", LOOKS)
async def test_every_page_is_accessible_fits_the_screen_and_shows_markup_from_outside_as_text(
    browser, world, examples, look
):
    on_a_screen = examples.keys() - SAME_LAYOUT - AXE_IN_A_SOAK - EVIL_ADDRESSES.keys()
    async with signed_in(browser, world, **LOOKS[look]) as page:
        for name, path in examples.items():
            if look == "dark" and name not in ON_A_PHONE:
                continue
            await page.goto(f"{world.url}{path}")
            await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            if name in (AXE_ON_A_PHONE if look == "dark" else on_a_screen):
                await is_accessible(page)
            seen = await page.evaluate(
                """() => ({
                    language: document.documentElement.lang,
                    overflow: document.documentElement.scrollWidth - innerWidth,
                    markup: document.querySelectorAll("img, script:not([src^='/static/'])").length,
                    text: document.body.textContent,
                })"""
            )
            assert seen["language"] == ("en" if look == "light" else "nl"), name
            assert seen["overflow"] <= 0, name
            assert seen["markup"] == 0, name
            if name not in {"absent", "hex", "no dead calls", "api"} | EVIL_ADDRESSES.keys():
                assert EVIL in seen["text"], name


async def test_a_held_call_appears_by_itself_and_of_two_people_the_second_is_told(browser, world):
    made = await world.generate("form", Response("welcome"), labels={"guest": "Ann"})
    async with signed_in(browser, world) as first, signed_in(browser, world, "operator") as second:
        await first.locator("[sse-connect]:not(.htmx-request)").wait_for(state="attached")
        await first.evaluate("document.isTheSame = true")
        call_id, caller = await world.hold(made, data={"name": "Ann"})
        await first.get_by_text("guest=Ann").wait_for()
        assert await first.evaluate("document.isTheSame")  # nothing has loaded the page again
        await press(first.get_by_text("guest=Ann"))
        await lands_at(first, f"{world.url}/calls/{call_id}")
        await second.goto(f"{world.url}/calls/{call_id}")
        for page in (first, second):
            assert (await page.locator(".left").inner_text()).startswith("4:")
        await second.get_by_text("Another response").click()
        await second.fill("#answer-body", "from the second")

        await first.get_by_text("Another response").click()
        await first.fill("#answer-code", "201")
        await first.fill("#answer-body", "hello Ann")
        await first.get_by_role("button", name="Accept").click()
        await first.get_by_text("Your answer is recorded.").wait_for()
        reply = await caller
        assert (reply.status_code, reply.text) == (201, "hello Ann")

        await second.get_by_text("A person or a service accepted the call.").wait_for()
        assert "Answered by orders" in " ".join((await second.locator("#state").inner_text()).split())
        assert not await second.locator("#answer").is_visible()
        await second.evaluate("document.querySelector('#answer form').requestSubmit()")  # as if both pressed at once
        await second.get_by_text("Another answer came first").wait_for()
        call = await world.client.get_call(call_id)
        assert call.response.body == b"hello Ann"


async def test_a_change_that_happens_while_a_page_loads_another_is_shown_too(browser, world):
    made = await world.generate("form", Response("welcome"))
    is_fetched, may_go_on = asyncio.Event(), asyncio.Event()

    async def delay(route):
        response = await route.fetch()
        is_fetched.set()
        await may_go_on.wait()
        await route.fulfill(response=response)

    async with signed_in(browser, world) as page:
        await page.add_init_script(
            "window.told = 0; document.addEventListener('htmx:sseMessage', () => { window.told += 1; })"
        )
        await page.goto(f"{world.url}/waiting")
        await page.route(f"**/callbacks/{made.case_id}?", delay, times=1)  # a part of the page, not the page
        await page.goto(f"{world.url}/callbacks/{made.case_id}")
        await wait_until(is_fetched.is_set, what="a part of the page that is fetched")
        told = await page.evaluate("told")
        call_id, caller = await world.hold(made)

        async def is_told():
            return await page.evaluate("told") > told

        await wait_until(is_told, what="an event of the call")
        may_go_on.set()
        await page.get_by_role("link", name="Call 1").first.wait_for()
        await world.client.answer_call(call_id)
        await caller


async def test_a_request_is_tried_on_the_page_of_the_api_with_a_token_and_never_with_the_session(browser, world):
    async with signed_in(browser, world) as page:
        await page.goto(f"{world.url}/api")
        await page.select_option("#rpc", label="ListCallbacks")
        send = page.get_by_role("button", name="Send")
        await send.click()
        await page.get_by_text("HTTP 401").wait_for()
        assert '"reason": "UNAUTHENTICATED"' in await page.locator("#api-answer").inner_text()
        await page.fill("#api-token", world.tokens["orders"])
        await page.fill("#message", '{"labels": {"it": "\'s"}}')
        await send.click()
        await page.get_by_text("HTTP 200").wait_for()
        assert '"nextPageToken": ""' in await page.locator("#api-answer").inner_text()
        command = await page.locator("#api-curl").inner_text()
        assert command.startswith(f"curl {world.url}/callback.v1.CallbacksService/ListCallbacks")
        assert command.endswith("""-H "Authorization: Bearer $TOKEN" \\\n  --json '{"labels": {"it": "'\\''s"}}'""")


async def test_a_call_is_found_by_its_id_and_copied_as_curl(browser, world, examples):
    async with signed_in(browser, world, permissions=["clipboard-read", "clipboard-write"]) as page:
        await page.fill("#find", "not an id")
        await page.keyboard.press("Enter")
        await page.get_by_text("This is not an id, a reference, a label (NAME=VALUE) or a callback URL.").wait_for()
        await page.fill("#find", f" {examples['json'].removeprefix('/calls/').upper()} ")
        await page.keyboard.press("Enter")
        await lands_at(page, f"{world.url}{examples['json']}")
        case, own = examples["json"].removeprefix("/calls/").split("-")
        for digits, path in ((case[:8], f"/callbacks/{case}"), (f"{case[:8]}-{own[:4]}", examples["json"])):
            await page.fill("#find", digits)
            await page.keyboard.press("Enter")
            await lands_at(page, f"{world.url}{path}")
        await page.get_by_role("button", name="Copy as curl").click()
        await page.get_by_text("Copied").wait_for()
        assert (await page.evaluate("navigator.clipboard.readText()")).startswith("curl -i -X POST 'URL?")
        await page.goto(f"{page.url}?body=text&secrets=shown&done=replayed")
        await page.get_by_role("button", name="Copy link").click()
        await page.get_by_text("Copied").wait_for()
        assert await page.evaluate("navigator.clipboard.readText()") == f"{world.url}{examples['json']}?body=text"


async def test_a_page_says_when_it_is_no_longer_live(browser, world):
    async with running_console(world.system.grpc) as console, signed_in(browser, world, console=console) as page:
        await page.locator("[sse-connect]:not(.htmx-request)").wait_for(state="attached")
        assert not await page.locator("#not-live").is_visible()
        await console.stop()
        await page.get_by_text("This page is not live").wait_for()


async def test_hidden_pages_take_no_connections_from_the_one_that_a_person_sees(browser, world):
    """A browser opens six connections to a host, and each live page has one for itself."""
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    async with signed_in(browser, world) as first:
        for _ in range(7):
            page = await first.context.new_page()
            await page.goto(f"{world.url}/waiting")
            await page.evaluate(hide, True)
        await first.evaluate(hide, True)
        await first.evaluate(hide, False)
        made = await world.generate("form", Response("welcome"), labels={"guest": "Bob"})
        call_id, caller = await world.hold(made)
        await first.get_by_text("guest=Bob").wait_for()
        assert not await first.locator("#not-live").is_visible()
        await world.client.answer_call(call_id)
        await caller


async def test_a_callback_is_found_by_its_url_which_stays_in_the_browser_and_is_then_extended_changed_and_closed(
    browser, world
):
    made = await world.generate("form", Response("welcome"), allow_multiple_calls=True)
    async with signed_in(browser, world) as page:
        sent = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.headers} {request.post_data}"))
        await page.fill("#find", made.url)
        await page.keyboard.press("Enter")
        await lands_at(page, f"{world.url}/callbacks/{made.case_id}")
        assert sent
        assert [each for each in sent if made.state in each] == []

        await page.get_by_label("Expires in").fill("3")
        await page.get_by_label("Unit").select_option("hours")
        await page.get_by_role("button", name="Set the time").click()
        await page.get_by_text("The callback has its new time.").wait_for()
        await page.locator(".timeline .expires").wait_for()
        callback = await world.client.get_callback(made.case_id)
        assert datetime.timedelta(hours=2) < callback.expire_time - callback.create_time < datetime.timedelta(hours=4)

        await page.get_by_text("Set the response").first.click()
        await page.fill("#set-body", "hello")
        await page.get_by_role("button", name="Set the response").click()
        await page.get_by_text("The response is set.").wait_for()
        call_id, caller = await world.hold(made)
        await page.get_by_role("link", name="Call 1").first.wait_for()
        await page.get_by_role("button", name="Accept").click()
        await page.get_by_text("The callback has its answer.").wait_for()
        assert (await caller).text == "hello"
        assert (await world.client.get_call(call_id)).status is CallStatus.SUCCEEDED

        await page.goto(f"{world.url}/callbacks?activity=form&status=OPEN")
        await press(page.locator(f"a[href='/callbacks/{made.case_id}']"))
        await page.get_by_role("button", name="Close the callback").click()
        await page.get_by_text("The callback is closed.").wait_for()
        assert await page.locator(".while-open:visible").count() == 0
        assert (await world.client.get_callback(made.case_id)).status is CallbackStatus.CLOSED


async def test_an_administrator_starts_with_an_overview_whose_plots_have_their_numbers_beside_them(browser, world):
    made = await world.generate(allow_multiple_calls=True)
    await world.generate("nobody-works-here")

    async with world.client_of("operator") as operator:

        async def are_counted():
            found = await operator.get_statistics()
            return any(each.status is CallStatus.SUCCEEDED for minute in found.minutes for each in minute.outcomes)

        assert (await world.system.http.post(made.url)).text == "ok"
        await wait_until(are_counted, what="a call in the statistics")
    for options in LOOKS.values() if SOAK else [LOOKS["dark"]]:
        async with signed_in(browser, world, "operator", **options) as page:
            await page.goto(world.url)
            await lands_at(page, f"{world.url}/overview")
            await page.locator("#passed").wait_for()  # the findings, which load by themselves
            await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            await is_accessible(page)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            assert await page.locator(".plot .SUCCEEDED").count() > 0
            assert await page.locator(".plot .line.claim").get_attribute("d")
            calls = page.locator("section:has(#calls) table").first
            assert int((await calls.locator("tr:has(.SUCCEEDED) td").inner_text()).split()[-1]) > 0
            activity = page.locator("tr:has-text('nobody-works-here')")
            assert await activity.locator(".status.FAILED").count() == 1
            assert "store layout" in await page.locator("#passed").inner_text()
            await page.locator("#owner-orders").click()
            await lands_at(page, f"{world.url}/callbacks?owner=orders")
            assert await page.locator(f"#case-{made.case_id}").count() == 1


async def test_metrics_are_loaded_again_by_themselves_and_a_page_without_them_says_so(browser, world):
    async with signed_in(browser, world, "operator") as page:
        await page.clock.install()
        await page.goto(f"{world.url}/overview")
        await page.route("**/overview", lambda route: route.abort())
        await page.clock.fast_forward(20_000)
        await page.get_by_text("This page is not live").wait_for()
        await page.unroute("**/overview")
        await page.clock.fast_forward(20_000)
        await page.locator("#not-live").wait_for(state="hidden")


async def groups_of(page, kind):
    """Return the headings of the groups of `dead` or `failing` calls."""
    headings = await page.locator(f"h3[id^={kind}-]").all_inner_texts()
    return [" ".join(text.split()) for text in headings]


async def replays_three(page):
    """Confirm a replay of three calls, and wait for its end."""
    await page.get_by_role("button", name="Replay all of them").click()
    await page.get_by_text("Replayed: 3 of 3.").wait_for()
    await page.get_by_text("The replay has ended").wait_for()


async def test_dead_calls_are_grouped_by_activity_and_reason_and_replayed_together(browser, world):
    is_broken = True

    async def decide(_call):
        if is_broken:
            raise Reject("no")

    async with world.working(decide, "ship-order", "bill-order"):
        for activity, calls in (("bill-order", 1), ("ship-order", 3)):
            made = await world.generate(
                activity, answer_mode=AnswerMode.ACK, allow_multiple_calls=True, labels={"evil": EVIL}
            )
            for number in range(calls):
                await world.system.http.post(made.url, content=str(number))

        async def count():
            return len([each async for each in world.client.list_owner_calls(CallFilter.DEAD)])

        async def are_four():
            return await count() == 4

        await wait_until(are_four, what="dead calls")
        async with signed_in(browser, world) as page:
            await page.get_by_role("link", name="Failing").click()
            await page.get_by_role("heading", name="ship-order").wait_for()
            assert await groups_of(page, "dead") == ["ship-order 3", "bill-order 1"]
            replay = page.get_by_role("link", name="Replay all").first
            assert await replay.evaluate("each => each.matches('.second')")  # a look at the calls comes first
            assert await page.get_by_text("Pause").count() == 0  # it needs an administrator
            await press(page.get_by_text("Show the calls").first)
            assert await page.locator("#calls-dead-1 tbody tr").count() == 3
            assert EVIL in await page.locator("#calls-dead-1").inner_text()
            await is_accessible(page)
            await press(page.get_by_role("link", name="Replay all").first)
            await page.get_by_text("Calls to replay: 3").wait_for()
            await is_accessible(page)
            is_broken = False
            await replays_three(page)
            await page.goto(f"{world.url}/dead")
            assert await groups_of(page, "dead") == ["bill-order 1"]
            assert await count() == 1
        async with signed_in(browser, world, "operator") as page, world.client_of("operator") as operator:
            await page.goto(f"{world.url}/dead?owner=orders")
            listed = page.locator("#list")  # below it are the failing calls of other tests, once they are loaded
            await press(listed.get_by_role("link", name="Pause the activity"))
            await page.get_by_label("Reason").fill(EVIL)
            await page.get_by_role("button", name="Pause the activity").click()
            await page.get_by_text("The activity is paused").wait_for()
            assert f"by operator {EVIL}" in " ".join((await page.locator("#list").inner_text()).split())
            await is_accessible(page)
            (paused,) = await operator.list_paused_activities()
            assert (paused.activity, paused.principal, paused.reason) == ("bill-order", "operator", EVIL)
            await press(page.get_by_role("button", name="Resume"))
            await page.get_by_text("The activity is resumed.").wait_for()
            assert await operator.list_paused_activities() == ()
            await press(listed.get_by_text("Show the calls"))
            await press(listed.get_by_role("button", name="Replay"))
            await page.get_by_text("The handler runs again").wait_for()
            assert await count() == 0


async def test_failed_calls_are_grouped_by_activity_and_reason_and_replayed_together(browser, world):
    is_broken, labels = True, {"evil": EVIL}

    async def decide(_call):
        if is_broken:
            raise ValueError(EVIL)

    async with world.working(decide, "mail-order", "print-order"):
        for activity in ("print-order", *["mail-order"] * 3):
            made = await world.generate(activity, labels=labels)
            assert (await world.system.http.post(made.url)).status_code == 502
        async with signed_in(browser, world) as page:
            await page.get_by_role("link", name="Failing").click()
            group = page.locator("#failing section:has-text('mail-order')")
            assert "The handler returned an error." in await group.inner_text()
            assert {"mail-order 3", "print-order 1"} <= {*await groups_of(page, "failing")}
            await group.get_by_text("Show the calls").click()
            details = await group.locator("tbody td:nth-child(2)").all_inner_texts()
            assert len(details) == 3
            assert all(re.search(r"the handler failed \(worker \S+\)", each) for each in details), details
            assert EVIL in await group.inner_text()
            await is_accessible(page)
            await group.get_by_role("link", name="Replay all").click()
            await page.get_by_text("Calls to replay: 3").wait_for()
            await page.get_by_text("It may have run before").wait_for()
            is_broken = False
            await replays_three(page)
            await page.goto(f"{world.url}/dead/failing")
            assert "mail-order 3" not in await groups_of(page, "failing")
            group = page.locator("#failing section:has-text('print-order')")
            await group.get_by_text("Show the calls").click()
            await group.get_by_role("button", name="Replay").click()
            await page.get_by_text("The handler runs again").wait_for()
