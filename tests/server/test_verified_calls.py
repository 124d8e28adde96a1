"""Verification profiles: a verified request is a call, any other changes nothing, and each message is one call."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from types import SimpleNamespace

import grpc
import jwt
import pytest
import redis.asyncio
from prometheus_client import REGISTRY
from soak.counts import SOAK
from structlog.testing import capture_logs
from support.handlers import accept, override, reject, stub_handler
from support.proxy import StoreProxy, each_once
from support.senders import ID as MESSAGE_ID
from support.senders import by_standard_webhooks, whsec
from support.services import refusal, response, running_services
from support.stored import content_of
from support.verification import NOW, profile_of, profiles_of
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback_server.domain.response import Response, ResponseType
from callback_server.settings import ActivitySettings
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage

SECRET = whsec(b"1")
BODY = '{"type": "order.paid"}'
MANY = 100


@pytest.fixture(scope="module", params=["valkey", "valkey-cluster"] if SOAK else ["valkey"])
async def running(store_of, tmp_path_factory, request):
    """Run services with the profile `it` (Standard Webhooks) and a gated `push` handler that counts its calls."""
    store, gate, asked = store_of(request.param), asyncio.Event(), []

    async def counts(request, _context):
        asked.append(request)
        await gate.wait()
        return accept(override(response_body=b"answer %d" % len(asked)))

    async def fails_once(request, context):
        asked.append(request)
        if len(asked) == 1:
            await context.abort(grpc.StatusCode.INTERNAL, "not today")
        return accept()

    async def redirects(_request, _context):
        return accept(override(response_redirect_url="https://shop.example/"))

    async def rejects(request, _context):
        asked.append(request)
        return reject()

    profiles = dict(profiles_of(tmp_path_factory.mktemp("secrets"), None, SECRET, kind="standard-webhooks"))
    async with stub_handler() as stub:
        scripts = {each.__name__: stub.play(each) for each in (counts, fails_once, redirects, rejects)}
        async with running_services(
            store, activities={"push": ActivitySettings(target=stub.target, deadline_s=60)}, profiles=profiles
        ) as services:
            yield SimpleNamespace(
                store=store, services=services, scripts=scripts, gate=gate, asked=asked, profiles=profiles
            )


@pytest.fixture
def up(running):
    """Return the services of the module, with an empty store and the profile `it` as it was."""
    profile = running.profiles["it"]
    running.store.flush_below()
    running.asked.clear()
    running.gate.set()
    yield running
    running.profiles["it"] = profile


async def generate(up, script="counts", activity="push", profile="it", **fields):
    return await up.services.generate(
        activity,
        callback_activity_case=up.scripts[script],
        verification_profile=profile,
        response=fields.pop("response", response(response_body=b"own")),
        **fields,
    )


async def deliver(up, made, secret=SECRET, **changes):
    """Deliver a signed message of a sender, as an edge passes it on."""
    signed = by_standard_webhooks(secret, BODY, NOW)
    headers = [{"name": name, "value": value} for name, value in signed.headers]
    return await up.services.call(made, **{"request_headers": headers, "body": signed.body} | changes)


async def test_a_verified_request_is_a_call_that_names_its_profile(up):
    made = await generate(up)
    answer = await deliver(up, made)
    assert answer.response.response_body == b"answer 1"
    (asked,) = up.asked
    assert (asked.verified, asked.verification_profile, asked.message_id) == (True, "it", MESSAGE_ID)
    (call,) = await up.services.list_calls(made)
    assert (call.call_id, call.verification_profile, call.message_id) == (answer.call_id, "it", MESSAGE_ID)


async def test_a_denial_of_a_hub_reaches_the_handler_and_is_not_verified(up, tmp_path):
    hub = {"kind": "hub", "topics": ["https://blog.example/posts"], "denials": True}
    up.profiles["it"] = profile_of(tmp_path, "one", kind="github", handshake=hub)
    made = await generate(up, allow_multiple_calls=True)

    async def deny(topic):
        query = [{"name": name, "value": value} for name, value in (("hub.mode", "denied"), ("hub.topic", topic))]
        return await up.services.call(made, method="get", request_query=query)

    counted = _failed(reason="missing", enforced="false")
    with capture_logs() as logs:
        answer = await deny("https://blog.example/posts")
    (told,) = [entry for entry in logs if entry["event"] == "verification_failed"]
    assert (told["case_id"], told["enforced"]) == (made.callback_case_id, False)
    assert _failed(reason="missing", enforced="false") == counted + 1
    (asked,) = up.asked
    assert (asked.verified, asked.verification_profile, asked.request_query[0].value) == (False, "", "denied")
    call = await up.services.call_of(answer.call_id)
    assert call.verification_failure == "a hub has denied the subscription, and nothing proves it"
    assert (await refusal(deny("https://blog.example/other"))).reason == "VERIFICATION_FAILED"
    assert len(up.asked) == 1


async def test_the_case_shows_its_profile_and_guard_wherever_it_is_shown(up):
    made = await generate(up, get_guard=pb.GET_GUARD_DETECT)
    shown = [
        await up.services.case_of(made),
        *await up.services.cases(),
        (await up.services.set_response(made, response_code=201)).callback,
        (await up.services.close(made)).callback,
    ]
    assert [(each.verification_profile, each.get_guard) for each in shown] == [("it", pb.GET_GUARD_DETECT)] * 4


@pytest.mark.parametrize("activity", ["push", "record"])
@pytest.mark.parametrize("multiple", [False, True])
async def test_a_forged_request_changes_nothing(up, activity, multiple):
    made = await generate(up, activity=activity, allow_multiple_calls=multiple)
    before = await content_of(up.store)
    failed = _failed()
    forged = [
        {"secret": whsec(b"2")},
        {"body": b"{}"},
        {"body": b""},
        {"method": "get", "request_headers": ()},
    ]
    with capture_logs() as logs:
        for changes in forged:
            said = await refusal(deliver(up, made, **changes))
            assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERIFICATION_FAILED")
            assert said.metadata == {"challenge": up.profiles["it"].challenge}
            assert said.retry_after_s == 0
    assert await content_of(up.store) == before
    assert up.asked == []
    assert _failed() == failed + len(forged)
    told = [entry for entry in logs if entry["event"] == "verification_failed"]
    assert len(told) == len(forged)
    names = {"event", "case_id", "profile", "why", "reason", "enforced", "log_level"}
    assert all(set(entry) == names for entry in told)
    assert {(entry["case_id"], entry["profile"]) for entry in told} == {(made.callback_case_id, "it")}
    assert (await deliver(up, made)).call_id


async def test_a_forged_request_does_not_learn_that_a_case_is_closed(up):
    made = await generate(up)
    await up.services.close(made)
    assert (await refusal(deliver(up, made, secret=whsec(b"2")))).reason == "VERIFICATION_FAILED"
    assert (await refusal(deliver(up, made))).reason == "CALLBACK_CLOSED"


async def test_a_profile_that_this_server_does_not_know_is_no_call_and_no_refusal_for_good(up):
    made = await generate(up)
    before = await content_of(up.store)
    del up.profiles["it"]
    said = await refusal(deliver(up, made))
    assert (said.reason, said.retry_after_s) == ("VERIFICATION_UNAVAILABLE", 60)
    assert await content_of(up.store) == before


class Broken:
    """A profile that raises an exception."""

    challenge = "Broken"
    enforce = True
    reads_body = True

    def __init__(self, where, error=None, verified=None):
        self._where, self._error, self._verified = where, error, verified
        self.wanted = []

    def handshake(self, _request, _url):
        if self._where == "handshake":
            raise self._error

    def verify(self, _request, _url):
        if self._where == "verify":
            raise self._error
        return self._verified

    def redacted(self, request):
        if self._where == "redacted":
            raise self._error
        return request

    def want_keys(self, error, *, owner, url):
        self.wanted.append((error, owner, url))


async def test_a_profile_without_its_keys_is_no_call_and_no_refusal_for_good(up):
    made = await generate(up)
    before = await content_of(up.store)
    error = VerificationError("not fetched yet", FailureReason.KEYS)
    up.profiles["it"] = Broken("verify", error)
    with capture_logs() as logs:
        said = await refusal(deliver(up, made))
    assert (said.reason, said.retry_after_s) == ("VERIFICATION_UNAVAILABLE", 10)
    assert {*up.profiles["it"].wanted} == {(error, "local", made.callback_url)}
    (told,) = [entry for entry in logs if entry["event"] == "verification_failed"]
    assert (told["why"], told["reason"]) == ("not fetched yet", "keys")
    assert await content_of(up.store) == before


@pytest.mark.parametrize(
    "broken",
    [
        Broken("handshake", RuntimeError("secret")),
        Broken("verify", UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret")),
        Broken("verify", RecursionError("secret")),
        Broken("redacted", ValueError("secret"), VerifiedMessage()),
        Broken("", verified=VerifiedMessage("\ud800 secret", 1000)),
        Broken("", verified=None),
    ],
    ids=["handshake", "verify", "too deep", "redacted", "an id that is no text", "nothing"],
)
async def test_a_bug_in_a_profile_refuses_the_request_and_is_logged_without_its_content(up, broken):
    made = await generate(up)
    before = await content_of(up.store)
    up.profiles["it"] = broken
    with capture_logs() as logs:
        said = await refusal(deliver(up, made))
    assert (said.reason, said.metadata) == ("VERIFICATION_FAILED", {"challenge": "Broken"})
    (told,) = [entry for entry in logs if entry["event"] == "verification_fault"]
    assert (told["log_level"], told["profile"]) == ("error", "it")
    assert re.fullmatch(r".+\.py:[1-9][0-9]*", told["at"])
    assert "secret" not in str(logs)
    assert await content_of(up.store) == before


async def test_each_claim_and_each_verification_is_timed_and_a_repeated_message_counted(up):
    def metrics():
        stages = ("claim", "verify", "handler")
        timed = [REGISTRY.get_sample_value("callback_call_stage_seconds_count", {"stage": each}) for each in stages]
        return [*timed, REGISTRY.get_sample_value("callback_repeats_total", {"profile": "it"}) or 0]

    made, before = await generate(up), metrics()
    for _ in range(3):
        await deliver(up, made)
    assert [now - then for now, then in zip(metrics(), before, strict=True)] == [6, 3, 1, 2]


@pytest.mark.parametrize("multiple", [False, True])
async def test_of_many_deliveries_of_one_message_at_once_one_is_handled(up, multiple):
    made = await generate(up, allow_multiple_calls=multiple)
    up.gate.clear()
    deliveries = [asyncio.create_task(deliver(up, made)) for _ in range(MANY)]
    await wait_until(lambda: sum(each.done() for each in deliveries) == MANY - 17, what="the answers of those over 16")
    up.gate.set()
    done = await asyncio.gather(*deliveries, return_exceptions=True)
    answers = [each for each in done if not isinstance(each, grpc.aio.AioRpcError)]
    assert [answer.response.response_body for answer in answers] == [b"answer 1"] * 17
    (call_id,) = {each.call_id for each in answers} - {""}
    assert {each.code() for each in done if isinstance(each, grpc.aio.AioRpcError)} == {grpc.StatusCode.ABORTED}
    again = await asyncio.gather(*(deliver(up, made) for _ in range(MANY)))
    assert {(each.repeated_call_id, each.response.response_body) for each in again} == {(call_id, b"answer 1")}
    assert len(up.asked) == len(await up.services.list_calls(made)) == 1


@pytest.mark.parametrize(("single_use", "answers"), [(False, [b"answer 1", b"answer 2"]), (True, [b"answer 1"] * 2)])
async def test_two_bodies_under_one_token_are_two_calls_unless_a_token_is_for_single_use(
    up, tmp_path, single_use, answers
):
    up.profiles["it"] = profile_of(
        tmp_path, "s" * 32, kind="jwt", algorithms=["HS256"], issuer="i", audience="a", single_use=single_use
    )  # fmt: skip
    made = await generate(up, allow_multiple_calls=True)
    token = jwt.encode({"iss": "i", "aud": "a", "exp": NOW + 300, "jti": "token-1"}, "s" * 32)
    bearer = [{"name": "authorization", "value": f"Bearer {token}"}]
    given = [await up.services.call(made, body=body, request_headers=bearer) for body in (b"order 1", b"order 2")]
    assert [each.response.response_body for each in given] == answers
    assert [call.message_id for call in await up.services.list_calls(made)] == (["token-1"] if single_use else ["", ""])


def bearer(key="s" * 32, **claims):
    """Return the headers of a request with a token, by default of the first subject. None removes a claim."""
    given = {"iss": "i", "aud": "a", "exp": NOW + 300, "sub": "first", "jti": "1"} | claims
    token = jwt.encode({name: value for name, value in given.items() if value is not None}, key)
    return [{"name": "authorization", "value": f"Bearer {token}"}]


def password(user, secret):
    given = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return [{"name": "authorization", "value": f"Basic {given}"}]


WITH_BODY_HASH = {"kind": "jwt", "algorithms": ["HS256"], "audience": "a", "body_hash_claim": "body"}
TOKEN = {"kind": "jwt", "algorithms": ["HS256"], "audience": "a", "issuer": "i"}
HASHED = {"body": hashlib.sha256(b"order").hexdigest()}


@pytest.mark.parametrize(
    ("profile", "headers", "same", "other"),
    [
        (TOKEN, bearer(), bearer(jti="2"), bearer(sub="second")),
        (TOKEN, bearer(), bearer("t" * 32), bearer(sub=None)),
        (TOKEN | {"single_use": True}, bearer(), bearer("t" * 32), bearer(sub="second")),
        (WITH_BODY_HASH, bearer(**HASHED), bearer("t" * 32, **HASHED), bearer(**HASHED, iss="j")),
        (WITH_BODY_HASH, bearer(**HASHED), bearer(**HASHED, jti="2"), bearer(**HASHED, sub="second")),
    ],
)
async def test_an_equal_request_of_another_sender_is_no_repeat_and_one_of_the_same_is(
    up, tmp_path, profile, headers, same, other
):
    up.profiles["it"] = profile_of(tmp_path, "s" * 32, "t" * 32, **profile)

    async def send(headers):
        return await up.services.call(made, body=b"order", request_headers=headers)

    made = await generate(up)
    up.gate.clear()
    first = asyncio.create_task(send(headers))
    await wait_until(lambda: up.asked, what="the handler's start")
    assert (await refusal(send(other))).reason == "CALL_IN_PROGRESS"
    waiting = asyncio.create_task(send(same))
    up.gate.set()
    call_id = (await first).call_id
    assert [(await waiting).repeated_call_id, (await send(same)).repeated_call_id] == [call_id] * 2
    assert (await refusal(send(other))).reason == "CALLBACK_CLOSED"
    assert len(up.asked) == 1

    made = await generate(up, allow_multiple_calls=True, repeat_window={"seconds": 600})
    call_ids = [(await send(each)).call_id for each in (headers, same, other, other)]
    assert [bool(each) for each in call_ids] == [True, False, True, False]


async def test_a_request_of_another_user_is_no_repeat_and_one_with_another_password_is(up, tmp_path):
    made = await generate(up, allow_multiple_calls=True, repeat_window={"seconds": 600})
    call_ids = []
    for user, secret in (("first", "1"), ("first", "2"), ("second", "1"), ("second", "2")):
        up.profiles["it"] = profile_of(tmp_path, "1", "2", kind="basic", username=user)
        call_ids.append((await up.services.call(made, request_headers=password(user, secret))).call_id)
    assert [bool(each) for each in call_ids] == [True, False, True, False]


@pytest.mark.parametrize(
    ("place", "sent"),
    [
        ({"parameter": "key"}, lambda secret, order: {"request_query_string": f"key={secret}&order={order}",
            "request_query": [{"name": "key", "value": secret}, {"name": "order", "value": order}]}),
        ({"pointer": "/key"}, lambda secret, order: {"body": json.dumps({"key": secret, "order": order}).encode()}),
    ],
)  # fmt: skip
async def test_a_request_with_another_secret_in_its_query_or_body_is_a_repeat(up, tmp_path, place, sent):
    up.profiles["it"] = profile_of(tmp_path, "old", "new", kind="shared-secret", **place)
    made = await generate(up, allow_multiple_calls=True, repeat_window={"seconds": 600})
    given = [("old", "1"), ("new", "1"), ("new", "2"), ("old", "2")]
    call_ids = [(await up.services.call(made, **sent(*each))).call_id for each in given]
    assert [bool(each) for each in call_ids] == [True, False, True, False]


async def test_a_message_lasts_as_long_as_its_window_and_not_a_moment_longer(up):
    made = await generate(up, activity="record", allow_multiple_calls=True)
    up.profiles["it"] = Broken("", verified=VerifiedMessage("m1", 600_000))
    first = await deliver(up, made)
    async with redis.asyncio.Redis(port=up.store.port) as client:
        (key,) = [key async for key in client.scan_iter("*:repeat:*")]
        assert 590_000 < await client.pttl(key) <= 600_000
        await client.pexpire(key, 60_000)
        assert (await deliver(up, made)).repeated_call_id == first.call_id  # a repeat does not extend the window
        assert await client.pttl(key) <= 60_000
        await client.pexpire(key, 1)

        async def is_over():
            return not await client.exists(key)

        await wait_until(is_over, what="the end of the window")
    assert (await deliver(up, made)).call_id != first.call_id
    assert len(await up.services.list_calls(made)) == 2


async def test_a_message_without_a_window_is_never_a_repeat(up):
    made = await generate(up, activity="record", allow_multiple_calls=True)
    up.profiles["it"] = Broken("", verified=VerifiedMessage("m1", 0))
    assert (await deliver(up, made)).call_id != (await deliver(up, made)).call_id
    assert [call.message_id for call in await up.services.list_calls(made)] == ["m1", "m1"]


async def test_the_id_of_a_message_is_in_no_key_and_says_nothing_to_another_case(up):
    first, second = [await generate(up) for _ in range(2)]
    for made in (first, second):
        await deliver(up, made)
    assert len(up.asked) == 2
    assert not [line for line in await content_of(up.store) if "msg_" in json.loads(line)["key"]]


async def test_a_lost_reply_makes_no_second_call_of_a_verified_message(store_of, tmp_path):
    profiles = profiles_of(tmp_path, None, SECRET, kind="standard-webhooks")
    async with (
        StoreProxy(store_of(is_in_use=True), each_once("claim_call")) as proxy,
        running_services(proxy, profiles=profiles) as services,
    ):
        up = SimpleNamespace(services=services, scripts={"counts": ""})
        made = await generate(up, activity="record", allow_multiple_calls=True)
        first = await deliver(up, made)
        assert (await deliver(up, made)).repeated_call_id == first.call_id
        assert len(await up.services.list_calls(made)) == 1
    assert proxy.lost["claim_call"] >= 3  # of the unverified claim, the verified one, and the repeated message


class Seen(Broken):
    """A profile that accepts every request and records the URLs. It performs a handshake if a request asks for one."""

    def __init__(self):
        super().__init__("", verified=VerifiedMessage())
        self.urls = []

    def handshake(self, request, url):
        self.urls.append(url)
        if request.query_string == "hello" or request.method == "options":
            return Response(type=ResponseType.RESPONSE, code=200, headers=(("x-hello", "1"),), body=b"hello back")
        return None


@pytest.mark.parametrize(
    ("fields", "query_string", "url"),
    [
        ({}, "", "https://box.example/cb/{state}"),
        ({}, "a=%2f&a=&b", "https://box.example/cb/{state}?a=%2f&a=&b"),
        ({"alternative_domain": "https://pay.example"}, "a=1", "https://pay.example/cb/{state}?a=1"),
        ({"state_query_parameter": "RelayState"}, "RelayState={state}&x=1",
         "https://box.example/cbq/RelayState?RelayState={state}&x=1"),
        ({"state_query_parameter": "RelayState"}, "", "https://box.example/cbq/RelayState"),
    ],
)  # fmt: skip
async def test_a_profile_sees_the_url_that_the_sender_called(up, fields, query_string, url):
    seen = up.profiles["it"] = Seen()
    made = await generate(up, **fields)
    await deliver(
        up, made, request_query_string=query_string.format(state=made.callback_state),
        state_query_parameter=fields.get("state_query_parameter", ""),
    )  # fmt: skip
    assert seen.urls == [url.format(state=made.callback_state)]


@pytest.mark.parametrize("method", ["get", "post", "options"])
async def test_a_handshake_is_answered_and_is_no_call(up, method):
    up.profiles["it"] = Seen()
    made = await generate(up, get_guard=pb.GET_GUARD_DETECT)
    before = await content_of(up.store)
    counted = REGISTRY.get_sample_value("callback_handshakes_total", {"profile": "it"}) or 0
    for _ in range(5):
        answer = await deliver(up, made, method=method, request_query_string="hello")
        assert (answer.response.response_code, answer.response.response_body) == (200, b"hello back")
        assert answer.call_id == ""
    assert await content_of(up.store) == before
    assert REGISTRY.get_sample_value("callback_handshakes_total", {"profile": "it"}) == counted + 5
    assert up.asked == []


async def test_a_handshake_is_answered_on_an_open_case_only(up):
    up.profiles["it"] = Seen()
    made = await generate(up)
    up.gate.clear()
    running = asyncio.create_task(deliver(up, made))
    await wait_until(lambda: up.asked, what="the handler's start")
    assert (await refusal(deliver(up, made, request_query_string="hello"))).reason == "CALL_IN_PROGRESS"
    up.gate.set()
    await running
    assert (await refusal(deliver(up, made, request_query_string="hello"))).reason == "CALLBACK_CLOSED"


async def test_an_options_is_never_a_call_and_never_a_forged_one(up):
    with_profile, without = await generate(up), await generate(up, profile="")
    before, failed = await content_of(up.store), _failed()
    for made in (with_profile, without):
        for secret in (SECRET, whsec(b"2")):
            assert (await refusal(deliver(up, made, secret, method="options"))).reason == "STATE_UNKNOWN"
    assert (await content_of(up.store), _failed()) == (before, failed)


def _failed(**labels):
    """Return how many verifications have failed, of those with these labels."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "callback_verifications_failed_total"
        and {"profile": "it", **labels}.items() <= sample.labels.items()
    )


