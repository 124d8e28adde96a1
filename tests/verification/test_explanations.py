"""What `callback verify` finds in a request: which of the secrets matches, and what was signed."""

import base64
import hmac

import jwt
import pytest
from support.keys import ED25519, OTHER_ED25519, pem
from support.verification import NOW, URL, changed, profile_of, refused, request, with_header

from callback_server.verification.profile import VerificationError
from callback_server.verification.verifier import Explanation

OLD, NEW = ED25519, OTHER_ED25519
BODY = b'{"id": 7}'
TOKEN = jwt.encode({"iss": "i", "aud": "a", "exp": NOW + 60}, NEW, "EdDSA")
PARAMS = f'();created={NOW};keyid="k"'
BASE = f'"@signature-params": {PARAMS}'.encode()
KINDS = {
    # name: (settings, files, headers, signed bytes)
    "shared-secret": ({"kind": "shared-secret", "header": "x-key"}, (b"old", b"new"), {"x-key": "new"}, None),
    "basic": (
        {"kind": "basic", "username": "me"}, (b"old", b"new"),
        {"authorization": "Basic " + base64.b64encode(b"me:new").decode()}, None,
    ),
    "hmac": (
        {"kind": "hmac", "signature": "header:x-key"}, (b"old", b"new"),
        {"x-key": hmac.digest(b"new", BODY, "sha256").hex()}, BODY,
    ),
    "jwt": (
        {"kind": "jwt", "algorithms": ["EdDSA"], "issuer": "i", "audience": "a", "header": "x-key"}, (OLD, NEW),
        {"x-key": TOKEN}, TOKEN.rpartition(".")[0].encode(),
    ),
    "http-message-signatures": (
        {"kind": "http-message-signatures", "algorithm": "ed25519", "components": [], "allow_unsigned_body": True},
        (OLD, NEW), {"signature": f"s=:{base64.b64encode(NEW.sign(BASE)).decode()}:", "signature-input": f"s={PARAMS}"},
        BASE,
    ),
}  # fmt: skip


def case(name, folder):
    settings, files, headers, signed = KINDS[name]
    profile = profile_of(folder, *(each if isinstance(each, bytes) else pem(each) for each in files), **settings)
    return profile, request(*headers.items(), body=BODY), signed


@pytest.mark.parametrize("name", KINDS)
def test_the_secret_that_matches_and_what_was_signed_are_told(name, tmp_path):
    profile, sent, signed = case(name, tmp_path)
    profile.verify(sent, URL)
    field = "key_files" if KINDS[name][1][0] is OLD else "secret_files"
    assert profile.verifier.explain(sent, URL) == Explanation(f"{field}[1]", signed)


@pytest.mark.parametrize("name", KINDS)
def test_what_should_have_been_signed_is_told_if_no_secret_matches(name, tmp_path):
    settings, files, *_ = KINDS[name]
    _, sent, signed = case(name, tmp_path)
    old = files[0] if isinstance(files[0], bytes) else pem(files[0])
    profile = profile_of(tmp_path, old, **settings)
    refused(profile, sent)
    assert profile.verifier.explain(sent, URL) == Explanation(signed=signed)


@pytest.mark.parametrize("name", KINDS)
def test_a_request_without_the_signature_cannot_be_explained(name, tmp_path):
    profile, sent, _ = case(name, tmp_path)
    with pytest.raises(VerificationError, match="is missing"):
        profile.verifier.explain(changed(sent, headers=()), URL)
    with pytest.raises(VerificationError):
        profile.verifier.explain(with_header(changed(sent, headers=sent.headers * 2), "x", ""), URL)


def test_an_address_has_neither_a_secret_nor_a_signature(tmp_path):
    profile = profile_of(tmp_path, kind="address", networks=["192.0.2.0/24"])
    assert profile.verifier.explain(request(), URL) == Explanation()
