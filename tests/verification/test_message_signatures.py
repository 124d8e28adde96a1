"""HTTP Message Signatures: the examples of RFC 9421 pass, and a signature that covers less or other parts does not."""

import base64
import hashlib
import tomllib
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from pydantic import ValidationError
from support.keys import ED25519, OTHER_ED25519, P256, P384, RSA, key_set, pem
from support.tree import ROOT
from support.verification import NOW, URL, Clock, changed, flips, profile_of, refused, request, with_header

from callback_process.credentials import CredentialsError
from callback_server.verification.profile import VerifiedMessage

# ---- The examples of RFC 9421 ----

PUBLISHED = tomllib.loads((ROOT / "tests" / "data" / "rfc9421.toml").read_text())
EXAMPLES = PUBLISHED["examples"]


def sent_of(name):
    """Return the message of an example, and its URL."""
    it = EXAMPLES[name]
    return request(*map(tuple, it["headers"]), method=it["method"], body=it["body"].encode()), it["url"]


def of_example(name, folder, **given):
    """Return the profile of an example, at the time of the example."""
    it = EXAMPLES[name]
    if it["algorithm"].startswith("hmac"):
        given["secret_encoding"] = "base64"
    given = {"components": it["covers"], "allow_unsigned_body": "content-digest" not in it["covers"], **given}
    return profile_of(
        folder, PUBLISHED["keys"][it["key"]].strip(), clock=Clock(1618884475), kind="http-message-signatures",
        algorithm=it["algorithm"], key_ids=[it["key"]], label=it.get("label"), **given,
    )  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_of_the_rfc_passes(name, tmp_path):
    message = of_example(name, tmp_path).verify(*sent_of(name))
    assert message.window_ms == 600_000
    assert len(message.message_id) == 64 or (name, message.message_id) == ("B.2.1", "b3k2pp5k7z-50gnwp.yemd")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("B.2.1", "B.2.2", "B.2.3")])
def test_an_example_of_the_rfc_with_another_covered_value_is_refused(name, tmp_path):
    profile, (sent, url) = of_example(name, tmp_path), sent_of(name)
    for covered in EXAMPLES[name]["covers"]:
        match covered:
            case "@method":
                refused(profile, changed(sent, method="put"), url)
            case "@authority":
                refused(profile, sent, url.replace("example", "exomple", 1))
            case "@path":
                refused(profile, sent, url.replace("?", "o?"))
            case "@query":
                refused(profile, sent, url + "&a=1")
            case _:
                header = next(each for each, _ in sent.headers if each.lower() == covered)
                refused(profile, with_header(sent, header, "sha-256=:AAAA:"), url)


def test_a_signature_that_covers_less_than_the_profile_requires_is_refused(tmp_path):
    for missing in ("@target-uri", '"@query-param";name="Pet"', "host", '"content-type";sf'):
        profile = of_example("B.2.3", tmp_path, components=["content-digest", missing])
        assert "the signature does not cover" in refused(profile, *sent_of("B.2.3"))


# ---- Signatures by the signer of a library ----

SECRET = b"s" * 32
SIGNERS = {
    "hmac-sha256": (algorithms.HMAC_SHA256, SECRET),
    "rsa-pss-sha512": (algorithms.RSA_PSS_SHA512, RSA),
    "rsa-v1_5-sha256": (algorithms.RSA_V1_5_SHA256, RSA),
    "ecdsa-p256-sha256": (algorithms.ECDSA_P256_SHA256, P256),
    "ecdsa-p384-sha384": (algorithms.ECDSA_P384_SHA384, P384),
    "ed25519": (algorithms.ED25519, ED25519),
}
BODY = b'{"id": 7}'
COVERED = ("@method", "@target-uri", "content-digest")


def public(key):
    return key if isinstance(key, bytes) else pem(key)


