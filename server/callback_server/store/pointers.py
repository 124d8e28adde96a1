"""Pointers: how a `request_id` finds its case again, and gets the same URL again.

A pointer is a key that an HMAC of owner and `request_id` names. It holds the id of the case and a nonce, and the state
of the case is an HMAC of owner, `request_id` and nonce. So the URL can be made again, but not from the store alone. A
pointer is deleted with its case. The same request then makes a case with another nonce, so with another URL: a URL
whose case is gone never leads anywhere again.

One script reads or makes pointer and case, so both lie in one partition. The name of the pointer decides which, and the
nonce is chosen so that the id of the case, which is a hash of the state, agrees. One of 64 nonces does. Most of the
nonce is part of the message of the HMAC. Its last byte only changes the last byte of the result (exclusive or), so that
one HMAC has 256 candidates, and a candidate costs one SHA-256. Nothing is known of the other byte, so the state is as
random as the HMAC.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Final

from callback_server.domain.ids import state_of
from callback_server.store.keys import PARTITIONS, partition_of

NONCE_BYTES: Final = 12
_LAST_BYTES: Final = [b"%02x" % byte for byte in range(256)]
"""The last two characters of a state, by the last byte."""


@dataclass(frozen=True, slots=True)
class PointedState:
    """The state of a new case with a `request_id`, and what its pointer is made of."""

    pointer: str
    """The name of the pointer: 32 hexadecimal digits."""
    nonce: bytes
    state: str
    state_sha256: bytes


def new_pointed_state(key: bytes, *, owner: str, request_id: str) -> PointedState:
    """Return a new state for a `request_id`, whose case lies in the partition of the pointer."""
    pointer = _hmac(key, b"pointer:", owner, request_id).hex()
    partition, sha256 = partition_of(pointer), hashlib.sha256
    while True:
        random = os.urandom(NONCE_BYTES - 1)
        secret = _hmac(key, b"state:" + random, owner, request_id)
        beginning, last = state_of(secret)[:-2].encode(), secret[-1]
        for change in range(256):
            text = beginning + _LAST_BYTES[last ^ change]
            digest = sha256(text).digest()
            # The same as `partition_of(case_id_of(digest))`, because the number of partitions divides 256.
            if digest[3] % PARTITIONS == partition:
                return PointedState(pointer, random + bytes([change]), text.decode(), digest)


def pointed_state(key: bytes, *, owner: str, request_id: str, nonce: bytes) -> str:
    """Return the state of the case that has a `request_id`, from the nonce in its pointer."""
    secret = _hmac(key, b"state:" + nonce[:-1], owner, request_id)
    return state_of(secret[:-1] + bytes([secret[-1] ^ nonce[-1]]))


def _hmac(key: bytes, purpose: bytes, owner: str, request_id: str) -> bytes:
    """Return 16 bytes of an HMAC-SHA-256. With the length of the owner, two pairs never have the same message."""
    return hmac.digest(key, purpose + f"{len(owner)}:{owner}{request_id}".encode(), "sha256")[:16]
