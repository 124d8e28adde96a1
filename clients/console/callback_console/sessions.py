"""Sessions of people who signed in, in the memory of this process.

A cookie has only the key of a session. The token stays here. Sessions with the same token share an identity.
"""

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from callback import AsyncCallbackClient
from callback_console.shared_watch import LivePage, RefreshLimiter, SharedWatch
from callback_triage.replays import Deliveries, FailedCalls, Replay

MAX_SESSIONS: Final = 1000
"""Maximum number of sessions. Another one ends the oldest of the owner who has the most."""
MAX_SESSIONS_EACH: Final = 16
"""Maximum number of sessions of one owner. Another one ends the oldest of these."""
MAX_LIVE_PAGES: Final = 16
"""Maximum number of live pages of a session. A further one ends the oldest."""


@dataclass(eq=False)
class Identity:
    """What sessions with the same token share."""

    token: str | None
    client: AsyncCallbackClient
    """Client of the server, with the token."""
    session_count: int = 0
    is_admin: bool | None = None
    """Whether the token is one of an administrator. None: not asked yet."""
    watches: dict[str, SharedWatch] = field(default_factory=dict)
    """Watches of its live pages, by the id of the case. Empty: that of all cases."""
    limiter: RefreshLimiter = field(default_factory=RefreshLimiter)
    """Rate limiter of the live pages of all identities."""

    @contextmanager
    def live_page(self, case_id: str) -> Iterator[LivePage]:
        """Return a page that receives the changes of one case, or of all if the id is empty, until the block ends."""
        watch = self.watches.get(case_id) or SharedWatch(self.client, case_id, self.watches, self.limiter)
        page = LivePage()
        watch.add(page)
        try:
            yield page
        finally:
            watch.remove(page)


@dataclass(eq=False)
class Session:
    """Session of one person."""

    identity: Identity
    owner: Hashable
    """Whose it is: a person at an OpenID provider, who has many ID tokens, or else the token."""
    timer: asyncio.TimerHandle
    """Timer that ends the session."""
    is_of_issuer: bool
    """Whether the person signed in at the OpenID provider."""
    live_pages: list[LivePage] = field(default_factory=list)
    replays: dict[Deliveries | FailedCalls, Replay] = field(default_factory=dict)
    """The last replay of each group of calls. They end with the session."""

    @contextmanager
    def live_page(self, case_id: str) -> Iterator[LivePage]:
        """Return a page that receives the changes of one case, or of all if the id is empty.

        It ends with the block or with the session.
        """
        if len(self.live_pages) == MAX_LIVE_PAGES:
            self.live_pages.pop(0).close()
        with self.identity.live_page(case_id) as page:
            self.live_pages.append(page)
            try:
                yield page
            finally:
                if page in self.live_pages:
                    self.live_pages.remove(page)

    def end_live_pages(self) -> None:
        """End its live pages."""
        for page in self.live_pages:
            page.close()


class Sessions:
    """All sessions of this process.

    Args:
        lifetime_s: Time after which a session ends, in seconds.
    """

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._sessions: dict[str, Session] = {}
        self._identities: dict[str | None, Identity] = {}
        """Identities by token."""
        self._limiter = RefreshLimiter()
        self._closing: set[asyncio.Task[None]] = set()

    async def open(
        self,
        token: str | None,
        client: AsyncCallbackClient,
        *,
        lifetime_s: float = math.inf,
        subject: tuple[str, str] | None = None,
    ) -> str:
        """Open a session, and return its key.

        Args:
            token: Token of the person. None: the server has no principals.
            client: Client with this token. The session closes it.
            lifetime_s: Time in which the token expires, in seconds. The session ends then, if not earlier.
            subject: Issuer and subject, if the person signed in at the OpenID provider.
        """
        owner = subject or token
        await self._make_room(owner)
        identity = self._identities.setdefault(token, Identity(token, client, limiter=self._limiter))
        identity.session_count += 1
        identity.is_admin = None  # it may have changed since another session asked
        if identity.client is not client:
            await client.close()
        key = secrets.token_urlsafe(32)
        timer = asyncio.get_running_loop().call_later(min(self._lifetime_s, lifetime_s), self._end, key)
        self._sessions[key] = Session(identity, owner, timer, is_of_issuer=subject is not None)
        return key

    async def _make_room(self, owner: Hashable) -> None:
        """End a session, if one more of this owner would be one too many."""
        counts = Counter(session.owner for session in self._sessions.values())
        if counts[owner] < MAX_SESSIONS_EACH:
            if len(self._sessions) < MAX_SESSIONS:
                return
            owner = max(counts, key=counts.__getitem__)
        await self.close(next(key for key, session in self._sessions.items() if session.owner == owner))

    def find(self, key: str) -> Session | None:
        """Return the session of a key. None if there is none, or it has ended."""
        return self._sessions.get(key)

    async def close(self, key: str) -> None:
        """Close a session, if there is one with this key."""
        if session := self._sessions.pop(key, None):
            session.timer.cancel()
            session.end_live_pages()
            for replay in session.replays.values():
                replay.stop()
            session.identity.session_count -= 1
            if not session.identity.session_count:
                del self._identities[session.identity.token]
                await session.identity.client.close()

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
