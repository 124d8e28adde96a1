"""TLS of clients and handler servers, from PEM files.

Files are checked for changes whenever they are needed, so that a new certificate takes effect without a restart. If a
file is unusable at the start, that is an error; later the last usable files stay in use, and the problem is logged
once. Nothing of a key appears in a `repr` or an error.
"""

import logging
import ssl
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import grpc

from callback import _checks as checks
from callback_shared.addresses import Addresses
from callback_shared.certificate_expiry import expiry_of

_log = logging.getLogger("callback.connection")

SETTLED_NS = 2_000_000_000
"""How long after a change another one has another time on every file system, in nanoseconds: the clock of most kernels
ticks every few milliseconds, that of some file systems every two seconds."""


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of a client: the authorities that it trusts, and its own certificate.

    Changed files take effect with the next request.

    Args:
        ca_file: PEM file of the certificate authorities to trust. Default: the public ones that gRPC includes.
        cert_file: PEM file of the client's certificate, with its intermediate certificates. Default: none.
        key_file: PEM file of its private key, without a password. Required with `cert_file`.
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
            raise ValueError("cert_file and key_file must be given together")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS of a handler server: its certificate, and the Callback servers that it accepts.

    Changed files take effect with the next connection.

    Args:
        cert_file: PEM file of the server's certificate, with its intermediate certificates.
        key_file: PEM file of its private key, without a password.
        client_ca_file: PEM file of certificate authorities. Every client must present a certificate of one of them
            (mutual TLS). Default: clients need no certificate.
        client_names: URIs or DNS names of the accepted clients. One of them must be among the subject alternative names
            of the client's certificate, exactly. Requires `client_ca_file`, and the extra `client-names` of this
            package. Default: every client with a certificate of these authorities.

    Raises:
        ValueError: `client_names` is given without `client_ca_file`, or is a single text.
    """

    cert_file: str | PathLike[str]
    key_file: str | PathLike[str]
    client_ca_file: str | PathLike[str] | None = None
    client_names: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.client_names is not None and self.client_ca_file is None:
            raise ValueError("client_names requires client_ca_file: without it, clients present no certificate")
        if isinstance(self.client_names, str):
            raise ValueError("client_names must be a collection of names, such as a set, not a single text")


class _PemFiles:
    """PEM files that are usable for TLS.

    Args:
        ca_file: The authorities to trust.
        cert_file: The certificate to present.
        key_file: The private key of the certificate.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file has no usable content, the key has a password or belongs to another certificate, or the
            certificate has expired.
    """

    def __init__(
        self,
        ca_file: str | PathLike[str] | None,
        cert_file: str | PathLike[str] | None,
        key_file: str | PathLike[str] | None,
    ) -> None:
        self._files = (ca_file, key_file, cert_file)
        self._stats = tuple(map(status_of, self._files))
        self._problem = ""
        self.contents = _read_checked(*self._files)
        """Authorities, key and certificate, in the order of gRPC's arguments. None for a file that is not given."""

    def reload_if_changed(self) -> bool:
        """Read the files again if they changed, and return whether their contents differ. Not thread-safe."""
        stats = tuple(map(status_of, self._files))
        if stats == self._stats:
            return False
        try:
            contents = _read_checked(*self._files)
        except (OSError, ValueError) as error:  # checked again the next time: the cause may be outside the files
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("tls_files_unusable action=keep_last_files error=%s", error)
            return False
        self._stats, self._problem = stats, ""
        if contents == self.contents:
            return False
        self.contents = contents
        _log.info("tls_files_reloaded")
        return True


class TlsFiles(_PemFiles):
    """The PEM files of a client. Raises the same errors, and a TypeError if `tls` is no `Tls`."""

    def __init__(self, tls: Tls) -> None:
        checks.instance("tls", tls, Tls, "a Tls, such as Tls(ca_file=…)")
        super().__init__(tls.ca_file, tls.cert_file, tls.key_file)
        self._server_name = tls.server_name

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        """The credentials of a new channel."""
        return grpc.ssl_channel_credentials(*self.contents)

    def name_options(self, addresses: Addresses) -> tuple[tuple[str, str], ...]:
        """Return the channel options that say which name the certificate must have."""
        name = self._server_name
        return addresses.options if name is None else (("grpc.ssl_target_name_override", name),)


def open_channel(library: Any, addresses: Addresses, tls: TlsFiles | None, options: Sequence[tuple[str, Any]]) -> Any:
    """Return a new channel.

    Args:
        library: `grpc` or `grpc.aio`.
        addresses: The servers, as they are known now.
        tls: Its files as they are now. None: plain text.
        options: The options of the channel.
    """
    if tls is None:
        return library.insecure_channel(addresses.target, options=(*options, *addresses.options))
    options = (*options, *tls.name_options(addresses))
    return library.secure_channel(addresses.target, tls.credentials, options=options)


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Return the credentials of a server, which checks its files again with each new connection.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not usable.
    """
    files = _PemFiles(tls.client_ca_file, tls.cert_file, tls.key_file)
    lock = threading.Lock()

    def changed_configuration() -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration, or None. gRPC calls this in each handshake, on threads of its own."""
        with lock:
            return _configuration(*files.contents) if files.reload_if_changed() else None

    mutual = tls.client_ca_file is not None
    return grpc.dynamic_ssl_server_credentials(
        _configuration(*files.contents),
        changed_configuration,  # type: ignore[arg-type]  # gRPC accepts None, which the type stubs do not say
        mutual,
    )


def _configuration(
    authorities: bytes | None, key: bytes | None, certificate: bytes | None
) -> grpc.ServerCertificateConfiguration:
    key_pairs = [(key, certificate)] if key and certificate else []
    return grpc.ssl_server_certificate_configuration(key_pairs, authorities)


def _read_checked(
    ca_file: str | PathLike[str] | None, key_file: str | PathLike[str] | None, cert_file: str | PathLike[str] | None
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Read files that OpenSSL accepts.

    gRPC accepts any content; it would then trust other authorities, or fail every connection.
    """
    while True:
        contents = _read(ca_file), _read(key_file), _read(cert_file)
        _check(ca_file, key_file, cert_file)
        # Otherwise a file changed meanwhile, and OpenSSL may have read other contents.
        if contents == (_read(ca_file), _read(key_file), _read(cert_file)):
            return contents


def _check(
    ca_file: str | PathLike[str] | None, key_file: str | PathLike[str] | None, cert_file: str | PathLike[str] | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # the side does not matter, because nothing connects
    files = f"{ca_file}"
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        files = f"{cert_file} with {key_file}"
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file, password="")  # without a password OpenSSL asks the terminal
            end = None if key_file is None else expiry_of(cert_file, key_file, with_chain=False)
            if end is not None and end <= datetime.now(UTC):
                raise ValueError(f"{cert_file}: the certificate expired on {end:%Y-%m-%d}: renew it")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{files}: the key does not belong to the certificate") from None
        reason = f" ({error.reason})" if error.reason else ""
        raise ValueError(f"{files}: no usable PEM content{reason}") from None


def status_of(file: str | PathLike[str] | None) -> object:
    """Return a value that differs after a file was written, replaced or made readable, or has just changed."""
    try:
        status = None if file is None else Path(file).stat()
    except OSError:
        return None
    if status is None:
        return None
    if time.time_ns() - status.st_ctime_ns < SETTLED_NS:
        return object()  # it may change again without a trace in its status
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino


def _read(file: str | PathLike[str] | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
