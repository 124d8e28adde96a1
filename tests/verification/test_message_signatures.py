"""HTTP Message Signatures: the examples of RFC 9421 pass, and a signature that covers less or other parts does not."""

import base64
import hashlib
import itertools
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import ValidationError
from support.verification import NOW, URL, Clock, changed, flips, profile_of, profiles_of, refused, request, with_header

from callback_process.credentials import CredentialsError
from callback_server.verification.profile import VerifiedMessage

# ---- The examples of RFC 9421, https://www.rfc-editor.org/rfc/rfc9421.html ----

KEYS = {  # B.1
    "test-key-rsa": """-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrw
WEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsdJKFq
MGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZg
kne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0P
uKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQ
PSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQAB
-----END RSA PUBLIC KEY-----""",
    "test-key-rsa-pss": """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----""",
    "test-key-ecc-p256": """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----""",
    "test-key-ed25519": """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----""",
    "test-shared-secret": "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==",
}
RSA_PSS, RSA_V15, P256, ED = "rsa-pss-sha512", "rsa-v1_5-sha256", "ecdsa-p256-sha256", "ed25519"
EXAMPLE = "https://example.com/foo?param=Value&Pet=dog"
ORIGIN = "https://origin.host.internal.example/foo?param=Value&Pet=dog"
FIELDS = (
    ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
    ("Content-Type", "application/json"),
    (
        "Content-Digest",
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    ),
    ("Content-Length", "18"),
)
FORWARDED = ("Forwarded", "for=192.0.2.123;host=example.com;proto=https")
PROXY_INPUT = (
    'sig1=("@method" "@authority" "@path" "content-digest" "content-type" "content-length");created=1618884475'
    ';keyid="test-key-ecc-p256", proxy_sig=("@method" "@authority" "@path" "content-digest" "content-type"'
    ' "content-length" "forwarded");created=1618884480;keyid="test-key-rsa";alg="rsa-v1_5-sha256";expires=1618884540'
)
PROXY_SIGNATURE = (
    "sig1=:X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==:, proxy_sig=:"
    "S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsOckpU"
    "Rl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZaA8i2"
    "ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrswsE1w5"
    "o0LV/g==:"
)
CLIENT_CERT = (
    ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0"
    "ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaU"
    "gmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAW"
    "gBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1w"
    "bGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBV"
    "oU4hBVZ1yhk=:"
)


def example(given, signature, *, url=EXAMPLE, fields=FIELDS, method="post", body=b'{"hello": "world"}'):
    sent = request(*fields, ("Signature-Input", given), ("Signature", signature), method=method, body=body)
    return url, sent


EXAMPLES = {
    # name: (algorithm, key, label, what the signature covers, message)
    "B.2.1": (
        RSA_PSS, "test-key-rsa-pss", None, [],
        example(
            'sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"',
            "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsck"
            "zXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O"
            "6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdx"
            "O5Nyt8C8ssinQ98Xw9Q==:",
        ),
    ),
    "B.2.2": (
        RSA_PSS, "test-key-rsa-pss", None, ["@authority", "content-digest", '"@query-param";name="Pet"'],
        example(
            'sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473'
            ';keyid="test-key-rsa-pss";tag="header-example"',
            "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSo"
            "wOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh6"
            "2s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0r"
            "Ql3/XaVe4bXTugEjHSw==:",
        ),
    ),
    "B.2.3": (
        RSA_PSS, "test-key-rsa-pss", None,
        ["date", "@method", "@path", "@query", "@authority", "content-type", "content-digest", "content-length"],
        example(
            'sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length")'
            ';created=1618884473;keyid="test-key-rsa-pss"',
            "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768"
            "ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o"
            "/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2F"
            "Uo5fTIztsDZKEgM4cUA==:",
        ),
    ),
    "B.2.5": (
        "hmac-sha256", "test-shared-secret", None, ["date", "@authority", "content-type"],
        example(
            'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
            "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        ),
    ),
    "B.2.6": (
        ED, "test-key-ed25519", None, ["date", "@method", "@path", "@authority", "content-type", "content-length"],
        example(
            'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473'
            ';keyid="test-key-ed25519"',
            "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
        ),
    ),
    "B.3": (
        P256, "test-key-ecc-p256", None, ["@path", "@query", "@method", "@authority", "client-cert"],
        example(
            'ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"',
            "ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:",
            url="https://service.internal.example/foo?param=Value&Pet=dog",
            fields=(*FIELDS[:2], FIELDS[3], ("Client-Cert", CLIENT_CERT)),
        ),
    ),
    "B.4": (
        ED, "test-key-ed25519", None, ["@method", "@path", "@authority", "accept"],
        example(
            'transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"',
            "transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:",
            url="https://example.org/demo?name1=Value1&Name2=value2",
            fields=(("Accept", "application/json"), ("Accept", "*/*")), method="get", body=b"",
        ),
    ),
    "4.3, the client": (
        P256, "test-key-ecc-p256", "sig1", ["@method", "@authority", "@path", "content-digest"],
        example(PROXY_INPUT, PROXY_SIGNATURE),
    ),
    "4.3, the proxy": (
        RSA_V15, "test-key-rsa", "proxy_sig", ["@method", "@path", "content-digest", "forwarded"],
        example(
            PROXY_INPUT, PROXY_SIGNATURE, url=ORIGIN,
            fields=(("Date", "Tue, 20 Apr 2021 02:07:56 GMT"), *FIELDS[1:], FORWARDED),
        ),
    ),
}  # fmt: skip
CREATED = 1618884475


def of_example(name, folder, **given):
    """Return the profile of an example, at the time of the example."""
    algorithm, key, label, components, _ = EXAMPLES[name]
    settings = {
        "kind": "http-message-signatures", "algorithm": algorithm, "key_ids": [key], "components": components,
        "label": label, "allow_unsigned_body": "content-digest" not in components,
        **({"secret_encoding": "base64"} if algorithm.startswith("hmac") else {}), **given,
    }  # fmt: skip
    clock = Clock()
    clock.now = float(CREATED)
    return profile_of(folder, KEYS[key], clock=clock, **settings)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_of_the_rfc_passes(name, tmp_path):
    url, sent = EXAMPLES[name][4]
    message = of_example(name, tmp_path).verify(sent, url)
    assert message.window_ms == 600_000
    assert message.message_id == ("b3k2pp5k7z-50gnwp.yemd" if name == "B.2.1" else message.message_id)
    assert len(message.message_id) == (22 if name == "B.2.1" else 64)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("B.2.1", "B.2.2", "B.2.3")])
