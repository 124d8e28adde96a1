"""A person who can try again gets a button for it, or is told where to start again."""

import base64
import hashlib

import pytest
from support.edge import BROWSER, answering, ask, new_state, plain, refusing, running_edge, seconds

CALL = "0" * 32 + "-" + "1" * 16
ADDRESS = f"/wait/{CALL}/{'2' * 64}"
BUTTON = '<a class="action" href="{}">Try again</a>'
STATE = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
ELSEWHERE = "go back to the website that sent you here"


def failing(reason="HANDLER_FAILED", **metadata):
    """Return the script of a server that refuses each call for a reason, with metadata."""
    return refusing(reason, "INTERNAL", **metadata)


def cookie_for(opened, address=ADDRESS):
    """Return the value of a cookie as the edge makes it for an address."""
    digest = hashlib.sha256(address.encode()).digest()[:16]
    return base64.urlsafe_b64encode(digest + opened.encode()).decode().rstrip("=")


async def cookie_of(plane, edge, path, method="GET", body=b""):
    """Return the cookie that a browser gets which is told to wait at a callback. Empty: none."""
    plane.script = answering(plain(call_id=CALL, wait_path=ADDRESS))
    answer = await ask(edge, path, method, [BROWSER], body)
    assert answer.status == 202
    return "".join(answer.all("set-cookie"))


@pytest.mark.parametrize("reason", ["HANDLER_NOT_STARTED", "TOO_MANY_CALLS", "CALL_IN_PROGRESS"])
async def test_an_error_that_advises_to_try_again_has_a_button_for_it(plane, edge, reason):
    plane.script = refusing(reason, "UNAVAILABLE", retry_after=seconds(5))
    shown = await ask(edge, headers=[BROWSER])
    assert BUTTON.format("") in shown.text
    posted = await ask(edge, method="POST", headers=[BROWSER])
    assert (BUTTON.format("") in posted.text, ELSEWHERE in posted.text) == (False, True)
    assert BUTTON.format("") in (await ask(edge, method="POST", headers=[BROWSER], body=b"callback_confirm=1")).text


async def test_an_error_after_which_the_callback_is_closed_has_neither(plane, edge):
    plane.script = failing()
    page = (await ask(edge, headers=[BROWSER])).text
    assert ("Try again" in page, ELSEWHERE in page) == (False, False)
    plane.script = failing(callback_open="true")
    assert BUTTON.format("") in (await ask(edge, headers=[BROWSER])).text


@pytest.mark.parametrize("query", ["?a=b;c%20d&e", "?a=b;c%20d&ef", "?a=b;c%20d&efg"])
async def test_the_cookie_of_a_page_that_waits_is_for_its_address_alone_and_leads_back(plane, edge, query):
    opened = f"/cb/{new_state()}{query}"
    cookie = await cookie_of(plane, edge, opened)
    value, *attributes = cookie.split("; ")
    assert attributes == [f"Path={ADDRESS}", "Max-Age=86400", "Secure", "HttpOnly", "SameSite=Lax"]
    headers = [BROWSER, ("Cookie", f"theme=dark; {value}")]
    plane.script = failing(callback_open="true")
    failed = await ask(edge, ADDRESS, headers=headers)
    assert BUTTON.format("?again") in failed.text
    assert opened not in failed.text
    back = await ask(edge, f"{ADDRESS}?again", headers=headers)
    assert (back.status, back["location"]) == (303, opened)
    assert back.all("set-cookie") == [f"callback_opened=; Path={ADDRESS}; Max-Age=0; Secure; HttpOnly; SameSite=Lax"]
    back.assert_fixed_headers()


