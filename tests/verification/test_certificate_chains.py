"""A JWS that brings its certificates, as the App Store sends it: the chain, its extensions and times, the receiver."""

import base64
import datetime
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.verification import Store
from pydantic import ValidationError
from support.keys import P256, segment
from support.tree import ROOT
from support.verification import NOW, URL, Clock, declared, profile_of, request

from callback_server.verification.profile import VerificationError
from callback_server.verification.profiles import Profiles
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.sender_certificate import chain_key
from callback_server.verification.settings.profiles import ProviderSettings

APPLE = PROVIDERS["apple-app-store"].profile
LEAF_OID, BETWEEN_OID = APPLE["certificate_oids"]
DAY = datetime.timedelta(days=1)
START = datetime.datetime.fromtimestamp(NOW, datetime.UTC) - DAY
PAYLOAD = {"notificationType": "TEST", "notificationUUID": "9ad56bd2", "data": {"bundleId": "com.example"}}


class Issued:
    """A certificate with its private key. Without an issuer, it is a root."""

    def __init__(self, name, issuer=None, *, oid=None, is_authority=True, start=START, days=10):
        self.key = ec.generate_private_key(ec.SECP256R1())
        issuer = issuer or self
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + days * DAY)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False),
                critical=True,
            )
        )
        if oid is not None:
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00")
            made = made.add_extension(extension, critical=False)
        self.certificate = made.sign(issuer.key, hashes.SHA256())

    @property
    def der(self):
        """The certificate as in `x5c`."""
        return base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


ROOT_CA = Issued("root")
BETWEEN = Issued("between", ROOT_CA, oid=BETWEEN_OID)
LEAF = Issued("leaf", BETWEEN, oid=LEAF_OID, is_authority=False)
CHAIN = [LEAF, BETWEEN, ROOT_CA]


def signed(payload=PAYLOAD, key=LEAF.key, **head):
    """Return a JWS by ES256 with the chain of these tests, and with other members of its header."""
    head = {"alg": "ES256", "x5c": [each.der for each in CHAIN]} | head
    octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    text = f"{segment(head)}.{segment(octets)}"
    numbers = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{segment(b''.join(each.to_bytes(32) for each in numbers))}"


def notification(payload=PAYLOAD, **given):
    return request(body=json.dumps({"signedPayload": signed(payload, **given)}).encode())


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def profile(clock):
    """Return the profile of Apple, with the root of these tests in place of Apple's."""
    settings = ProviderSettings(kind="provider:apple-app-store", receiver_id="com.example").declared
    own = settings.model_copy(update={"roots": ROOT_CA.pem})
    return Profiles({"it": own}, clock)["it"]


def why(profile, sent):
    with pytest.raises(VerificationError) as caught:
        profile.verify(sent, URL)
    return str(caught.value)


def test_a_notification_with_a_chain_to_the_root_passes_with_its_id(profile):
    message = profile.verify(notification(), URL)
    assert (message.message_id, message.window_ms) == ("9ad56bd2", 2 * 86_400_000)
    profile.verify(notification(x5c=[LEAF.der, BETWEEN.der]), URL)
    for name in ("summary", "externalPurchaseToken", "appData"):
        profile.verify(notification({name: {"bundleId": "com.example"}}), URL)


def test_the_shipped_root_is_that_of_apple_and_the_chain_of_the_app_store_leads_to_it():
    root = x509.load_pem_x509_certificate(APPLE["roots"].encode())
    assert root.fingerprint(hashes.SHA256()).hex() == "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
    chain = x509.load_pem_x509_certificates((ROOT / "tests/data/apple-app-store/chain.pem").read_bytes())
    texts = [base64.b64encode(each.public_bytes(serialization.Encoding.DER)).decode() for each in chain]
    in_november_2025 = 1_761_962_975
    given = {"roots": Store([root]), "oids": APPLE["certificate_oids"], "now": in_november_2025}
    assert chain_key(texts, **given) == chain[0].public_key()
    for changes in ({"roots": Store([ROOT_CA.certificate])}, {"now": in_november_2025 + 3 * 365 * 86_400}):
        with pytest.raises(VerificationError, match="none of the roots now"):
            chain_key(texts, **given | changes)


