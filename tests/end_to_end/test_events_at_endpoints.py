"""Events of Stripe, GitHub and Slack at one URL each, through an edge and a server in processes of their own."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from urllib.parse import urlencode

import pytest
import slack_sdk.signature
import stripe
from support.system import system_of_its_own
from support.wait import wait_until

from callback import AnswerMode, CallbackStatus, Response

SECRETS = {"stripe": "whsec_test", "github": "github-secret", "slack": "slack-secret"}
FORM = "application/x-www-form-urlencoded"


@contextlib.asynccontextmanager
async def system_with_endpoints(folder):
    """Run a system with an endpoint of each provider, in this folder."""
    for name, secret in SECRETS.items():
        (folder / name).write_text(secret)
    profiles = "\n".join(
        f'profiles.{name} = {{ kind = "{name}", secret_files = ["{folder / name}"] }}' for name in SECRETS
    )
    config = f"""
        {profiles}
        endpoints.stripe = {{ owner = "local", profile = "stripe", correlation_key = "json:/data/object/id" }}
        endpoints.github = {{ owner = "local", profile = "github", correlation_key = "json:/deployment/id" }}
        endpoints.slack.owner = "local"
        endpoints.slack.profile = "slack"
        endpoints.slack.correlation_key = "form-json:payload/actions/0/value"
    """
    async with system_of_its_own(folder, config=config) as system:
        yield system


@pytest.fixture(scope="session")
async def running(tmp_path_factory):
    async with system_with_endpoints(tmp_path_factory.mktemp("endpoints")) as system:
        yield system


def by_stripe(body):
    now = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{now}.{body}", SECRETS["stripe"])
    return {"stripe-signature": f"t={now},v1={signature}", "content-type": "application/json"}


def by_github(body):
    """GitHub has no library that signs; this is its documented signature."""
    digest = hmac.digest(SECRETS["github"].encode(), body.encode(), hashlib.sha256).hex()
    return {
        "x-hub-signature-256": f"sha256={digest}", "x-github-delivery": hashlib.md5(body.encode()).hexdigest(),
        "content-type": "application/json",
    }  # fmt: skip


def by_slack(body):
    now = str(int(time.time()))
    signature = slack_sdk.signature.SignatureVerifier(SECRETS["slack"]).generate_signature(timestamp=now, body=body)
    return {"x-slack-request-timestamp": now, "x-slack-signature": signature, "content-type": FORM}


def stripe_event(key, number=1):
    return json.dumps({"id": f"evt_{key}_{number}", "object": "event", "data": {"object": {"id": key}}})


EVENTS = {
    "stripe": ("pi_3MtwBw", "pi_other", by_stripe, stripe_event),
    "github": ("42", "43", by_github, lambda key: json.dumps({"action": "created", "deployment": {"id": int(key)}})),
    "slack": (
        "order-5", "order-6", by_slack,
        lambda key: urlencode({"payload": json.dumps({"type": "block_actions", "actions": [{"value": key}]})}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("provider", EVENTS)
async def test_a_signed_event_of_a_provider_reaches_the_callback_of_its_key_alone(running, provider):
    key, other_key, sign, body_of = EVENTS[provider]
    client, http = running.client, running.http
    made, other = [
        await client.generate_callback_url("record", Response(b"thank you"), endpoint=provider, correlation_key=each)
        for each in (key, other_key)
    ]
    body = body_of(key)
    forged = await http.post(f"/in/{provider}", content=body, headers=sign(body + " "))
    assert forged.status_code == 401
    answer = await http.post(f"/in/{provider}", content=body, headers=sign(body))
    assert (answer.status_code, answer.content) == (200, b"thank you")
    assert (await client.get_callback(made.case_id)).status is CallbackStatus.CLOSED
    assert (await client.get_callback(other.case_id)).status is CallbackStatus.OPEN
    (call,) = (await client.list_calls_page(made.case_id)).items
    assert call.correlation_key == key
    await client.close_callback(other.case_id)


async def test_what_one_who_cannot_sign_sees_does_not_depend_on_whether_a_callback_waits(running):
    made = await running.client.generate_callback_url("record", Response(), endpoint="stripe", correlation_key="secret")
    answers = []
    for key in ("secret", "guess"):
        body = stripe_event(key)
        answer = await running.http.post("/in/stripe", content=body, headers=by_stripe(body + " "))
        answers.append((answer.status_code, answer.headers.multi_items(), answer.content))
    known, unknown = ([fields for fields in each[1] if fields[0] != "date"] for each in answers)
    assert answers[0][0] == answers[1][0] == 401
    assert known == unknown
    assert json.loads(answers[0][2]).keys() == json.loads(answers[1][2]).keys()
    assert (await running.client.get_callback(made.case_id)).status is CallbackStatus.OPEN
    await running.client.close_callback(made.case_id)


async def test_an_event_that_no_callback_waits_for_is_a_202_and_one_at_an_unknown_endpoint_a_404(running):
    body = stripe_event("nothing")
    answer = await running.http.post("/in/stripe", content=body, headers=by_stripe(body))
    assert (answer.status_code, answer.content) == (202, b"")
    unknown = await running.http.post("/in/nothing", content=body, headers=by_stripe(body))
    state = await running.http.post("/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11", content=body)
    assert unknown.status_code == state.status_code == 404
    assert unknown.json()["code"] == state.json()["code"]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200), ("OPTIONS", {}, 204), ("TRACE", {}, 405), ("GET", {"sec-purpose": "prefetch"}, 503),
        ("GET", {"service-worker": "script"}, 403), ("GET", {}, 401),
        ("OPTIONS", {"origin": "https://shop.example", "access-control-request-method": "POST"}, 204),
    ],
)  # fmt: skip
async def test_an_endpoint_treats_methods_as_a_callback_url_does(running, method, headers, status):
    answer = await running.http.request(method, "/in/stripe", headers=headers)
    assert answer.status_code == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_copy_gets_the_answer_that_a_person_gave_after_the_server_was_killed(tmp_path):
    async with system_with_endpoints(tmp_path) as system:
        client, body = system.client, stripe_event("held")
        made = await client.generate_callback_url(
            "form", Response(), endpoint="stripe", correlation_key="held", answer_mode=AnswerMode.HOLD
        )
        first = asyncio.create_task(system.http.post("/in/stripe", content=body, headers=by_stripe(body)))

        async def held():
            return (await client.list_calls_page(made.case_id)).items

        (call,) = await wait_until(held, what="the held call")
        system.server.kill()
        assert (await first).status_code == 503
        await system.start_server()
        await client.answer_call(call.call_id, Response(b"done", code=203))
        copy = await system.http.post("/in/stripe", content=body, headers=by_stripe(body))
        assert (copy.status_code, copy.content) == (203, b"done")
        assert len(await held()) == 1