async def test_only_a_browser_that_opens_the_address_is_led_back(plane, edge):
    value = (await cookie_of(plane, edge, f"/cb/{new_state()}")).partition(";")[0]
    plane.script = failing(callback_open="true")

    async def status(mode):
        headers = [BROWSER, ("Cookie", value), ("Sec-Fetch-Mode", mode)]
        return (await ask(edge, f"{ADDRESS}?again", headers=headers)).status

    seen = {mode: await status(mode) for mode in ("navigate", "cors", "no-cors", "same-origin", "websocket", "")}
    assert seen == {"navigate": 303, "cors": 502, "no-cors": 502, "same-origin": 502, "websocket": 502, "": 502}


async def test_a_caller_with_too_many_unknown_states_is_not_led_back(plane):
    limit = {"trusted_proxies": ["127.0.0.1"], "unknown_states_per_minute_per_address": 1}
    async with running_edge(plane.target, **limit) as edge:
        value = (await cookie_of(plane, edge, f"/cb/{new_state()}")).partition(";")[0]
        plane.script = refusing("STATE_UNKNOWN", "NOT_FOUND")
        again = {"path": f"{ADDRESS}?again", "headers": [("Cookie", value)]}
        assert [(await ask(edge, **each)).status for each in ({}, {}, again)] == [404, 429, 429]


async def test_without_the_cookie_the_visitor_is_sent_to_the_sender(plane, edge):
    plane.script = failing(callback_open="true")
    for address in (ADDRESS, f"{ADDRESS}?again"):
        answer = await ask(edge, address, headers=[BROWSER])
        assert (answer.status, ELSEWHERE in answer.text, "Try again" in answer.text) == (502, True, False)


async def test_no_cookie_is_set_where_going_back_would_be_another_request(plane, edge):
    path = f"/cb/{new_state()}"
    assert await cookie_of(plane, edge, path, "POST", b"id=7") == ""
    assert await cookie_of(plane, edge, path, "POST", b"callback_choice=yes") != ""
    assert await cookie_of(plane, edge, f"{path}?{'a' * 4000}") == ""
    plane.script = answering(plain(call_id=CALL, wait_path=ADDRESS))
    assert (await ask(edge, path)).all("set-cookie") == []


@pytest.mark.parametrize(
    "opened",
    [
        "/nowhere", "//evil.example/", "https://evil.example/cb/1", "/cb/1",
        *(f"/cb/{STATE}?{query}" for query in ("\r\nx: y", "\n", "\0", "a b", "\x7f", "é")),
    ],
)  # fmt: skip
async def test_a_cookie_of_someone_else_leads_nowhere(plane, edge, opened):
    value = cookie_for(opened)
    plane.script = failing(callback_open="true")
    for cookie in (value, "!", "", "a", '"é"', '"\\351"'):
        answer = await ask(edge, f"{ADDRESS}?again", headers=[BROWSER, ("Cookie", f"callback_opened={cookie}")])
        assert (answer.status, answer.all("location")) == (502, [])


async def test_a_cookie_that_another_page_of_the_origin_has_planted_is_ignored(plane, edge):
    """Its script can set one for a shorter path, which browsers send too, but does not know the address."""
    own, foreign = f"/cb/{new_state()}", f"/cb/{STATE}"
    plane.script = failing(callback_open="true")
    assert cookie_for(own) == (await cookie_of(plane, edge, own)).partition(";")[0].partition("=")[2]
    planted = [base64.urlsafe_b64encode(foreign.encode()).decode().rstrip("="), cookie_for(foreign, "/wait"), '"', ""]
    plane.script = failing(callback_open="true")
    for value in planted:
        for cookies in ([value, cookie_for(own)], [cookie_for(own), value]):
            sent = "; ".join(f"callback_opened={each}" for each in cookies)
            assert (await ask(edge, f"{ADDRESS}?again", headers=[BROWSER, ("Cookie", sent)]))["location"] == own
        alone = await ask(edge, f"{ADDRESS}?again", headers=[BROWSER, ("Cookie", f"callback_opened={value}")])
        assert (alone.status, alone.all("location")) == (502, [])
