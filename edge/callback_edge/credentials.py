"""What proves this edge to the server, and the server to this edge: a token and TLS, from files that are read again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from callback_edge import metrics
from callback_process import logs
from callback_process.credentials import Contents, CredentialsError, FileReloader, tls_files, tls_reloader
from callback_process.settings import TlsSettings

_log = logs.get_logger()

_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, section 2.1."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What to trust and to show, and which name the server must have if it is not the target's."""

    server_name: str | None
    credentials: grpc.ChannelCredentials

    def channel(self, target: str, options: tuple[tuple[str, Any], ...]) -> grpc.aio.Channel:
        """Make a channel that trusts, and shows, what these say."""
        if self.server_name is not None:
            options = (*options, ("grpc.ssl_target_name_override", self.server_name))
        return grpc.aio.secure_channel(target, self.credentials, options=options)


def token(file: Path | None) -> FileReloader[str]:
    """Return the token in a file; an empty one without a file.

    Raises:
        CredentialsError: the file can not be read, or holds something else.
    """

    def made(contents: Contents) -> str:
        text = contents["server_token_file"]
        if text is None:
            return ""
        if not _TOKEN.fullmatch(text.strip()):
            raise CredentialsError(f"server_token_file {file}: must hold one token and nothing else")
        return text.strip().decode()

    return FileReloader({"server_token_file": file}, made, _teller("server_token"))


def tls(settings: TlsSettings | None) -> FileReloader[Tls | None]:
    """Return what the settings and the files that they name say; None without settings.

    Raises:
        CredentialsError: a file can not be used.
    """
    if settings is None:
        return FileReloader({}, lambda _nothing: None, _teller("server_tls"))
    server_name = settings.server_name

    def made(authorities: bytes | None, key: bytes | None, certificate: bytes | None) -> Tls:
        return Tls(server_name, grpc.ssl_channel_credentials(authorities, key, certificate))

    return tls_reloader(tls_files("server_tls", settings), made, _teller("server_tls"))


def _teller(file: str) -> Callable[[str | None], None]:
    def tell(problem: str | None) -> None:
        if problem is None:
            _log.info("file taken over", file=file)
        else:
            metrics.RELOADS_FAILED.labels(file).inc()
            _log.error("file not taken over", problem=problem)

    return tell
