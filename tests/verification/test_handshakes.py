"""Handshakes of senders before their first call: a valid one gets a response, which is short text and never HTML."""

import base64
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from slack_sdk.signature import SignatureVerifier
from support import verification
from support.verification import NOW, URL, changed, profile_of, request

from callback_server.domain.response import Response, ResponseType
from callback_server.verification.profile import VerificationError

CHALLENGE = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
EVENT = {"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": CHALLENGE, "type": "url_verification"}
"""https://docs.slack.dev/reference/events/url_verification"""


def answer(body, *headers):
    return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=body.encode())


def text(body):
    return answer(body, ("content-type", "text/plain; charset=utf-8"))


def as_json(body):
    return answer(body, ("content-type", "application/json"))


def from_slack(body, secret="one"):
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(NOW), body=body)
    return request(("x-slack-request-timestamp", str(NOW)), ("x-slack-signature", signature), body=body.encode())


def refused(profile, sent):
    with pytest.raises(VerificationError) as caught:
        profile.handshake(sent, URL)
    return str(caught.value)


@pytest.fixture
def handshaking(tmp_path):
    """Return a function that makes a profile with a handshake. A hub has these tokens."""

    def make(kind, *tokens, secrets=("one",), profile=None, **handshake):
        for index, token in enumerate(tokens):
            (tmp_path / f"token-{index}").write_text(token + "\n")
        files = [tmp_path / f"token-{index}" for index in range(len(tokens))]
        handshake = {"kind": kind, **handshake} | ({"verify_token_files": files} if tokens else {})
        return profile_of(tmp_path, *secrets, handshake=handshake, **profile or {"kind": "github"})

    return make


@pytest.fixture
def slack(tmp_path):
    return profile_of(tmp_path, "one", kind="slack")


@pytest.fixture
def websub(handshaking):
    return handshaking("hub", topics=[TOPIC["hub.topic"]])


@pytest.fixture
def microsoft(handshaking):
    return handshaking("validation-token")


@pytest.fixture
def cloudevents(handshaking):
    return handshaking("cloudevents", origins=["eventgrid.Azure.net"], max_requests_per_minute=120)


# ---- Slack ----


def test_the_challenge_of_slack_is_answered_with_a_valid_signature(slack):
    body = json.dumps(EVENT)
    assert slack.handshake(from_slack(body), URL) == text(CHALLENGE)
    assert refused(slack, from_slack(body, "two")) == "no signature is valid"
    assert refused(slack, changed(from_slack(body), headers=())) == "x-slack-signature is missing"


@pytest.mark.parametrize(
    "body",
    ["", "{}", "text=url_verification", '{"type": "event_callback", "x": "url_verification"}',
     json.dumps(EVENT | {"token": "x" * 4096})],
)  # fmt: skip
def test_other_requests_of_slack_are_calls(slack, body):
    for secret in ("one", "two"):
        assert slack.handshake(from_slack(body, secret), URL) is None


def test_only_a_post_is_a_handshake_of_slack(slack):
    assert slack.handshake(changed(from_slack(json.dumps(EVENT)), method="put"), URL) is None


@pytest.mark.parametrize("challenge", [None, True, ["x"], "", "<b>", "a b", "a\nb", "\u00e9", "a" * 1025])
def test_a_challenge_with_forbidden_characters_is_refused_even_with_a_valid_slack_signature(slack, challenge):
    assert "is not 1 to 1,024 letters" in refused(slack, from_slack(json.dumps(EVENT | {"challenge": challenge})))


def test_a_handshake_that_is_not_declared_is_not_answered(tmp_path):
    profile = profile_of(tmp_path, "one", kind="github")
    hub = request(method="get", query=[("hub.mode", "subscribe"), ("hub.challenge", "1")])
    for sent in (from_slack(json.dumps(EVENT)), hub, request(query=[("validationToken", "1")]), options("a.example")):
        assert profile.handshake(sent, URL) is None


# ---- Meta and WebSub ----

TOPIC = {"hub.topic": "https://blog.example/feed"}


def hub(*pairs, method="get", **given):
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", **given}
    return request(method=method, query=[*((k, v) for k, v in query.items() if v is not None), *pairs])


