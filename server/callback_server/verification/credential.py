"""What a file of a profile holds."""

from __future__ import annotations

from dataclasses import dataclass

from callback_process.credentials import CredentialsError


@dataclass(frozen=True, slots=True)
class Credential:
    """The contents of a file, and which it is."""

    file: str
    """The setting that names it, and its path."""
    content: bytes

    def secret(self) -> bytes:
        """The secret that it is. Raises CredentialsError if it is empty."""
        secret = self.content.rstrip(b"\r\n")
        if not secret:
            raise self.wrong("is empty")
        return secret

    def wrong(self, why: str) -> CredentialsError:
        """The error that says of this file why it can not be used."""
        return CredentialsError(f"{self.file}: {why}")
