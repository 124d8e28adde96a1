"""Verification by Standard Webhooks 1.0.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.credential import Credential
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.signature import MAX_SIGNATURES

_SECRET: Final = b"whsec_"
_PUBLIC_KEY: Final = b"whpk_"
_PRIVATE_KEY: Final = b"whsk_"


class StandardWebhooks:
    """Verifier: signatures `v1`, with a secret, and `v1a`, with an Ed25519 key.

    Args:
        credentials: Files, each with one secret or public key.
        tolerance_s: Allowed difference of clocks, in seconds.

    Raises:
        CredentialsError: A file contains neither.
    """

    challenge = "Signature"
    reads_body = True

    def __init__(self, credentials: Iterable[Credential], tolerance_s: int) -> None:
        self._tolerance_s = tolerance_s
        self._secrets: list[bytes] = []
        self._keys: list[Ed25519PublicKey] = []
        for credential in credentials:
            self._add(credential)

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:  # the signature does not cover the URL
        """Implement `Verifier.verify`."""
        message_id = request_fields.message_id(request_fields.header(request, "webhook-id"))
        if "." in message_id:  # the specification forbids it, because a full stop ends the id
            raise VerificationError("the message id contains a full stop")
        time = request_fields.header(request, "webhook-timestamp")
        request_fields.require_recent(request_fields.time_of(time, "seconds"), now, self._tolerance_s)
        signed = f"{message_id}.{time}.".encode() + request.body
        signatures = [each.partition(",") for each in request_fields.header(request, "webhook-signature").split(" ")]
        if len(signatures) > MAX_SIGNATURES:
            raise VerificationError(f"the request has {len(signatures)} signatures")
        by_secret = [request_fields.octets(text) for version, _, text in signatures if version == "v1"]
        by_key = [text for version, _, text in signatures if version == "v1a"]
        if not (self._matches_secret(signed, by_secret) or self._matches_key(signed, by_key)):
            raise VerificationError("no signature is valid", FailureReason.SIGNATURE)
        return VerifiedMessage(message_id, self._tolerance_s * 2000)

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`: a signature is not a secret."""
        return request

    def _matches_secret(self, signed: bytes, signatures: Sequence[bytes]) -> bool:
        expected = [base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in self._secrets]
        return request_fields.matches(expected, *signatures)

    def _matches_key(self, signed: bytes, signatures: Sequence[str]) -> bool:
        return any(_verifies(key, _decoded(each), signed) for each in signatures for key in self._keys)

    def _add(self, credential: Credential) -> None:
        secret = credential.secret()
        if secret.startswith(_PRIVATE_KEY):
            raise credential.error("is a private key (whsk_); use the public key (whpk_)")
        if not secret.startswith((_SECRET, _PUBLIC_KEY)):
            raise credential.error("starts with neither whsec_ nor whpk_")
        try:
            decoded = base64.b64decode(secret.partition(b"_")[2], validate=True)
        except ValueError:
            raise credential.error("is not base64 after its prefix") from None
        if secret.startswith(_SECRET):
            if len(decoded) < 24:
                raise credential.error(f"has {len(decoded)} bytes, needs at least 24")
            self._secrets.append(decoded)
        else:
            if len(decoded) != 32:
                raise credential.error(f"has {len(decoded)} bytes; an Ed25519 key has 32")
            self._keys.append(Ed25519PublicKey.from_public_bytes(decoded))


def _decoded(text: str) -> bytes:
    """Decode a signature. Return no bytes if it is not canonical base64."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return decoded if base64.b64encode(decoded).decode() == text else b""


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