def test_the_challenge_of_meta_is_answered_with_a_valid_token(handshaking):
    meta = handshaking("hub", "mytoken", "other")
    for token in ("mytoken", "other"):
        assert meta.handshake(hub(**{"hub.verify_token": token}), URL) == text("1158201444")
    for token in ("", "mytokem", "mytoken ", "\u20ac", "\ud800", "mytoken\n"):
        assert refused(meta, hub(**{"hub.verify_token": token})) == "hub.verify_token is wrong"
    assert refused(meta, hub()) == "the parameter is missing"
    assert "more than once" in refused(meta, hub(("hub.verify_token", "x"), **{"hub.verify_token": "mytoken"}))


def test_a_subscription_starts_for_a_topic_of_the_profile(websub):
    assert websub.handshake(hub(("hub.lease_seconds", "86400"), **TOPIC), URL) == text("1158201444")
    assert "not a topic of the profile" in refused(websub, hub(**{"hub.topic": "https://blog.example/other"}))
    assert refused(websub, hub()) == "the parameter is missing"


@pytest.mark.parametrize("mode", ["unsubscribe", "denied", "", "SUBSCRIBE"])
def test_a_request_to_end_a_subscription_is_refused(websub, mode):
    assert refused(websub, hub(**TOPIC, **{"hub.mode": mode})) == "hub.mode is not subscribe"


def test_a_denial_for_a_topic_of_the_profile_is_a_notice_where_the_settings_say_so(handshaking):
    profile = handshaking("hub", topics=[TOPIC["hub.topic"]], denials=True)
    denied = {"hub.mode": "denied", "hub.challenge": None, "hub.reason": "no"}
    with pytest.raises(VerificationError) as caught:
        profile.handshake(hub(**TOPIC, **denied), URL)
    assert caught.value.is_notice
    with pytest.raises(VerificationError) as caught:
        profile.handshake(hub(**{"hub.topic": "https://blog.example/other"}, **denied), URL)
    assert not caught.value.is_notice
    both = handshaking("hub", "mytoken", topics=[TOPIC["hub.topic"]], denials=True)
    with pytest.raises(VerificationError) as caught:
        both.handshake(hub(**TOPIC, **denied, **{"hub.verify_token": "mytoken"}), URL)
    assert caught.value.is_notice
    assert refused(both, hub(**TOPIC, **denied, **{"hub.verify_token": "mytokem"})) == "hub.verify_token is wrong"
    assert refused(both, hub(**TOPIC, **denied)) == "the parameter is missing"
    with pytest.raises(ValidationError, match="denials needs topics"):
        handshaking("hub", "token", denials=True)


def test_other_requests_to_the_url_of_a_hub_are_calls(websub):
    assert websub.handshake(hub(method="post", **TOPIC), URL) is None
    assert websub.handshake(hub(**TOPIC, **{"hub.mode": None}), URL) is None


def test_a_hub_with_tokens_and_topics_must_send_both(handshaking):
    profile = handshaking("hub", "mytoken", topics=["t"])
    right = {"hub.verify_token": "mytoken", "hub.topic": "t"}
    assert profile.handshake(hub(**right), URL) == text("1158201444")
    refused(profile, hub(**right | {"hub.topic": "u"}))
    refused(profile, hub(**right | {"hub.verify_token": "u"}))


def test_a_hub_can_expect_json(handshaking):
    """The handshake of https://developers.strava.com/docs/webhooks/."""
    profile = handshaking("hub", "STRAVA", answer="json")
    asked = hub(**{"hub.verify_token": "STRAVA", "hub.challenge": "15f7d1a91c1f40f8a748fd134752feb3"})
    assert profile.handshake(asked, URL) == as_json('{"hub.challenge": "15f7d1a91c1f40f8a748fd134752feb3"}')
    assert "is not 1 to 1,024" in refused(profile, hub(**{"hub.verify_token": "STRAVA", "hub.challenge": 'a"b'}))


# ---- Challenges ----


@pytest.fixture
def challenger(handshaking):
    """Return a function that makes a profile with a handshake of the kind `challenge`."""

    def make(handshake, *secrets, **profile):
        if "kind" not in profile:
            profile |= {"kind": "hmac", "signature": "header:x-sign"}
        return handshaking("challenge", secrets=secrets or ("one",), profile=profile, **handshake)

    return make


DROPBOX = {"method": "get", "challenge": "query:challenge", "verified": False}
CRC = {
    "method": "get",
    "challenge": "query:crc_token",
    "verified": False,
    "answer": '{"response_token": "sha256={hmac:base64}"}',
}


def test_a_challenge_in_the_query_is_repeated_for_any_sender(challenger):
    profile = challenger(DROPBOX)
    assert profile.handshake(request(method="get", query=[("challenge", "abc_-9")]), URL) == text("abc_-9")
    for other in (
        request(method="post", query=[("challenge", "abc")]),
        request(method="get"),
        request(method="get", query=[("challenge", "a")] * 2),
    ):
        assert profile.handshake(other, URL) is None