def signed(algorithm="ed25519", *, key=None, body=BODY, method="post", covered=COVERED, at=NOW, **given):
    """Return a request with a signature by the library. A further one keeps those that are there (`into`)."""
    made, own = SIGNERS[algorithm]
    earlier = given.pop("into", {})
    message = SimpleNamespace(method=method.upper(), url=URL, headers={"Content-Type": "application/json", **earlier})
    signer = HTTPMessageSigner(
        signature_algorithm=made, key_resolver=MappingKeyResolver(public_keys={}, private_keys={"k1": key or own})
    )
    given = {"key_id": "k1", "created": datetime.fromtimestamp(at, UTC), "covered_component_ids": covered, **given}
    if isinstance(given.get("expires"), int):
        given["expires"] = datetime.fromtimestamp(given["expires"], UTC)
    if "content-digest" in covered:
        given |= {"body": body, "use_existing_digest": "Content-Digest" in earlier}
    signer.sign(message, append_if_signature_exists="Signature" in earlier, **given)
    return request(*message.headers.items(), method=method, body=body)


def profile(folder, *keys, algorithm="ed25519", clock=None, **given):
    keys = keys or (public(SIGNERS[algorithm][1]),)
    return profile_of(folder, *keys, clock=clock, kind="http-message-signatures", algorithm=algorithm, **given)


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_signature_by_each_algorithm_passes_and_one_by_another_key_does_not(algorithm, tmp_path):
    verifies = profile(tmp_path, algorithm=algorithm)
    verifies.verify(signed(algorithm), URL)
    kind = type(SIGNERS[algorithm][1])
    curve = getattr(SIGNERS[algorithm][1], "curve", ec.SECP256R1())
    others = {bytes: b"t" * 32, type(P256): ec.generate_private_key(curve), type(ED25519): OTHER_ED25519}
    if kind in others:
        assert refused(verifies, signed(algorithm, key=others[kind])) == "no signature is valid"
    for other in SIGNERS:
        if other != algorithm:
            refused(verifies, signed(other))


def test_each_byte_of_body_digest_input_and_signature_is_checked(tmp_path):
    verifies, sent = profile(tmp_path, algorithm="hmac-sha256"), signed("hmac-sha256")
    verifies.verify(sent, URL)
    for body in (*flips(BODY), BODY + b" ", BODY[:-1], b""):
        refused(verifies, changed(sent, body=body))
    for name, value in sent.headers:
        if name.lower() in ("content-digest", "signature-input", "signature"):
            # The last character before the padding has bits that base64 does not use.
            end = len(value) - 3 if name == "Signature" else len(value)
            for altered in (each + value[end:].encode() for each in flips(value[:end].encode())):
                refused(verifies, with_header(sent, name, altered.decode("latin-1")))


def test_the_method_and_the_url_are_checked(tmp_path):
    verifies, sent = profile(tmp_path, algorithm="hmac-sha256"), signed("hmac-sha256")
    refused(verifies, changed(sent, method="put"))
    for url in flips(URL.encode()):
        refused(verifies, sent, url.decode("latin-1"))


def test_a_request_without_a_body_needs_no_digest_and_one_with_a_body_does(tmp_path):
    verifies = profile(tmp_path)
    sent = signed(method="get", body=b"", covered=("@method", "@target-uri"))
    verifies.verify(sent, URL)
    assert refused(verifies, changed(sent, body=b"x")) == "the request has a body that is not signed"
    digest = ("content-digest", f"sha-256=:{base64.b64encode(hashlib.sha256(b'x').digest()).decode()}:")
    added = changed(sent, body=b"x", headers=(*sent.headers, digest))
    assert refused(verifies, added) == "the request has a body that is not signed"


@pytest.mark.parametrize(
    ("digest", "passes"),
    [
        ("sha-256=:{sha256}:", True),
        ("sha-512=:{sha512}:", True),
        ("sha-256=:{sha256}:, sha-512=:{sha512}:", True),
        ("sha-256=:{sha512}:", False),
        ("sha-256=:{sha256}:, sha-512=:{sha256}:", False),
        ("md5=:{md5}:", False),
        ("sha-256={sha256}", False),
        ("", False),
    ],
)
def test_the_digest_must_be_that_of_the_body(digest, passes, tmp_path):
    made = {name: base64.b64encode(hashlib.new(name, BODY).digest()).decode() for name in ("sha256", "sha512", "md5")}
    sent = signed_over(digest.format(**made))
    if passes:
        profile(tmp_path).verify(sent, URL)
    else:
        assert refused(profile(tmp_path), sent) == "the content-digest is not that of the body"


