"""Arbitrary requests: a profile accepts a request or refuses it as forged, and raises no other exception.

The tests fuzz the verifier itself, without the code around it that would catch any other exception.
"""

import base64
import contextlib
from typing import get_args

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from soak.counts import count
from support.keys import P256, RSA, hmac_token, pem, segment
from support.senders import BODY, SENDERS, whpk, whsec
from support.verification import NOW, URL, profile_of, request, with_header

from callback_server.verification.profile import VerificationError
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.settings.profiles import ProfileSettings, ProviderSettings

TOKEN = {"kind": "jwt", "issuer": "i", "audience": "a"}


PROFILES = {
    **{name: (sender.secrets, sender.settings) for name, sender in SENDERS.items()},
    "both": ((whsec(b"1"), whpk(b"1")), {"kind": "standard-webhooks"}),
    "header": (("one",), {"kind": "shared-secret", "header": "x-key"}),
    "parameter": (("one",), {"kind": "shared-secret", "parameter": "key"}),
    "member": (("one",), {"kind": "shared-secret", "pointer": "/key"}),
    "basic": (("one",), {"kind": "basic", "username": "me"}),
    "jwt": ((pem(RSA), pem(P256)), TOKEN | {"algorithms": ["RS256", "ES256"]}),
    "jwt by secret": (("s" * 32,), TOKEN | {"algorithms": ["HS256"], "header": "x-token"}),
    "jwt in a form": ((pem(RSA),), TOKEN | {"algorithms": ["RS256"], "parameter": "id_token"}),
    "jwt for a body": (
        (pem(P256),),
        {"kind": "jwt", "algorithms": ["ES256"], "header": "x-token", "body_hash_claim": "hash", "max_age_s": 60},
    ),
    "public key": (
        (pem(RSA),),
        {"kind": "public-key", "algorithm": "rsa-sha256", "signature": "header:x-sign", "encoding": "base64"},
    ),
    "jws by a chain": (
        (),
        {
            "kind": "public-key",
            "algorithm": "ecdsa-raw-sha256",
            "signature": "form:id_token",
            "encoding": "base64url",
            "jws": "compact",
            "roots": PROVIDERS["apple-app-store"].profile["roots"],
        },
    ),
    "detached jws": (
        (pem(P256),),
        {
            "kind": "public-key",
            "algorithm": "ecdsa-raw-sha256",
            "signature": "header:x-sign",
            "encoding": "base64url",
            "jws": "detached",
            "signed_headers": "field:iss",
            "signed": "{target}\n{header-list}\n{body}",
        },
    ),
    "message signature": (
        (pem(P256),),
        {"kind": "http-message-signatures", "algorithm": "ecdsa-p256-sha256", "tolerance_s": 86400},
    ),
    "message signature by secret": (
        ("one",),
        {
            "kind": "http-message-signatures",
            "algorithm": "hmac-sha256",
            "components": ["@method"],
            "allow_unsigned_body": True,
        },
    ),
    "address": ((), {"kind": "address", "networks": ["203.0.113.0/24"]}),
}
KINDS = {
    kind
    for model in get_args(get_args(ProfileSettings)[0])
    if model is not ProviderSettings  # tested in `test_providers.py`
    for kind in get_args(model.model_fields["kind"].annotation)
}
HANDSHAKES = [
    {"kind": "slack"},
    {"kind": "hub", "topics": ["t"]},
    {"kind": "challenge", "method": "get", "challenge": "query:key", "verified": False},
    {"kind": "challenge", "method": "post", "challenge": "json:/id", "when": {"json:/type": "x"}},
    {"kind": "validation-token"},
    {"kind": "cloudevents", "origins": ["a.example"]},
]

