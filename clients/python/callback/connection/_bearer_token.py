"""Bearer token of a client, as the metadata of each request.

A token file is read again with each request, so that a new token takes effect without a restart. If the file is
unusable at the start, the client raises an error; later it keeps the last token and logs the problem once. A token
never appears in a `repr` or an error.
"""

import logging
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from callback.connection._tls import Tls
from callback_shared.targets import is_local

Metadata = tuple[tuple[str, str], ...]
"""Names and values of gRPC metadata."""

_log = logging.getLogger("callback.connection")


def token_metadata(
    token: str | Callable[[], str] | None, token_file: str | PathLike[str] | None
) -> Callable[[], Metadata]:
    """Return the function that gives the metadata of each request.

    A token file is read on every call: it is small, and a new token takes effect at once. While the file is empty or
    unreadable, as during its replacement, the last token stays in use.

    Raises:
        ValueError: `token` and `token_file` are both given, or the token is malformed. For a function, the returned
            function raises it.
        OSError: The file cannot be read.
    """
    if token is not None and token_file is not None:
        raise ValueError("token and token_file exclude each other: give only one")
    if token_file is not None:
        return TokenFile(Path(token_file))
    if token is None:
        return tuple
    if callable(token):
        source = token
        return lambda: _authorization(source())
    fixed = _authorization(token)
    return lambda: fixed


def warn_of_plain_text(target: str, tls: Tls | None, *, has_token: bool) -> None:
    """Log a warning if a token would leave this machine without TLS."""
    if tls is None and has_token and not is_local(target):
        _log.warning("token_sent_in_plain_text target=%s hint=pass tls to encrypt the connection", target)


class TokenFile:
    """The metadata function of a token file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._problem = ""
        self._last = self._read()

    def __call__(self) -> Metadata:
        try:
            self._last = self._read()
            self._problem = ""
        except (OSError, ValueError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("token_file_unusable action=keep_last_token error=%s", error)
        return self._last

    def has_changed(self) -> bool:
        """Return whether the file has another token than when it was last read."""
        last = self._last
        return self() != last

    def _read(self) -> Metadata:
        try:
            return _authorization(self._file.read_text("utf-8", "replace").strip())
        except ValueError as error:
            raise ValueError(f"{self._file}: {error}") from None


def _authorization(token: str) -> Metadata:
    # gRPC would reject it too, and repeat the token in its error.
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("the token is empty or contains characters that a token cannot have")
    return (("authorization", f"Bearer {token}"),)
