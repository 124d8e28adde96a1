"""Verification by Standard Webhooks 1.0.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.

It is a signature like any other, except that secrets (`v1`) and Ed25519 keys (`v1a`) can be in the same profile.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from callback_server.domain.call import Request
from callback_server.verification.credential import Credential
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings
from callback_server.verification.signature import (
    HmacChecker,
    PublicKeyChecker,
    Signature,
    SignatureChecker,
    keys_of_files,
)

MIN_SECRET_BYTES: Final = 24
"""The shortest secret, in bytes."""
_SECRET: Final = b"whsec_"
_PUBLIC_KEY: Final = b"whpk_"
_PRIVATE_KEY: Final = b"whsk_"
_FORMAT: Final[dict[str, Any]] = {
    "signature": "header:webhook-signature",
    "separators": " ",
    "encoding": "base64",
    "timestamp": "header:webhook-timestamp",
    "signed": "{id}.{timestamp}.{body}",
    "id": "header:webhook-id",
}
_FILES: Final = [Path("secret")]
"""Files of the settings below, which are not read: the checkers get their content."""
V1: Final = HmacSettings(
    kind="hmac",
    secret_files=_FILES,
    prefix="v1,",
    secret_encoding="base64",  # noqa: S106  # not a password
    secret_prefix="whsec_",  # noqa: S106  # not a password
    **_FORMAT,
)
"""The format with a secret."""
_V1A: Final = PublicKeySettings(kind="public-key", key_files=_FILES, prefix="v1a,", algorithm="ed25519", **_FORMAT)


class _Checker:
    """Checker of both versions. Each file has a checker of its own."""

    files = "secret_files"

    def __init__(self, checkers: Sequence[SignatureChecker]) -> None:
        self._checkers = checkers

    def matching(self, signed: bytes, given: Sequence[bytes], request: Request, url: str) -> int | None:
        """Implement `SignatureChecker.matching`."""
        found = [
            index for index, each in enumerate(self._checkers) if each.matching(signed, given, request, url) is not None
        ]
        return found[0] if found else None


def standard_webhooks(credentials: Iterable[Credential], tolerance_s: int) -> Signature:
    """Return a verifier of signatures `v1`, with a secret, and `v1a`, with an Ed25519 key.

    Args:
        credentials: Files, each with one secret or public key.
        tolerance_s: Allowed difference of clocks, in seconds.

    Raises:
        CredentialsError: A file contains neither.
    """
    settings = V1.model_copy(update={"tolerance_s": tolerance_s})
    return Signature(settings, _Checker([_checker(each) for each in credentials]), V1.algorithm)


def signing_secret(credential: Credential) -> bytes:
    """Return the bytes of a secret with the prefix `whsec_`. Raise CredentialsError if it is none, or too short."""
    if not credential.secret().startswith(_SECRET):
        raise credential.error("does not start with whsec_")
    decoded = _decoded(credential)
    if len(decoded) < MIN_SECRET_BYTES:
        raise credential.error(f"has {len(decoded)} bytes, needs at least {MIN_SECRET_BYTES}")
    return decoded


def signature(secret: bytes, message_id: str, timestamp: int, content: bytes) -> str:
    """Return a signature `v1` of a message, as the header `webhook-signature` has it."""
    code = hmac.new(secret, f"{message_id}.{timestamp}.".encode(), "sha256")
    code.update(content)
    return "v1," + base64.b64encode(code.digest()).decode()


def _decoded(credential: Credential) -> bytes:
    """Return what is behind the prefix of a secret or key. Raise CredentialsError if it is not base64."""
    try:
        return base64.b64decode(credential.secret().partition(b"_")[2], validate=True)
    except ValueError:
        raise credential.error("is not base64 after its prefix") from None


def _checker(credential: Credential) -> SignatureChecker:
    secret = credential.secret()
    if secret.startswith(_PRIVATE_KEY):
        raise credential.error("is a private key (whsk_); use the public key (whpk_)")
    if not secret.startswith((_SECRET, _PUBLIC_KEY)):
        raise credential.error("starts with neither whsec_ nor whpk_")
    if secret.startswith(_SECRET):
        signing_secret(credential)
        return HmacChecker(V1, [credential])
    decoded = _decoded(credential)
    if len(decoded) != 32:
        raise credential.error(f"has {len(decoded)} bytes; an Ed25519 key has 32")
    return PublicKeyChecker(_V1A, keys_of_files(_V1A, [Credential(credential.file, secret.removeprefix(_PUBLIC_KEY))]))
