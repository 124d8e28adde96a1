"""JSON Web Tokens: signature, audience and expiry are checked, and only configured tokens pass."""

import base64
import hashlib
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError
from support.key_source import Authority
from support.keys import (
    ED25519,
    OTHER_RSA,
    P256,
    P384,
    P521,
    RSA,
    SHORT_RSA,
    der,
    hmac_token,
    jwk,
    key_set,
    pem,
    private_pem,
    segment,
)
from support.verification import NOW, URL, Clock, flips, profile_of, profiles_of, refused, request

from callback_process.credentials import CredentialsError
from callback_server.verification.profile import VerifiedMessage

SECRET = "s" * 64
KEYS = {
    "RS256": RSA, "RS384": RSA, "RS512": RSA, "PS256": RSA, "PS384": RSA, "PS512": RSA, "ES256": P256, "ES384": P384,
    "ES512": P521, "EdDSA": ED25519,
}  # fmt: skip
CLAIMS = {"iss": "https://issuer.example", "aud": "callback", "exp": NOW + 300, "iat": NOW, "sub": "42"}
SENDER = '["https://issuer.example", "42"]'
SETTINGS = {"kind": "jwt", "issuer": "https://issuer.example", "audience": "callback"}


def bearer(token):
    return request(("Authorization", f"Bearer {token}"))


def encoded(key=RSA, algorithm="RS256", head=None, **claims):
    """Return a token with these claims beside the usual ones; None removes one."""
    given = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(given, key, algorithm, head)


def signed(*key, **claims):
    return bearer(encoded(*key, **claims))


@pytest.fixture
def profile_for(tmp_path):
    """Return a function that makes a profile with these keys. By default it takes RS256."""

    def make(*keys, **settings):
        return profile_of(tmp_path, *keys or [pem(RSA)], **{"algorithms": ["RS256"]} | SETTINGS | settings)

    return make


@pytest.fixture
def profile(profile_for):
    return profile_for()


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_a_token_passes_whose_key_is_in_a_file(algorithm, profile_for):
    profile = profile_for(pem(KEYS[algorithm]), algorithms=[algorithm])
    assert profile.challenge == 'Bearer realm="callback"'
    assert profile.verify(signed(KEYS[algorithm], algorithm), URL) == VerifiedMessage(sender=SENDER)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_passes_whose_secret_is_in_a_file(algorithm, profile_for):
    profile = profile_for(SECRET + "\n", algorithms=[algorithm])
    profile.verify(signed(SECRET, algorithm), URL)
    assert refused(profile, signed("t" * 64, algorithm)) == "no key matches the token's signature"


def test_every_bit_of_a_token_is_checked(profile):
    token = jwt.encode(CLAIMS, RSA, "RS256")
    for each in flips(token.encode()):
        refused(profile, bearer(each.decode("latin-1")))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "others"}, "InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"aud": ["others", "callback"]}, None),
        ({"iss": "https://issuer.example/"}, "InvalidIssuerError"),
        ({"iss": None}, "MissingRequiredClaimError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"exp": "later"}, "exp is not a time"),
        ({"exp": True}, "exp is not a time"),
        ({"exp": str(NOW + 300)}, "exp is not a time"),
        ({"exp": -1}, "exp is not a time"),
        ({"exp": float("inf")}, "exp is not a time"),
        ({"exp": float("nan")}, "exp is not a time"),
        ({"exp": 10**400}, "exp is not a time"),
        ({"exp": [NOW + 300]}, "exp is not a time"),
        ({"nbf": NOW + 60}, None),
        ({"nbf": NOW + 61}, "nbf is in the future"),
        ({"nbf": "soon"}, "nbf is not a time"),
        ({"nbf": True}, "nbf is not a time"),
        ({"iat": NOW + 61}, "iat is in the future"),
        ({"iat": {}}, "iat is not a time"),
        ({"jti": 5}, "InvalidJTIError"),
    ],
)
def test_the_claims_of_a_token_are_checked(profile, claims, why):
    if why is None:
        profile.verify(signed(**claims), URL)
    else:
        assert why in refused(profile, signed(**claims))


def test_the_library_itself_accepts_claims_that_are_not_times():
    """Check the reason for which its checks of times are off."""
    claims = {"exp": str(2**40), "nbf": True, "iat": True}
    assert jwt.decode(jwt.encode(claims, SECRET), SECRET, ["HS256"]) == claims


