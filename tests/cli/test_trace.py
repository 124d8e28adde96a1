"""`callback trace` says why a call or a callback is as it is, and why the callbacks of a customer fail."""

import asyncio
import contextlib
import functools
import json
from datetime import timedelta

import pytest
from support.clients import run_callback
from support.system import running_system
from support.wait import wait_until

from callback import (
    AnswerMode,
    CallbackStatus,
    CallStatus,
    DeliveryStatus,
    GetGuard,
    Handlers,
    Redirect,
    Reject,
    Response,
)

SERVED = ("broken", "slow", "unfit", "picky", "fine", "acknowledged", "on-leave")


def make_handlers():
    handlers = Handlers()

    @handlers.activity("broken")
    async def broken(_call):
        raise ValueError("hunter2")

    @handlers.activity("slow")
    async def slow(_call):
        await asyncio.Event().wait()

    @handlers.activity("unfit")
    async def unfit(_call):
        return Response(code=302)

    @handlers.activity("picky")
    async def picky(_call):
        raise Reject(Response("trxid is missing"))

    @handlers.activity("acknowledged")
    async def acknowledged(_call):
        raise Reject

    @handlers.activity("on-leave")
    @handlers.activity("fine")
    async def fine(_call):
        return None

    return handlers


@pytest.fixture(scope="module")
async def system(store_of, tmp_path_factory):
    directory = tmp_path_factory.mktemp("trace")
    (directory / "secret").write_text("whsec_one")
    profile = f'[profiles.stripe]\nkind = "stripe"\nsecret_files = ["{directory}/secret"]\n'
    async with contextlib.AsyncExitStack() as stack:
        handlers = await stack.enter_async_context(make_handlers().listen("127.0.0.1:0"))
        activities = [f'[activities.{name}]\ntarget = "{handlers.address}"\n' for name in SERVED]
        activities[SERVED.index("slow")] += "deadline_s = 1.5\n"
        system = await stack.enter_async_context(
            running_system(directory, store_of("valkey"), config=profile + "".join(activities))
        )
        system.run = functools.partial(run_callback, CALLBACK_TARGET=system.grpc)
        yield system


async def call(system, activity, *, customer="acme", method="post", path="", **options):
    """Generate a callback for a customer, call it, and return it with the response."""
    made = await system.client.generate_callback_url(
        activity, options.pop("response", Response("ok")), labels={"customer": customer}, **options
    )
    return made, await system.http.request(method, made.url.removeprefix(system.url) + path)


async def newest_call(system, made):
    return next(iter((await system.client.list_calls_page(made.case_id)).items))


SENTENCES = {
    "broken": "The handler returned an error.",
    "slow": "The handler did not decide before its deadline.",
    "unfit": "The response that the handler decided on cannot be sent.",
    "nobody-serves": "No handler was there: no worker serves the activity",
    "picky": "The handler rejected the data of the request.",
    "form": "No person or service answered within the hold time",
    "acknowledged": "Its delivery to the handler has failed for good.",
    "on-leave": "Its delivery waits, because the activity is paused.",
    "expired": "It expired before any call came.",
    "closed": "Its owner closed it before any call came.",
    "unsigned": "A request that does not pass the verification profile gets a 401",
    "unconfirmed": "A GET is a call once a person has confirmed it.",
}
"""Planted causes, by activity, and the beginning of what must be said of each."""


