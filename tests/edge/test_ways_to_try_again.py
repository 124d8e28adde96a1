"""A person who can try again gets a button for it, or is told where to start again."""

import base64

import pytest
from support.edge import BROWSER, answering, ask, new_state, plain, refusing, seconds

CALL = "0" * 32 + "-" + "1" * 16
ADDRESS = f"/wait/{CALL}/{'2' * 64}"
BUTTON = '<a class="action" href="{}">Try again</a>'
ELSEWHERE = "go back to the website that sent you here"


def failing(reason="HANDLER_FAILED", **metadata):
    """Return the script of a server that refuses each call for a reason, with metadata."""
    return refusing(reason, "INTERNAL", **metadata)


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


async def test_the_cookie_of_a_page_that_waits_is_for_its_call_alone_and_leads_back(plane, edge):
    opened = f"/cb/{new_state()}?a=b;c%20d&e"
    cookie = await cookie_of(plane, edge, opened)
    value, *attributes = cookie.split("; ")
    assert attributes == [f"Path=/wait/{CALL}", "Secure", "HttpOnly", "SameSite=Lax"]
    headers = [BROWSER, ("Cookie", f"theme=dark; {value}")]
    plane.script = failing(callback_open="true")
    failed = await ask(edge, ADDRESS, headers=headers)
    assert BUTTON.format("?again") in failed.text
    assert opened not in failed.text
    back = await ask(edge, f"{ADDRESS}?again", headers=headers)
    assert (back.status, back["location"]) == (303, opened)
    back.assert_fixed_headers()


async def test_without_the_cookie_the_visitor_is_sent_to_the_sender(plane, edge):
    plane.script = failing(callback_open="true")
    for address in (ADDRESS, f"{ADDRESS}?again"):
        answer = await ask(edge, address, headers=[BROWSER])
        assert (answer.status, ELSEWHERE in answer.text, "Try again" in answer.text) == (502, True, False)


async def test_no_cookie_is_set_where_the_way_back_would_be_another_request(plane, edge):
    path = f"/cb/{new_state()}"
    assert await cookie_of(plane, edge, path, "POST", b"id=7") == ""
    assert await cookie_of(plane, edge, path, "POST", b"callback_choice=yes") != ""
    assert await cookie_of(plane, edge, f"{path}?{'a' * 4000}") == ""
    plane.script = answering(plain(call_id=CALL, wait_path=ADDRESS))
    assert (await ask(edge, path)).all("set-cookie") == []


@pytest.mark.parametrize(
    "opened", [b"/nowhere", b"//evil.example/", b"https://evil.example/cb/1", b"/cb/1?\r\nx: y", b"/cb/1?\xff"]
)
async def test_a_cookie_of_someone_else_leads_nowhere(plane, edge, opened):
    value = base64.urlsafe_b64encode(opened).decode().rstrip("=")
    plane.script = failing(callback_open="true")
    for cookie in (value, "!", "", "a"):
        answer = await ask(edge, f"{ADDRESS}?again", headers=[BROWSER, ("Cookie", f"callback_opened={cookie}")])
        assert (answer.status, answer.all("location")) == (502, [])
