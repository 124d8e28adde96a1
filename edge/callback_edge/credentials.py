"""What proves this edge to the server, and the server to this edge: a token and TLS, from files that are read again.

A file that can not be taken over changes nothing: what held before still holds, and the log says so once.
"""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc
import grpc.aio

from callback_edge import metrics
from callback_process import logs
from callback_process.settings import TlsSettings

_log = logs.get_logger()

T = TypeVar("T")

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, section 2.1."""


class CredentialsError(Exception):
    """A file can not be used. The text says which and why, and can be shown to people."""


class Followed(Generic[T]):
    """What files say, and whether they say something else by now.

    Args:
        name: what it is, for the log and the figures.
        read: reads it; raises CredentialsError.
    """

    def __init__(self, name: str, read: Callable[[], T]) -> None:
        self._name = name
        self._read = read
        self._problem = ""
        self.value = read()
        """As it was read last."""

    def has_changed(self) -> bool:
        """Read again, and return whether there is another value."""
        try:
            value = self._read()
        except CredentialsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                metrics.RELOADS_FAILED.labels(self._name).inc()
                _log.error("file not taken over", problem=self._problem)
            return False
        self._problem = ""
        if value == self.value:
            return False
        self.value = value
        _log.info("file taken over", file=self._name)
        return True


@dataclass(frozen=True, slots=True)
class Tls:
    """The contents of TLS files, PEM."""

    server_name: str | None
    authorities: bytes | None
    certificate: bytes | None
    key: bytes | None = field(repr=False)

    def channel(self, target: str, options: tuple[tuple[str, Any], ...]) -> grpc.aio.Channel:
        """Make a channel that trusts, and shows, what these say."""
        if self.server_name is not None:
            options = (*options, ("grpc.ssl_target_name_override", self.server_name))
        credentials = grpc.ssl_channel_credentials(self.authorities, self.key, self.certificate)
        return grpc.aio.secure_channel(target, credentials, options=options)


def token(file: Path | None) -> Followed[str]:
    """Return the token in a file; an empty one without a file.

    Raises:
        CredentialsError: the file can not be read, or holds something else.
    """

    def read() -> str:
        if file is None:
            return ""
        text = _content("server_token_file", file).decode("latin-1").strip()
        if not _TOKEN.fullmatch(text):
            raise CredentialsError(f"server_token_file {file}: must hold one token and nothing else")
        return text

    return Followed("server_token", read)


def tls(settings: TlsSettings | None) -> Followed[Tls | None]:
    """Return the contents of the files that the settings name; None without settings.

    Raises:
        CredentialsError: a file can not be read, or certificate and key do not belong together.
    """

    def read() -> Tls | None:
        if settings is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            # gRPC takes anything, and fails later without a word.
            if settings.ca_file is not None:
                context.load_verify_locations(settings.ca_file)
            if settings.cert_file is not None:
                context.load_cert_chain(settings.cert_file, settings.key_file, password="")  # or it asks the terminal
        except ssl.SSLError as error:
            raise CredentialsError(f"server_tls: the files can not be used: {error.reason or error}") from None
        except OSError:
            pass  # said better below
        files = {
            name: None if file is None else _content(f"server_tls.{name}", file)
            for name, file in (
                ("ca_file", settings.ca_file),
                ("cert_file", settings.cert_file),
                ("key_file", settings.key_file),
            )
        }
        return Tls(settings.server_name, files["ca_file"], files["cert_file"], files["key_file"])

    return Followed("server_tls", read)


def _content(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{setting} {file}: {error.strerror}") from None
