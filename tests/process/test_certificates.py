"""Checks of TLS files, with certificates and keys as they occur on real machines."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from callback_process.certificates import check_authorities, check_certificate, check_tls
from callback_process.findings import Level
from callback_process.settings import TlsSettings

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def issue(authority: trustme.CA, tmp_path: Path):
    """Write a certificate and its key, and return their paths."""

    def issue(*names: str, name: str = "it", **options: object) -> tuple[Path, Path]:
        made = authority.issue_cert(*names, **options)
        certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        return certificate, key

    return issue


def said(certificate: Path, key: Path, *, of_server: bool = True) -> tuple[Level, str]:
    finding = check_certificate("it", certificate, key, NOW, of_server=of_server)
    assert finding.advice or finding.level is Level.OK
    return finding.level, finding.seen


@pytest.mark.parametrize("of_server", [True, False])
def test_a_valid_certificate_is_reported_with_its_names_and_expiry(issue, of_server):
    certificate, key = issue("orders.example", "127.0.0.1", not_after=NOW + timedelta(days=90))
    end = f"{NOW + timedelta(days=90):%Y-%m-%d}"
    assert said(certificate, key, of_server=of_server) == (
        Level.OK, f"{certificate} of orders.example, 127.0.0.1, valid until {end}",
    )  # fmt: skip


@pytest.mark.parametrize("of_server", [True, False])
@pytest.mark.parametrize(
    ("days", "level", "word"), [(29, Level.WARNING, "expires on"), (-1, Level.PROBLEM, "expired on")]
)
def test_a_certificate_that_expires_soon_is_a_warning_and_an_expired_one_is_a_problem(
    issue, of_server, days, level, word
):
    end = NOW + timedelta(days=days)
    files = issue("orders.example", not_before=NOW - timedelta(days=60), not_after=end)
    assert said(*files, of_server=of_server) == (level, f"{files[0]} of orders.example {word} {end:%Y-%m-%d}")


def test_a_certificate_that_is_not_valid_yet_is_a_problem(issue):
    level, seen = said(*issue("orders.example", not_before=NOW + timedelta(days=1)))
    assert level is Level.PROBLEM
    assert "is not valid before" in seen


def test_a_key_of_another_certificate_is_a_problem(issue):
    certificate, _ = issue("orders.example")
    _, key = issue("orders.example", name="other")
    assert said(certificate, key) == (Level.PROBLEM, f"{key} is not the key of {certificate}")


def test_a_server_without_a_name_is_a_problem_and_a_client_without_one_is_warned_of(issue):
    files = issue("someone@example.org")  # a mail address names neither
    assert said(*files) == (Level.PROBLEM, f"{files[0]} names no host (subjectAltName), so clients do not accept it")
    level, seen = said(*files, of_server=False)
    assert (level, "identifies no principal" in seen) == (Level.WARNING, True)


@pytest.fixture
def self_signed(tmp_path):
    """Write a certificate with these extensions that its own key has signed, and return its path and its key's."""

    def self_signed(*extensions: x509.ExtensionType) -> tuple[Path, Path]:
        key = ed25519.Ed25519PrivateKey.generate()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "it")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=90))
        for extension in (x509.SubjectAlternativeName([x509.DNSName("orders.example")]), *extensions):
            builder = builder.add_extension(extension, critical=False)
        certificate, key_file = tmp_path / "it.pem", tmp_path / "it.key"
        certificate.write_bytes(builder.sign(key, None).public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return certificate, key_file

    return self_signed


@pytest.mark.parametrize("of_server", [True, False])
def test_a_self_signed_certificate_is_accepted_as_by_peers_that_trust_it(self_signed, of_server):
    assert said(*self_signed(), of_server=of_server)[0] is Level.OK


@pytest.mark.parametrize("of_server", [True, False])
def test_a_certificate_for_the_other_side_is_a_problem(self_signed, of_server):
    usage = x509.ExtendedKeyUsageOID.CLIENT_AUTH if of_server else x509.ExtendedKeyUsageOID.SERVER_AUTH
    files = self_signed(x509.ExtendedKeyUsage([usage]))
    assert said(*files, of_server=of_server) == (Level.PROBLEM, f"{files[0]}: unsuitable certificate purpose")
    assert said(*files, of_server=not of_server)[0] is Level.OK


def test_an_invalid_or_missing_certificate_is_a_problem(issue, tmp_path):
    certificate, key = issue("orders.example")
    nothing = tmp_path / "nothing.pem"
    assert said(certificate, nothing) == (Level.PROBLEM, f"{nothing} cannot be read: No such file or directory")
    nothing.write_text("hello")
    for files in ((certificate, nothing), (nothing, key)):
        level, seen = said(*files)
        assert (level, "are not a certificate and a key" in seen) == (Level.PROBLEM, True)


def test_a_key_with_a_passphrase_is_a_problem_without_a_prompt(issue, tmp_path):
    certificate, key = issue("orders.example")
    secret = tmp_path / "secret.key"
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"hunter2")
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(plain.private_bytes(serialization.Encoding.PEM, form, encryption))
    assert said(certificate, secret) == (Level.PROBLEM, f"{secret} is encrypted")


def test_one_expired_certificate_makes_the_chain_expire(tmp_path):
    root = trustme.CA()
    between = root.create_child_ca()
    made = between.issue_cert("orders.example", not_after=datetime(3100, 1, 1, tzinfo=UTC))
    certificate, key = tmp_path / "it.pem", tmp_path / "it.key"
    certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    assert said(certificate, key)[0] is Level.OK
    late = check_certificate("it", certificate, key, datetime(3050, 1, 1, tzinfo=UTC), of_server=True)
    assert late.level is Level.PROBLEM


def test_authorities_are_checked(authority, issue, tmp_path):
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.cert_pem.bytes())
    assert check_authorities("it", file, NOW).level is Level.OK
    assert "expired" in check_authorities("it", file, datetime(3500, 1, 1, tzinfo=UTC)).seen
    customer, _ = issue("orders.example")
    file.write_bytes(customer.read_bytes())
    assert check_authorities("it", file, NOW).seen == f"{file} has no certificate of an authority"
    file.write_text("hello")
    assert "has no certificates" in check_authorities("it", file, NOW).seen


def test_each_file_of_client_tls_is_checked(authority, issue, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    certificate, key = issue("edge.example")
    key.chmod(0o604)
    found = list(check_tls("tls", TlsSettings(ca_file=ca, cert_file=certificate, key_file=key), NOW))
    assert {each.check: each.level for each in found} == {
        "tls.ca_file": Level.OK, "tls.key_file": Level.WARNING, "tls.cert_file": Level.OK,
    }  # fmt: skip
    assert [each.advice for each in found if each.advice] == [f"chmod o-r {key}"]
