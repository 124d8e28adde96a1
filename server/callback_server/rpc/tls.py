"""TLS on the gRPC port. Certificate, key and authorities are read again at each new connection."""

from __future__ import annotations

import threading

import grpc

from callback_process.credentials import follow_tls
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.settings import ServerSettings

log = get_logger()


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Credentials that follow the files which the settings name. None: plain text.

    Raises:
        CredentialsError: a file can not be used.
    """
    if settings.tls_cert_file is None:
        return None
    files = follow_tls(
        {
            "tls_client_ca_file": settings.tls_client_ca_file,
            "tls_cert_file": settings.tls_cert_file,
            "tls_key_file": settings.tls_key_file,
        },
        _configuration,
        _tell,
    )
    looking = threading.Lock()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks at each new connection, on threads of its own. None: as before."""
        with looking:
            return files.value if files.has_changed() else None

    return grpc.dynamic_ssl_server_credentials(
        files.value,
        changed,  # type: ignore[arg-type]  # None is what gRPC documents for "as before"
        require_client_authentication=settings.tls_client_ca_file is not None,
    )


def _configuration(
    authorities: bytes | None, key: bytes | None, certificate: bytes | None
) -> grpc.ServerCertificateConfiguration:
    pairs = [(key, certificate)] if key and certificate else []
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=authorities)


def _tell(problem: str | None) -> None:
    if problem is None:
        log.info("certificate_read")
    else:
        metrics.RELOADS_FAILED.labels("certificate").inc()
        log.error("certificate_not_read", problem=problem)