async def test_a_profile_that_only_reports_counts_and_lets_through_what_does_not_pass(up, tmp_path):
    up.profiles["it"] = profile_of(tmp_path, SECRET, kind="standard-webhooks", enforce=False)
    made = await generate(up, allow_multiple_calls=True)
    forged = {"profile": "it", "reason": "signature", "enforced": "false"}
    before = _failed(**forged)
    assert (await deliver(up, made, whsec(b"2"))).response.response_body == b"answer 1"
    assert _failed(**forged) == before + 1
    (asked,) = up.asked
    assert (asked.verified, asked.verification_profile, asked.message_id) == (False, "", "")
    (call,) = await up.services.list_calls(made)
    assert (call.verification_profile, call.message_id) == ("", "")
    assert call.verification_failure == "no signature is valid"
    await deliver(up, made)
    assert (up.asked[1].verified, up.asked[1].message_id) == (True, MESSAGE_ID)
    assert [each.verification_failure for each in await up.services.list_calls(made)] == ["", "no signature is valid"]
    assert _failed(**forged) == before + 1


async def test_a_message_that_does_not_pass_is_no_repeat_of_one_that_did(up, tmp_path):
    up.profiles["it"] = profile_of(tmp_path, SECRET, kind="standard-webhooks", enforce=False)
    made = await generate(up, allow_multiple_calls=True)
    await deliver(up, made)
    await deliver(up, made, whsec(b"2"))
    assert [each.verified for each in up.asked] == [True, False]