@pytest.mark.parametrize("leeway", [None, 0, 10])
def test_a_token_passes_until_its_expiry_plus_the_leeway(profile_for, leeway):
    clock = Clock()
    more = {} if leeway is None else {"leeway_s": leeway}
    profile = profile_for(clock=clock, **more)
    allowed = 60 if leeway is None else leeway
    clock.now = NOW + 300 + allowed - 1
    profile.verify(signed(), URL)
    clock.now = NOW + 300 + allowed
    assert refused(profile, signed()) == "the token has expired"
    clock.now = NOW - allowed
    profile.verify(signed(), URL)
    clock.now = NOW - allowed - 1
    assert refused(profile, signed()) == "the token's iat is in the future"


@pytest.fixture
def single_use(profile_for):
    return profile_for(single_use=True)


@pytest.mark.parametrize(("valid_s", "window_s"), [(300, 360), (1, 120), (-59, 120), (86_340, 86_400)])
def test_a_single_use_token_is_one_message_until_it_expires(single_use, valid_s, window_s):
    sent = signed(jti="id-1", exp=NOW + valid_s)
    assert single_use.verify(sent, URL) == VerifiedMessage("id-1", window_s * 1000, SENDER)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, "the token has no jti"),
        ({"jti": "a" * 201}, "too long"),
        ({"jti": "a\x00"}, "unprintable"),
        ({"jti": "a", "exp": NOW + 86_341}, "the token is valid for longer than its id can be remembered"),
    ],
)
def test_a_single_use_token_without_a_usable_id_is_refused(single_use, claims, why):
    assert why in refused(single_use, signed(**claims))


def test_a_reusable_token_does_not_identify_a_message(profile):
    assert profile.verify(signed(jti="id-1"), URL) == VerifiedMessage(sender=SENDER)


# ---- Algorithms ----


@pytest.mark.parametrize("algorithm", ["none", "NONE", "nOnE", "", None, ["RS256"], {}, 5, "HS256", "RS384"])
def test_an_algorithm_that_is_not_configured_is_never_taken(profile, algorithm):
    unsigned = f"{segment({'alg': algorithm})}.{segment(CLAIMS)}."
    assert refused(profile, bearer(unsigned)) == "the token's algorithm is not allowed"
    refused(profile, bearer(f"{segment({})}.{segment(CLAIMS)}."))


@pytest.mark.parametrize("secret", [pem(RSA), pem(RSA).strip(), json.dumps(jwk(RSA)).encode()])
def test_a_public_key_is_never_used_as_an_hmac_secret(profile, secret):
    """Sign a token by HMAC with the public key as the secret, as an attacker who knows that key can do."""
    refused(profile, bearer(hmac_token({"alg": "HS256"}, CLAIMS, secret)))


@pytest.mark.parametrize(
    "content",
    [
        pem(RSA),
        json.dumps({"keys": [jwk(RSA)]}),
        json.dumps(jwk(RSA)),
        der(RSA),
        RSA.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
    ],
    ids=["pem", "jwks", "jwk", "der", "ssh"],
)
def test_a_file_with_a_public_key_is_refused_as_a_secret(content, profile_for):
    with pytest.raises(CredentialsError, match="is a public key"):
        profile_for(content, algorithms=["HS256"])


def test_a_key_is_used_with_the_algorithms_of_its_type_alone(profile_for):
    profile = profile_for(pem(RSA), pem(P256), algorithms=["RS256", "ES256"])
    profile.verify(signed(), URL)
    profile.verify(signed(P256, "ES256"), URL)
    refused(profile, signed(P256, "ES256", exp=None))
    refused(profile, signed(OTHER_RSA))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], []])
def test_critical_headers_of_a_token_must_be_known(profile, crit):
    refused(profile, signed(head={"crit": crit, "exp": 5}))


# ---- Files with keys ----


@pytest.mark.parametrize(
    "content",
    [
        Authority().issue("issuer.example"),
        json.dumps({"keys": [jwk(P256), jwk(RSA)]}),
        json.dumps(jwk(RSA, use="sig", alg="RS256", kid="1")),
        json.dumps({"keys": [{"kty": "of tomorrow"}, jwk(OTHER_RSA, use="enc"), jwk(RSA, kid="2")]}),
        json.dumps({"keys": [jwk(OTHER_RSA, alg="RSA-OAEP"), jwk(OTHER_RSA, alg="PS256"), jwk(RSA)]}),
    ],
    ids=["certificate", "set", "one key", "with others", "for other algorithms"],
)
def test_a_key_may_be_in_a_certificate_or_a_set(content, profile_for):
    profile = profile_for(content)
    profile.verify(signed(), URL)
    refused(profile, signed(OTHER_RSA))


