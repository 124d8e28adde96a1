"""Who one is, and whom one trusts: TLS on either side, and the bearer token of a client.

Files are looked at again whenever they are needed, so that a certificate or a token is replaced without a restart.
Nothing of a key or a token is in a `repr` or an error.
"""

import logging
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import grpc

_log = logging.getLogger("callback.credentials")


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of a client: which server to trust, and the certificate to show it.

    Files that change hold from the next call on. Where the new ones can not be used, that is logged and the last ones
    hold.

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

    Files that change hold from the next connection on. Where the new ones can not be used, that is logged and the last
    ones hold.

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


class TlsFiles:
    """The files of a client's TLS, and whether they have changed."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._seen: tuple[object, ...] | None = None

    @property
    def channel_options(self) -> tuple[tuple[str, str], ...]:
        """What a channel needs besides its credentials."""
        name = self._tls.server_name
        return () if name is None else (("grpc.ssl_target_name_override", name),)

    def changed(self) -> grpc.ChannelCredentials | None:
        """Return what the files hold if they are new since this was asked last, the first time always; else None.

        Raises:
            OSError: The first time: one can not be read, or (`ssl.SSLError`) key and certificate are no pair.
        """
        found = tuple(map(_marks, (self._tls.ca_file, self._tls.cert_file, self._tls.key_file)))
        if found == self._seen:
            return None
        try:
            credentials = self._read()
        except OSError as error:
            if self._seen is None:
                raise
            _log.error("the new files of TLS can not be used, the last ones hold: %s", error)
            credentials = None
        self._seen = found
        return credentials

    def _read(self) -> grpc.ChannelCredentials:
        key, chain = None, None
        if self._tls.cert_file is not None and self._tls.key_file is not None:
            key, chain = _key_and_chain(self._tls.cert_file, self._tls.key_file)
        return grpc.ssl_channel_credentials(_read(self._tls.ca_file), key, chain)


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Read a server's files, and again with each new connection.

    Raises:
        OSError: One can not be read, or (`ssl.SSLError`) key and certificate do not belong together.
    """
    now = _server_files(tls)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """What is new, or None. gRPC asks with each handshake, on a thread of its own."""
        nonlocal now
        try:
            found = _server_files(tls)
        except OSError as error:
            _log.error("the new files of TLS can not be used, the last ones hold: %s", error)
            return None
        if found == now:
            return None
        now = found
        _log.info("the certificate was replaced from %s", tls.cert_file)
        return _configuration(*now)

    mutual = tls.client_ca_file is not None
    # The types do not say that the answer can be None: nothing new.
    return grpc.dynamic_ssl_server_credentials(_configuration(*now), changed, mutual)  # type: ignore[arg-type]


def bearer(
    token: str | Callable[[], str] | None, token_file: str | PathLike[str] | None
) -> Callable[[], tuple[tuple[str, str], ...]]:
    """Return what gives the metadata that proves a client, asked with every request.

    The file is read each time: it is small, and so a new token holds at once.

    Raises:
        ValueError: There are two tokens; or, from what is returned, the token is none.
        OSError: From what is returned: the file can not be read.
    """
    if token is not None and token_file is not None:
        raise ValueError("token and token_file are two ways to say one thing: give one")
    if token_file is not None:
        path = Path(token_file)
        return lambda: _authorization(path.read_text("utf-8", "replace").strip())
    if token is None:
        return tuple
    if callable(token):
        source = token
        return lambda: _authorization(source())
    fixed = _authorization(token)
    return lambda: fixed


def _authorization(token: str) -> tuple[tuple[str, str], ...]:
    # gRPC would refuse it too, and repeat it in the error.
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("the token is empty, or has characters that no token has")
    return (("authorization", f"Bearer {token}"),)


def _server_files(tls: ServerTls) -> tuple[bytes, bytes, bytes | None]:
    return (*_key_and_chain(tls.cert_file, tls.key_file), _read(tls.client_ca_file))


def _configuration(key: bytes, chain: bytes, client_ca: bytes | None) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(key, chain)], client_ca)


def _key_and_chain(cert_file: str | PathLike[str], key_file: str | PathLike[str]) -> tuple[bytes, bytes]:
    """Read both; gRPC takes what does not fit together without a word, and then refuses every connection."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password="")
    return Path(key_file).read_bytes(), Path(cert_file).read_bytes()


def _marks(file: str | PathLike[str] | None) -> tuple[int, ...] | None:
    """What differs when a file was written or replaced."""
    try:
        status = None if file is None else Path(file).stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(file: str | PathLike[str] | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
