"""Lists of the console for the people who read them: long texts, colours, times, and ways to find a callback."""

import datetime
import uuid

from console.test_console_in_chromium import signed_in
from support.browser import lands_at

from callback import GetGuard, Prompt, Response

CLIPPED = """() => [document.documentElement, ...document.querySelectorAll(".wide, .wide th, .wide td")]
    .filter((each) => each.scrollWidth > each.clientWidth && getComputedStyle(each).display !== "inline")
    .map((each) => each.outerHTML.slice(0, 200))"""
"""The parts of a page that are wider than their place."""
COLOUR = "each => getComputedStyle(each).backgroundColor"


async def test_long_texts_break_no_table(browser, world):
    long = {"order": "W" * 200, "trace": str(uuid.uuid4()), **{f"label-{number}": "x" * 40 for number in range(3)}}
    made = await world.generate("l" * 200, labels=long, activity_case=str(uuid.uuid4()))
    for width in (768, 1280):
        async with signed_in(browser, world, viewport={"width": width, "height": 800}, locale="en") as page:
            await page.goto(f"{world.url}/callbacks")
            row = page.locator(f"tr:has(#case-{made.case_id})")
            assert "W" * 200 in await row.inner_text()
            assert await page.evaluate(CLIPPED) == []


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
        colours = [
            await page.locator(f"tr:has(#case-{each.case_id}) .status").evaluate(COLOUR)
            for each in (succeeded, failed, is_open)
        ]
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


async def test_a_principal_who_answers_signs_in_and_sees_the_calls_of_its_activities(browser, world):
    made = await world.generate("form", Response("welcome"), labels={"guest": "Eve"})
    call_id, caller = await world.hold(made)
    async with signed_in(browser, world, "finance", locale="en") as page:
        assert await page.locator("h1").inner_text() == "Whose callbacks?"
        await page.get_by_label("Owner").fill("orders")
        await page.get_by_role("button", name="Show").click()
        await page.locator(f"#call-{call_id}").click()
        await page.get_by_role("button", name="Accept").click()
        await page.get_by_text("Your answer is recorded.").wait_for()
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


async def test_a_command_to_try_has_the_target_and_failing_has_one_name(browser, world):
    async with signed_in(browser, world, "stranger", locale="en") as page:
        assert f"callback generate --target {world.system.grpc} " in await page.locator("#try").inner_text()
        await page.goto(f"{world.url}/dead")
        assert await page.locator("h1").inner_text() == await page.locator("nav [aria-current]").inner_text()
