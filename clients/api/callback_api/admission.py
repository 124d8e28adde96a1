"""Admission: what each identity may have in flight, so that one leaves the others room.

An identity is what the server knows: a token, or a person of an OpenID provider. Its requests count, and the bytes
of their messages as they arrive. A message is complete before anything reads it, and no part of it stays on its own:
parts of one byte need no more memory than others.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable
from types import TracebackType
from typing import Any, Final, Self

from callback_process.http.service import Receive
from callback_process.http.turns import Turns

MAX_REQUESTS: Final = 128
"""Maximum number of requests at once, of all identities. Watches of the API are among them, live pages are not."""
MAX_REQUESTS_EACH: Final = 32
"""The same of one identity."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Maximum number of bytes of messages in flight, of all identities."""
MAX_BYTES_EACH: Final = 16 * 1024 * 1024
"""The same of one identity."""
ARRIVAL_S: Final = 30.0
"""How long the message of a request may take to arrive, in seconds."""
REFUSAL_S: Final = 0.5
"""How long a refusal for a limit waits, in seconds: a caller that tries again at once costs little."""
_FREE_PARTS: Final = 2
"""Parts of a message that are read at once. Each further one waits for its turn."""


class FullError(Exception):
    """A request is one too many.

    Args:
        is_own: Whether the others of the same identity fill the limit.
    """

    def __init__(self, *, is_own: bool) -> None:
        whose = "of this token" if is_own else "of all callers"
        super().__init__(f"this console has too many requests {whose}: try again")
        self.is_own = is_own


class TooLargeError(Exception):
    """A message is too large."""


class CallerGoneError(Exception):
    """The caller has disconnected."""


class Admission:
    """The requests of all identities.

    Args:
        turns: Turns of the parts of large messages.
    """

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.requests: Counter[Hashable] = Counter()
        """Requests by identity."""
        self.bytes: Counter[Hashable] = Counter()
        """Bytes of their messages by identity."""

    def check(self, identity: Hashable, size: int = 0) -> None:
        """Check that an identity may have one more request, or more bytes if a size is given.

        Raises:
            FullError: It may not.
        """
        counter, more, most_each, most = (
            (self.bytes, size, MAX_BYTES_EACH, MAX_BYTES)
            if size
            else (self.requests, 1, MAX_REQUESTS_EACH, MAX_REQUESTS)
        )
        if counter[identity] + more > most_each:
            raise FullError(is_own=True)
        if counter.total() + more > most:
            raise FullError(is_own=False)


class Admitted:
    """A request that counts until the end of its block.

    Args:
        admission: The requests of all identities.
        identity: Whose it is.

    Raises:
        FullError: It is one too many.
    """

    def __init__(self, admission: Admission, identity: Hashable) -> None:
        admission.check(identity)
        self._admission, self._identity = admission, identity
        self._size = 0

    def __enter__(self) -> Self:
        self._admission.requests[self._identity] += 1
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for counter, size in ((self._admission.requests, 1), (self._admission.bytes, self._size)):
            counter[self._identity] -= size
            if not counter[self._identity]:
                del counter[self._identity]

    async def read(self, receive: Receive, max_bytes: int) -> bytes:
        """Return the message, once it is complete.

        Raises:
            FullError: It is more than its identity, or all identities, may have.
            TooLargeError: It is larger than `max_bytes`.
            TimeoutError: It did not arrive in `ARRIVAL_S`.
            CallerGoneError: It will not arrive.
        """

        def count(size: int) -> None:
            if size:
                self._admission.check(self._identity, size)
                self._admission.bytes[self._identity] += size
                self._size += size

        return await read_message(receive, max_bytes, count, self._admission.turns, str(self._identity))


async def read_message(receive: Receive, max_bytes: int, count: Any, turns: Turns, group: str) -> bytes:
    """Return a message, once it is complete.

    Args:
        receive: Returns its next part, as ASGI has it.
        max_bytes: Its greatest size.
        count: Called with the size of each part.
        turns: Turns of the parts of large messages.
        group: Whose turn it is.

    Raises:
        TooLargeError: It is larger.
        TimeoutError: It did not arrive in `ARRIVAL_S`.
        CallerGoneError: It will not arrive.
    """
    content = bytearray()
    parts = 0
    async with asyncio.timeout(ARRIVAL_S):
        while True:
            if parts >= _FREE_PARTS:
                await turns.wait(group)
            event = await receive()
            parts += 1
            if event["type"] != "http.request":
                raise CallerGoneError
            part = event.get("body", b"")
            if len(content) + len(part) > max_bytes:
                raise TooLargeError
            count(len(part))
            content += part
            if not event.get("more_body", False):
                return bytes(content)
