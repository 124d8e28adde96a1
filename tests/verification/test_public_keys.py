"""The kind `public-key`: signatures with a private key, which keys from files verify."""

import base64
import json
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from soak.counts import count
from support.keys import ED25519, OTHER_RSA, P256, RSA, SHORT_RSA, der, jwk, pem, private_pem
from support.verification import NOW, URL, changed, flips, profile_of, refused, request, with_header

from callback_process.credentials import CredentialsError
from callback_server.verification.profile import VerificationError

BODY = b'{"id": "e1"}'


def pss(digest):
    return padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)


def raw(signature):
    """Return r and s of a signature in DER form, each of 32 bytes."""
    return b"".join(number.to_bytes(32) for number in decode_dss_signature(signature))


SIGN = {
    "rsa-sha256": (RSA, lambda signed: RSA.sign(signed, padding.PKCS1v15(), hashes.SHA256())),
    "rsa-sha512": (RSA, lambda signed: RSA.sign(signed, padding.PKCS1v15(), hashes.SHA512())),
    "rsa-pss-sha256": (RSA, lambda signed: RSA.sign(signed, pss(hashes.SHA256()), hashes.SHA256())),
    "rsa-pss-sha512": (RSA, lambda signed: RSA.sign(signed, pss(hashes.SHA512()), hashes.SHA512())),
    "ecdsa-sha256": (P256, lambda signed: P256.sign(signed, ec.ECDSA(hashes.SHA256()))),
    "ecdsa-sha384": (P256, lambda signed: P256.sign(signed, ec.ECDSA(hashes.SHA384()))),
    "ecdsa-raw-sha256": (P256, lambda signed: raw(P256.sign(signed, ec.ECDSA(hashes.SHA256())))),
    "ecdsa-raw-sha384": (P256, lambda signed: raw(P256.sign(signed, ec.ECDSA(hashes.SHA384())))),
    "ed25519": (ED25519, ED25519.sign),
}
"""The key of each algorithm, and how it signs."""


def sent(algorithm, body=BODY, time=NOW):
    signature = base64.b64encode(SIGN[algorithm][1](f"{time}.".encode() + body)).decode()
    return request(("x-sign", signature), ("x-time", str(time)), body=body)


@pytest.fixture
def profile(tmp_path):
    """Return a function that makes a profile with these keys."""

    def make(algorithm, *keys, **given):
        given = {"signature": "header:x-sign", "encoding": "base64", "id": "json:/id", **given}
        return profile_of(
            tmp_path, *(keys or (pem(SIGN[algorithm][0]),)), kind="public-key", algorithm=algorithm,
            timestamp="header:x-time", signed="{timestamp}.{body}", **given,
        )  # fmt: skip

    return make


@pytest.mark.parametrize("algorithm", SIGN)
def test_a_signature_passes_with_its_algorithm_and_with_no_other(profile, algorithm):
    assert profile(algorithm).verify(sent(algorithm), URL).message_id == "e1"
    for other in SIGN:
        if other != algorithm and SIGN[other][0] is SIGN[algorithm][0]:
            assert refused(profile(algorithm), sent(other)) == "no signature is valid"


def test_r_and_s_must_be_as_long_as_the_key(profile):
    right = sent("ecdsa-raw-sha256")
    signature = base64.b64decode(dict(right.headers)["x-sign"])
    for longer in (signature[:32] + b"\0" * 2 + signature[32:], b"\0" + signature[:32] + b"\0" + signature[32:]):
        refused(profile("ecdsa-raw-sha256"), with_header(right, "x-sign", base64.b64encode(longer).decode()))


@pytest.mark.parametrize("algorithm", SIGN)
def test_every_bit_of_body_time_and_signature_is_checked(profile, algorithm):
    right = sent(algorithm)
    checked = profile(algorithm)
    for body in [*flips(BODY), b"", BODY + b" "]:
        refused(checked, changed(right, body=body))
    for name, value in right.headers:
        for altered in flips(value.encode()):
            refused(checked, with_header(right, name, altered.decode("latin-1")))