def signed_over(digest):
    """Sign a digest that the library would not sign, over the bytes of RFC 9421, 2.5."""
    params = f'("@method" "@target-uri" "content-digest");created={NOW};keyid="k1"'
    base = f'"@method": POST\n"@target-uri": {URL}\n"content-digest": {digest}\n"@signature-params": {params}'
    value = base64.b64encode(ED25519.sign(base.encode())).decode()
    return request(
        ("content-digest", digest), ("signature-input", f"s={params}"), ("signature", f"s=:{value}:"), body=BODY
    )


def test_a_time_passes_within_the_tolerance_and_an_expired_signature_does_not(tmp_path):
    clock = Clock()
    verifies = profile(tmp_path, clock=clock, tolerance_s=60)
    sent, short = signed(), signed(expires=NOW + 10)
    for passed in (-60, 0, 10, 60):
        clock.now = NOW + passed
        verifies.verify(sent, URL)
    verifies_at = {-61: "the time is too far in the future: 61 s", 61: "the time is too far in the past: 61 s"}
    for passed, why in verifies_at.items():
        clock.now = NOW + passed
        assert refused(verifies, sent) == why
    clock.now = NOW + 10
    verifies.verify(short, URL)
    clock.now = NOW + 11
    assert refused(verifies, short) == "the signature has expired"


def test_the_id_of_a_message_is_its_nonce_or_else_what_is_signed(tmp_path):
    verifies = profile(tmp_path, algorithm="ecdsa-p256-sha256")
    assert verifies.verify(signed("ecdsa-p256-sha256", nonce="n-1"), URL) == VerifiedMessage("n-1", 600_000)
    first, again = (verifies.verify(signed("ecdsa-p256-sha256"), URL) for _ in range(2))
    assert (
        signed("ecdsa-p256-sha256").headers != signed("ecdsa-p256-sha256").headers
    )  # ECDSA signs the same bytes differently each time
    assert first == again
    assert verifies.verify(signed("ecdsa-p256-sha256", nonce="two words"), URL).message_id != first.message_id
    assert verifies.verify(signed("ecdsa-p256-sha256", at=NOW + 1), URL).message_id != first.message_id


# ---- Keys and several signatures ----


def test_a_key_of_a_set_verifies_only_signatures_that_name_it(tmp_path):
    verifies = profile(tmp_path, key_set(k1=OTHER_ED25519, k2=ED25519, k3=P256))
    verifies.verify(signed(key=OTHER_ED25519), URL)
    assert refused(verifies, signed()) == "no signature is valid"


def test_key_ids_name_the_keys_of_the_files_in_order(tmp_path):
    both = (public(OTHER_ED25519), public(ED25519))
    profile(tmp_path, *both).verify(signed(), URL)
    profile(tmp_path, *both, key_ids=["old", "k1"]).verify(signed(), URL)
    assert "key id" in refused(profile(tmp_path, *both, key_ids=["old", "new"]), signed())
    assert refused(profile(tmp_path, *both, key_ids=["k1", "old"]), signed()) == "no signature is valid"


def test_of_several_signatures_the_label_the_tag_and_the_key_id_choose(tmp_path):
    first = signed(label="a", tag="app", covered=("@method",))
    sent = signed(label="b", tag="other", into=dict(first.headers))
    verifies = profile(tmp_path)
    verifies.verify(sent, URL)  # one of them covers enough
    verifies = profile(tmp_path, tag="other")
    verifies.verify(sent, URL)
    assert 'does not cover "@target-uri"' in refused(profile(tmp_path, tag="app"), sent)
    assert 'does not cover "@target-uri"' in refused(profile(tmp_path, label="a"), sent)
    profile(tmp_path, label="b").verify(sent, URL)
    for none in ({"label": "c"}, {"tag": "more"}, {"label": "b", "tag": "app"}, {"key_ids": ["k2"]}):
        assert "no signature has the profile's label" in refused(profile(tmp_path, **none), sent)


def test_at_most_four_signatures_are_checked(tmp_path):
    headers = {}
    for index in range(5):
        headers = dict(signed(label=f"a{index}", key=OTHER_ED25519 if index < 4 else None, into=headers).headers)
    sent = request(*headers.items(), body=BODY)
    assert refused(profile(tmp_path), sent) == "no signature is valid"
    profile(tmp_path, label="a4").verify(sent, URL)


# ---- Malformed requests ----

GOOD = f'("@method" "@target-uri" "content-digest");created={NOW};keyid="k1"'


