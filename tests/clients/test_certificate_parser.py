"""The names in a certificate are those that the server reads. A malformed certificate has none."""

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from callback.worker._certificate_names import names_of
from callback_server.access import certificate_names as of_server

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)
OTHER = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17.1"), b"\x30\x0b\x82\x09evil.test")


def a_certificate(*names, more=(), critical=False):
    """Return a PEM certificate with these subject alternative names, or without the extension if there are none."""
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "common.example")]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    for each in more:
        made = made.add_extension(each, critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def uri(name):
    return x509.UniformResourceIdentifier._init_without_validation(name)


def dns(name):
    return x509.DNSName._init_without_validation(name)


def pem(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def der(certificate):
    return x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("critical", [True, False])
def test_only_uris_and_dns_names_are_names(critical):
    certificate = a_certificate(
        uri("spiffe://shop/callback"), dns("callback.example"), dns("*.example"), x509.RFC822Name("a@mail.example"),
        x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "directory.example")])),
        critical=critical,
        more=[OTHER],
    )  # fmt: skip
    assert names_of(certificate) == {"spiffe://shop/callback", "callback.example", "*.example"}


def test_a_certificate_without_alternative_names_has_no_names():
    assert names_of(a_certificate()) == frozenset()


@pytest.mark.parametrize(
    "name",
    [uri("spiffe://shop/admin\0.evil"), uri("spiffe://shop/a b"), uri("spiffe://shop/\x7f"), uri(""),
     uri("callback.example"), dns("callback.example\0.evil.example"), dns("callback.example\n"), dns(""), dns("spiffe://shop/callback")],
)  # fmt: skip
def test_an_ambiguous_name_is_ignored(name):
    assert names_of(a_certificate(name, dns("good.example"))) == {"good.example"}


TEXTS = st.text(st.characters(max_codepoint=127), max_size=300)
NAMES = st.one_of(
    TEXTS.map(uri),
    TEXTS.map(dns),
    TEXTS.map(lambda text: uri("spiffe://" + text)),
    TEXTS.map(x509.RFC822Name._init_without_validation),
    st.just(x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
)


@given(st.lists(NAMES, max_size=12))
def test_the_server_reads_the_same_names(names):
    certificate = a_certificate(*names)
    assert names_of(certificate) == of_server.names_of(certificate)


CHANGED = der(a_certificate(uri("spiffe://shop/callback"), dns("callback.example"), more=[OTHER]))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(0, len(CHANGED) - 1), st.integers(0, 255))
def test_a_certificate_with_a_changed_byte_has_no_name_that_the_server_does_not_read(at, byte):
    changed = pem(CHANGED[:at] + bytes([byte]) + CHANGED[at + 1 :])
    try:
        _ = x509.load_pem_x509_certificate(changed).extensions
    except (ValueError, x509.InvalidVersion):
        return  # gRPC lets nobody in with it
    assert names_of(changed) <= of_server.names_of(changed)


@given(st.integers(0, len(CHANGED) - 1))
def test_a_truncated_or_extended_certificate_has_no_names(at):
    assert names_of(pem(CHANGED[:at])) == frozenset()
    assert names_of(pem(CHANGED + CHANGED[: at + 1])) == frozenset()


@given(st.binary())
def test_bytes_that_are_not_a_certificate_have_no_names(junk):
    assert names_of(junk) == names_of(pem(junk)) == frozenset()


def element(tag, *contents, length=None):
    """Return a DER element, with a malformed length if one is given."""
    content = b"".join(contents)
    if length is None:
        size = len(content)
        length = bytes([size]) if size < 0x80 else b"\x81" + bytes([size])
    return bytes([tag]) + length + content


def bare_certificate(*extensions, length=None):
    """Return a minimal certificate with these extensions, each with one DNS name."""
    written = [
        element(0x30, element(0x06, b"\x55\x1d\x11"), element(0x04, element(0x30, element(0x82, name, length=length))))
        for name in extensions
    ]
    version = element(0xA0, element(0x02, b"\x02"))
    fields = [version, element(0x02, b"\x01"), *[element(0x30)] * 5, element(0xA3, element(0x30, *written))]
    return pem(element(0x30, element(0x30, *fields), element(0x30), element(0x03)))


def test_a_certificate_with_two_name_extensions_has_no_names():
    assert names_of(bare_certificate(b"callback.example")) == {"callback.example"}
    assert names_of(bare_certificate(b"callback.example", b"callback.example")) == frozenset()


@pytest.mark.parametrize("length", [b"\x81\x10", b"\x82\x00\x10", b"\x80", b"\xff\x10", b"\x11", b"\x0f"])
def test_a_certificate_with_a_length_that_is_not_der_has_no_names(length):
    assert names_of(bare_certificate(b"callback.example", length=b"\x10")) == {"callback.example"}
    assert names_of(bare_certificate(b"callback.example", length=length)) == frozenset()