def test_a_token_that_names_its_key_is_verified_with_that_key(profile_for):
    profile = profile_for(key_set(old=RSA, new=OTHER_RSA))
    profile.verify(signed(head={"kid": "old"}), URL)
    profile.verify(signed(OTHER_RSA, head={"kid": "new"}), URL)
    profile.verify(signed(OTHER_RSA), URL)
    refused(profile, signed(head={"kid": "new"}))
    refused(profile, signed(head={"kid": "../../etc/passwd"}))


def test_keys_are_rotated_without_a_restart(tmp_path):
    profiles = profiles_of(tmp_path, None, json.dumps({"keys": [jwk(RSA)]}), algorithms=["RS256"], **SETTINGS)
    (tmp_path / "secret-0").write_text(json.dumps({"keys": [jwk(RSA), jwk(OTHER_RSA)]}))
    profiles.reload()
    profiles["it"].verify(signed(), URL)
    profiles["it"].verify(signed(OTHER_RSA), URL)


NO_KEY = "is not a public key in PEM form, a certificate, or a JSON Web Key Set"


@pytest.mark.parametrize(
    ("algorithm", "content", "why"),
    [
        ("RS256", "", NO_KEY),
        ("RS256", "a secret", NO_KEY),
        ("RS256", "{", NO_KEY),
        ("RS256", "{" * 100_000, NO_KEY),
        ("RS256", '{"keys": 5}', NO_KEY),
        ("RS256", '{"keys": ["x"]}', NO_KEY),
        ("RS256", '{"keys": []}', "has no key for the algorithms RS256"),
        ("RS256", pem(P256), "has no key for the algorithms RS256"),
        ("ES256", pem(P384), "has no key for the algorithms ES256"),
        ("EdDSA", pem(RSA), "has no key for the algorithms EdDSA"),
        ("RS256", pem(SHORT_RSA), "has no key for the algorithms"),
        ("RS256", json.dumps(jwk(RSA, alg="RS512")), "has no key for the algorithms RS256"),
        ("RS256", json.dumps({"kty": "oct", "k": "c2VjcmV0"}), "has a secret key"),
        ("RS256", jwt.algorithms.RSAAlgorithm.to_jwk(RSA), "has a secret key"),
        ("RS256", private_pem(RSA), "is a private key; use the public key"),
        ("HS256", "", "is empty"),
        ("HS256", "\n", "is empty"),
        ("HS256", "s" * 31, "has 31 bytes, needs at least 32"),
        ("HS512", "s" * 63, "has 63 bytes, needs at least 64"),
    ],
)
def test_a_file_without_a_usable_key_is_refused_with_its_name_and_without_its_content(
    algorithm, content, why, profile_for, tmp_path
):
    with pytest.raises(CredentialsError) as caught:
        profile_for(content, algorithms=[algorithm])
    assert str(caught.value).startswith(f"profiles.it.key_files[0] {tmp_path}/secret-0: {why}")


# ---- Where a token is ----


def test_a_token_can_be_in_its_own_header_or_in_a_parameter(profile_for):
    token = jwt.encode(CLAIMS, RSA, "RS256")
    in_header = profile_for(header="X-Token")
    in_header.verify(request(("x-token", token)), URL)
    assert refused(in_header, bearer(token)) == "x-token is missing"

    parameter = profile_for(parameter="id_token")
    form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    parameter.verify(request(query=[("id_token", token)]), URL)
    parameter.verify(request(form, body=f"state=5&id_token={token}".encode()), URL)
    assert "missing" in refused(parameter, request(body=f"id_token={token}".encode()))
    twice = request(form, body=f"id_token={token}".encode(), query=[("id_token", token)])
    assert "more than once" in refused(parameter, twice)
    assert refused(parameter, request(form, body=b"id_token=\xff")) == "the form cannot be read"
    assert refused(parameter, request(form, body=b"&".join([b"a=1"] * 1001))) == "the form cannot be read"


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic {}", "{}", "bearer,{}", "Bearer  {}", "Bearer {} "])
def test_the_authorization_is_a_scheme_a_space_and_the_token(profile, value):
    token = jwt.encode(CLAIMS, RSA, "RS256")
    refused(profile, request(("Authorization", value.format(token))))


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEARER"])
def test_the_case_of_the_scheme_bearer_means_nothing(profile, scheme):
    token = jwt.encode(CLAIMS, RSA, "RS256")
    profile.verify(request(("authorization", f"{scheme} {token}")), URL)
    assert "not Bearer" in refused(profile, request(("authorization", f"{scheme}s {token}")))


