"""The format of a sealed value, version 1.

====================  ============================================================
bytes                 content
====================  ============================================================
1                     version: 1
1                     length of the id of the key, 1 to 63
that many             id of the key in the keyring, ASCII
32                    salt: random, another one for each value
as many as the plain  ciphertext
16                    tag of AES-GCM
====================  ============================================================

The key of AES-256-GCM is HKDF-SHA-256 (RFC 5869) of the keyring's key, with the salt and the info `callback sealed
value 1`. It encrypts one value, so the nonce is 12 zero bytes: there is no count of values after which a key of the
keyring is used up. The associated data are everything before the ciphertext, then owner, kind and id of the value in
UTF-8, each behind its length in 4 bytes, big-endian. So a value that was moved to another place does not open.

`tests/domain/sealed_values.json` has values for other implementations.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
"""The length of a key of the keyring."""
_VERSION: Final = 1
_SALT_BYTES: Final = 32
_TAG_BYTES: Final = 16
_NONCE: Final = bytes(12)
_INFO: Final = b"callback sealed value 1"
_FINGERPRINT_INFO: Final = b"callback fingerprint 1"


class SealedValueError(Exception):
    """A sealed value cannot be opened. The text says why, without any part of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a sealed value belongs to. It opens nowhere else."""

    owner: str
    """The owner of the data."""
    kind: str
    """The kind of data, such as `profile secret`."""
    id: str
    """The id of the record, unique among those of its owner and kind."""

    def encode(self) -> bytes:
        """Return the place as bytes, different for each place."""
        parts = [part.encode() for part in (self.owner, self.kind, self.id)]
        return b"".join(len(part).to_bytes(4) + part for part in parts)


def seal(key_id: str, key: bytes, place: Place, plain: bytes) -> bytes:
    """Return a value sealed under a key of the keyring."""
    salt = os.urandom(_SALT_BYTES)
    head = bytes((_VERSION, len(key_id))) + key_id.encode("ascii") + salt
    return head + _cipher(key, salt).encrypt(_NONCE, plain, head + place.encode())


def key_id_of(sealed: bytes) -> str:
    """Return the id of the key under which a value is sealed.

    Raises:
        SealedValueError: It is no sealed value of this version.
    """
    head = sealed[2 : 2 + sealed[1]] if len(sealed) > 1 and sealed[0] == _VERSION else b""
    if not head or not head.isascii() or len(sealed) < 2 + len(head) + _SALT_BYTES + _TAG_BYTES:
        raise SealedValueError("it is not a sealed value of version 1")
    return head.decode("ascii")


def open_sealed(key: bytes, place: Place, sealed: bytes) -> bytes:
    """Return what was sealed.

    Args:
        key: The key with the id that `key_id_of` returns.
        place: Where the value was found.
        sealed: The value.

    Raises:
        SealedValueError: It was altered, or sealed for another place or under another key of the same id.
    """
    end = 2 + len(key_id_of(sealed)) + _SALT_BYTES
    head, ciphertext = sealed[:end], sealed[end:]
    try:
        return _cipher(key, head[-_SALT_BYTES:]).decrypt(_NONCE, ciphertext, head + place.encode())
    except InvalidTag:
        raise SealedValueError("it was altered, or sealed for another place or by another key of the same id") from None


def fingerprint(key: bytes, place: Place, plain: bytes) -> str:
    """Return 32 bits of an HMAC of a value, in hexadecimal digits. Without the key it says nothing about the value."""
    derived = HKDF(SHA256(), KEY_BYTES, None, _FINGERPRINT_INFO).derive(key)
    return hmac.digest(derived, place.encode() + plain, "sha256")[:4].hex()


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, _INFO).derive(key))