def with_methods(components):
    return "s=" + GOOD.replace('"@method"', components)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "signature-input is missing"),
        ("", "no signature has"),
        ("s=1", "does not have the form"),
        ("s", "does not have the form"),
        ("s=(1)", "not a text in lower case"),
        ('s=("@Method")', "not a text in lower case"),
        ("s=(@method)", "is not a dictionary"),
        (f"s={GOOD}, s={GOOD}", "more than once"),
        (f't={GOOD}', "no signature has"),
        (f"s={GOOD};alg=\"hmac-sha256\"", "alg is not"),
        (f"s={GOOD};alg=ed25519", "alg is not a text"),
        (f"s={GOOD};created", "created is not a whole number"),
        (f's={GOOD};created="{NOW}"', "created is not a whole number"),
        (f"s={GOOD};expires=1.5", "expires is not a whole number"),
        (f"s={GOOD};expires=1", "has expired"),
        ('s=("@method" "@target-uri" "content-digest")', "created is missing"),
        (with_methods('"@method" "@method"'), "more than once"),
        (with_methods('"@method" "@status"'), "cannot be read"),
        (with_methods('"@method" "@signature-params"'), "cannot be read"),
        (with_methods('"@method" "@method";req'), "cannot be read"),
        (with_methods('"@method" "absent"'), "cannot be read"),
        (with_methods('"@method" "x-umlaut"'), "characters that cannot be signed"),
        (with_methods(" ".join(f'"h{index}"' for index in range(65))), "more than 64"),
        ("s=" + "(" * 1000, "is not a dictionary"),
        ("\ud800", "is not a dictionary"),
    ],
)  # fmt: skip
def test_a_malformed_signature_is_refused_with_its_reason(given, why, tmp_path):
    sent = signed(label="s")
    headers = tuple((name, given if name == "Signature-Input" else value) for name, value in sent.headers)
    kept = tuple(each for each in headers if each[1] is not None)
    assert why in refused(profile(tmp_path), changed(sent, headers=(*kept, ("x-umlaut", "\u00fc"))))


@pytest.mark.parametrize(("value", "why"), [(None, "signature is missing"), ("s=1", "form"), ("s=:AA==:", "valid")])
def test_a_malformed_value_of_a_signature_is_refused_with_its_reason(value, why, tmp_path):
    sent = signed(label="s")
    headers = tuple((name, value if name == "Signature" else old) for name, old in sent.headers)
    assert why in refused(profile(tmp_path), changed(sent, headers=tuple(each for each in headers if each[1])))


# ---- Settings and files ----


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"components": ["@method"]}, "must contain content-digest"),
        ({"allow_unsigned_body": True}, "must contain content-digest"),
        ({"components": ["content-digest", "@status"]}, "@status is unknown"),
        ({"components": ["content-digest", "@query-param"]}, "only @query-param has a parameter"),
        ({"components": ["content-digest", '"@method";req']}, "only @query-param has a parameter"),
        ({"components": ["content-digest", '"x";tr']}, "parameters of a header"),
        ({"components": ["content-digest", "X-Id"]}, "lower case"),
        ({"components": ["content-digest", "x id"]}, "not the name of a header"),
        ({"components": ["content-digest", '"x']}, "must be as in"),
        ({"key_ids": ["a", "b"]}, "one id for each"),
        ({"secret_encoding": "hex"}, "is for hmac-sha256"),
        ({"label": "A b"}, "pattern"),
    ],
)
def test_settings_that_cannot_work_are_refused(given, why, tmp_path):
    with pytest.raises(ValidationError, match=why):
        profile(tmp_path, **given)


@pytest.mark.parametrize(
    ("algorithm", "content", "why"),
    [
        ("ed25519", public(P256), "no key for the algorithm ed25519"),
        ("ecdsa-p384-sha384", public(P256), "no key for the algorithm ecdsa-p384-sha384"),
        ("ed25519", "hello", "not a public key"),
        ("hmac-sha256", public(ED25519), "is a public key"),
        ("hmac-sha256", "", "is empty"),
    ],
)
def test_a_file_without_a_key_for_the_algorithm_is_refused(algorithm, content, why, tmp_path):
    with pytest.raises(CredentialsError, match=why):
        profile(tmp_path, content, algorithm=algorithm)