@pytest.mark.parametrize(
    "token",
    ["a", "a.b", "a.b.c", "....", "\x00", "\u00e9.\u00e9.\u00e9", "\ud800", "a." * 50_000, "e30.e30.", "W10.e30.e30",
     base64.urlsafe_b64encode(b"[" * 30_000).decode().rstrip("=") + ".e30.e30"],
)  # fmt: skip
def test_an_invalid_token_is_refused(profile, token):
    assert refused(profile, bearer(token))


# ---- Tokens for a body ----

BODY = b'{"webhook_type": "TRANSACTIONS"}'
FOR_BODY = {
    "kind": "jwt",
    "algorithms": ["ES256"],
    "header": "plaid-verification",
    "body_hash_claim": "request_body_sha256",
    "max_age_s": 300,
}


def for_body(body=BODY, sent=BODY, **claims):
    """Return a request as Plaid signs it: https://plaid.com/docs/api/webhooks/webhook-verification/."""
    given = dict.fromkeys(CLAIMS) | {"iat": NOW, "request_body_sha256": hashlib.sha256(body).hexdigest()} | claims
    return request(("Plaid-Verification", encoded(P256, "ES256", **given)), body=sent)


@pytest.mark.parametrize(
    ("setting", "claim"),
    [("url_claim", str), ("url_hash_claim", lambda url: hashlib.sha256(url.encode()).hexdigest())],
)
def test_a_token_for_a_url_passes_at_this_url_alone(tmp_path, setting, claim):
    profile = profile_of(tmp_path, pem(P256), **FOR_BODY, **{setting: "at"})
    assert profile.verify(for_body(at=claim(URL)), URL) == VerifiedMessage()
    for other in (f"{URL}?a=b", URL.upper(), URL[:-1], ""):
        assert refused(profile, for_body(at=claim(other))) == "the token is for another URL"
    assert refused(profile, for_body(at=[claim(URL)])) == "the token is for another URL"
    assert "MissingRequiredClaim" in refused(profile, for_body())


def test_a_token_with_the_hash_of_the_body_passes_with_this_body_alone(tmp_path):
    profile = profile_of(tmp_path, pem(P256), **FOR_BODY)
    assert profile.reads_body
    assert profile.verify(for_body(), URL) == VerifiedMessage()  # two events can have one body
    for sent in [*flips(BODY), b"", BODY + b" "]:
        assert refused(profile, for_body(sent=sent)) == "the token is for another body"
    for claim in (hashlib.sha256(BODY).hexdigest().upper(), "", 5, ["x"], {"a": 1}):
        assert refused(profile, for_body(request_body_sha256=claim)) == "the token is for another body"
    assert "MissingRequiredClaim" in refused(profile, for_body(request_body_sha256=None))


@pytest.mark.parametrize(
    ("places", "message_id"),
    [
        ("json:/webhook_type", "TRANSACTIONS"),
        ("body-hash", hashlib.sha256(BODY).hexdigest()),
        (["header:x-id", "json:/none"], ""),
        (["header:plaid-id", "none"], ""),
    ],
)
def test_a_message_with_a_token_has_an_id_where_the_settings_say(places, message_id, tmp_path):
    profile = profile_of(tmp_path, pem(P256), id=places, **FOR_BODY)
    assert profile.verify(for_body(), URL) == VerifiedMessage(message_id, 360_000 if message_id else 0)


def test_an_id_in_a_header_beside_a_token_must_be_there(tmp_path):
    profile = profile_of(tmp_path, pem(P256), id="header:x-id", **FOR_BODY)
    assert refused(profile, for_body()) == "x-id is missing"


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("base64", base64.b64encode(hashlib.sha256(BODY).digest()).decode()),
        ("base64url", base64.urlsafe_b64encode(hashlib.sha256(BODY).digest()).decode().rstrip("=")),
        ("base64url", base64.urlsafe_b64encode(hashlib.sha256(BODY).digest()).decode()),
    ],
)
def test_the_hash_of_the_body_can_be_in_base64(encoding, encoded, tmp_path):
    profile = profile_of(tmp_path, pem(P256), body_hash_encoding=encoding, **FOR_BODY)
    profile.verify(for_body(request_body_sha256=encoded), URL)
    refused(profile, for_body())


