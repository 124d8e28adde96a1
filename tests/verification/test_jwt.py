"""JSON Web Tokens: signature, audience and expiry are checked, and only configured tokens pass."""

import base64
import datetime
import hashlib
import json

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError
from support.verification import NOW, URL, Clock, flips, profile_of, profiles_of, refused, request

from callback_process.credentials import CredentialsError
from callback_server.verification.profile import VerifiedMessage

SECRET = "s" * 64
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
P521, ED25519 = ec.generate_private_key(ec.SECP521R1()), ed25519.Ed25519PrivateKey.generate()
KEYS = {
    "RS256": RSA, "RS384": RSA, "RS512": RSA, "PS256": RSA, "PS384": RSA, "PS512": RSA, "ES256": P256, "ES384": P384,
    "ES512": P521, "EdDSA": ED25519,
}  # fmt: skip
CLAIMS = {"iss": "https://issuer.example", "aud": "callback", "exp": NOW + 300, "iat": NOW, "sub": "42"}
SETTINGS = {"kind": "jwt", "issuer": "https://issuer.example", "audience": "callback"}


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key, **facts):
    kind = {rsa.RSAPrivateKey: "RSA", ec.EllipticCurvePrivateKey: "EC"}
    name = next((name for each, name in kind.items() if isinstance(key, each)), "OKP")
    algorithms = {"RSA": jwt.algorithms.RSAAlgorithm, "EC": jwt.algorithms.ECAlgorithm}
    to_jwk = algorithms.get(name, jwt.algorithms.OKPAlgorithm).to_jwk
    return {**to_jwk(key.public_key(), as_dict=True), **facts}


def bearer(token):
    return request(("Authorization", f"Bearer {token}"))


def signed(key=RSA, algorithm="RS256", head=None, **claims):
    given = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return bearer(jwt.encode(given, key, algorithm, head))


@pytest.fixture
def profile(tmp_path):
    return profile_of(tmp_path, pem(RSA), algorithms=["RS256"], **SETTINGS)


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_a_token_passes_whose_key_is_in_a_file(algorithm, tmp_path):
    profile = profile_of(tmp_path, pem(KEYS[algorithm]), algorithms=[algorithm], **SETTINGS)
    assert profile.challenge == 'Bearer realm="callback"'
    assert profile.verify(signed(KEYS[algorithm], algorithm), URL) == VerifiedMessage()


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_passes_whose_secret_is_in_a_file(algorithm, tmp_path):
    profile = profile_of(tmp_path, SECRET + "\n", algorithms=[algorithm], **SETTINGS)
    profile.verify(signed(SECRET, algorithm), URL)
    assert refused(profile, signed("t" * 64, algorithm)) == "no key matches the token's signature"


def test_every_bit_of_a_token_is_checked(profile):
    token = jwt.encode(CLAIMS, RSA, "RS256")
    for each in flips(token.encode()):
        refused(profile, bearer(each.decode("latin-1")))


def test_the_library_itself_accepts_the_same_input(profile):
    """Check with PyJWT that the token whose bits the test above flips is valid."""
    token = signed().headers[0][1].partition(" ")[2]
    options = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(token, pem(RSA), ["RS256"], audience="callback", options=options)["sub"] == "42"
    profile.verify(signed(), URL)


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
def test_a_token_passes_until_its_expiry_plus_the_leeway(tmp_path, leeway):
    clock = Clock()
    more = {} if leeway is None else {"leeway_s": leeway}
    profile = profile_of(tmp_path, pem(RSA), algorithms=["RS256"], clock=clock, **SETTINGS, **more)
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
def single_use(tmp_path):
    return profile_of(tmp_path, pem(RSA), algorithms=["RS256"], single_use=True, **SETTINGS)


@pytest.mark.parametrize(("valid_s", "window_s"), [(300, 360), (1, 120), (-59, 120), (86_340, 86_400)])
def test_a_single_use_token_is_one_message_until_it_expires(single_use, valid_s, window_s):
    sent = signed(jti="id-1", exp=NOW + valid_s)
    assert single_use.verify(sent, URL) == VerifiedMessage("id-1", window_s * 1000)


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
    assert profile.verify(signed(jti="id-1"), URL) == VerifiedMessage()


