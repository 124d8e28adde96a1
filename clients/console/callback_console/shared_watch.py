"""Watches that the live pages of people with the same token share.

Such people see the same. So their pages share one watch of a case, or of all cases, and a view renders its part once
after a change, however many pages show it. People with different tokens share nothing, because only the server knows
what each may see. So while changes continue, the rate at which the parts of all people are rendered is limited, and the
work of a server for live pages grows little with the number of people.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

from callback import AsyncCallbackClient, CallbackError

PART_S: Final = 0.5
"""How long a part is shared, in seconds: some of what it shows changes without an event, such as a pause."""


PARTS_PER_S: Final = 2
"""About how many parts are rendered in a second while all of them change. Each has what is new at its turn."""
_RECENT_S: Final = 10.0
"""For how long a part counts after its turn, in seconds. It is also the longest time from one turn to the next."""


class RefreshLimiter:
    """Rate limiter of the live parts of all people: the more of them change, the less often each is rendered.

    A part that was not rendered for a while has its turn at once.
    """

    def __init__(self) -> None:
        self._turns: dict[Hashable, tuple[float, bool]] = {}
        """When each recent part had its last turn, and whether it had one shortly before."""

    async def turn(self, key: Hashable) -> None:
        """Wait for the turn of a part."""
        now = asyncio.get_running_loop().time()
        self._turns = {each: turn for each, turn in self._turns.items() if turn[0] > now - _RECENT_S}
        if key not in self._turns:
            self._turns[key] = now, False
            return
        last, _ = self._turns[key]
        changing = 1 + sum(changes for each, (_, changes) in self._turns.items() if each != key)
        turn = max(now, last + min(changing / PARTS_PER_S, _RECENT_S))
        self._turns[key] = turn, True
        await asyncio.sleep(turn - now)


class LivePage:
    """A page that receives changes until it is closed."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._has_changed = False
        self._is_closed = False

    def tell(self, *, has_changed: bool) -> None:
        """Tell it of a change, or only that the watch goes on."""
        self._has_changed = self._has_changed or has_changed
        self._wake.set()

    def close(self) -> None:
        """End it."""
        self._is_closed = True
        self._wake.set()

    async def receive(self) -> bool | None:
        """Wait, and return whether something has changed. None: the page is closed."""
        await self._wake.wait()
        self._wake.clear()
        if self._is_closed:
            return None
        has_changed, self._has_changed = self._has_changed, False
        return has_changed


class SharedWatch:
    """Changes of one case, or of all that a person may see. It watches while it has pages.

    Args:
        client: The client of the person.
        case_id: Id of the case. Empty: all cases.
        watches: The watches that have pages, by the id of the case. It is one of them until it ends.
        limiter: Limits how often its parts are rendered.
    """

    def __init__(
        self, client: AsyncCallbackClient, case_id: str, watches: "dict[str, SharedWatch]", limiter: RefreshLimiter
    ) -> None:
        self._pages: set[LivePage] = set()
        self._is_live = False
        self._parts: dict[Hashable, asyncio.Task[str]] = {}
        self._begun: set[Hashable] = set()
        """Parts whose turn has come: a change since then is not in them."""
        self._limiter = limiter
        self._watch = client.watch_calls(case_id=case_id, latest_only=True)
        self._case_id = case_id
        self._watches = watches
        watches[case_id] = self
        self._running = asyncio.create_task(self._run())

    def add(self, page: LivePage) -> None:
        """Tell a page of each change, and of one at the beginning, for what changed before the watch was there."""
        self._pages.add(page)
        if self._is_live:
            page.tell(has_changed=True)

    def remove(self, page: LivePage) -> None:
        """Tell a page nothing more."""
        self._pages.discard(page)
        if not self._pages:
            self._leave()  # at once, so that no page is added to it
            self._running.cancel()

    async def part(self, key: Hashable, render: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """Return what a view renders, once for all who ask for the same part after a change.

        Args:
            key: Everything on which the part depends, apart from the token.
            render: Renders the part.

        Raises:
            Exception: The view failed.
        """
        if key not in self._parts:
            task = self._parts[key] = asyncio.create_task(self._render(key, render))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # those who asked may have left
        return await asyncio.shield(self._parts[key])

    async def _render(self, key: Hashable, render: Callable[[], Coroutine[Any, Any, str]]) -> str:
        await self._limiter.turn((id(self), key))
        self._begun.add(key)
        asyncio.get_running_loop().call_later(PART_S, self._forget, key, self._parts[key])
        return await render()

    def _forget(self, key: Hashable, task: asyncio.Task[str]) -> None:
        if self._parts.get(key) is task:
            del self._parts[key]
            self._begun.discard(key)

    async def _run(self) -> None:
        try:
            # After an error the watch ends. Its pages then say that they are not live, and connect again.
            with contextlib.suppress(CallbackError):
                async with self._watch:
                    self._is_live = True
                    self._tell(has_changed=True)
                    while True:
                        self._tell(has_changed=bool(await self._watch.receive()))
        finally:
            self._leave()
            for page in self._pages:
                page.close()

    def _leave(self) -> None:
        if self._watches.get(self._case_id) is self:
            del self._watches[self._case_id]

    def _tell(self, *, has_changed: bool) -> None:
        if has_changed:
            for key in self._begun:
                del self._parts[key]
            self._begun.clear()
        for page in self._pages:
            page.tell(has_changed=has_changed)
