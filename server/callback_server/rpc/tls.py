"""TLS on the gRPC port. New files of certificate, key and authorities take effect at the next connection."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc

from callback_process.credentials import reload_logger, tls_reloader
from callback_server import metrics
from callback_server.settings import ServerSettings


def server_credentials(settings: ServerSettings) -> Callable[[], grpc.ServerCredentials] | None:
    """Return a function that creates credentials from the files of the settings. None: plain text.

    Each listener needs credentials of its own: gRPC reports a changed certificate once to each credentials object.

    Raises:
        CredentialsError: A file cannot be used.
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
        reload_logger(metrics.RELOADS_FAILED.labels("certificate"), "certificate_read", "certificate_not_read"),
    )
    reloading = threading.Lock()

    def credentials() -> grpc.ServerCredentials:
        current = files.value

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """Return changed files, or None. gRPC calls this at each connection, on threads of its own."""
            nonlocal current
            with reloading:
                files.reload()
                if files.value is current:
                    return None
                current = files.value
                return current

        return grpc.dynamic_ssl_server_credentials(
            current,
            changed,  # type: ignore[arg-type]  # None is what gRPC documents for "unchanged"
            require_client_authentication=settings.tls_client_ca_file is not None,
        )

    return credentials


def _configuration(
    authorities: bytes | None, key: bytes | None, certificate: bytes | None
) -> grpc.ServerCertificateConfiguration:
    pairs = [(key, certificate)] if key and certificate else []
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=authorities)