def test_a_token_without_an_expiry_is_valid_for_its_age(tmp_path):
    clock = Clock()
    profile = profile_of(tmp_path, pem(P256), clock=clock, **FOR_BODY)
    clock.now = NOW + 359
    profile.verify(for_body(), URL)
    clock.now = NOW + 360
    assert refused(profile, for_body()) == "the token has expired"
    clock.now = NOW - 61
    assert refused(profile, for_body()) == "the token's iat is in the future"
    clock.now = NOW
    assert refused(profile, for_body(exp=NOW - 60)) == "the token has expired"
    assert "MissingRequiredClaim" in refused(profile, for_body(iat=None))
    assert refused(profile, for_body(iat="soon")).startswith("the token")


def test_a_token_without_times_passes_where_the_settings_allow_it(tmp_path):
    given = {name: value for name, value in FOR_BODY.items() if name != "max_age_s"}
    clock = Clock()
    profile = profile_of(tmp_path, pem(P256), clock=clock, allow_no_expiry=True, **given)
    for clock.now in (NOW, NOW + 10**8):
        assert profile.verify(for_body(iat=None), URL) == VerifiedMessage()
        assert refused(profile, for_body(iat=None, exp=NOW - 60)) == "the token has expired"
        assert refused(profile, for_body(iat=None, sent=b"")) == "the token is for another body"


def test_a_token_can_be_the_whole_body(profile_for):
    """Check a security event token (RFC 8935), which has no expiry."""
    profile = profile_for(whole_body=True, max_age_s=300, single_use=True)
    claims = {"exp": None, "jti": "e1", "events": {"x": {}}}
    token = encoded(head={"typ": "secevent+jwt"}, **claims).encode()
    sent = request(("content-type", "application/secevent+jwt"), body=token)
    assert profile.verify(sent, URL) == VerifiedMessage("e1", 360_000, SENDER)
    for body in (b"", b"a.b.c", token + b"x", encoded(OTHER_RSA, **claims).encode(), b"\xff"):
        refused(profile, request(body=body))
    assert refused(profile, request(body=b"a" * (1024 * 1024 + 1))) == "the token is too long"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"body_hash_claim": None}, "audience must be given, unless body_hash_claim is, or"),
        ({"allow_no_expiry": True}, "allow_no_expiry needs body_hash_claim, and neither max_age_s nor single_use"),
        ({"body_hash_claim": None, "audience": "a"}, "issuer must be given, unless body_hash_claim is, or"),
        ({"single_use": True, "id": "header:x-id"}, "id and single_use are two ids"),
        ({"body_hash_claim": None, "audience": "a", "issuer": "i", "id": "json:/id"}, "an id in the body needs"),
        ({"body_hash_claim": None, "audience": "a", "issuer": "i", "id": "form-json:p/id"}, "an id in the body needs"),
        ({"body_hash_claim": None, "audience": "a", "issuer": "i", "id": "body-hash"}, "an id in the body needs"),
        ({"whole_body": True}, "whole_body needs no header, parameter or body_hash_claim"),
    ],
)
def test_a_token_for_anyone_is_refused_in_the_settings(changes, told, tmp_path):
    with pytest.raises(ValidationError, match=told):
        profile_of(tmp_path, pem(P256), **FOR_BODY | changes)


# ---- Tokens about events ----

LOGOUT = {"http://schemas.openid.net/event/backchannel-logout": {}}
EVENT = {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}


def logout(head=None, **claims):
    """Return a request with a logout token, as a form (OpenID Connect Back-Channel Logout 1.0, 2.5)."""
    token = encoded(head=head, **{"jti": "l1", "sid": "08a5019c", "events": LOGOUT} | claims)
    form = ("Content-Type", "application/x-www-form-urlencoded")
    return request(form, body=f"logout_token={token}".encode())


