"""Handshakes of senders before their first call: a valid one gets a response, which is short text and never HTML."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from support.verification import NOW, URL, changed, profile_of, request

from callback_server.domain.response import Response, ResponseType
from callback_server.verification.profile import VerificationError

CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
EVENT = {"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": CHALLENGE, "type": "url_verification"}
"""https://docs.slack.dev/reference/events/url_verification"""


def text(body):
    headers = (("content-type", "text/plain; charset=utf-8"),)
    return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=body.encode())


def from_slack(body, secret="one"):
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(NOW), body=body)
    return request(("x-slack-request-timestamp", str(NOW)), ("x-slack-signature", signature), body=body.encode())


def refused(profile, sent):
    with pytest.raises(VerificationError) as caught:
        profile.handshake(sent, URL)
    return str(caught.value)


@pytest.fixture
def slack(tmp_path):
    return profile_of(tmp_path, "one", kind="slack")


@pytest.fixture
def meta(tmp_path):
    """Return a profile of Meta, which signs as GitHub does and starts with a handshake."""
    for index, token in enumerate(["mytoken", "other"]):
        (tmp_path / f"token-{index}").write_text(token + "\n")
    files = [tmp_path / "token-0", tmp_path / "token-1"]
    handshake = {"kind": "hub", "verify_token_files": files}
    return profile_of(tmp_path, "one", kind="hmac", header="x-hub-signature-256", prefix="sha256=", handshake=handshake)


@pytest.fixture
def websub(tmp_path):
    handshake = {"kind": "hub", "topics": ["https://blog.example/feed"]}
    return profile_of(tmp_path, "one", kind="hmac", header="x-hub-signature", prefix="sha256=", handshake=handshake)


@pytest.fixture
def microsoft(tmp_path):
    return profile_of(tmp_path, kind="address", networks=["192.0.2.0/24"], handshake={"kind": "validation-token"})


@pytest.fixture
def cloudevents(tmp_path):
    handshake = {"kind": "cloudevents", "origins": ["eventgrid.Azure.net"], "max_requests_per_minute": 120}
    return profile_of(tmp_path, "one", kind="shared-secret", parameter="key", handshake=handshake)


# ---- Slack ----


def test_the_challenge_of_slack_is_answered_with_a_valid_signature(slack):
    body = json.dumps(EVENT)
    assert slack.handshake(from_slack(body), URL) == text(CHALLENGE)
    assert refused(slack, from_slack(body, "two")) == "no signature is valid"
    assert refused(slack, changed(from_slack(body), headers=())) == "x-slack-signature is missing"


@pytest.mark.parametrize(
    "body", ["", "{}", "text=url_verification", '{"type": "event_callback", "x": "url_verification"}']
)
def test_other_requests_of_slack_are_calls(slack, body):
    assert slack.handshake(from_slack(body), URL) is None


@pytest.mark.parametrize(
    "body", ['{"type": "event_callback", "x": "url_verification"}', json.dumps(EVENT | {"token": "x" * 4096})]
)
def test_other_bodies_with_url_verification_in_them_are_calls(slack, body):
    assert slack.handshake(from_slack(body, "two"), URL) is None
    assert slack.verify(from_slack(body), URL) is not None


def test_only_a_post_is_a_handshake_of_slack(slack):
    assert slack.handshake(changed(from_slack(json.dumps(EVENT)), method="put"), URL) is None


@pytest.mark.parametrize("challenge", [None, 5, ["x"], "", "<b>", "a\nb", "\u00e9", "a" * 1025])
def test_a_challenge_with_forbidden_characters_is_refused_even_with_a_valid_slack_signature(slack, challenge):
    assert "characters that are not allowed" in refused(slack, from_slack(json.dumps(EVENT | {"challenge": challenge})))


def test_a_handshake_that_is_not_declared_is_not_answered(tmp_path):
    profile = profile_of(tmp_path, "one", kind="github")
    hub = request(method="get", query=[("hub.mode", "subscribe"), ("hub.challenge", "1")])
    for sent in (from_slack(json.dumps(EVENT)), hub, request(query=[("validationToken", "1")]), options("a.example")):
        assert profile.handshake(sent, URL) is None


# ---- Meta and WebSub ----


def hub(*pairs, method="get", **given):
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", **given}
    return request(method=method, query=[*((k, v) for k, v in query.items() if v is not None), *pairs])


def test_the_challenge_of_meta_is_answered_with_a_valid_token(meta):
    for token in ("mytoken", "other"):
        assert meta.handshake(hub(**{"hub.verify_token": token}), URL) == text("1158201444")
    for token in ("", "mytokem", "mytoken ", "\u20ac", "\ud800", "mytoken\n"):
        assert refused(meta, hub(**{"hub.verify_token": token})) == "hub.verify_token is wrong"
    assert refused(meta, hub()) == "the parameter is missing"
    assert "more than once" in refused(meta, hub(("hub.verify_token", "x"), **{"hub.verify_token": "mytoken"}))


