"""Repeats: the same request again, or the same message. A repeat is no call. It gets the answer of the call before it.

The claim of a repeat finds that call in the store, so it may have come to any server. While the call runs, the repeat
waits on the process where it came. The store reports the end of the call to the process whose transition ended it. That
process tells the ones where repeats wait. Each repeat also asks the store every second: a message can be lost, and a
process can die. So it also stays one of the waiters of the call, whose number is
limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from callback_process.logs import get_logger
from callback_server import errors
from callback_server.domain.timeouts import AwaitedCallEnded
from callback_server.store.connection.errors import StoreError
from callback_server.store.replica_bus import ReplicaBus, ReplicaMessage
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import EarlierCall
from callback_server.store.transitions.follow_call import FallbackSent, FollowResult, follow_call

log = get_logger()

ASK_INTERVAL_S: Final = 1.0
"""Interval at which a repeat asks the store, in seconds: much shorter than the time that the store keeps a
waiter."""


class RepeatedCallEnded(ReplicaMessage, frozen=True, array_like=True):
    """A call has ended, and repeats wait with it where this message goes."""

    kind = "repeated_call.ended"

    call_id: str


class Repeats:
    """The repeats that wait on this process with calls that run on any process."""

    def __init__(self, scripts: Scripts, replica_bus: ReplicaBus, *, patience_s: float) -> None:
        """Create it.

        Args:
            scripts: The scripts on the store.
            replica_bus: Carries the ends of calls.
            patience_s: How long a repeat waits for a store that does not reply, in seconds.
        """
        self._scripts = scripts
        self._replica_bus = replica_bus
        self._patience_s = patience_s
        self._waiting: dict[str, set[asyncio.Event]] = {}
        replica_bus.receive(RepeatedCallEnded, self._on_ended)

    def send_end(self, ended: AwaitedCallEnded) -> None:
        """Tell the processes where repeats wait with a call that it has ended."""
        for replica in ended.replicas:
            self._replica_bus.send(replica, RepeatedCallEnded(ended.call_id))

    async def wait(
        self, call_id: str, repeat_id: str, *, wait_hash: str = "", without_answer: bool = False
    ) -> EarlierCall | FallbackSent | None:
        """Wait until a call has ended, or its caller got the fallback.

        Args:
            call_id: The call.
            repeat_id: The repeat, which is one of the waiters of the call.
            wait_hash: SHA-256 of the token in the address of the call. Empty: a repeat waits, not a caller there.
            without_answer: Whether only the end of the call is waited for. The result is then None.

        Raises:
            CallInProgressError: The repeat is not one of the waiters of the call any more.
            StateUnknownError: The call has no such address.
            OutcomeUnknownError: The store did not reply for too long, or the call is no longer known.
        """
        ended = asyncio.Event()
        waiting = self._waiting.setdefault(call_id, set())
        waiting.add(ended)
        replied_at = time.monotonic()
        try:
            while True:
                try:
                    result = await follow_call(
                        self._scripts,
                        call_id,
                        repeat_id=repeat_id,
                        replica=self._replica_bus.replica,
                        wait_hash=wait_hash,
                        without_answer=without_answer,
                    )
                except StoreError as error:
                    log.warning("repeated_call_not_read", call_id=call_id, error=str(error))
                    if time.monotonic() - replied_at > self._patience_s:
                        raise errors.OutcomeUnknownError("") from error
                else:
                    replied_at = time.monotonic()
                    if not isinstance(result, FollowResult):
                        return result
                    if result is FollowResult.ENDED:
                        return None
                    if result is FollowResult.BUSY:
                        raise errors.CallInProgressError
                    if result is FollowResult.UNKNOWN:
                        raise errors.StateUnknownError if wait_hash else errors.OutcomeUnknownError("")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ASK_INTERVAL_S):
                        await ended.wait()
                ended.clear()
        finally:
            waiting.discard(ended)
            if not waiting:
                self._waiting.pop(call_id, None)

    def _on_ended(self, message: RepeatedCallEnded) -> None:
        for waiting in self._waiting.get(message.call_id, ()):
            waiting.set()