async def test_one_command_says_why_the_callbacks_of_a_customer_fail(system):
    wanted = {}
    for activity in ("broken", "slow", "unfit", "nobody-serves", "picky"):
        made, _ = await call(system, activity)
        wanted[activity] = (await newest_call(system, made)).call_id
    held, _ = await call(system, "form", hold_time=timedelta(seconds=1))
    await wait_until(lambda: has_status(system, held, CallStatus.FAILED))
    wanted["form"] = (await newest_call(system, held)).call_id
    made, answer = await call(system, "acknowledged", answer_mode=AnswerMode.ACK)
    assert answer.status_code == 200
    await wait_until(lambda: has_delivery(system, made, DeliveryStatus.DEAD))
    wanted["acknowledged"] = (await newest_call(system, made)).call_id
    await system.client.pause_activity("on-leave")
    made, _ = await call(system, "on-leave", answer_mode=AnswerMode.ACK)
    wanted["on-leave"] = (await newest_call(system, made)).call_id
    expired = await system.client.generate_callback_url(
        "expired", Response("ok"), labels={"customer": "acme"}, time_to_live=timedelta(seconds=1)
    )
    closed = await system.client.generate_callback_url("closed", Response("ok"), labels={"customer": "acme"})
    await system.client.close_callback(closed.case_id)
    unsigned, answer = await call(system, "unsigned", verification_profile="stripe")
    assert answer.status_code == 401
    unconfirmed, answer = await call(system, "unconfirmed", method="get", get_guard=GetGuard.CONFIRM)
    assert answer.status_code == 200
    wanted |= {"closed": closed.case_id, "unsigned": unsigned.case_id, "unconfirmed": unconfirmed.case_id}
    wanted["expired"] = expired.case_id
    await wait_until(lambda: is_closed(system, expired))
    # What went well, and what fails for another customer, is not an answer to the question.
    assert (await call(system, "fine"))[1].status_code == 200
    await call(system, "broken", customer="other")

    groups = (await system.run("trace", "--label", "customer=acme", "--json")).json
    assert len(wanted) >= 10
    assert {each["callbackActivity"]: each["newest"] for each in groups} == wanted
    for each in groups:
        assert any(SENTENCES[each["callbackActivity"]] in sentence for sentence in each["sentences"]), each
    assert "hunter2" not in json.dumps(groups)

    shown = (await system.run("trace", "--label", "customer=acme")).output
    for activity, sentence in SENTENCES.items():
        assert sentence in shown
        assert wanted[activity] in shown
    assert "Now the activity is paused." in shown
    assert "Now the activity is served by nothing." in shown
    await system.client.resume_activity("on-leave")


async def test_the_same_cause_is_counted_and_the_most_frequent_is_first(system):
    for activity in ("broken", "broken", "picky"):
        made, _ = await call(system, activity, customer="twice")
    groups = (await system.run("trace", "--label", "customer=twice", "--json")).json
    assert [(each["callbackActivity"], each["count"]) for each in groups] == [("broken", 2), ("picky", 1)]
    assert (await system.run("trace", "--label", "customer=nobody")).output == "Nothing needs attention.\n"
    both = (await system.run("trace", "--label", "customer=twice", "--activity", "picky", "--json")).json
    assert [each["newest"] for each in both] == [(await newest_call(system, made)).call_id]


async def test_a_call_and_a_callback_are_explained_with_what_was_said_of_them(system):
    made, _ = await call(system, "unfit", response=Redirect("/done"), retryable_after_error=True)
    found = await newest_call(system, made)
    shown = (await system.run("trace", found.call_id)).output
    assert "unfit  failed" in shown
    said = "  The response that the handler decided on cannot be sent.\n  The caller got a 502.\n  | response.resp"
    assert said in shown
    view = (await system.run("trace", made.case_id[:12], "--json")).json
    assert (view["callbackCaseId"], view["served"]) == (made.case_id, True)
    assert [each["callId"] for each in view["reasons"]] == [found.call_id]
    uncalled = await system.client.generate_callback_url("fine", Response("ok"))
    assert "It is open, and no call has come." in (await system.run("trace", uncalled.case_id)).output


async def has_status(system, made, status):
    return (await newest_call(system, made)).status is status


async def has_delivery(system, made, status):
    delivery = (await newest_call(system, made)).delivery
    return delivery is not None and delivery.status is status


async def is_closed(system, made):
    return (await system.client.get_callback(made.case_id)).status is CallbackStatus.CLOSED
