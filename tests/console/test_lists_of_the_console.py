"""Lists of the console for the people who read them: long texts, colours, times, and ways to find a callback."""

import datetime
import uuid
from urllib.parse import urlencode

from console.test_console_in_chromium import signed_in
from soak.counts import count
from support.browser import lands_at
from support.wait import wait_until

from callback import AnswerMode, CallFilter, GetGuard, PageResponse, Prompt, Reject, Response

CLIPPED = """() => [...document.querySelectorAll("header, header *, main, main *")].filter((each) => {
    const isLeftOut = each.closest("svg, pre, .skip") || each.closest("thead")?.clientWidth === 1;
    if (!each.checkVisibility() || each.clientWidth === 1 || isLeftOut) return false;
    const {right, width} = each.getBoundingClientRect();
    const card = each.closest(".card") ?? document.documentElement;
    const isCut = each.clientWidth > 0 && each.scrollWidth > each.clientWidth + 1 && !each.matches("input, select");
    const isSqueezed = width > 0 && width < 48 && each.matches("td, th, dd, dt, p") && each.innerText.length > 8;
    const isBeyond = (width > 0 && right > card.getBoundingClientRect().right + 1) || right > innerWidth + 1;
    return isBeyond || isCut || isSqueezed;
}).map((each) => each.outerHTML.slice(0, 200))"""
"""The parts of a page that are wider than their place, beyond their card, off the screen, or a column of letters."""
HOUR = datetime.timedelta(hours=1)
WIDTHS = count([320, 768], [320, 390, 640, 768, 1024, 1280])
COLOURS = """ids => ids.map(
    (id) => getComputedStyle(document.querySelector(`tr:has(#case-${id}) .status`)).backgroundColor
)"""
"""The colours of the statuses of callbacks, all at once: a live list is replaced meanwhile."""


async def test_long_texts_are_clipped_on_no_page_of_the_console(browser, world):
    word = "W" * 200
    labels = {"order": word, "trace": str(uuid.uuid4()), **{f"label-{number}": "x" * 40 for number in range(3)}}
    long = {"labels": labels, "activity_case": str(uuid.uuid4())}
    failing, dying = "f" * 200, "d" * 200

    async def fail(call):
        raise Reject(word) if call.activity == dying else ValueError(word)

    page = PageResponse(word, word, link_label=word[:100], link_url=f"https://a.example/{word}")
    made = await world.generate("l" * 200, page, **long)
    answer = Response(word, headers={"x-long": word})
    recorded = await world.generate("record", answer, allow_multiple_calls=True, **long)
    calls = [
        await world.call(recorded, f"?{word}={word}", headers={"x-long": word}, json={word: [word]}),
        await world.call(recorded, data={word: word}),
    ]
    asked = Prompt(word, word, {"yes": "y" * 100, "no": "n" * 100})
    asking = await world.generate("form", hold_time=HOUR, get_guard=GetGuard.CONFIRM, prompt=asked, **long)
    held, caller = await world.hold(asking, data={"callback_choice": "yes"})
    async with world.working(fail, failing, dying):
        failed = await world.call(await world.generate(failing, **long))
        await world.call(await world.generate(dying, answer_mode=AnswerMode.ACK, **long))

        async def is_dead():
            dead = [each async for each in world.client.list_owner_calls(CallFilter.DEAD, activity=dying)]
            return len(dead) == 1

        await wait_until(is_dead, what="a dead delivery")
    of = {"owner": "orders", "activity": failing, "reason": "failure.HANDLER_ERROR", "status": "FAILED"}
    pages = {
        "orders": [
            "/waiting", "/callbacks", f"/callbacks/{made.case_id}", f"/callbacks/{recorded.case_id}",
            f"/callbacks/{asking.case_id}", *(f"/calls/{each}" for each in (*calls, held, failed)),
            f"/calls/{calls[0]}/compare?with={calls[1]}", "/dead", "/dead/failing", "/audit", "/api",
        ],
        "operator": [
            "/overview", "/overview/findings", "/waiting?owner=orders", "/dead?owner=orders",
            f"/dead/group?{urlencode(of)}", "/audit",
        ],
    }  # fmt: skip
    for name, paths in pages.items():
        async with signed_in(browser, world, name, locale="nl") as page:
            for path in paths:
                await page.goto(f"{world.url}{path}")
                for part in ("#findings", "#failing"):
                    await page.locator(f"{part}[hx-trigger=load]").wait_for(state="detached")
                await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
                for width in WIDTHS:
                    await page.set_viewport_size({"width": width, "height": 800})
                    assert (path, width, await page.evaluate(CLIPPED)) == (path, width, [])
    await world.client.answer_call(held)
    await caller


