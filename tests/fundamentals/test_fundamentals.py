"""The functions of Callback, in twenty-six short tests on one running system. Read them from top to bottom.

The system is the real one, in `system`: a store, a server, an edge, and a worker with the handlers of this file.

- `system.client` is the client of the internal service. It generates URLs, and looks at what arrived.
- `system.visit(url)` is the browser of a visitor, and `system.send(url)` the sender of a webhook. Both are *callers*.
"""

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import standardwebhooks
from support.up import Up
from support.wait import wait_until_sync

from callback import (
    AnswerMode,
    AsyncCallbackClient,
    CallbackClosedError,
    CallbackStatus,
    CallEventType,
    CallFilter,
    CallStatus,
    CloseReason,
    DeliveryStatus,
    GetGuard,
    Handlers,
    PageResponse,
    Prompt,
    Redirect,
    Reject,
    RequestIdReusedError,
    Response,
)
from callback.testing import running_system

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = """
[server]
platform_url = "https://shop.example"

[activities.order-paid]
deadline_s = 30   # how long the handler may take

[activities.ship-order]
deadline_s = 30
retry = { initial_s = 0.001 }   # the longest wait before the second attempt, in seconds

[profiles.partner]
kind = "standard-webhooks"
secret_files = ["SECRET_FILE"]
"""

handlers = Handlers()


@handlers.activity("order-paid")
async def order_paid(call):
    """Decide a call: accept it, reject it, or override the response of the callback."""
    match call.query.get("status"):
        case "paid":
            return None  # accept: the caller gets the response of the callback
        case "refunded":
            return Response("refunded", code=202)  # accept, with another response
        case "disputed":
            raise Reject(Response("see our letter", code=400))
        case _:
            raise Reject


shipped = queue.Queue()


@handlers.activity("ship-order")
async def ship_order(call):
    """Fail at the first attempt, and succeed at the second."""
    if call.attempt == 1:
        raise ConnectionError("the warehouse is closed")
    shipped.put(call)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Run Callback for the tests of this file."""
    directory = tmp_path_factory.mktemp("fundamentals")
    (directory / "secret").write_text(SECRET)
    config = CONFIG.replace("SECRET_FILE", str(directory / "secret"))
    with running_system(handlers, config=config, directory=directory) as system:
        yield system


@pytest.fixture(scope="module")
def client(system):
    """Return the client of the internal service."""
    return system.client


@pytest.fixture
async def up_with(tmp_path):
    """Run `callback up` with a configuration: `await up_with(text)`."""
    running = []

    async def start(config):
        (tmp_path / "callback.toml").write_text(config)
        running.append(Up(tmp_path / "data", tmp_path / "log", config=tmp_path / "callback.toml"))
        return await asyncio.to_thread(running[0].start)

    yield start
    await asyncio.to_thread(running[0].interrupt)
    running[0].close()


@pytest.fixture(scope="module")
def in_background():
    """Run a caller while the test does something else: `in_background(system.visit, url).result()`."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit


# ---- URLs, single-use and multi-use ----


def test_a_generated_url_can_be_called(system, client):
    made = client.generate_callback_url("record", Response("thank you", code=201, headers={"x-shop": "ours"}))
    assert made.url.startswith(f"{system.url}/cb/")
    reply = system.send(made.url, json={"id": "tr_7"})
    assert (reply.status, reply.text, reply.headers["x-shop"]) == (201, "thank you", "ours")


def test_a_callback_is_for_one_call_and_then_gone(system, client):
    made = client.generate_callback_url("record", Response("thank you"))
    assert [system.visit(made.url, query={"visit": str(visit)}).status for visit in range(2)] == [200, 410]
    callback = client.get_callback(made.case_id)
    assert (callback.status, callback.close_reason) == (CallbackStatus.CLOSED, CloseReason.CONSUMED)


def test_the_same_request_again_gets_the_same_answer(system, client):
    made = client.generate_callback_url("record", Response("thank you"))
    assert [system.visit(made.url).text for _ in range(3)] == ["thank you"] * 3
    (call,) = client.list_calls(made.case_id)
    assert call.repeat_count == 2


def test_a_retryable_callback_stays_open_until_a_call_succeeds(system, client):
    made = client.generate_callback_url("order-paid", Response("thank you"), retryable_after_error=True)
    statuses = [system.visit(made.url, query={"status": status}).status for status in ("open", "open", "paid", "more")]
    assert statuses == [422, 422, 200, 410]


def test_a_callback_for_multiple_calls_stays_open(system, client):
    made = client.generate_callback_url("record", Response("thank you"), allow_multiple_calls=True)
    assert [system.visit(made.url).status for _ in range(3)] == [200, 200, 200]
    assert [call.attempt for call in client.list_calls(made.case_id)] == [3, 2, 1]


def test_a_redirect_is_a_302_after_get_and_a_303_after_post(system, client):
    made = client.generate_callback_url("record", Redirect("/thankyou"), allow_multiple_calls=True)
    for reply, status in ((system.visit(made.url), 302), (system.send(made.url), 303)):
        assert (reply.status, reply.location) == (status, "https://shop.example/thankyou")