def test_a_subscription_starts_for_a_topic_of_the_profile(websub):
    topic = {"hub.topic": "https://blog.example/feed"}
    assert websub.handshake(hub(("hub.lease_seconds", "86400"), **topic), URL) == text("1158201444")
    assert "not a topic of the profile" in refused(websub, hub(**{"hub.topic": "https://blog.example/other"}))
    assert refused(websub, hub()) == "the parameter is missing"


@pytest.mark.parametrize("mode", ["unsubscribe", "denied", "", "SUBSCRIBE"])
def test_a_request_to_end_a_subscription_is_refused(websub, mode):
    topic = {"hub.topic": "https://blog.example/feed"}
    assert refused(websub, hub(**topic, **{"hub.mode": mode})) == "hub.mode is not subscribe"


def test_other_requests_to_the_url_of_a_hub_are_calls(websub):
    topic = {"hub.topic": "https://blog.example/feed"}
    assert websub.handshake(hub(method="post", **topic), URL) is None
    assert websub.handshake(hub(**topic, **{"hub.mode": None}), URL) is None


def test_a_hub_with_tokens_and_topics_must_send_both(tmp_path):
    (tmp_path / "token").write_text("mytoken")
    handshake = {"kind": "hub", "verify_token_files": [tmp_path / "token"], "topics": ["t"]}
    profile = profile_of(tmp_path, "one", kind="github", handshake=handshake)
    right = {"hub.verify_token": "mytoken", "hub.topic": "t"}
    assert profile.handshake(hub(**right), URL) == text("1158201444")
    refused(profile, hub(**right | {"hub.topic": "u"}))
    refused(profile, hub(**right | {"hub.verify_token": "u"}))


# ---- Microsoft ----

GRAPH = "Validation: Testing client application reachability for subscription Request-Id: 5b0d4e3f"


@pytest.mark.parametrize("name", ["validationToken", "validationtoken"])
def test_the_validation_token_of_microsoft_is_answered_for_any_sender(microsoft, name):
    assert microsoft.handshake(request(query=[(name, GRAPH)], address="198.51.100.1"), URL) == text(GRAPH)
    assert microsoft.handshake(request(query=[(name, GRAPH)], method="get"), URL) is None
    assert microsoft.handshake(request(), URL) is None


def test_the_validation_token_of_microsoft_must_occur_once(microsoft):
    assert "more than once" in refused(microsoft, request(query=[("validationToken", "1")] * 2))
    both = request(query=[("validationToken", "1"), ("validationtoken", "2")])
    assert "more than once" in refused(microsoft, both)


@pytest.mark.parametrize(
    "token", ["", "<script>", "&lt;", 'a"b', "a'b", "a\r\nb", "a\tb", "a\x00", "\x7f", "\u00e9", "\u2028", "a" * 1025]
)
def test_a_validation_token_with_forbidden_characters_is_refused(microsoft, token):
    assert "characters that are not allowed" in refused(microsoft, request(query=[("validationToken", token)]))


@given(st.text(max_size=1100))
def test_the_answer_of_a_handshake_is_short_printable_and_never_html(tmp_path_factory, token):
    profile = profile_of(
        tmp_path_factory.getbasetemp(), kind="address", networks=["::/0"], handshake={"kind": "validation-token"}
    )
    try:
        answer = profile.handshake(request(query=[("validationToken", token)]), URL)
    except VerificationError:
        return
    assert answer == text(token)
    assert set(answer.body) <= set(range(32, 127)) - set(b"<>&\"'")
    assert 1 <= len(answer.body) <= 1024


# ---- CloudEvents ----


def options(*origins, method="options"):
    return request(*(("WebHook-Request-Origin", origin) for origin in origins), method=method)


def allowed(origin, rate):
    headers = (("allow", "POST"), ("webhook-allowed-origin", origin), ("webhook-allowed-rate", rate))
    return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=b"")


def test_an_allowed_origin_gets_its_allowed_rate(cloudevents):
    assert cloudevents.handshake(options("eventgrid.azure.net"), URL) == allowed("eventgrid.azure.net", "120")
    assert cloudevents.handshake(options("EventGrid.azure.net"), URL) == allowed("EventGrid.azure.net", "120")
    assert "the origin is not allowed" in refused(cloudevents, options("evil.example"))
    assert "more than once" in refused(cloudevents, options("eventgrid.azure.net", "evil.example"))


def test_other_requests_are_no_handshake(cloudevents):
    assert cloudevents.handshake(options(), URL) is None
    assert cloudevents.handshake(options("eventgrid.azure.net", method="post"), URL) is None


def test_any_origin_may_be_allowed_any_number(tmp_path):
    handshake = {"kind": "cloudevents", "origins": ["*"]}
    profile = profile_of(tmp_path, "one", kind="github", handshake=handshake)
    assert profile.handshake(options("a.example"), URL) == allowed("a.example", "*")
    for origin in ("", "a b", "a\r\nx: y", "<a>", "\u00e9", "*", "a" * 254):
        refused(profile, options(origin))
