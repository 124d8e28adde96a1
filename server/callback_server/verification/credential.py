"""Content of a profile's file."""

from __future__ import annotations

from dataclasses import dataclass

from callback_process.credentials import CredentialsError


@dataclass(frozen=True, slots=True)
class Credential:
    """Content of a file, with the name of the file for errors."""

    file: str
    """Setting that names the file, and its path."""
    content: bytes

    def secret(self) -> bytes:
        """Return the content as a secret. Raise CredentialsError if it is empty."""
        secret = self.content.rstrip(b"\r\n")
        if not secret:
            raise self.error("is empty")
        return secret

    def error(self, reason: str) -> CredentialsError:
        """Return an error that names this file and the reason why it is unusable."""
        return CredentialsError(f"{self.file}: {reason}")
