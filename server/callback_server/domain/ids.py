"""The secret in a URL, and the public ids that are derived from it.

The state is the only secret. Only its SHA-256 is stored, and the first half of that hash is the id of the case, so that
a call finds its case without an index. The id of a call contains the id of its case.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import Final

_STATE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_state() -> str:
    """Return a new state: a version 4 UUID from the system's secure source, in lower case."""
    return state_of(os.urandom(16))


def state_of(random: bytes) -> str:
    """Return 16 random bytes as a state: a version 4 UUID keeps all but six of their bits (RFC 9562, section 5.4)."""
    digits = random.hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[random[8] >> 4 & 3]}{digits[17:20]}-{digits[20:]}"


def is_state(text: str) -> bool:
    """Return whether `text` is a state in its only canonical spelling."""
    return _STATE.fullmatch(text) is not None


def state_hash(state: str) -> bytes:
    """Return what is stored of a state: its SHA-256, 32 bytes."""
    return hashlib.sha256(state.encode()).digest()


def case_id_of(state_sha256: bytes) -> str:
    """Return the public id of the case with this hash: 32 lower-case hexadecimal digits."""
    return state_sha256[:16].hex()


def new_call_id(case_id: str) -> str:
    """Return the id of a new call: the id of its case, a dash, 16 random hexadecimal digits."""
    return f"{case_id}-{secrets.token_hex(8)}"


def of_case(call_id: str, case_id: str) -> str:
    """Return the id of a call with that of another case in it: the case of an event is found by its claim."""
    return f"{case_id}{call_id[32:]}"


def case_id_of_call(call_id: str) -> str:
    """Return the id of the case that a call belongs to."""
    return call_id[:32]