def test_a_page_is_rendered_in_the_style_of_the_edge_and_a_program_gets_its_text(system, client):
    response = PageResponse("Thank you", "Order 5 has arrived.", "To the shop", "/orders/5")
    made = client.generate_callback_url("record", response, allow_multiple_calls=True)
    page = system.visit(made.url)
    assert page.status == 200
    assert "<h1>Thank you</h1>" in page.text
    assert 'href="https://shop.example/orders/5">To the shop</a>' in page.text
    assert system.send(made.url).text == (
        "Thank you\n\nOrder 5 has arrived.\n\nTo the shop: https://shop.example/orders/5\n"
    )


def test_the_secret_can_be_a_parameter_of_the_query_or_of_a_form_as_oauth_and_saml_need(system, client):
    made = client.generate_callback_url("record", Response(), state_query_parameter="state", allow_multiple_calls=True)
    path, _, query = made.url.partition("?")
    assert (path, query) == (f"{system.url}/cbq/state", f"state={made.state}")
    assert system.visit(path, query={"state": made.state, "code": "7"}).status == 200
    assert system.visit(path, form={"state": made.state, "code": "7"}).status == 200
    assert system.visit(path).status == 400


# ---- Records of calls ----


def test_a_request_is_recorded_byte_for_byte(system, client):
    made = client.generate_callback_url("record", Response())
    body = bytes(range(256))
    system.send(made.url + "?a=1&a=%20", body, method="PUT", headers={"X-Signature": "v1=0a"})
    call = client.wait_for_call(made.case_id, timeout=30)
    assert (call.method, call.body, call.query_string) == ("put", body, "a=1&a=%20")
    assert (call.query.get_all("a"), call.headers["x-signature"]) == (("1", " "), "v1=0a")


def test_recorded_content_can_be_erased(system, client):
    made = client.generate_callback_url("record", Response())
    system.send(made.url, "private")
    (call,) = client.list_calls(made.case_id)
    assert client.erase_calls(made.case_id) == 1
    kept = client.get_call(call.call_id)
    assert (kept.erased, kept.body, kept.status) == (True, b"", CallStatus.SUCCEEDED)


# ---- Decision on the response ----


def test_a_handler_decides_while_the_caller_waits(system, client):
    made = client.generate_callback_url("order-paid", Redirect("/thankyou"))
    assert system.visit(made.url, query={"status": "paid"}).location == "https://shop.example/thankyou"


def test_a_handler_rejects_incorrect_data(system, client):
    made = client.generate_callback_url("order-paid", Redirect("/thankyou"), allow_multiple_calls=True)
    assert system.send(f"{made.url}?status=open").status == 422
    reply = system.send(f"{made.url}?status=disputed")
    assert (reply.status, reply.text) == (400, "see our letter")
    assert [call.status for call in client.list_calls(made.case_id)] == [CallStatus.REJECTED] * 2


def test_a_handler_overrides_the_response(system, client):
    made = client.generate_callback_url("order-paid", Redirect("/thankyou"))
    reply = system.visit(made.url, query={"status": "refunded"})
    assert (reply.status, reply.text) == (202, "refunded")


async def test_the_server_can_connect_to_handlers_instead(up_with):
    async with handlers.listen("127.0.0.1:0") as listening:
        up = await up_with(f'activities.order-paid = {{ target = "{listening.address}", deadline_s = 30 }}')
        async with AsyncCallbackClient(up.grpc) as client, httpx.AsyncClient() as browser:
            made = await client.generate_callback_url("order-paid", Response("thank you"))
            assert (await browser.get(f"{made.url}?status=refunded")).text == "refunded"


def test_a_person_or_another_service_answers_a_held_call(system, client, in_background):
    made = client.generate_callback_url("form", Response("welcome"))
    visitor = in_background(system.visit, made.url, form={"name": "Ada"})
    waiting = wait_until_sync(lambda: [*client.list_owner_calls(CallFilter.WAITING)])
    call = client.get_call(waiting[0].call_id)
    client.answer_call(call.call_id, Response(f"welcome, {call.form()['name']}"))
    assert visitor.result().text == "welcome, Ada"


def test_at_the_answer_deadline_the_caller_gets_the_fallback_and_the_call_continues(system, client):
    made = client.generate_callback_url(
        "form", Response("done"), answer_deadline=timedelta(milliseconds=100), fallback=Response("later", code=202)
    )
    reply = system.send(made.url)
    assert (reply.status, reply.text) == (202, "later")
    (call,) = client.list_calls(made.case_id)
    assert call.status is CallStatus.RUNNING
    client.answer_call(call.call_id)
    assert client.wait_for_call(made.case_id, timeout=30).fallback_sent


# ---- Work after the answer ----


