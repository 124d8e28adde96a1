"""Credentials of this edge and its trust in servers: a token and TLS, from files that it reads again."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from callback_edge import metrics
from callback_process.credentials import (
    Contents,
    CredentialsError,
    FileReloader,
    OnReload,
    reload_logger,
    tls_files,
    tls_reloader,
)
from callback_process.settings import TlsSettings
from callback_shared.addresses import Addresses

_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""Syntax of a token (RFC 6750, section 2.1)."""


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of the connections to the servers."""

    server_name: str | None
    """Name in the server's certificate. None: the name of the target."""
    credentials: grpc.ChannelCredentials

    def channel(self, addresses: Addresses, options: tuple[tuple[str, Any], ...]) -> grpc.aio.Channel:
        """Create a channel with these credentials."""
        name = self.server_name
        of_name = addresses.options if name is None else (("grpc.ssl_target_name_override", name),)
        return grpc.aio.secure_channel(addresses.target, self.credentials, options=(*options, *of_name))


def token(file: Path | None) -> FileReloader[str]:
    """Return the token in a file. It is empty without a file.

    Raises:
        CredentialsError: The file cannot be read, or contains something else.
    """

    def parse(contents: Contents) -> str:
        text = contents["server_token_file"]
        if text is None:
            return ""
        if not _TOKEN.fullmatch(text.strip()):
            raise CredentialsError(f"server_token_file {file}: must contain one token and nothing else")
        return text.strip().decode()

    return FileReloader({"server_token_file": file}, parse, _reporter("server_token"))


def tls(settings: TlsSettings | None) -> FileReloader[Tls | None]:
    """Return the TLS of the settings and their files. It is None without settings.

    Raises:
        CredentialsError: A file cannot be used.
    """
    if settings is None:
        return FileReloader({}, lambda _contents: None, _reporter("server_tls"))
    server_name = settings.server_name

    def create(authorities: bytes | None, key: bytes | None, certificate: bytes | None) -> Tls:
        return Tls(server_name, grpc.ssl_channel_credentials(authorities, key, certificate))

    return tls_reloader(tls_files("server_tls", settings), create, _reporter("server_tls"))


def _reporter(file: str) -> OnReload:
    return reload_logger(metrics.RELOADS_FAILED.labels(file), "file_reloaded", "file_not_reloaded", file=file)