def test_an_example_of_the_rfc_with_another_covered_value_is_refused(name, tmp_path):
    profile = of_example(name, tmp_path)
    components, (url, sent) = EXAMPLES[name][3:]
    for each in components:
        altered, at = sent, url
        match each:
            case "@method":
                altered = changed(sent, method="put")
            case "@authority":
                at = url.replace("example", "exomple", 1)
            case "@path":
                at = url.replace("?", "o?")
            case "@query":
                at = url + "&a=1"
            case _:
                name = next(name for name, _ in sent.headers if name.lower() == each)
                altered = with_header(sent, name, "sha-256=:AAAA:")
        refused(profile, altered, at)


def test_a_signature_that_covers_less_than_the_profile_requires_is_refused(tmp_path):
    url, sent = EXAMPLES["B.2.3"][4]
    for missing in ("@target-uri", '"@query-param";name="Pet"', "host", '"content-type";sf'):
        profile = of_example("B.2.3", tmp_path, components=["content-digest", missing])
        assert "the signature does not cover" in refused(profile, sent, url)


# ---- Signatures by the signer of a library ----

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256_KEY, P384_KEY = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1))
ED_KEY, OTHER_ED = (ed25519.Ed25519PrivateKey.from_private_bytes(bytes([each] * 32)) for each in (1, 2))
SECRET = b"s" * 32
SIGNERS = {
    "hmac-sha256": (algorithms.HMAC_SHA256, SECRET),
    "rsa-pss-sha512": (algorithms.RSA_PSS_SHA512, RSA_KEY),
    "rsa-v1_5-sha256": (algorithms.RSA_V1_5_SHA256, RSA_KEY),
    "ecdsa-p256-sha256": (algorithms.ECDSA_P256_SHA256, P256_KEY),
    "ecdsa-p384-sha384": (algorithms.ECDSA_P384_SHA384, P384_KEY),
    "ed25519": (algorithms.ED25519, ED_KEY),
}
BODY = b'{"id": 7}'
COVERED = ("@method", "@target-uri", "content-digest")


def public(key):
    if isinstance(key, bytes):
        return key
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed(algorithm=ED, *, key=None, body=BODY, method="post", covered=COVERED, at=NOW, **given):
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


def profile(folder, *keys, algorithm=ED, clock=None, **given):
    keys = keys or (public(SIGNERS[algorithm][1]),)
    return profile_of(folder, *keys, clock=clock, kind="http-message-signatures", algorithm=algorithm, **given)


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_signature_by_each_algorithm_passes_and_one_by_another_key_does_not(algorithm, tmp_path):
    verifies = profile(tmp_path, algorithm=algorithm)
    verifies.verify(signed(algorithm), URL)
    kind = type(SIGNERS[algorithm][1])
    curve = getattr(SIGNERS[algorithm][1], "curve", ec.SECP256R1())
    others = {bytes: b"t" * 32, type(P256_KEY): ec.generate_private_key(curve), type(ED_KEY): OTHER_ED}
    if kind in others:
        assert refused(verifies, signed(algorithm, key=others[kind])) == "no signature is valid"
    for other in SIGNERS:
        if other != algorithm:
            refused(verifies, signed(other))


def some_flips(octets):
    """Yield texts that differ in one bit, one for each byte."""
    return itertools.islice(flips(octets), 0, None, 10)


