"""Forms that contain their signature: the fields have one meaning, and no challenge that is signed is a message."""

import base64
import hashlib
import hmac
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from pydantic import ValidationError
from support.keys import RSA, pem
from support.verification import URL, changed, profile_of, refused, request, sample_request

from callback_server.verification.profile import VerificationError
from callback_server.verification.providers import PROVIDERS

FORM = ("content-type", "application/x-www-form-urlencoded")
SECRET, PUBLIC_KEY = "integration_private_key", "integration_public_key"


def braintree_signature(text):
    return hmac.digest(hashlib.sha1(SECRET.encode()).digest(), text.encode(), "sha1").hex()


@pytest.fixture
def braintree(tmp_path):
    return profile_of(tmp_path, SECRET, kind="provider:braintree", receiver_id=PUBLIC_KEY)


def braintree_message(payload, signatures):
    return request(FORM, body=urlencode({"bt_signature": signatures, "bt_payload": payload}).encode())


def challenge(text):
    return request(method="get", query=[("bt_challenge", text)])


def test_one_of_the_signatures_of_braintree_is_that_of_the_public_key(braintree):
    payload = base64.encodebytes(b"<notification/>").decode()
    valid = f"{PUBLIC_KEY}|{braintree_signature(payload)}"
    for signatures in (valid, f"other|00&{valid}", f"{valid}&other|00"):
        braintree.verify(braintree_message(payload, signatures), URL)
    for signatures in (valid.replace("|", ""), valid.replace(PUBLIC_KEY, "other"), f"{valid},", valid.upper(), ""):
        refused(braintree, braintree_message(payload, signatures))
    refused(braintree, braintree_message(payload.strip(), valid))


def test_the_challenge_of_braintree_is_answered_with_the_public_key(braintree):
    """Check the answer that `webhook_notification.verify` of braintree 4.48.0 (PyPI) gives."""
    answer = braintree.handshake(challenge("20f9f8ed05f77439fe955c977e4c8a53"), URL)
    assert answer.body == b"integration_public_key|d9b899556c966b3f06945ec21311865d35df3ce4"
    assert dict(answer.headers)["content-type"].startswith("text/plain")


@pytest.mark.parametrize("text", ["", "0" * 19, "0" * 65, "0" * 20 + "A", "PG5vdGlmaWNhdGlvbj48L25vdGlmaWNhdGlvbj4="])
def test_no_other_text_is_signed_for_a_caller(braintree, text):
    with pytest.raises(VerificationError, match="20 to 64 lower-case hexadecimal"):
        braintree.handshake(challenge(text), URL)


def test_a_challenge_that_was_signed_is_no_message(braintree):
    text = "20f9f8ed05f77439fe955c977e4c8a53"
    signature = braintree.handshake(challenge(text), URL).body.decode()
    assert signature == f"{PUBLIC_KEY}|{braintree_signature(text)}"
    assert "could be a challenge" in refused(braintree, braintree_message(text, signature))


PAIRS = {"kind": "public-key", "signature": "form:sign", "encoding": "base64", "algorithm": "rsa-sha256"}


def signed_form(pairs, text, *, extra=()):
    """Return a form with these pairs, and the signature of a text."""
    signature = base64.b64encode(RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    return request(FORM, body=urlencode([*pairs, *extra, ("sign", signature)]).encode())


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1&b=2", [("b", "2"), ("a", "1")]),
        ("a=&b=2=3", [("a", ""), ("b", "2=3")]),
        ("a=x & y&b=2", [("a", "x & y"), ("b", "2")]),
        ("a=&&b=2", [("a", "&"), ("b", "2")]),
        ("é=ü", [("é", "ü")]),
    ],
)
def test_the_pairs_of_a_form_are_signed_as_they_are(tmp_path, text, pairs):
    profile = profile_of(tmp_path, pem(RSA), **PAIRS, signed="{form-pairs}")
    profile.verify(signed_form(pairs, text), URL)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1&b=2", [("a", "1&b=2")]),
        ("a=1&b=2", [("a=1&b", "2")]),
        ("a=1&a=2", [("a", "1"), ("a", "2")]),
        ("a=1=2", [("a=1", "2")]),
        ("=1", [("", "1"), ("", "1")]),
        ("a=1&b=2", [("a", "1")]),
        ("a=1", [("a", "1"), ("b", "2")]),
        ("a=1", [("a", "1"), ("sign_type", "RSA2")]),
    ],
)
def test_a_form_that_could_be_another_one_is_refused(tmp_path, text, pairs):
    profile = profile_of(tmp_path, pem(RSA), **PAIRS, signed="{form-pairs}")
    refused(profile, signed_form(pairs, text))


def test_only_a_form_has_pairs(tmp_path):
    profile = profile_of(tmp_path, pem(RSA), **PAIRS | {"signature": "header:sign"}, signed="{form-pairs}")
    assert "not signed" in refused(profile, request(("sign", "AAAA"), body=b"{}"))
    multipart = ("content-type", "multipart/form-data; boundary=b")
    assert "not signed" in refused(profile, request(("sign", "AAAA"), multipart, body=b"--b--"))


def test_the_name_of_the_algorithm_is_not_signed_and_no_other_one_passes(tmp_path):
    sample = PROVIDERS["alipay"].sample
    profile = profile_of(tmp_path, sample.secret, kind="provider:alipay")
    sent = sample_request("alipay")
    assert profile.verify(sent, URL).message_id == "ac05099524730693a8b330c5ecf72da9786"
    for other in (b"RSA", b"rsa2", b"RSA2&sign_type=RSA2", b""):
        refused(profile, changed(sent, body=sent.body.replace(b"RSA2", other)))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"signed": "{form-pairs}{timestamp}", "timestamp": "header:t"}, "must be the last placeholder"),
        ({"signed": "{form-pairs}", "allow_unsigned_body": True}, "without the body"),
        ({"signed": "{form:a}{form:b}", "allow_unsigned_body": True}, "some text must follow"),
        ({"signed": "{form:a}"}, "allow_unsigned_body"),
        ({"signed": "{body}"}, "cannot cover the body"),
        ({"signed": "{form-pairs}", "prefix": "{receiver-id}|"}, "need each other"),
    ],
)
def test_settings_that_leave_a_form_open_are_refused(tmp_path, settings, says):
    with pytest.raises(ValidationError, match=says):
        profile_of(tmp_path, pem(RSA), **PAIRS | settings)
