"""Who one is, and whom one trusts: TLS on either side, and the bearer token of a client.

Files are looked at again whenever they are needed, so that a certificate or a token is replaced without a restart. What
can not be used is an error at the start; later the last ones hold, and that is logged once.
Nothing of a key or a token is in a `repr` or an error.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import grpc

from callback.targets import is_local

_log = logging.getLogger("callback.credentials")


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of a client: which server to trust, and the certificate to show it.

    Files that change hold from the next call on.

    Args:
        ca_file: PEM file of the certificate authorities that the server's certificate must come from. Default: the
            public ones that gRPC brings.
        cert_file: PEM file of the certificate to show, with those between it and its authority. Default: none.
        key_file: PEM file of its private key, without a password. Together with `cert_file`.
        server_name: The name that the server's certificate must have. Default: the host of the target.

    Raises:
        ValueError: Only one of `cert_file` and `key_file` is given.
    """

    ca_file: str | PathLike[str] | None = None
    cert_file: str | PathLike[str] | None = None
    key_file: str | PathLike[str] | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS of a handler server: the certificate to show, and which callers to let in.

    Files that change hold from the next connection on.

    Args:
        cert_file: PEM file of the server's certificate, with those between it and its authority.
        key_file: PEM file of its private key, without a password.
        client_ca_file: PEM file of certificate authorities. Every caller must show a certificate that comes from one of
            them (mutual TLS). Default: callers show none.
        client_names: Who of them may call: URIs or DNS names, one of which is in the subject alternative names of the
            certificate, to the letter. Together with `client_ca_file`. Default: everyone whom the authorities certify.

    Raises:
        ValueError: There are `client_names` without `client_ca_file`, or one name instead of several.
    """

    cert_file: str | PathLike[str]
    key_file: str | PathLike[str]
    client_ca_file: str | PathLike[str] | None = None
    client_names: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.client_names is not None and self.client_ca_file is None:
            raise ValueError("client_names belong to client_ca_file: without it nobody shows a certificate")
        if isinstance(self.client_names, str):
            raise ValueError("client_names are several: give a set of them")


class _PemFiles:
    """PEM files that are fit for TLS.

    Args:
        ca_file: The authorities to trust.
        cert_file: The certificate to show.
        key_file: Its key.

    Raises:
        OSError: One can not be read.
        ValueError: One has nothing to use in it, the key has a password, or is that of another certificate.
    """

    def __init__(
        self,
        ca_file: str | PathLike[str] | None,
        cert_file: str | PathLike[str] | None,
        key_file: str | PathLike[str] | None,
    ) -> None:
        self._files = (ca_file, key_file, cert_file)
        self._marks = tuple(map(_marks, self._files))
        self._problem = ""
        self.contents = _checked(*self._files)
        """Authorities, key and certificate, as gRPC wants them; None where no file is named."""

    def have_changed(self) -> bool:
        """Look again, and return whether there are other contents. Not on several threads at the same time."""
        marks = tuple(map(_marks, self._files))
        if marks == self._marks:
            return False
        try:
            contents = _checked(*self._files)
        except (OSError, ValueError) as error:  # looked at again the next time: what is wrong may not be in the files
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("the new files of TLS can not be used, the last ones hold: %s", error)
            return False
        self._marks, self._problem = marks, ""
        if contents == self.contents:
            return False
        self.contents = contents
        _log.info("the files of TLS were replaced")
        return True


class TlsFiles(_PemFiles):
    """The files of a client's TLS. Raises as they do."""

    def __init__(self, tls: Tls) -> None:
        super().__init__(tls.ca_file, tls.cert_file, tls.key_file)
        self._server_name = tls.server_name

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        """What a channel is made with."""
        return grpc.ssl_channel_credentials(*self.contents)

    @property
    def channel_options(self) -> tuple[tuple[str, str], ...]:
        """What it needs besides."""
        return () if self._server_name is None else (("grpc.ssl_target_name_override", self._server_name),)


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Read a server's files, and again with each new connection.

    Raises:
        OSError: One can not be read.
        ValueError: One can not be used.
    """
    files = _PemFiles(tls.client_ca_file, tls.cert_file, tls.key_file)
    looking = threading.Lock()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """What is new, or None. gRPC asks with each handshake, on threads of its own."""
        with looking:
            return _configuration(*files.contents) if files.have_changed() else None

    mutual = tls.client_ca_file is not None
    # The types do not say that the answer can be None: nothing new.
    return grpc.dynamic_ssl_server_credentials(_configuration(*files.contents), changed, mutual)  # type: ignore[arg-type]


def warn_of_plain_text(target: str, tls: Tls | None, *, has_token: bool) -> None:
    """Log it where a token would leave this machine and could be read on the way."""
    if tls is None and has_token and not is_local(target):
        _log.warning("the token goes to %s in plain text and can be read on the way: give `tls`", target)


def bearer(
    token: str | Callable[[], str] | None, token_file: str | PathLike[str] | None
) -> Callable[[], tuple[tuple[str, str], ...]]:
    """Return what gives the metadata that proves a client, asked with every request.

    The file is read each time: it is small, and so a new token holds at once. Where there is none in it, as while it is
    replaced, the last one holds.

    Raises:
        ValueError: There are two tokens, or the token is none; for a function, from what is returned.
        OSError: The file can not be read.
    """
    if token is not None and token_file is not None:
        raise ValueError("token and token_file are two ways to say one thing: give one")
    if token_file is not None:
        return _TokenFile(Path(token_file))
    if token is None:
        return tuple
    if callable(token):
        source = token
        return lambda: _authorization(source())
    fixed = _authorization(token)
    return lambda: fixed


class _TokenFile:
    """What `bearer` returns for a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._problem = ""
        self._last = self._read()

    def __call__(self) -> tuple[tuple[str, str], ...]:
        try:
            self._last = self._read()
            self._problem = ""
        except (OSError, ValueError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("the new token can not be used, the last one holds: %s", error)
        return self._last

    def _read(self) -> tuple[tuple[str, str], ...]:
        try:
            return _authorization(self._file.read_text("utf-8", "replace").strip())
        except ValueError as error:
            raise ValueError(f"{self._file}: {error}") from None


def _authorization(token: str) -> tuple[tuple[str, str], ...]:
    # gRPC would refuse it too, and repeat it in the error.
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("the token is empty, or has characters that no token has")
    return (("authorization", f"Bearer {token}"),)


def _configuration(
    authorities: bytes | None, key: bytes | None, certificate: bytes | None
) -> grpc.ServerCertificateConfiguration:
    pairs = [(key, certificate)] if key and certificate else []
    return grpc.ssl_server_certificate_configuration(pairs, authorities)


def _checked(
    ca_file: str | PathLike[str] | None, key_file: str | PathLike[str] | None, cert_file: str | PathLike[str] | None
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Read files that OpenSSL can use. gRPC takes anything, and then trusts others or refuses every connection."""
    while True:
        contents = _read(ca_file), _read(key_file), _read(cert_file)
        _check(ca_file, key_file, cert_file)
        if contents == (_read(ca_file), _read(key_file), _read(cert_file)):  # or OpenSSL may have seen others
            return contents


def _check(
    ca_file: str | PathLike[str] | None, key_file: str | PathLike[str] | None, cert_file: str | PathLike[str] | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # of either side: nobody connects
    what = f"{ca_file}"
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        what = f"{cert_file} with {key_file}"
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file, password="")  # or it asks the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{what}: the key is not that of the certificate") from None
        reason = f" ({error.reason})" if error.reason else ""
        raise ValueError(f"{what}: there is nothing in PEM form that can be used{reason}") from None


def _marks(file: str | PathLike[str] | None) -> tuple[int, ...] | None:
    """What differs when a file was written, replaced, or made readable."""
    try:
        status = None if file is None else Path(file).stat()
    except OSError:
        return None
    return None if status is None else (status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino)


def _read(file: str | PathLike[str] | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
