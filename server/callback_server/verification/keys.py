"""Public keys from files: in PEM form, in certificates, in JSON Web Key Sets, or as bare text."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from jwt.utils import base64url_decode, base64url_encode

from callback_server.verification import request_fields
from callback_server.verification.credential import Credential

_COORDINATE_BYTES: Final = {"P-256": 32, "P-384": 48, "P-521": 66}
"""Length of a coordinate of a point on a curve, which has no fewer bytes (RFC 7518, 6.2.1.2)."""

FoundKey = tuple[Any, str | None, str | None]
"""A key of a file, with its algorithm and its id if the file has them."""


def public_keys(credential: Credential) -> list[FoundKey]:
    """Return the public keys of a file. Raise CredentialsError if it has none."""
    content = credential.content.strip()
    try:
        if content.startswith(b"{"):
            return _key_set(credential)
        if content.startswith(b"-----BEGIN"):
            return [_pem(credential)]
        return [(_bare_key(content), None, None)]
    except (ValueError, TypeError, AttributeError, RecursionError, UnsupportedAlgorithm):
        raise credential.error("is not a public key in PEM form, a certificate, or a JSON Web Key Set") from None


def is_public_key(secret: bytes) -> bool:
    """Return whether a secret looks like a public key in any of the common forms."""
    if b"-----BEGIN" in secret or secret.startswith((b"ssh-", b"ecdsa-")):
        return True
    if {"keys", "kty"} & request_fields.json_object(secret).keys():
        return True
    try:
        load_der_public_key(secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def is_rsa(key: Any) -> bool:
    """Return whether a key is one of RSA that is long enough (RFC 7518, 3.3)."""
    return isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048


def is_on(curve: str, key: Any) -> bool:
    """Return whether a key is on the elliptic curve with this name."""
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve


def _pem(credential: Credential) -> FoundKey:
    if b"PRIVATE KEY" in credential.content:
        raise credential.error("is a private key; use the public key")
    if b"CERTIFICATE" in credential.content:
        return x509.load_pem_x509_certificate(credential.content).public_key(), None, None
    return load_pem_public_key(credential.content), None, None


def _bare_key(content: bytes) -> Any:
    """Return a key that some senders show without any frame: Ed25519 in hexadecimal or base64, or DER in base64."""
    decoded = bytes.fromhex(content.decode("ascii")) if len(content) == 64 else base64.b64decode(content, validate=True)
    return Ed25519PublicKey.from_public_bytes(decoded) if len(decoded) == 32 else load_der_public_key(decoded)


def _key_set(credential: Credential) -> list[FoundKey]:
    """Return the keys of a set, or a single key, that verify signatures.

    Skip unknown keys, as RFC 7517, section 5, requires, and malformed ones: the others of the set are still right.
    """
    given = json.loads(credential.content)
    found: list[FoundKey] = []
    for each in given.get("keys", [given]):
        if each.get("kty") == "oct" or "d" in each:
            raise credential.error("has a secret key; use public keys")
        if each.get("use", "sig") == "sig":
            with contextlib.suppress(jwt.PyJWTError, ValueError):
                found.append((jwt.PyJWK(_with_whole_coordinates(each)).key, each.get("alg"), each.get("kid")))
    return found


def _with_whole_coordinates(key: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON Web Key with the zeros before its coordinates that some senders leave out, as TrueLayer does."""
    size = _COORDINATE_BYTES.get(str(key.get("crv")), 0)
    given = {name: base64url_decode(str(key[name])) for name in ("x", "y") if name in key and size}
    return key | {name: base64url_encode(octets.rjust(size, b"\0")).decode() for name, octets in given.items()}