def test_a_challenge_in_a_header_is_repeated_in_json_only_for_a_sender_that_passes(challenger):
    profile = challenger(
        {
            "method": "get", "challenge": "header:x-okta-verification-challenge",
            "answer": '{"verification": "{challenge}"}',
        },
        kind="shared-secret", header="authorization",
    )  # fmt: skip
    asked = request(("authorization", "one"), ("X-Okta-Verification-Challenge", "abc"), method="get")
    assert profile.handshake(asked, URL) == as_json('{"verification": "abc"}')
    assert refused(profile, request(asked.headers[1], method="get")) == "authorization is missing"


def test_a_challenge_is_signed_as_x_expects_it(challenger):
    """The handshake of https://docs.x.com/x-api/webhooks/quickstart."""
    profile = challenger(CRC, require_json_object=True)
    made = base64.b64encode(hmac.digest(b"one", b"token", "sha256")).decode()
    answer = profile.handshake(request(method="get", query=[("crc_token", "token")]), URL)
    assert answer == as_json(f'{{"response_token": "sha256={made}"}}')


@pytest.mark.parametrize(("signed", "sent", "made"), [("{body}", b"token", b"token"), ("{method}{body}", b"", b"GET")])
def test_a_signed_challenge_is_never_a_valid_signature_of_a_request(challenger, signed, sent, made):
    profile = challenger(CRC, require_json_object=True, signed=signed)
    forged = request(("x-sign", hmac.digest(b"one", made, "sha256").hex()), method="get", body=sent)
    assert verification.refused(profile, forged) == "the body is not a JSON object"


def test_the_first_secret_signs_a_challenge(challenger):
    profile = challenger(CRC | {"answer": "{hmac}"}, "new", "old", signed="v0:{body}")
    answer = profile.handshake(request(method="get", query=[("crc_token", "token")]), URL)
    assert answer == text(hmac.digest(b"new", b"token", "sha256").hex())


def test_a_signed_question_is_answered_as_zoom_expects_it(challenger):
    """The handshake of https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint."""
    profile = challenger(
        {
            "method": "post",
            "when": {"json:/event": "endpoint.url_validation"},
            "challenge": "json:/payload/plainToken",
            "answer": '{"plainToken": "{challenge}", "encryptedToken": "{hmac}"}',
        },
        signed="v0:{body}",
    )

    def asked(body, secret=b"one"):
        return request(("x-sign", hmac.digest(secret, b"v0:" + body, "sha256").hex()), body=body)

    body = b'{"payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}, "event": "endpoint.url_validation"}'
    made = hmac.digest(b"one", b"qgg8vlvZRS6UYooatFL8Aw", "sha256").hex()
    expected = as_json(f'{{"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": "{made}"}}')
    assert profile.handshake(asked(body), URL) == expected
    assert refused(profile, asked(body, b"two")) == "no signature is valid"
    assert profile.handshake(asked(b'{"event": "meeting.started"}'), URL) is None
    without = b'{"payload": {}, "event": "endpoint.url_validation"}'
    assert "is not 1 to 1,024 letters" in refused(profile, asked(without))


def test_the_code_of_event_grid_is_repeated_in_json(challenger):
    """The handshake of https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema."""
    profile = challenger(
        {
            "method": "post",
            "when": {"json:/0/eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"},
            "challenge": "json:/0/data/validationCode",
            "answer": '{"validationResponse": "{challenge}"}',
        },
        kind="shared-secret", parameter="key",
    )  # fmt: skip
    code = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
    event = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": code}}]
    asked = request(body=json.dumps(event).encode(), query=[("key", "one")])
    assert profile.handshake(asked, URL) == as_json(f'{{"validationResponse": "{code}"}}')
    assert "missing" in refused(profile, changed(asked, query=()))


@pytest.mark.parametrize("token", ["", "a b", "a&b", "<b>", '"', "a\n", "\u00e9", "{hmac}", "a" * 1025])
def test_only_letters_digits_and_a_few_marks_are_signed_or_repeated(challenger, token):
    for handshake, name in ((CRC, "crc_token"), (DROPBOX, "challenge")):
        profile = challenger(handshake, require_json_object=True)
        assert "is not 1 to 1,024" in refused(profile, request(method="get", query=[(name, token)]))