# ---- Algorithms ----


def unsigned(**head):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return bearer(f"{part(head)}.{part(CLAIMS)}.")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, ["RS256"], {}, 5, "HS256", "RS384"])
def test_an_algorithm_that_is_not_configured_is_never_taken(profile, algorithm):
    assert refused(profile, unsigned(alg=algorithm)) == "the token's algorithm is not allowed"
    refused(profile, unsigned())


@pytest.mark.parametrize("secret", [pem(RSA), pem(RSA).strip(), jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())])
def test_a_public_key_is_never_used_as_an_hmac_secret(profile, secret):
    """Sign a token by HMAC with the public key as the secret, as an attacker who knows that key can do."""
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head, claims = (
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in ({"alg": "HS256"}, CLAIMS)
    )
    octets = secret if isinstance(secret, bytes) else secret.encode()
    signature = base64.urlsafe_b64encode(key.sign(head + b"." + claims, octets)).rstrip(b"=")
    refused(profile, bearer(b".".join([head, claims, signature]).decode()))


@pytest.mark.parametrize(
    "content",
    [
        pem(RSA),
        json.dumps({"keys": [jwk(RSA)]}),
        json.dumps(jwk(RSA)),
        RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        RSA.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
    ],
    ids=["pem", "jwks", "jwk", "der", "ssh"],
)
def test_a_file_with_a_public_key_is_refused_as_a_secret(content, tmp_path):
    with pytest.raises(CredentialsError, match="is a public key"):
        profile_of(tmp_path, content, algorithms=["HS256"], **SETTINGS)


def test_a_key_is_used_with_the_algorithms_of_its_type_alone(tmp_path):
    profile = profile_of(tmp_path, pem(RSA), pem(P256), algorithms=["RS256", "ES256"], **SETTINGS)
    profile.verify(signed(), URL)
    profile.verify(signed(P256, "ES256"), URL)
    refused(profile, signed(P256, "ES256", exp=None))
    refused(profile, signed(OTHER_RSA))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], []])
def test_critical_headers_of_a_token_must_be_known(profile, crit):
    refused(profile, signed(head={"crit": crit, "exp": 5}))


# ---- Files with keys ----


def certificate():
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(RSA.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(RSA, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "content",
    [
        certificate(),
        json.dumps({"keys": [jwk(P256), jwk(RSA)]}),
        json.dumps(jwk(RSA, use="sig", alg="RS256", kid="1")),
        json.dumps({"keys": [{"kty": "of tomorrow"}, jwk(OTHER_RSA, use="enc"), jwk(RSA, kid="2")]}),
        json.dumps({"keys": [jwk(OTHER_RSA, alg="RSA-OAEP"), jwk(OTHER_RSA, alg="PS256"), jwk(RSA)]}),
    ],
    ids=["certificate", "set", "one key", "with others", "for other algorithms"],
)
def test_a_key_may_be_in_a_certificate_or_a_set(content, tmp_path):
    profile = profile_of(tmp_path, content, algorithms=["RS256"], **SETTINGS)
    profile.verify(signed(), URL)
    refused(profile, signed(OTHER_RSA))


def test_a_token_that_names_its_key_is_verified_with_that_key(tmp_path):
    keys = {"keys": [jwk(RSA, kid="old"), jwk(OTHER_RSA, kid="new")]}
    profile = profile_of(tmp_path, json.dumps(keys), algorithms=["RS256"], **SETTINGS)
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
        ("RS256", pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "has no key for the algorithms"),
        ("RS256", json.dumps(jwk(RSA, alg="RS512")), "has no key for the algorithms RS256"),
        ("RS256", json.dumps({"kty": "oct", "k": "c2VjcmV0"}), "has a secret key"),
        ("RS256", jwt.algorithms.RSAAlgorithm.to_jwk(RSA), "has a secret key"),
        (
            "RS256",
            RSA.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "is a private key; use the public key",
        ),
        ("HS256", "", "is empty"),
        ("HS256", "\n", "is empty"),
        ("HS256", "s" * 31, "has 31 bytes, needs at least 32"),
        ("HS512", "s" * 63, "has 63 bytes, needs at least 64"),
    ],
)
def test_a_file_without_a_usable_key_is_refused_with_its_name_and_without_its_content(
    algorithm, content, why, tmp_path
):
    with pytest.raises(CredentialsError) as caught:
        profile_of(tmp_path, content, algorithms=[algorithm], **SETTINGS)
    assert str(caught.value).startswith(f"profiles.it.key_files[0] {tmp_path}/secret-0: {why}")


