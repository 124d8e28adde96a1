"""Pointers: how a `request_id` finds its case again, and gets the same URL again.

A pointer is a key that an HMAC of owner and `request_id` names. It holds the id of the case and a nonce, and the state
of the case is an HMAC of owner, `request_id` and nonce. So the URL can be made again, but not from the store alone. A
pointer is deleted with its case. The same request then makes a case with another nonce, so with another URL: a URL
whose case is gone never leads anywhere again.

The request of a case with an endpoint counts within its correlation key: its pointer is a field of the pointer of the
key (see correlation.py), and the case lies in the partition of that.

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


def new_pointed_state(key: bytes, *, owner: str, request_id: str, correlation: str = "") -> PointedState:
    """Return a new state for a `request_id`, whose case lies in the partition of the pointer.

    Args:
        key: The state key.
        owner: The owner.
        request_id: The `request_id`.
        correlation: The name of the pointer of the correlation key, within which the `request_id` counts. Empty: none.
    """
    pointer = _hmac(key, b"pointer:", owner, request_id, correlation).hex()
    partition = partition_of(correlation or pointer)
    while True:
        random = os.urandom(NONCE_BYTES - 1)
        found = _state_in(partition, _hmac(key, b"state:" + random, owner, request_id, correlation))
        if found is not None:
            state, digest, change = found
            return PointedState(pointer, random + bytes([change]), state, digest)


def pointed_state(key: bytes, *, owner: str, request_id: str, nonce: bytes, correlation: str = "") -> str:
    """Return the state of the case that has a `request_id`, from the nonce in its pointer."""
    secret = _hmac(key, b"state:" + nonce[:-1], owner, request_id, correlation)
    return state_of(secret[:-1] + bytes([secret[-1] ^ nonce[-1]]))


def new_state_in(partition: int) -> tuple[str, bytes]:
    """Return a new random state whose case lies in a partition, and its SHA-256."""
    while True:
        found = _state_in(partition, os.urandom(16))
        if found is not None:
            return found[:2]


def _state_in(partition: int, secret: bytes) -> tuple[str, bytes, int] | None:
    """Return a state whose case lies in a partition, its SHA-256, and by what the last byte of the secret was changed.

    None: no change of that byte gives one.
    """
    beginning, last, sha256 = state_of(secret)[:-2].encode(), secret[-1], hashlib.sha256
    for change in range(256):
        text = beginning + _LAST_BYTES[last ^ change]
        digest = sha256(text).digest()
        # The same as `partition_of(case_id_of(digest))`, because the number of partitions divides 256.
        if digest[3] % PARTITIONS == partition:
            return text.decode(), digest, change
    return None


def _hmac(key: bytes, purpose: bytes, owner: str, request_id: str, correlation: str) -> bytes:
    """Return 16 bytes of an HMAC-SHA-256, of another message for each owner, request and correlation key.

    The length of the owner ends with a colon within a few characters; the name of a pointer is longer, and has none.
    """
    message = f"{correlation}{len(owner)}:{owner}{request_id}".encode()
    return hmac.digest(key, purpose + message, "sha256")[:16]