def test_each_byte_of_body_digest_input_and_signature_is_checked(tmp_path):
    verifies, sent = profile(tmp_path, algorithm="hmac-sha256"), signed("hmac-sha256")
    verifies.verify(sent, URL)
    for body in (*flips(BODY), BODY + b" ", BODY[:-1], b""):
        refused(verifies, changed(sent, body=body))
    for name, value in sent.headers:
        if name.lower() in ("content-digest", "signature-input", "signature"):
            # The last character before the padding has bits that base64 does not use.
            end = len(value) - 3 if name == "Signature" else len(value)
            for altered in (each + value[end:].encode() for each in some_flips(value[:end].encode())):
                refused(verifies, with_header(sent, name, altered.decode("latin-1")))


def test_the_method_and_the_url_are_checked(tmp_path):
    verifies, sent = profile(tmp_path, algorithm="hmac-sha256"), signed("hmac-sha256")
    refused(verifies, changed(sent, method="put"))
    for url in some_flips(URL.encode()):
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
    value = base64.b64encode(ED_KEY.sign(base.encode())).decode()
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
    verifies = profile(tmp_path, algorithm=P256)
    assert verifies.verify(signed(P256, nonce="n-1"), URL) == VerifiedMessage("n-1", 600_000)
    first, again = (verifies.verify(signed(P256), URL) for _ in range(2))
    assert signed(P256).headers != signed(P256).headers  # ECDSA signs the same bytes differently each time
    assert first == again
    assert verifies.verify(signed(P256, nonce="two words"), URL).message_id != first.message_id
    assert verifies.verify(signed(P256, at=NOW + 1), URL).message_id != first.message_id


# ---- Keys and several signatures ----


def jwks(**keys):
    made = {type(P256_KEY): ECAlgorithm, type(ED_KEY): OKPAlgorithm, type(RSA_KEY): RSAAlgorithm}
    found = [
        {**made[type(key)].to_jwk(key.public_key(), as_dict=True), "kid": name.replace("_", "-")}
        for name, key in keys.items()
    ]
    return json.dumps({"keys": found})


def test_a_key_of_a_set_verifies_only_signatures_that_name_it(tmp_path):
    verifies = profile(tmp_path, jwks(k1=OTHER_ED, k2=ED_KEY, k3=P256_KEY))
    verifies.verify(signed(key=OTHER_ED), URL)
    assert refused(verifies, signed()) == "no signature is valid"


def test_key_ids_name_the_keys_of_the_files_in_order(tmp_path):
    both = (public(OTHER_ED), public(ED_KEY))
    profile(tmp_path, *both).verify(signed(), URL)
    profile(tmp_path, *both, key_ids=["old", "k1"]).verify(signed(), URL)
    assert "key id" in refused(profile(tmp_path, *both, key_ids=["old", "new"]), signed())
    assert refused(profile(tmp_path, *both, key_ids=["k1", "old"]), signed()) == "no signature is valid"


def test_a_secret_is_replaced_while_the_server_runs(tmp_path):
    settings = {"kind": "http-message-signatures", "algorithm": "hmac-sha256"}
    profiles = profiles_of(tmp_path, None, SECRET, **settings)
    profiles["it"].verify(signed("hmac-sha256"), URL)
    (tmp_path / "secret-0").write_bytes(b"t" * 32)
    profiles.reload()
    refused(profiles["it"], signed("hmac-sha256"))
    profiles["it"].verify(signed("hmac-sha256", key=b"t" * 32), URL)


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
        headers = dict(signed(label=f"a{index}", key=OTHER_ED if index < 4 else None, into=headers).headers)
    sent = request(*headers.items(), body=BODY)
    assert refused(profile(tmp_path), sent) == "no signature is valid"
    profile(tmp_path, label="a4").verify(sent, URL)


# ---- Malformed requests ----

GOOD = f'("@method" "@target-uri" "content-digest");created={NOW};keyid="k1"'


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
        (GOOD.replace('"@method"', '"@method" "@method"').join(["s=", ""]), "more than once"),
        (GOOD.replace('"@method"', '"@method" "@status"').join(["s=", ""]), "cannot be read"),
        (GOOD.replace('"@method"', '"@method" "@signature-params"').join(["s=", ""]), "cannot be read"),
        (GOOD.replace('"@method"', '"@method" "@method";req').join(["s=", ""]), "cannot be read"),
        (GOOD.replace('"@method"', '"@method" "absent"').join(["s=", ""]), "cannot be read"),
        (GOOD.replace('"@method"', '"@method" "x-umlaut"').join(["s=", ""]), "characters that cannot be signed"),
        (GOOD.replace('"@method"', " ".join(f'"h{index}"' for index in range(65))).join(["s=", ""]), "more than 64"),
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
        (ED, public(P256_KEY), "no key for the algorithm ed25519"),
        ("ecdsa-p384-sha384", public(P256_KEY), "no key for the algorithm ecdsa-p384-sha384"),
        (ED, "hello", "not a public key"),
        ("hmac-sha256", public(ED_KEY), "is a public key"),
        ("hmac-sha256", "", "is empty"),
    ],
)
def test_a_file_without_a_key_for_the_algorithm_is_refused(algorithm, content, why, tmp_path):
    with pytest.raises(CredentialsError, match=why):
        profile(tmp_path, content, algorithm=algorithm)
