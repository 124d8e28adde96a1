"""The names in a certificate that identify its holder, read from real certificates."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from callback_shared.certificate_names import expiry_of, names_of

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orders.example")])


def certificate(*names, extensions=(), critical=False):
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def uri(text):
    return x509.UniformResourceIdentifier._init_without_validation(text)


def dns(text):
    return x509.DNSName._init_without_validation(text)


@pytest.mark.parametrize("critical", [True, False])
def test_only_uris_and_dns_names_are_names(critical):
    names = [
        dns("orders.example"),
        uri("spiffe://shop.example/orders"),
        dns("*.example"),
        x509.RFC822Name("a@b.example"),
    ]
    # A name in an extension whose object identifier only has the right prefix.
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17.1"), b"\x30\x0b\x82\x09evil.test")
    assert names_of(certificate(*names, extensions=[other], critical=critical)) == {
        "orders.example", "spiffe://shop.example/orders", "*.example",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        uri("spiffe://shop.example/admin\0.evil.example"),
        dns("admin.example\0.evil.example"),
        dns("spiffe://shop.example/admin"),  # a URI at the place of a host
        uri("admin.example"),  # a host at the place of a URI
        uri("spiffe://shop.example/a b"),
        uri("spiffe://shop.example/\x7f"),
        uri(""),
        dns("admin.example\n"),
        dns("admin.example "),
        dns(""),
        x509.RFC822Name("admin@example"),
        x509.DirectoryName(NAME),
    ],
)
def test_a_malformed_name_does_not_count(name):
    assert names_of(certificate(name)) == frozenset()
    assert names_of(certificate(name, dns("good.example"))) == {"good.example"}


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


WHOLE = x509.load_pem_x509_certificate(certificate(dns("a.example"))).public_bytes(Encoding.DER)


def pem(der):
    return ssl.DER_cert_to_PEM_cert(der).encode()


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_or_extended_certificate_has_no_names(at):
    assert names_of(pem(WHOLE)) == {"a.example"}
    assert names_of(pem(WHOLE[:at])) == names_of(pem(WHOLE + WHOLE[: at + 1])) == frozenset()


@given(st.binary())
def test_bytes_that_are_not_a_certificate_have_no_names(junk):
    assert names_of(junk) == names_of(pem(junk)) == frozenset()


def test_a_certificate_with_two_name_extensions_has_no_names():
    end = b"\x55\x1d\x12\x04"  # the issuer's alternative names, changed to the holder's
    issuer = x509.IssuerAlternativeName([dns("b.example")])
    der = x509.load_pem_x509_certificate(certificate(dns("a.example"), extensions=[issuer])).public_bytes(Encoding.DER)
    assert names_of(pem(der)) == {"a.example"}
    assert der.count(end) == 1
    assert names_of(pem(der.replace(end, b"\x55\x1d\x11\x04"))) == frozenset()


@pytest.mark.parametrize("length", [0x10, 0x08, 0x80, 0xFF])
def test_a_certificate_with_a_wrong_length_has_no_names(length):
    name = b"\x82\x09a.example"
    assert WHOLE.count(name) == 1
    assert names_of(pem(WHOLE.replace(name, bytes([0x82, length]) + b"a.example"))) == frozenset()


def test_a_certificate_expires_at_the_end_of_its_validity():
    end = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    assert end - 60 < expiry_of(certificate(dns("orders.example"))) <= end
