"""Sends a command again until the store answers or its time is over. The command must be safe to send again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from callback_server.store.connection.errors import StoreError

T = TypeVar("T")

RPC_S: Final = 3.0
"""How long an RPC waits for a store that does not reply, in seconds. Its client can retry."""
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 1.0
CLOCK: Final[Callable[[], float]] = time.monotonic
"""Returns seconds."""


async def resend(send: Callable[[], Awaitable[T]], *, unsent_s: float = RPC_S, unsure_s: float = RPC_S) -> T:
    """Send until there is an answer.

    Args:
        send: Sends the command once.
        unsent_s: How long to try while it is certain that nothing was done, in seconds.
        unsure_s: How long to try once something may have been done, in seconds.

    Raises:
        StoreError: There was no answer in that time. `maybe_done` is about all attempts.
    """
    began = CLOCK()
    maybe_done, pause_s = False, FIRST_PAUSE_S
    while True:
        try:
            return await send()
        except StoreError as error:
            maybe_done = maybe_done or error.maybe_done
            wait_s = pause_s * random.uniform(0.5, 1)  # noqa: S311  # spreads resends, not a secret
            if CLOCK() + wait_s - began >= (unsure_s if maybe_done else unsent_s):
                raise StoreError(str(error), maybe_done=maybe_done, is_full=error.is_full) from error
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def resend_knowing(
    send: Callable[[], Awaitable[T]], *, unsent_s: float = RPC_S, unsure_s: float = RPC_S
) -> tuple[T, bool]:
    """Send as `resend` does, and also return whether an earlier attempt may have done the command.

    What the store reports as done before may then have been done by this sender.

    Raises:
        StoreError: There was no answer in that time.
    """
    maybe_done = False

    async def send_once() -> T:
        nonlocal maybe_done
        try:
            return await send()
        except StoreError as error:
            maybe_done = maybe_done or error.maybe_done
            raise

    return await resend(send_once, unsent_s=unsent_s, unsure_s=unsure_s), maybe_done
