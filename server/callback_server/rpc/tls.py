"""TLS on the gRPC port. Certificate and key are read again at the first connection after they changed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.settings import ServerSettings

log = get_logger()


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The files, PEM."""

    cert_file: Path
    """The server's certificate, then those between it and its authority."""
    key_file: Path
    """Its key."""
    client_ca_file: Path | None
    """Authorities of client certificates; then everyone must show one. None: nobody is asked for one."""

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files.

        Raises:
            OSError: a file can not be read.
        """
        files = _Files(self)
        return grpc.dynamic_ssl_server_credentials(
            files.configuration(),
            files.changed,  # type: ignore[arg-type]  # None is what gRPC documents for "as before"
            require_client_authentication=self.client_ca_file is not None,
        )


def server_tls(settings: ServerSettings) -> ServerTls | None:
    """What the settings say. None: plain text.

    Raises:
        ValueError: a file can not be read or is not PEM, or certificate and key do not belong together.
    """
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    for name in ("tls_cert_file", "tls_key_file", "tls_client_ca_file"):
        path: Path | None = getattr(settings, name)
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise ValueError(f"{name} {path}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    except ssl.SSLError as error:
        raise ValueError(f"tls_cert_file and tls_key_file: {error.reason or 'not PEM'}") from error
    try:
        context.load_verify_locations(settings.tls_client_ca_file or settings.tls_cert_file)
    except ssl.SSLError as error:
        raise ValueError(f"tls_client_ca_file: {error.reason or 'not PEM'}") from error
    return ServerTls(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)


class _Files:
    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._content: tuple[bytes, bytes, bytes | None] = self._read()

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        ca_file = self._tls.client_ca_file
        return (
            self._tls.cert_file.read_bytes(),
            self._tls.key_file.read_bytes(),
            None if ca_file is None else ca_file.read_bytes(),
        )

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, authorities = self._content
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks at each new connection, on a thread of its own. None: as before."""
        try:
            content = self._read()
        except OSError as error:
            metrics.RELOADS_FAILED.labels("certificate").inc()
            log.error("certificate_not_read", file=str(error.filename), error=error.strerror)
            return None
        if content == self._content:
            return None
        self._content = content
        log.info("certificate_read", file=str(self._tls.cert_file))
        return self.configuration()
