"""Waiting: a caller whose answer takes longer is told to wait for it at the address of its call.

1. The address is `{base}/wait/{call_id}/{token}`. The token is an HMAC of the call's id under a key that only
   servers have, so neither the URL of the case nor the id of a call is enough. The call keeps only its SHA-256.
2. That is durable before the caller is told. It promises that the call is durable, and nothing more.
3. A request to the address waits for the end of the call, and is told to wait again after WAIT_S. It makes no call.
   Any process answers it: it finds the call in the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any, Final

from callback_server.domain.call import Grant
from callback_server.domain.case import AnswerMode

BROWSER_AFTER_MS: Final = 2_000
"""When a browser without an answer is told to wait, in milliseconds, where the case does not say."""
HELD_AFTER_MS: Final = 300_000
"""When any other caller of a held call is told to wait, in milliseconds, where the case does not say."""
WAIT_S: Final = 25.0
"""How long a request to the address waits, in seconds: less than proxies and programs usually wait."""


class WaitTokens:
    """Makes the tokens in the addresses of calls: an HMAC of the id of the call, under a key that only servers have."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []

    def use_keys(self, *keys: bytes) -> None:
        """Derive the keys of the tokens from these: the first one makes tokens.

        Another one may have been the first until a restart, and calls may still wait that were marked then.
        """
        self._keys = [hmac.digest(each, b"callback wait token", "sha256") for each in keys]

    def tokens(self, call_id: str) -> list[str]:
        """Return the token of a call, and the ones that it would have under the other keys."""
        return [hmac.digest(each, call_id.encode(), "sha256").hex() for each in self._keys]


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
