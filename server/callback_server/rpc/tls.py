"""TLS on the gRPC port. Certificate, key and authorities are read again at each new connection."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc

from callback_process.credentials import tls_reloader
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.settings import ServerSettings

log = get_logger()


def server_credentials(settings: ServerSettings) -> Callable[[], grpc.ServerCredentials] | None:
    """Makes credentials that follow the files which the settings name. None: plain text.

    Each server needs some of its own, for it is told once of each change.

    Raises:
        CredentialsError: a file can not be used.
    """
    if settings.tls_cert_file is None:
        return None
    files = tls_reloader(
        {
            "tls_client_ca_file": settings.tls_client_ca_file,
            "tls_cert_file": settings.tls_cert_file,
            "tls_key_file": settings.tls_key_file,
        },
        _configuration,
        _tell,
    )
    looking = threading.Lock()

    def credentials() -> grpc.ServerCredentials:
        told = files.value

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """What gRPC asks at each new connection, on threads of its own. None: as before."""
            nonlocal told
            with looking:
                files.reload()
                if files.value is told:
                    return None
                told = files.value
                return told

        return grpc.dynamic_ssl_server_credentials(
            told,
            changed,  # type: ignore[arg-type]  # None is what gRPC documents for "as before"
            require_client_authentication=settings.tls_client_ca_file is not None,
        )

    return credentials


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
