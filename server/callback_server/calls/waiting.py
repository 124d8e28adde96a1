"""Waiting: a caller whose answer takes longer is told to wait for it at the address of its call.

1. The address is `{base}/wait/{call_id}/{token}`. Only servers can make the token, and the call keeps only its
   SHA-256. The token is the URL's secret, encrypted: so a server can lead the caller back to the callback.
2. That is durable before the caller is told. It promises that the call is durable, and nothing more.
3. A request to the address waits for the end of the call, and is told to wait again after WAIT_S. It makes no call.
   Any process answers it: it finds the call in the store.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callback_server.domain.call import Grant
from callback_server.domain.case import AnswerMode
from callback_server.domain.ids import state_of

BROWSER_AFTER_MS: Final = 2_000
"""When a browser without an answer is told to wait, in milliseconds, where the case does not say."""
HELD_AFTER_MS: Final = 300_000
"""When any other caller of a held call is told to wait, in milliseconds, where the case does not say."""
WAIT_S: Final = 25.0
"""How long a request to the address waits, in seconds: less than proxies and programs usually wait."""


_STATE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class CallbackAddress:
    """What a request was sent to: the URL of a case without its base and its query."""

    state: str = field(repr=False)
    parameter: str
    """The query parameter that has the state. Empty: the state is in the path."""


class WaitTokens:
    """Makes the tokens in the addresses of calls, and opens them.

    A token is the `CallbackAddress` of the request, encrypted with AES-SIV (RFC 5297) and bound to the call. So it is
    the same for all callers of a call, on every server that has the same key.
    """

    def __init__(self) -> None:
        self._ciphers: list[AESSIV] = []

    def use_keys(self, *keys: bytes) -> None:
        """Derive the keys of the tokens from these: the first one makes tokens, and each one opens them.

        A key may have been the first one until a restart, and calls may still wait that were marked then.
        """
        self._ciphers = [
            AESSIV(HKDF(algorithm=SHA256(), length=64, salt=None, info=b"callback wait token").derive(each))
            for each in keys
        ]

    def tokens(self, call_id: str, address: CallbackAddress) -> list[str]:
        """Return the token of a call, and the ones that it would have under the other keys."""
        plain = bytes.fromhex(address.state.replace("-", "")) + address.parameter.encode()
        return [each.encrypt(plain, [call_id.encode()]).hex() for each in self._ciphers]

    def open(self, call_id: str, token: str) -> CallbackAddress | None:
        """Return the address of the request that became a call. None: no key has made this token for this call."""
        for each in self._ciphers:
            try:
                plain = each.decrypt(bytes.fromhex(token), [call_id.encode()])
            except (InvalidTag, ValueError):
                continue
            return CallbackAddress(state_of(plain[:_STATE_BYTES]), plain[_STATE_BYTES:].decode())
        return None


def wait_hash(token: str) -> str:
    """Return what a call keeps of the token of its address."""
    return hashlib.sha256(token.encode()).hexdigest()


def wait_path(call_id: str, token: str) -> str:
    """Return the path of the address of a call."""
    return f"/wait/{call_id}/{token}"


def told_to_wait_after_ms(grant: Grant, *, prefers_page: bool) -> int | None:
    """Return when a caller without an answer is told to wait, in milliseconds. None: never, the call ends before."""
    after_ms = grant.settings.answer_deadline_ms
    if after_ms is None and prefers_page:
        after_ms = BROWSER_AFTER_MS
    elif after_ms is None and grant.answer_mode is AnswerMode.HOLD:
        after_ms = HELD_AFTER_MS
    return after_ms if after_ms is not None and after_ms < grant.lease_left_ms else None


async def first_of(task: asyncio.Task[Any], released: asyncio.Future[None] | None, after_ms: float | None) -> None:
    """Wait until a task is done, the caller is released, or the time is over. None: any time."""
    waits = {task} if released is None else {task, released}
    timeout_s = None if after_ms is None else after_ms / 1000
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