@pytest.mark.parametrize("token", ["a" * 1024, "eyJhbGciOiJub25lIn0.e30.", "dG9rZW4=", "a+b/c~d:e"])
def test_a_long_challenge_and_one_of_base64_or_a_token_is_repeated(challenger, token):
    assert challenger(DROPBOX).handshake(request(method="get", query=[("challenge", token)]), URL) == text(token)


def test_a_challenge_of_base64_is_signed_and_one_that_could_be_a_signed_message_is_not(challenger):
    profile = challenger(CRC, signed="{timestamp}.{body}", timestamp="header:x-time")
    token = f"{'a' * 1016}dG9rZW4="
    made = base64.b64encode(hmac.digest(b"one", token.encode(), "sha256")).decode()
    expected = as_json(f'{{"response_token": "sha256={made}"}}')
    assert profile.handshake(request(method="get", query=[("crc_token", token)]), URL) == expected
    assert "is not 1 to" in refused(profile, request(method="get", query=[("crc_token", f"{NOW}.body")]))


@pytest.mark.parametrize(("name", "header"), [("asana", "X-Hook-Secret"), ("ringcentral", "Validation-Token")])
def test_a_challenge_is_answered_in_the_header_in_which_it_came(tmp_path, name, header):
    """The handshakes of https://developers.asana.com/docs/webhooks-guide and of RingCentral."""
    profile = profile_of(tmp_path, "one", kind=f"provider:{name}")
    secret = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
    assert profile.handshake(request((header, secret)), URL) == answer("", (header.lower(), secret))
    assert profile.handshake(request(body=b"{}"), URL) is None
    assert "is not 1 to" in refused(profile, request((header, "a b")))


def test_only_a_challenge_in_a_header_is_answered_in_one(challenger):
    with pytest.raises(ValidationError, match="answer_in_header needs a challenge at header:NAME"):
        challenger(DROPBOX | {"answer_in_header": True})


@pytest.mark.parametrize(
    ("given", "is_valid"),
    [
        ({}, False),
        ({"require_json_object": True}, True),
        ({"signed": "v0:{body}"}, True),
        ({"signed": "v0-{body}"}, False),
        ({"signed": "{url}{body}"}, True),
        ({"signed": "{path} {body}"}, True),
        ({"signed": "{timestamp}{body}", "timestamp": "header:x-t"}, False),
        ({"signed": "{timestamp}{body}", "timestamp": "header:x-t", "timestamp_format": "rfc3339"}, True),
        ({"signed": "{body-hash}"}, False),
        ({"signed": "{body-hash}", "require_json_object": True}, False),
    ],
)
def test_a_profile_of_which_a_signed_text_could_be_a_challenge_is_refused(challenger, given, is_valid):
    if is_valid:
        challenger(CRC, **given)
        return
    with pytest.raises(ValidationError, match="a challenge could be a signed message"):
        challenger(CRC, **given)
    challenger(DROPBOX, **given)


def test_only_a_profile_with_a_secret_for_signatures_can_sign_a_challenge(challenger):
    with pytest.raises(ValidationError, match="only the kind hmac can sign a challenge"):
        challenger(CRC, kind="shared-secret", header="x-key")
    with pytest.raises(ValidationError, match="must be header:NAME"):
        challenger(DROPBOX | {"challenge": "body-hash"})


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
    return answer("", ("allow", "POST"), ("webhook-allowed-origin", origin), ("webhook-allowed-rate", rate))


def test_an_allowed_origin_gets_its_allowed_rate(cloudevents):
    assert cloudevents.handshake(options("eventgrid.azure.net"), URL) == allowed("eventgrid.azure.net", "120")
    assert cloudevents.handshake(options("EventGrid.azure.net"), URL) == allowed("EventGrid.azure.net", "120")
    assert "the origin is not allowed" in refused(cloudevents, options("evil.example"))
    assert "more than once" in refused(cloudevents, options("eventgrid.azure.net", "evil.example"))


def test_other_requests_are_no_handshake(cloudevents):
    assert cloudevents.handshake(options(), URL) is None
    assert cloudevents.handshake(options("eventgrid.azure.net", method="post"), URL) is None


def test_any_origin_may_be_allowed_any_number(handshaking):
    profile = handshaking("cloudevents", origins=["*"])
    assert profile.handshake(options("a.example"), URL) == allowed("a.example", "*")
    for origin in ("", "a b", "a\r\nx: y", "<a>", "\u00e9", "*", "a" * 254):
        refused(profile, options(origin))