# ---- Where a token is ----


def test_a_token_can_be_in_its_own_header_or_in_a_parameter(tmp_path):
    token = jwt.encode(CLAIMS, RSA, "RS256")
    in_header = profile_of(tmp_path, pem(RSA), algorithms=["RS256"], header="X-Token", **SETTINGS)
    in_header.verify(request(("x-token", token)), URL)
    assert refused(in_header, bearer(token)) == "x-token is missing"

    parameter = profile_of(tmp_path, pem(RSA), algorithms=["RS256"], parameter="id_token", **SETTINGS)
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
    profile.verify(request(("authorization", f"bEARER {token}")), URL)


@pytest.mark.parametrize(
    "token",
    ["a", "a.b", "a.b.c", "....", "\x00", "\u00e9.\u00e9.\u00e9", "\ud800", "a." * 50_000, "e30.e30.", "W10.e30.e30",
     base64.urlsafe_b64encode(b"[" * 30_000).decode().rstrip("=") + ".e30.e30"],
)  # fmt: skip
def test_an_invalid_token_is_refused(profile, token):
    assert refused(profile, bearer(token))


# ---- Tokens for a body ----

BODY = b'{"webhook_type": "TRANSACTIONS"}'
FOR_BODY = {"kind": "jwt", "header": "plaid-verification", "body_hash_claim": "request_body_sha256", "max_age_s": 300}


def for_body(body=BODY, sent=BODY, **claims):
    """Return a request as Plaid signs it: https://plaid.com/docs/api/webhooks/webhook-verification/."""
    given = {"iat": NOW, "request_body_sha256": hashlib.sha256(body).hexdigest()} | claims
    token = jwt.encode({name: value for name, value in given.items() if value is not None}, P256, "ES256")
    return request(("Plaid-Verification", token), body=sent)


def test_a_token_with_the_hash_of_the_body_passes_with_this_body_alone(tmp_path):
    profile = profile_of(tmp_path, pem(P256), algorithms=["ES256"], **FOR_BODY)
    assert profile.reads_body
    assert profile.verify(for_body(), URL) == VerifiedMessage(hashlib.sha256(BODY).hexdigest(), 360_000)
    for sent in [*flips(BODY), b"", BODY + b" "]:
        assert refused(profile, for_body(sent=sent)) == "the token is for another body"
    for claim in (hashlib.sha256(BODY).hexdigest().upper(), "", 5, ["x"], {"a": 1}):
        assert refused(profile, for_body(request_body_sha256=claim)) == "the token is for another body"
    assert "MissingRequiredClaim" in refused(profile, for_body(request_body_sha256=None))


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("base64", base64.b64encode(hashlib.sha256(BODY).digest()).decode()),
        ("base64url", base64.urlsafe_b64encode(hashlib.sha256(BODY).digest()).decode().rstrip("=")),
    ],
)
def test_the_hash_of_the_body_can_be_in_base64(encoding, encoded, tmp_path):
    profile = profile_of(tmp_path, pem(P256), algorithms=["ES256"], body_hash_encoding=encoding, **FOR_BODY)
    profile.verify(for_body(request_body_sha256=encoded), URL)
    refused(profile, for_body())


def test_a_token_without_an_expiry_is_valid_for_its_age(tmp_path):
    clock = Clock()
    profile = profile_of(tmp_path, pem(P256), algorithms=["ES256"], clock=clock, **FOR_BODY)
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


