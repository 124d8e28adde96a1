"""The names in a client certificate that can authenticate a principal, read from real certificates."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from callback_server.access.certificate_names import names_of

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orders.example")])


def certificate(*names, extensions=()):
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def uri(text):
    return x509.UniformResourceIdentifier._init_without_validation(text)


def dns(text):
    return x509.DNSName._init_without_validation(text)


def test_uris_and_dns_names_are_names():
    assert names_of(certificate(dns("orders.example"), uri("spiffe://shop.example/orders"), dns("b.example"))) == {
        "orders.example", "spiffe://shop.example/orders", "b.example",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        uri("spiffe://shop.example/admin\0.evil.example"),
        dns("admin.example\0.evil.example"),
        dns("spiffe://shop.example/admin"),  # a URI, where whoever signed looked for a host
        uri("admin.example"),  # the other way round
        dns("admin.example\n"),
        dns("admin.example "),
        dns(""),
        x509.RFC822Name("admin@example"),
        x509.DirectoryName(NAME),
    ],
)
def test_a_malformed_name_does_not_count(name):
    assert names_of(certificate(name)) == frozenset()


def test_a_common_name_is_none():
    assert names_of(certificate()) == frozenset()


def test_unreadable_names_do_not_authenticate():
    broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x82\x05ab")
    assert names_of(certificate(extensions=[broken])) == frozenset()
    version_9 = x509.load_pem_x509_certificate(certificate(dns("a.example"))).public_bytes(Encoding.DER)
    version_9 = version_9.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")
    assert names_of(ssl.DER_cert_to_PEM_cert(version_9).encode()) == frozenset()
    for garbage in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        assert names_of(garbage) == frozenset()
