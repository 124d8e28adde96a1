"""Messages of `callback send`: the profile of the sender verifies them, and so do the libraries of the makers."""

import base64
import json
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
import pytest
from support.keys import ED25519, P256, P521, RSA, pem, private_pem
from support.verification import KEY_KINDS, Clock, profile_of, refused

from callback_cli.senders import _Request
from callback_cli.verification.browser_returns import RETURNS
from callback_cli.verification.sample_message import SampleError, sample_message
from callback_cli.verification.trial import read_request
from callback_server.verification.providers import PROVIDERS

NOW = 1_800_000_000
URL = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
STATE = "3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
RETURN_URL = f"https://box.example/cbq/state?state={STATE}"
KEYS = {"rsa": RSA, "ecdsa": P256, "ed25519": ED25519}


def key_of(name):
    """Return the private key with which a provider's messages are signed here, or None."""
    profile = PROVIDERS[name].profile
    if profile["kind"] not in KEY_KINDS or profile.get("algorithms") == ["HS256"]:
        return None
    algorithms = [profile["algorithm"]] if "algorithm" in profile else [*profile["algorithms"]]
    if isinstance(profile.get("algorithms"), dict):
        algorithms = [*profile["algorithms"].values()]
    if algorithms[0] == "ecdsa-raw-sha512":
        return P521
    return KEYS[{"ES256": "ecdsa"}.get(algorithms[0], algorithms[0].partition("-")[0])]


def secrets_of(name):
    """Return what `send` signs with, and what the profile verifies with."""
    key = key_of(name)
    if key is None:
        return PROVIDERS[name].sample.secret.encode(), PROVIDERS[name].sample.secret.encode()
    return private_pem(key), pem(key)


def values_of(name):
    values = {"receiver_id": "4JH86294D6297924G", "username": "shop"}
    return {each: values[each] for each in PROVIDERS[name].needs if each in values}


def verifying(name, folder, clock_at=NOW):
    """Return the profile of a provider at a time."""
    given = {"kind": f"provider:{name}", **values_of(name)}
    if "handshake" in PROVIDERS[name].needs:
        (folder / "token").write_text("token")
        given["handshake"] = {"kind": "hub", "verify_token_files": [folder / "token"]}
    return profile_of(folder, secrets_of(name)[1], clock=Clock(clock_at), **given)


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_profile_of_a_provider_verifies_its_message(name, tmp_path):
    secret, _ = secrets_of(name)
    profile = verifying(name, tmp_path)
    first, second = (sample_message(name, URL, secret, NOW, values=values_of(name)) for _ in range(2))
    found = [profile.verify(each.request(), each.url) for each in (first, second)]
    if found[0].message_id and PROVIDERS[name].profile.get("id") != "body-hash":
        assert found[0].message_id != found[1].message_id
    assert any(header.lower() == "content-type" for header, _ in first.headers) == bool(first.body)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_what_a_dry_run_prints_is_the_message_of_the_provider(name, scheme, tmp_path):
    url = f"{scheme}://127.0.0.1:8080/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
    made = sample_message(name, url, secrets_of(name)[0], NOW, values=values_of(name))
    printed = _Request(made.url, made.method.upper(), made.headers, made.body).as_bytes()
    request, found_url = read_request(printed)
    assert found_url == made.url
    verifying(name, tmp_path).verify(request, found_url)


@pytest.mark.parametrize("name", [name for name, each in PROVIDERS.items() if each.sample.time])
def test_a_message_has_the_present_time(name, tmp_path):
    message = sample_message(name, URL, secrets_of(name)[0], NOW, values=values_of(name))
    refused(verifying(name, tmp_path, NOW + 2 * 86_400), message.request(), message.url)


@pytest.mark.parametrize("name", ["stripe", "github", "linear", "sendgrid", "twilio", "mailgun", "plaid"])
def test_a_body_of_the_operator_is_signed_as_it_is(name, tmp_path):
    bodies = {"twilio": b"To=%2B1&Digits=12", "mailgun": b'{"event-data": {"event": "opened"}}'}
    body = bodies.get(name, b'{"id": "evt_own", "amount":  5}')
    message = sample_message(name, URL, secrets_of(name)[0], NOW, body=body, values={})
    verifying(name, tmp_path).verify(message.request(), message.url)
    if name in ("linear", "mailgun"):  # the time is a member of it
        assert json.loads(body).items() <= json.loads(message.body).items()
    else:
        assert message.body == body