async def test_succeeded_failed_and_open_callbacks_differ_in_colour(browser, world):
    succeeded, is_open = await world.generate(), await world.generate()
    failed = await world.generate("fails")
    await world.call(succeeded)

    async def fail(_call):
        raise ValueError

    async with world.working(fail, "fails"):
        await world.call(failed)
    async with signed_in(browser, world) as page:
        await page.goto(f"{world.url}/callbacks")
        colours = await page.evaluate(COLOURS, [each.case_id for each in (succeeded, failed, is_open)])
        assert len(set(colours)) == 3


async def test_a_list_says_how_long_ago_something_was_with_the_exact_time_at_hand(browser, world):
    made = await world.generate()
    created = (await world.client.get_callback(made.case_id)).create_time
    async with signed_in(browser, world, locale="en") as page:
        await page.clock.install(time=created + datetime.timedelta(hours=3, minutes=5))
        await page.goto(f"{world.url}/callbacks")
        time = page.locator(f"tr:has(#case-{made.case_id}) time")
        assert await time.inner_text() == "3 hours ago"
        assert (await time.get_attribute("title")).endswith(" UTC")


async def test_a_callback_is_found_by_a_label(browser, world):
    order = uuid.uuid4().hex
    made = await world.generate(labels={"Order": order})
    async with signed_in(browser, world) as page:
        await page.fill("#find", f" Order={order} ")
        await page.keyboard.press("Enter")
        await lands_at(page, f"{world.url}/callbacks?label=Order%3D{order}")
        assert await page.locator(f"#case-{made.case_id}").count() == 1


async def test_a_label_is_searched_at_the_owner_who_has_it_by_a_person_who_sees_those_of_others(browser, world):
    order = uuid.uuid4().hex
    made = await world.generate("form", labels={"order": order})
    is_there = f"{world.url}/callbacks?label=order%3D{order}&owner=orders"
    for name in ("operator", "finance"):
        async with signed_in(browser, world, name, locale="en") as page:
            await page.goto(f"{world.url}/audit" if name == "operator" else f"{world.url}/waiting")
            await page.fill("#find", f"order={order}")
            await page.keyboard.press("Enter")
            if name == "finance":
                await page.get_by_label("Owner").fill("orders")
                await page.get_by_role("button", name="Show").click()
            await lands_at(page, is_there)
            assert await page.locator(f"#case-{made.case_id}").count() == 1
            await page.fill("#find", "order=of-no-one")
            await page.keyboard.press("Enter")
            await lands_at(page, f"{world.url}/callbacks?label=order%3Dof-no-one&owner=orders")
            await page.get_by_text("No callback matches.").wait_for()


async def test_a_principal_who_answers_signs_in_and_sees_the_calls_of_its_activities(browser, world):
    made, other = await world.generate("form", Response("welcome"), labels={"guest": "Eve"}), await world.generate()
    call_id, caller = await world.hold(made)
    async with signed_in(browser, world, "finance", locale="en") as page:
        assert await page.locator("h1").inner_text() == "Whose callbacks?"
        await page.get_by_label("Owner").fill("orders")
        await page.get_by_role("button", name="Show").click()
        await page.locator(f"#call-{call_id}").click()
        await page.get_by_role("button", name="Accept").click()
        await page.get_by_text("Your answer is recorded.").wait_for()
        await page.goto(f"{world.url}/callbacks?owner=orders")
        assert await page.locator(f"#case-{made.case_id}").count() == 1
        assert await page.locator(f"#case-{other.case_id}").count() == 0
        assert {*await page.locator("tbody th a").all_inner_texts()} == {"form"}
    assert (await caller).text == "welcome"


async def test_no_two_buttons_of_an_answer_have_the_same_name(browser, world):
    prompt = Prompt("Pay?", "", {"pay": "Accept", "no": "Reject"})
    made = await world.generate("form", Response("{}"), prompt=prompt, get_guard=GetGuard.CONFIRM)
    call_id, caller = await world.hold(made, data={"callback_choice": "pay"})
    async with signed_in(browser, world, locale="en") as page:
        await page.goto(f"{world.url}/calls/{call_id}")
        names = await page.locator("#answer button").all_inner_texts()
        assert names == ["Accept", "Reject", "Choose: Accept", "Choose: Reject"]
    await world.client.answer_call(call_id)
    await caller


async def test_a_command_to_try_has_the_target(browser, world):
    async with signed_in(browser, world, "stranger") as page:
        for path in ("waiting", "callbacks", "dead/failing", "audit"):
            await page.goto(f"{world.url}/{path}")
            lines = (await page.locator("#try").inner_text()).splitlines()
            commands = [each for each in lines if each.startswith("callback ")]
            assert commands, path
            assert [each for each in commands if f" --target {world.system.grpc} " not in each] == [], path


async def test_failing_has_one_name(browser, world):
    async with signed_in(browser, world, "stranger", locale="en") as page:
        for path in ("dead", "dead/failing"):
            await page.goto(f"{world.url}/{path}")
            assert await page.locator("nav [aria-current]").inner_text() == "Failing"
            assert await page.locator("h1").inner_text() == "Failing"
            assert await page.title() == "Failing · Callback"
