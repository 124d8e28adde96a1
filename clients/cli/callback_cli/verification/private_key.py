"""Private keys in PEM form, with which `callback send` signs as a sender does."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
"""A key that can sign."""


def read_private_key(content: bytes) -> PrivateKey:
    """Return the key of a file. Raise ValueError if it has none."""
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, PrivateKey):
        raise ValueError("the file must have a private key in PEM form, without a password: RSA, EC or Ed25519")
    return key