NAMES = [
    "webhook-id", "webhook-timestamp", "webhook-signature", "Stripe-Signature", "X-Slack-Signature",
    "X-Slack-Request-Timestamp", "X-GitHub-Delivery", "X-Hub-Signature-256", "X-Shopify-Webhook-Id",
    "X-Shopify-Hmac-Sha256", "X-Id", "X-Time", "X-Sign", "x-key", "x-token", "Authorization", "content-type",
    "WebHook-Request-Origin", "Signature-Input", "Signature", "Content-Digest",
]  # fmt: skip
encoded = st.binary(max_size=40).map(lambda octets: base64.b64encode(octets).decode())
segments = st.one_of(
    st.sampled_from(["", "e30", "W10", "bnVsbA"]),
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "exp", "iss", "aud", "jti", "nbf"]),
        st.one_of(
            st.sampled_from(["RS256", "ES256", "HS256", "none", "i", "a"]), st.none(), st.booleans(), st.integers(),
            st.floats(), st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2),
        ),
    ).map(segment),
    encoded,
)  # fmt: skip
components = st.lists(
    st.sampled_from(
        ['"@method"', '"@target-uri"', '"@query-param";name="key"', '"@query"', '"@path"', '"content-digest"', '"x-id"',
         '"x-id";sf', '"x-id";bs', '"x-id";key="a"', '"x-id";tr', '"@status"', '"signature";key="s"', "1", "a"]
    ),
    max_size=4,
)  # fmt: skip
values = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [str(NOW), f"t={NOW}", f"t={NOW},v1=", "t=,v1", "v1,", "v1a,", "v1,v1,v1", " ", ",", "=", "sha256=", "v0=",
         "k1=", "Bearer ", "Basic ", "Bearer a.b.c", "application/x-www-form-urlencoded", "1e9", "+5", "-1",
         "\u0661\u0662", "\u00b2", "9" * 5000, "\x00", "\ud800", "v1a," * 500, "v1," * 5000, "v1a,AAAA " * 16,
         "a" * 60_000],
    ),
    encoded.map("s=:{}:".format),
    encoded.map("sha-256=:{}:".format),
    components.map(lambda names: f"s=({' '.join(names)});created={NOW}"),
    encoded.map("v1,{}".format),
    encoded.map("v1a,{}".format),
    st.binary(min_size=64, max_size=64).map(lambda octets: "v1a," + base64.b64encode(octets).decode()),
    encoded.map("Basic {}".format),
    encoded.map(f"t={NOW},v1={{}}".format),
    st.tuples(segments, segments, segments).map(".".join),
    st.tuples(segments, segments, segments).map(lambda parts: "Bearer " + ".".join(parts)),
)  # fmt: skip
fields = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=5), values), max_size=8)
pairs = st.lists(
    st.tuples(
        st.sampled_from(["key", "id_token", "hub.mode", "hub.topic", "hub.challenge", "validationToken"])
        | st.text(max_size=5),
        values | st.sampled_from(["subscribe", "t"]),
    ),
    max_size=4,
)
bodies = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b'{"type": "url_verification"', b"[" * 100_000, b"id_token=%ff", b"id_token=a.b.c", b'{"id": ' + b"9" * 5000,
         b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"a=1&" * 2000],
    ),
    values.map(lambda text: b"id_token=" + text.encode("utf-8", "surrogatepass")),
)  # fmt: skip
requests = st.builds(
    lambda headers, body, query, method, address: request(
        *headers, body=body, query=query, method=method, address=address
    ),
    fields,
    bodies,
    pairs,
    st.sampled_from(["get", "post", "put", "options"]),
    st.sampled_from(["192.0.2.7", "::1", "::ffff:192.0.2.7"]) | st.text(max_size=8),
)


def test_every_kind_is_tested_here():
    assert {declared["kind"] for _, declared in PROFILES.values()} == KINDS


as_often = settings(
    max_examples=count(20, 20_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=sorted(PROFILES))
def fuzzed(request, tmp_path_factory):
    """Return the verifier of a profile."""
    secrets, declared = PROFILES[request.param]
    return profile_of(tmp_path_factory.mktemp("secrets"), *secrets, **declared).verifier


def refused(verifier, sent, url=URL):
    """Check that the verifier refuses a request, and that the reason contains no part of the request."""
    with pytest.raises(VerificationError) as caught:
        verifier.verify(sent, url, float(NOW))
    why = str(caught.value)
    assert why.isascii()
    assert len(why) < 80


@given(sent=requests, url=st.just(URL) | st.text(max_size=20))
@as_often
def test_no_hostile_input_passes_and_each_raises_verification_error(fuzzed, sent, url):
    refused(fuzzed, sent, url)
    fuzzed.redacted(sent)


@pytest.fixture(scope="module", params=sorted(SENDERS))
def nearly(request, tmp_path_factory):
    """Return a verifier, a valid request, and the names of its signed headers."""
    sender = SENDERS[request.param]
    profile = profile_of(tmp_path_factory.mktemp("secrets"), sender.secrets[0], **sender.settings)
    return profile.verifier, sender.sign(sender.secrets[0], BODY, NOW), sender.signed


@given(which=st.integers(0, 2), value=values)
@as_often
def test_a_request_with_one_wrong_header_is_refused(nearly, which, value):
    verifier, right, proven = nearly
    sent = with_header(right, proven[which % len(proven)], value)
    assume(sent != right)
    refused(verifier, sent)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("9" * 400),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def by_secret(tmp_path_factory):
    secrets, declared = PROFILES["jwt by secret"]
    return profile_of(tmp_path_factory.mktemp("secrets"), *secrets, **declared).verifier


@given(
    claims=st.fixed_dictionaries(
        {"iss": st.just("i") | anything, "aud": st.just("a") | anything, "exp": st.just(NOW + 9) | anything},
        optional={"nbf": anything, "iat": anything, "jti": anything, "sub": anything},
    ),
    head=st.fixed_dictionaries({}, optional={"kid": anything, "crit": anything, "b64": anything, "typ": anything}),
)
@as_often
def test_a_signed_token_with_any_claims_passes_or_is_refused(by_secret, claims, head):
    """Sign arbitrary claims: wrong ones are an error of the issuer, and must not break the verifier."""
    sent = request(("x-token", hmac_token({**head, "alg": "HS256"}, claims, b"s" * 32)))
    with contextlib.suppress(VerificationError):
        verified = by_secret.verify(sent, URL, float(NOW))
        assert (claims["iss"], claims["exp"] > NOW - 60) == ("i", True)
        assert len(verified.message_id) <= 200


@pytest.fixture(scope="module", params=HANDSHAKES, ids=lambda declared: "-".join(map(str, declared.values()))[:40])
def asked(request, tmp_path_factory):
    """Return a profile with a handshake, which no arbitrary request passes."""
    return profile_of(tmp_path_factory.mktemp("secrets"), "one", kind="github", handshake=request.param)


@given(sent=requests)
@as_often
def test_a_handshake_is_answered_or_is_no_handshake_or_is_refused(asked, sent):
    with contextlib.suppress(VerificationError):
        answer = asked.handshake(sent, URL)
        assert answer is None or answer.code == 200