@pytest.mark.parametrize(
    ("name", "secret", "given", "says"),
    [
        ("stripe", b"", {}, "the secret must be given: the signing secret of the endpoint"),
        ("stripe", b"\n", {}, "the secret file: is empty"),
        ("svix", b"whsec_%", {}, "the secret file: is not in the secret_encoding base64"),
        ("discord", b"no key", {}, "must have a private key in PEM form"),
        ("discord", private_pem(RSA), {}, "the private key is not one for ed25519"),
        ("plaid", private_pem(RSA), {}, "the private key is not one for ES256"),
        ("paypal", private_pem(RSA), {}, "the value receiver_id must be given"),
        ("mailgun", b"secret", {"body": b"no JSON"}, "the body must be JSON with a place for json:/signature/"),
        ("stripe", b"secret", {"values": {"code": "1"}}, "stripe has no value 'code'; known: none"),
        ("saml", private_pem(RSA), {}, "the value audience must be given"),
        ("saml", b"", {"values": {"audience": "a"}}, "the private key must be given"),
        ("saml", private_pem(P256), {"values": {"audience": "a"}}, "SAML needs an RSA key"),
        ("ideal", b"", {"body": b"{}"}, "has no body of yours"),
    ],
)
def test_what_is_missing_or_unusable_is_said(name, secret, given, says):
    with pytest.raises(SampleError, match=says):
        sample_message(name, URL, secret, NOW, **{"values": {}} | given)


def test_a_login_returns_with_a_code_and_the_state():
    message = sample_message("oidc-return", RETURN_URL, b"", NOW, values={"iss": "https://login.example"})
    query = parse_qs(urlsplit(message.url).query)
    assert (message.method, message.body) == ("get", b"")
    assert (query["state"], query["iss"]) == ([STATE], ["https://login.example"])
    assert len(query["code"][0]) >= 32
    denied = sample_message("oidc-return", RETURN_URL, b"", NOW, values={"error": "access_denied"})
    assert parse_qs(urlsplit(denied.url).query) == {"state": [STATE], "error": ["access_denied"]}


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "RS256"), ("ecdsa", "ES256")])
def test_a_login_by_form_has_an_id_token_that_a_client_accepts(kind, algorithm):
    values = {"iss": "https://login.example", "aud": "shop", "sub": "ann", "nonce": "n"}
    message = sample_message("oidc-form-post", RETURN_URL, private_pem(KEYS[kind]), NOW, values=values)
    form = dict(parse_qsl(message.body.decode()))
    assert (message.method, message.url, form["state"]) == ("post", "https://box.example/cbq/state", STATE)
    assert message.request().is_form
    claims = jwt.decode(
        form["id_token"], KEYS[kind].public_key(), [algorithm], audience="shop", issuer="https://login.example",
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip
    assert (claims["sub"], claims["nonce"], claims["exp"] - claims["iat"]) == ("ann", "n", 300)


def test_a_visitor_returns_from_the_bank_with_the_transaction():
    query = parse_qs(urlsplit(sample_message("ideal", URL, b"", NOW, values={"trxid": "0050000000000001"}).url).query)
    assert query["trxid"] == ["0050000000000001"]
    assert query["ec"]


def test_the_values_of_each_return_are_those_that_it_uses():
    for name, kind in RETURNS.items():
        values = {each: f"own-{each}" for each in kind.values if each != "error"}
        message = sample_message(name, RETURN_URL, private_pem(RSA), NOW, values=values)
        sent = message.url + message.body.decode()
        fields = dict(parse_qsl(sent.partition("?")[2] if message.method == "get" else message.body.decode()))
        if "id_token" in fields:
            sent += str(jwt.decode(fields["id_token"], options={"verify_signature": False}))
        if "SAMLResponse" in fields:
            sent += base64.b64decode(fields["SAMLResponse"]).decode()
        assert [each for each in values.values() if each not in sent] == [], name