@pytest.mark.parametrize(("others", "passes"), [(3, True), (4, False)])
def test_four_signatures_are_checked_because_each_hashes_the_body_anew(profile, others, passes):
    checked = profile("ed25519", separators=" ")
    right = sent("ed25519")
    other = base64.b64encode(ED25519.sign(b"other")).decode()
    many = with_header(right, "x-sign", " ".join([*[other] * others, "-", "", dict(right.headers)["x-sign"]]))
    if passes:
        checked.verify(many, URL)
    else:
        assert refused(checked, many) == "no signature is valid"


@pytest.mark.parametrize("algorithm", ["rsa-sha256", "ecdsa-sha256", "ed25519"])
def test_a_key_can_be_in_each_form(profile, algorithm):
    key = SIGN[algorithm][0]
    forms = [pem(key), json.dumps(jwk(key)), json.dumps({"keys": [jwk(P256), jwk(key)]}), base64.b64encode(der(key))]
    if key is ED25519:
        raw = ED25519.public_key().public_bytes_raw()
        forms += [raw.hex(), base64.b64encode(raw), raw.hex() + "\n"]
    for form in forms:
        profile(algorithm, form).verify(sent(algorithm), URL)


def test_a_key_can_be_in_a_certificate_and_a_signature_by_another_program(profile, tmp_path):
    def openssl(*arguments, given=b""):
        return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout

    key = tmp_path / "key"
    key.write_bytes(private_pem(RSA))
    certificate = openssl("req", "-x509", "-key", key, "-subj", "/CN=sender")
    made = base64.b64encode(openssl("dgst", "-sha256", "-sign", key, given=f"{NOW}.".encode() + BODY)).decode()
    profile("rsa-sha256", certificate).verify(with_header(sent("rsa-sha256"), "x-sign", made), URL)


def test_both_keys_pass_during_a_rotation_and_another_does_not(profile):
    refused(profile("rsa-sha256", pem(OTHER_RSA)), sent("rsa-sha256"))
    profile("rsa-sha256", pem(OTHER_RSA), pem(RSA)).verify(sent("rsa-sha256"), URL)


@pytest.mark.parametrize(
    ("algorithm", "content", "why"),
    [
        ("ed25519", pem(RSA), "has no key for the algorithm ed25519"),
        ("rsa-sha256", pem(P256), "has no key for the algorithm rsa-sha256"),
        ("ecdsa-sha256", pem(ED25519), "has no key for the algorithm ecdsa-sha256"),
        ("rsa-sha256", pem(SHORT_RSA), "has no key for"),
        ("ed25519", "0" * 63, "is not a public key in PEM form"),
        ("ed25519", "", "is not a public key in PEM form"),
        ("ed25519", "[" * 1000, "is not a public key in PEM form"),
        ("ed25519", private_pem(ED25519), "is a private key; use the public key"),
    ],
)
def test_a_file_without_a_fitting_key_is_refused_at_the_start(profile, algorithm, content, why):
    with pytest.raises(CredentialsError) as caught:
        profile(algorithm, content)
    assert f": {why}" in str(caught.value)


@pytest.fixture(scope="module", params=list(SIGN))
def checked(request, tmp_path_factory):
    algorithm = request.param
    made = profile_of(
        tmp_path_factory.mktemp("keys"), pem(SIGN[algorithm][0]), kind="public-key", algorithm=algorithm,
        signature="header:x-sign", encoding="base64", timestamp="header:x-time", signed="{timestamp}.{body}",
    )  # fmt: skip
    return made, sent(algorithm)


@given(
    signature=st.text(max_size=90) | st.binary(max_size=260).map(lambda octets: base64.b64encode(octets).decode()),
    body=st.just(BODY) | st.binary(max_size=20),
)
@settings(max_examples=count(50, 20_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_other_signature_passes_and_each_is_refused(checked, signature, body):
    made, right = checked
    for altered in (with_header(right, "x-sign", signature), changed(right, body=body)):
        assume(altered != right)
        with pytest.raises(VerificationError):
            made.verify(altered, URL)
