"""Files of tokens and TLS: startup refuses unusable files, and later changes are reloaded."""

import resource
from datetime import UTC, datetime, timedelta

import pytest
import structlog
import trustme
from cryptography.hazmat.primitives import serialization as pem
from prometheus_client import REGISTRY

from callback_process.credentials import CredentialsError, FileReloader, tls_files, tls_reloader
from callback_process.settings import TlsSettings


class Files:
    """Files of a CA, a certificate and its key, in one folder. `replace` creates some of them anew."""

    def __init__(self, folder):
        self.ca, self.cert, self.key = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
        self.replace("ca", "cert", "key")

    def replace(self, *names):
        authority = trustme.CA()
        own = authority.issue_cert("orders.example")
        made = {"ca": authority.cert_pem, "cert": own.cert_chain_pems[0], "key": own.private_key_pem}
        for name in names:
            made[name].write_to_path(getattr(self, name))
        return made["key"]

    @property
    def contents(self):
        """Contents of the files, in the order of gRPC's parameters."""
        return self.ca.read_bytes(), self.key.read_bytes(), self.cert.read_bytes()

    def follow(self, tell=pytest.fail, make=lambda *contents: contents):
        settings = TlsSettings(ca_file=self.ca, cert_file=self.cert, key_file=self.key)
        return tls_reloader(tls_files("tls", settings), make, tell)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def encrypted(files):
    """Return the key, encrypted with a passphrase."""
    key = pem.load_pem_private_key(files.key.read_bytes(), None)
    return key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"secret"))


def test_valid_files_are_passed_in_the_order_of_grpc(files):
    assert files.follow().value == files.contents
    nothing = tls_reloader(tls_files("tls", TlsSettings()), lambda *contents: contents, pytest.fail)
    assert nothing.value == (None, None, None)
    assert not nothing.reload()


NOTHING = "no usable PEM content"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ca", b"", f"tls.ca_file {{ca}}: {NOTHING} (NO_CERTIFICATE_OR_CRL_FOUND)"),
        ("ca", b"secret\n", f"tls.ca_file {{ca}}: {NOTHING} (NO_CERTIFICATE_OR_CRL_FOUND)"),
        ("ca", lambda files: files.ca.read_bytes()[:300], f"tls.ca_file {{ca}}: {NOTHING}"),
        ("ca", None, "tls.ca_file {ca}: No such file or directory"),
        ("cert", b"", f"tls.cert_file {{cert}} with tls.key_file {{key}}: {NOTHING}"),
        ("cert", b"secret\n", f"tls.cert_file {{cert}} with tls.key_file {{key}}: {NOTHING}"),
        ("cert", None, "tls.cert_file {cert}: No such file or directory"),
        ("key", b"secret\n", f"tls.cert_file {{cert}} with tls.key_file {{key}}: {NOTHING}"),
        ("key", encrypted, f"tls.cert_file {{cert}} with tls.key_file {{key}}: {NOTHING}"),
        ("key", lambda files: files.replace().bytes(),
         "tls.cert_file {cert} with tls.key_file {key}: the key does not belong to the certificate"),
    ],
)  # fmt: skip
def test_an_unusable_file_is_an_error_at_startup_and_is_reported_once_later(files, name, content, said):
    told = []
    followed = files.follow(told.append)
    before, file = files.contents, getattr(files, name)
    good = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content(files) if callable(content) else content)
    said = said.format(ca=files.ca, cert=files.cert, key=files.key)
    with pytest.raises(CredentialsError) as refused:
        files.follow()
    assert str(refused.value).startswith(said)
    assert not any(followed.reload() for _ in range(3))
    assert told == [str(refused.value)]
    assert followed.value == before

    file.write_bytes(good)  # same content: no reload, and a repeated problem counts as new
    assert not followed.reload()
    file.unlink()
    assert not any(followed.reload() for _ in range(2))
    assert len(told) == 2


def test_a_certificate_and_its_key_take_effect_together(files):
    told = []
    followed = files.follow(told.append)
    before = followed.value
    key = files.replace("ca", "cert")
    assert not any(followed.reload() for _ in range(3))
    assert (len(told), followed.value) == (1, before)
    key.write_to_path(files.key)
    assert followed.reload()
    assert followed.value == files.contents != before
    assert not followed.reload()
    assert told[1:] == [None]


def test_a_file_that_has_its_former_content_again_after_a_change_during_the_check_takes_effect(files):
    former, made = files.ca.read_bytes(), []

    def make(*contents):
        if not made:
            files.replace("ca")
        made.append(contents)
        return contents

    followed = files.follow(print, make)
    assert made == [(former, *files.contents[1:]), files.contents]
    assert followed.value == files.contents
    files.ca.write_bytes(former)
    assert followed.reload()
    assert followed.value == files.contents


def test_each_problem_is_reported(tmp_path):
    def made(contents):
        if contents["a_file"] != b"good":
            raise CredentialsError(f"a_file: {len(contents['a_file'])}")
        return "made"

    file, told = tmp_path / "file", []
    file.write_bytes(b"good")
    followed = FileReloader({"a_file": file}, made, told.append)
    for content in (b"1", b"2", b"22", b"good", b"1"):
        file.write_bytes(content)
        assert not followed.reload()
        assert followed.value == "made"
    assert told == ["a_file: 1", "a_file: 2", "a_file: 1"]


def test_that_no_descriptor_is_left_is_no_problem_of_the_files(files):
    """Each file was reported as not valid, and its content was."""
    followed = files.follow()
    files.replace("ca", "cert", "key")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert not followed.reload()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert followed.value != files.contents
    followed = files.follow()
    assert followed.value == files.contents


def test_the_expiry_of_the_files_in_use_is_a_metric(files):
    def shown():
        labels = [{"file": f"tls.{name}_file"} for name in ("ca", "cert")]
        return [REGISTRY.get_sample_value("callback_certificate_expires_time_seconds", each) for each in labels]

    authority = trustme.CA()
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    made = authority.issue_cert("orders.example", not_after=end)
    followed = files.follow(print)
    files.ca.write_bytes(authority.cert_pem.bytes())
    files.cert.write_bytes(made.cert_chain_pems[0].bytes())
    files.key.write_bytes(made.private_key_pem.bytes())
    assert followed.reload()
    assert shown() == [datetime(3000, 1, 1, tzinfo=UTC).timestamp(), end.timestamp()]
    renewed = authority.issue_cert("orders.example")
    files.cert.write_bytes(renewed.cert_chain_pems[0].bytes())
    files.key.write_bytes(renewed.private_key_pem.bytes())
    assert followed.reload()
    assert shown()[1] > end.timestamp()


def test_a_certificate_that_has_expired_is_logged_when_it_is_read(files):
    ended = datetime.now(UTC) - timedelta(days=2)
    old = trustme.CA().issue_cert("orders.example", not_before=ended - timedelta(days=9), not_after=ended)
    old.cert_chain_pems[0].write_to_path(files.cert)
    old.private_key_pem.write_to_path(files.key)
    with structlog.testing.capture_logs() as logged:
        files.follow()
    assert [(each["event"], each["setting"], each["expired"]) for each in logged] == [
        ("certificate_expired", "tls.cert_file", f"{ended:%Y-%m-%d}")
    ]