OTHER_ROOT = Issued("root")
OTHER_BETWEEN = Issued("between", OTHER_ROOT, oid=BETWEEN_OID)
OTHER_LEAF = Issued("leaf", OTHER_BETWEEN, oid=LEAF_OID, is_authority=False)
PLAIN_LEAF = Issued("leaf", BETWEEN, is_authority=False)
PLAIN_BETWEEN = Issued("plain", ROOT_CA)
UNDER_PLAIN = Issued("leaf", PLAIN_BETWEEN, oid=LEAF_OID, is_authority=False)
UNDER_LEAF = Issued("leaf", LEAF, oid=LEAF_OID, is_authority=False)
SHORT_LEAF = Issued("leaf", BETWEEN, oid=LEAF_OID, is_authority=False, days=1)
LONG_BETWEEN = Issued("long", BETWEEN, oid=BETWEEN_OID)
LONG_LEAF = Issued("leaf", LONG_BETWEEN, oid=LEAF_OID, is_authority=False)
DIRECT_LEAF = Issued("leaf", ROOT_CA, oid=LEAF_OID, is_authority=False)


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ([OTHER_LEAF, OTHER_BETWEEN, OTHER_ROOT], "none of the roots"),
        ([OTHER_LEAF, OTHER_BETWEEN, ROOT_CA], "none of the roots"),
        ([LEAF], "none of the roots"),
        ([UNDER_LEAF, LEAF, BETWEEN], "none of the roots"),
        ([SHORT_LEAF, BETWEEN], "none of the roots"),
        ([PLAIN_LEAF, BETWEEN], "another use"),
        ([UNDER_PLAIN, PLAIN_BETWEEN], "another use"),
        ([LONG_LEAF, LONG_BETWEEN, BETWEEN], "another use"),
        ([DIRECT_LEAF], "another use"),
        ([ROOT_CA], "another use"),
        ([BETWEEN], "another use"),
        ([], "no chain of 1 to 8"),
        ([LEAF] * 9, "no chain of 1 to 8"),
    ],
)
def test_a_chain_that_is_no_chain_of_the_sender_is_refused(profile, clock, chain, says):
    clock.now += 3 * 3600
    key = chain[0].key if chain else P256
    assert says in why(profile, notification(x5c=[each.der for each in chain], key=key))


@pytest.mark.parametrize("x5c", [None, "", {}, [None], [1], ["%"], ["AAAA"], [LEAF.der[:-4]], [[LEAF.der]]])
def test_what_is_no_list_of_certificates_is_refused(profile, x5c):
    assert "chain" in why(profile, notification(x5c=x5c))


def test_the_chain_signs_nothing_for_another_key_algorithm_or_receiver(profile):
    assert why(profile, notification(key=P256)) == "no signature is valid"
    for alg in ("none", "HS256", "ES384", None):
        assert "alg of the JWS" in why(profile, notification(alg=alg))
    assert "for another receiver" in why(profile, notification({"data": {"bundleId": "com.other"}}))
    both = {"data": {"bundleId": "com.other"}, "summary": {"bundleId": "com.example"}}
    assert "for another receiver" in why(profile, notification(both))
    assert "is missing" in why(profile, notification({"notificationUUID": "1"}))
    assert "is missing" in why(profile, notification(b"no JSON"))


def test_the_body_has_one_payload_that_all_parsers_read(profile):
    token, other = signed(), signed({"data": {"bundleId": "com.other"}})
    profile.verify(request(body=json.dumps({"signedPayload": token, "more": 1}).encode()), URL)
    for body in (
        f'{{"signedPayload": "{other}", "signedPayload": "{token}"}}',
        f'{{"signedPayload": "{token}", "signedPayload": "{other}"}}',
        f'{{"SignedPayload": "{other}", "signedPayload": "{token}"}}',
        f'{{"signedPayload": "{token}" ',
        f'["{token}"]',
        token,
        "",
    ):
        why(profile, request(body=body.encode()))


def test_a_part_of_a_jws_has_no_second_form(profile):
    payload = json.dumps(PAYLOAD).encode()
    payload += b" " * (1 - len(payload) % 3)  # so that its last character has bits that nothing reads
    head, text, signature = signed(payload).split(".")
    assert len(payload) % 3 == 1
    again = text[:-1] + chr(ord(text[-1]) + 1)
    assert base64.urlsafe_b64decode(again + "==") == payload
    profile.verify(request(body=json.dumps({"signedPayload": f"{head}.{text}.{signature}"}).encode()), URL)
    other = request(body=json.dumps({"signedPayload": f"{head}.{again}.{signature}"}).encode())
    assert "not a JWS" in why(profile, other)


def test_with_key_files_the_chain_of_a_message_counts_for_nothing(tmp_path):
    public = LEAF.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    given = {"kind": "provider:apple-app-store", "receiver_id": "com.example"}
    profile = profile_of(tmp_path, public, **given)
    profile.verify(notification(x5c=[]), URL)
    assert why(profile, notification(key=OTHER_LEAF.key)) == "no signature is valid"


OWN = {"kind": "public-key", "signature": "json:/s", "encoding": "base64url", "algorithm": "ecdsa-raw-sha256"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"roots": ROOT_CA.pem, "signature": "header:s"}, "roots need jws"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "encoding": "hex"}, "jws needs encoding"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "algorithm": "ecdsa-sha256"}, "jws needs encoding"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "prefix": "v1="}, "no prefix"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "signature": "header:s"}, "must be in the body"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "signature": ["json:/s", "json:/t"]}, "one place"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "receiver": "json:/to"}, "receiver_id need each other"),
        ({"roots": ROOT_CA.pem, "jws": "compact", "receiver": "header:to", "receiver_id": "a"}, "receiver must be in"),
        ({"jwks_url": "https://a.example/k", "jws": "compact", "certificate_oids": ["1.2"]}, "needs roots"),
        ({"jwks_url": "https://a.example/k", "jws": "detached"}, "cannot cover the body"),
        ({"jws": "compact"}, "needs one of key_files, jwks_url, certificate_url, roots"),
        ({"roots": "x", "jws": "compact"}, "certificates in PEM form"),
    ],
)
def test_settings_of_a_jws_that_cannot_work_are_refused(tmp_path, changes, says):
    with pytest.raises(ValidationError, match=says):
        declared(tmp_path, **OWN | changes)