@pytest.mark.parametrize(("sent", "enforce"), [("hunter22", True), ("hunter23", False)])
async def test_a_secret_that_was_sent_as_it_is_reaches_neither_handler_nor_store(up, tmp_path, sent, enforce):
    """Check also the secret that a profile which only reports has found to be wrong."""
    up.profiles["it"] = profile_of(tmp_path, "hunter22", kind="shared-secret", header="x-secret", enforce=enforce)
    headers = [{"name": "X-Secret", "value": sent}, {"name": "x-other", "value": "1"}]
    await up.services.call(await generate(up), request_headers=headers)
    (asked,) = up.asked
    assert sent not in str(asked)
    assert ("x-other", "1") in [(each.name, each.value) for each in asked.request_headers]
    assert sent not in "".join(await content_of(up.store))


async def test_a_secret_in_a_body_that_is_no_json_reaches_neither_handler_nor_store(up, tmp_path):
    given = {"kind": "shared-secret", "pointer": "/passcode", "enforce": False}
    up.profiles["it"] = profile_of(tmp_path, "hunter22", **given)
    await up.services.call(await generate(up), body=b'{"passcode": "hunter22", ')
    (asked,) = up.asked
    assert (asked.verified, asked.request_body) == (False, b"")
    assert "hunter22" not in "".join(await content_of(up.store))