def test_a_token_can_be_the_whole_body(tmp_path):
    """Check a security event token (RFC 8935), which has no expiry."""
    profile = profile_of(
        tmp_path, pem(RSA), algorithms=["RS256"], whole_body=True, max_age_s=300, single_use=True, **SETTINGS
    )
    claims = {name: value for name, value in CLAIMS.items() if name != "exp"} | {"jti": "e1", "events": {"x": {}}}
    token = jwt.encode(claims, RSA, "RS256", {"typ": "secevent+jwt"})
    sent = request(("content-type", "application/secevent+jwt"), body=token.encode())
    assert profile.verify(sent, URL) == VerifiedMessage("e1", 360_000)
    for body in (b"", b"a.b.c", token.encode() + b"x", jwt.encode(claims, OTHER_RSA, "RS256").encode(), b"\xff"):
        refused(profile, request(body=body))
    assert refused(profile, request(body=b"a" * (1024 * 1024 + 1))) == "the token is too long"


def test_a_logout_token_in_a_form_passes_once(tmp_path):
    """Check a token of OpenID Connect Back-Channel Logout 1.0."""
    profile = profile_of(
        tmp_path, pem(RSA), algorithms=["RS256"], parameter="logout_token", single_use=True, **SETTINGS
    )
    events = {"http://schemas.openid.net/event/backchannel-logout": {}}
    token = jwt.encode(CLAIMS | {"jti": "l1", "sid": "s1", "events": events}, RSA, "RS256", {"typ": "logout+jwt"})
    form = ("content-type", "application/x-www-form-urlencoded")
    assert profile.verify(request(form, body=f"logout_token={token}".encode()), URL).message_id == "l1"
    refused(profile, request(form, body=f"logout_token={token}x".encode()))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"body_hash_claim": None}, "audience must be given, unless body_hash_claim is"),
        ({"body_hash_claim": None, "audience": "a"}, "issuer must be given, unless body_hash_claim is"),
        ({"whole_body": True}, "whole_body needs no header, parameter or body_hash_claim"),
    ],
)
def test_a_token_for_anyone_is_refused_in_the_settings(changes, told, tmp_path):
    with pytest.raises(ValidationError, match=told):
        profile_of(tmp_path, pem(P256), algorithms=["ES256"], **FOR_BODY | changes)


# ---- Tokens about events ----

LOGOUT = {"http://schemas.openid.net/event/backchannel-logout": {}}
EVENT = {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}


def logout(head=None, **claims):
    """Return a request with a logout token, as a form (OpenID Connect Back-Channel Logout 1.0, 2.5)."""
    given = {**CLAIMS, "jti": "l1", "sid": "08a5019c", "events": LOGOUT, **claims}
    token = jwt.encode({name: value for name, value in given.items() if value is not None}, RSA, "RS256", head)
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
def test_a_logout_token_is_told_from_any_other_token_of_the_issuer(claims, head, why, tmp_path):
    profile = profile_of(
        tmp_path, pem(RSA), algorithms=["RS256"], parameter="logout_token", events="logout", **SETTINGS
    )
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
def test_a_security_event_that_is_pushed_is_the_body_and_has_its_content_type(claims, content_type, why, tmp_path):
    """Check RFC 8935, 2.1, with claims as in RFC 8417, 2.2."""
    profile = profile_of(
        tmp_path, pem(P256), algorithms=["ES256"], whole_body=True, max_age_s=300, events="security",
        **SETTINGS,
    )  # fmt: skip
    given = {**CLAIMS, "exp": None, "jti": "756E69717565", "events": EVENT, **claims}
    token = jwt.encode(
        {name: value for name, value in given.items() if value is not None}, P256, "ES256", {"typ": "secevent+jwt"}
    )
    headers = () if content_type is None else (("content-type", content_type),)
    sent = request(*headers, body=token.encode())
    if why is None:
        assert profile.verify(sent, URL).message_id == "756E69717565"
    else:
        assert why in refused(profile, sent)
