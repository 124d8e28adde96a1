"""Sessions of people who signed in, in the memory of this process.

A cookie has only the key of a session. The token stays here, inside the client of the server.
"""

import asyncio
import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from callback import AsyncCallbackClient, AsyncCallWatch
from callback_console.replays import DeadCalls, Replay

_MAX_SESSIONS: Final = 1000
"""Maximum number of sessions. Another one ends the oldest."""
_MAX_WATCHES: Final = 16
"""Maximum number of live pages of a session. A further one ends the oldest."""


@dataclass(eq=False)
class Session:
    """Session of one person."""

    client: AsyncCallbackClient
    """Client of the server, with the token of the person."""
    timer: asyncio.TimerHandle
    """Timer that ends the session."""
    is_of_issuer: bool
    """Whether the person signed in at the OpenID provider."""
    is_open: bool = True
    """Whether its live pages may continue."""
    is_admin: bool | None = None
    """Whether the person is an administrator. None: not asked yet."""
    watches: list[AsyncCallWatch] = field(default_factory=list)
    """Watches of its live pages."""
    replays: dict[DeadCalls, Replay] = field(default_factory=dict)
    """The last replay of each group of dead calls. They end with the session."""

    @contextmanager
    def watching(self, case_id: str) -> Iterator[AsyncCallWatch]:
        """Return a watch of one case, or of all if the id is empty. It ends with the block or with the session."""
        watch = self.client.watch_calls(case_id=case_id, latest_only=True)
        if len(self.watches) == _MAX_WATCHES:
            self.watches.pop(0).close()
        self.watches.append(watch)
        try:
            yield watch
        finally:
            watch.close()
            if watch in self.watches:
                self.watches.remove(watch)

    def end_live_pages(self) -> None:
        """End its live pages."""
        self.is_open = False
        for watch in self.watches:
            watch.close()

    async def close(self) -> None:
        """End its live pages and replays, and close its client."""
        self.end_live_pages()
        for replay in self.replays.values():
            replay.stop()
        await self.client.close()


class Sessions:
    """All sessions of this process.

    Args:
        lifetime_s: Time after which a session ends, in seconds.
    """

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def open(
        self, client: AsyncCallbackClient, *, lifetime_s: float = math.inf, is_of_issuer: bool = False
    ) -> str:
        """Open a session, and return its key. It ends earlier if the lifetime of its token is shorter."""
        if len(self._sessions) == _MAX_SESSIONS:
            await self.close(next(iter(self._sessions)))
        key = secrets.token_urlsafe(32)
        timer = asyncio.get_running_loop().call_later(min(self._lifetime_s, lifetime_s), self._end, key)
        self._sessions[key] = Session(client, timer, is_of_issuer)
        return key

    def find(self, key: str) -> Session | None:
        """Return the session of a key. None if there is none, or it has ended."""
        return self._sessions.get(key)

    async def close(self, key: str) -> None:
        """Close a session, if there is one with this key."""
        if session := self._sessions.pop(key, None):
            session.timer.cancel()
            await session.close()

    def end_live_pages(self) -> None:
        """End the live pages of all sessions, which otherwise never end."""
        for session in self._sessions.values():
            session.end_live_pages()

    async def close_all(self) -> None:
        """Close all sessions."""
        for key in list(self._sessions):
            await self.close(key)

    def _end(self, key: str) -> None:
        """Close a session whose time has passed. Its token and its live pages end with it."""
        closing = asyncio.create_task(self.close(key))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