@pytest.mark.parametrize(
    ("claims", "head", "why"),
    [
        ({}, {"typ": "logout+jwt"}, None),
        ({}, {"typ": "application/LOGOUT+JWT"}, None),
        ({}, None, None),
        ({"sid": None}, None, None),
        ({"sub": None}, None, None),
        ({"events": LOGOUT | EVENT}, None, None),
        ({}, {"typ": "at+jwt"}, "typ"),
        ({}, {"typ": "secevent+jwt"}, "typ"),
        ({"sid": None, "sub": None}, None, "neither sub nor sid"),
        ({"sid": 5, "sub": None}, None, "neither sub nor sid"),
        ({"nonce": "n"}, None, "nonce"),
        ({"events": None}, None, "MissingRequiredClaimError"),
        ({"iat": None}, None, "MissingRequiredClaimError"),
        ({"jti": None}, None, "no jti"),
        ({"exp": None}, None, "MissingRequiredClaimError"),
        ({"events": EVENT}, None, "no logout"),
        ({"events": {}}, None, "events is not"),
        ({"events": list(LOGOUT)}, None, "events is not"),
        ({"events": dict.fromkeys(LOGOUT, "")}, None, "events is not"),
        ({"aud": "others"}, None, "InvalidAudienceError"),
        ({"exp": NOW - 61}, None, "expired"),
    ],
)
def test_a_logout_token_is_told_from_any_other_token_of_the_issuer(claims, head, why, profile_for):
    profile = profile_for(parameter="logout_token", events="logout")
    if why is None:
        assert profile.verify(logout(head, **claims), URL).message_id == "l1"
    else:
        assert why in refused(profile, logout(head, **claims))


@pytest.mark.parametrize(
    ("claims", "content_type", "why"),
    [
        ({}, "application/secevent+jwt", None),
        ({}, "Application/SecEvent+JWT; charset=utf-8", None),
        ({}, "application/json", "content-type"),
        ({}, None, "content-type is missing"),
        ({"events": None}, "application/secevent+jwt", "MissingRequiredClaimError"),
        ({"events": {}}, "application/secevent+jwt", "events is not"),
        ({"jti": None}, "application/secevent+jwt", "no jti"),
        ({"iat": NOW - 361}, "application/secevent+jwt", "expired"),
    ],
)
def test_a_security_event_that_is_pushed_is_the_body_and_has_its_content_type(claims, content_type, why, profile_for):
    """Check RFC 8935, 2.1, with claims as in RFC 8417, 2.2."""
    profile = profile_for(pem(P256), algorithms=["ES256"], whole_body=True, max_age_s=300, events="security")
    given = {"exp": None, "jti": "756E69717565", "events": EVENT} | claims
    token = encoded(P256, "ES256", {"typ": "secevent+jwt"}, **given)
    headers = () if content_type is None else (("content-type", content_type),)
    sent = request(*headers, body=token.encode())
    if why is None:
        assert profile.verify(sent, URL).message_id == "756E69717565"
    else:
        assert why in refused(profile, sent)


def test_a_token_by_a_shared_secret_can_be_for_the_url_alone(tmp_path):
    """The token of monday.com has no issuer: https://developer.monday.com/apps/docs/authorization-header."""
    secret = "monday-signing-secret-of-32-bytes"
    profile = profile_of(tmp_path, secret, kind="provider:monday")

    def sent(**claims):
        token = jwt.encode({"accountId": 1, "aud": URL, "exp": NOW + 300} | claims, secret)
        return request(("authorization", token), body=b"{}")

    assert profile.verify(sent(), URL) == VerifiedMessage()
    assert "Audience" in refused(profile, sent(aud="https://box.example/cb/other"))
    assert refused(profile, sent(exp=NOW - 300)) == "the token has expired"


def test_a_token_of_netlify_needs_its_issuer_and_the_hash_of_the_body_and_no_times(tmp_path):
    """The token is that of https://docs.netlify.com/deploy/deploy-notifications/#payload-signature."""
    secret = "netlify-secret-of-at-least-32-bytes!"
    profile = profile_of(tmp_path, secret, kind="provider:netlify")

    def sent(**claims):
        claims = {"iss": "netlify", "sha256": hashlib.sha256(b"{}").hexdigest()} | claims
        return request(("x-webhook-signature", jwt.encode(claims, secret)), body=b"{}")

    assert profile.verify(sent(), URL).message_id == ""
    assert "Issuer" in refused(profile, sent(iss="another"))
    assert refused(profile, sent(sha256=hashlib.sha256(b"").hexdigest())) == "the token is for another body"