async def test_a_form_that_a_provider_sends_again_gets_the_same_answer_and_runs_no_handler(up, tmp_path):
    """Check a command of Slack: the id in its form tells a retry, which is signed anew."""
    up.profiles["it"] = profile_of(tmp_path, "slack", kind="provider:slack")
    made = await generate(up, allow_multiple_calls=True)
    command = b"command=%2Fweather&text=94070&trigger_id=13345224609"

    async def send(time, body=command):
        signature = hmac.digest(b"slack", f"v0:{time}:".encode() + body, "sha256").hex()
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-slack-request-timestamp": str(time),
            "x-slack-signature": f"v0={signature}",
        }
        pairs = [{"name": name, "value": value} for name, value in headers.items()]
        return await up.services.call(made, body=body, request_headers=pairs)

    first, again = await send(NOW), await send(NOW + 5)
    assert (again.response, again.repeated_call_id) == (first.response, first.call_id)
    assert len(up.asked) == 1
    await send(NOW, command + b"0")
    assert len(up.asked) == 2


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"verification_profile": "unknown"}, {"verification_profile": "profile_unknown"}),
        ({"verification_profile": "Not A Name"}, {"verification_profile": "verification_profile"}),
        ({"verification_profile": "it", "get_guard": pb.GET_GUARD_CONFIRM},
         {"verification_profile": "exclusive", "get_guard": "exclusive"}),
        ({"verification_profile": "unknown", "get_guard": pb.GET_GUARD_CONFIRM},
         {"verification_profile": "profile_unknown", "get_guard": "exclusive"}),
        ({"get_guard": 9}, {"get_guard": "enum.defined_only"}),
    ],
)  # fmt: skip
async def test_generate_lists_the_fields_that_it_refuses(up, fields, rules):
    said = await refusal(up.services.generate(**fields))
    assert (said.reason, said.rules) == ("INVALID_REQUEST", rules)
    assert not await up.services.cases()


async def test_a_profile_and_a_guard_belong_to_what_a_request_id_stands_for(up):
    def asked(**fields):
        return up.services.generate(request_id="5", **fields)

    first = await asked()
    assert await asked(get_guard=pb.GET_GUARD_OFF) == first  # OFF is the default, so the request is the same
    for fields in ({"verification_profile": "it"}, {"get_guard": pb.GET_GUARD_DETECT}):
        assert (await refusal(asked(**fields))).reason == "REQUEST_ID_REUSED"