def test_an_acknowledged_call_is_answered_first_and_delivered_with_retries(system, client):
    made = client.generate_callback_url("ship-order", Response("accepted", code=202), answer_mode=AnswerMode.ACK)
    assert system.send(made.url, "5 books").status == 202
    delivered = shipped.get(timeout=30)
    assert (delivered.body, delivered.attempt) == (b"5 books", 2)

    def delivery():
        return client.get_call(delivered.call_id).delivery

    wait_until_sync(lambda: delivery().status is DeliveryStatus.DELIVERED)
    assert delivery().attempts == 2


def test_a_recorded_call_can_be_replayed_to_its_handler(system, client):
    made = client.generate_callback_url("ship-order", Response())
    assert system.send(made.url, "3 pens").status == 502  # the first attempt fails
    (call,) = client.list_calls(made.case_id)
    client.replay_call(call.call_id)
    replayed = shipped.get(timeout=30)
    assert (replayed.call_id, replayed.body, replayed.replayed) == (call.call_id, b"3 pens", True)


# ---- Verification of callers ----


def test_a_callback_with_a_profile_accepts_only_signed_webhooks(system, client):
    made = client.generate_callback_url("record", Response("thank you"), verification_profile="partner")
    body, now = '{"id": "tr_7"}', datetime.now(UTC).replace(microsecond=0)
    signature = standardwebhooks.Webhook(SECRET).sign("msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": f"{now.timestamp():.0f}", "webhook-signature": signature}
    assert system.send(made.url, body.replace("7", "8"), headers=headers).status == 401  # forged
    assert system.send(made.url, body, headers=headers).status == 200


def test_a_confirm_guard_shows_a_page_and_only_its_button_makes_the_call(system, client):
    made = client.generate_callback_url("record", Response("confirmed"), get_guard=GetGuard.CONFIRM)
    page = system.visit(made.url)
    assert (page.status, "<button" in page.text) == (200, True)
    assert client.get_callback(made.case_id).call_count == 0
    assert system.visit(made.url, form={"callback_confirm": "1"}).text == "confirmed"
    assert client.get_callback(made.case_id).call_count == 1


def test_a_prompt_says_what_is_asked_and_the_handler_gets_the_choice(system, client):
    prompt = Prompt("Approve order 5?", "It costs 500 euros.", choices={"approve": "Approve", "reject": "Reject"})
    made = client.generate_callback_url("record", Response("thank you"), get_guard=GetGuard.CONFIRM, prompt=prompt)
    page = system.visit(made.url)
    assert "Approve order 5?" in page.text
    assert '<button class="quiet" name="callback_choice" value="reject">Reject</button>' in page.text
    assert system.send(made.url, json={"choice": "reject"}).status == 400
    assert system.visit(made.url, form={"callback_choice": "reject"}).text == "thank you"
    assert [call.choice for call in client.list_calls(made.case_id)] == ["reject"]


# ---- Operations of the owner ----


def test_the_owner_closes_a_callback(system, client):
    made = client.generate_callback_url("record", Response())
    assert client.close_callback(made.case_id).close_reason is CloseReason.CLOSED_BY_OWNER
    assert system.visit(made.url).status == 410


def test_the_owner_changes_the_response_of_an_open_callback(system, client):
    made = client.generate_callback_url("record", Response("old", headers={"x-a": "kept"}))
    client.set_response(made.case_id, Response("new"))
    reply = system.visit(made.url)
    assert (reply.text, reply.headers["x-a"]) == ("new", "kept")
    with pytest.raises(CallbackClosedError):
        client.set_response(made.case_id, Response("too late"))


def test_a_callback_expires_after_its_time_to_live(system, client):
    made = client.generate_callback_url("record", Response(), time_to_live=timedelta(seconds=1))
    wait_until_sync(lambda: client.get_callback(made.case_id).close_reason is CloseReason.EXPIRED)
    assert system.visit(made.url).status == 410


def test_callbacks_are_found_by_their_labels(client):
    made = [client.generate_callback_url("record", Response(), labels={"order": order}) for order in ("5", "6", "5")]
    found = client.list_callbacks(labels={"order": "5"})
    assert [callback.case_id for callback in found] == [made[2].case_id, made[0].case_id]  # newest first


def test_a_watch_receives_each_change(system, client):
    with client.watch_calls(labels={"customer": "ada"}) as watch:
        made = client.generate_callback_url("order-paid", Response(), labels={"customer": "ada"})
        system.visit(made.url, query={"status": "paid"})
        events = [next(watch) for _ in range(3)]
    assert [event.type for event in events] == [
        CallEventType.CASE_CREATED, CallEventType.CALL_STARTED, CallEventType.CALL_ENDED,
    ]  # fmt: skip
    assert events[-1].close_reason is CloseReason.CONSUMED


def test_the_same_request_id_returns_the_same_url(client):
    first, again = (client.generate_callback_url("record", Response("5"), request_id="order-5") for _ in range(2))
    assert again == first
    with pytest.raises(RequestIdReusedError):
        client.generate_callback_url("record", Response("6"), request_id="order-5")
