"""Finds the primary of a service that Sentinels watch."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from callback_server.store.connection.errors import NotSentError


class Sentinels:
    """The Sentinels of one service."""

    def __init__(self, addresses: list[tuple[str, int]], service: str, options: Mapping[str, Any]) -> None:
        """Create a group. `options` are the arguments of redis-py for a connection to each."""
        self._addresses = addresses
        self._service = service
        self._options = options

    async def find_primary(self) -> tuple[str, int]:
        """Return the address that at least half of the Sentinels name.

        A Sentinel that is cut off from the others, perhaps together with an old primary, does not count alone.

        Raises:
            NotSentError: Too few of them answer, or agree.
        """
        answers = await asyncio.gather(*map(self._ask, self._addresses), return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        named = [answer for answer in answers if isinstance(answer, tuple)]
        for address, votes in collections.Counter(named).most_common(1):
            if 2 * votes >= len(self._addresses):
                return address
        found = f"{len(named)} of {len(self._addresses)} named one"
        why = f" ({failed[0]})" if failed else ""
        raise NotSentError(f"too few Sentinels agree on a primary of {self._service}: {found}{why}")

    async def count_replicas(self) -> int:
        """Return how many replicas they know of the primary, also those that are away, at most of all Sentinels."""
        known = await asyncio.gather(
            *(self._send(each, "SENTINEL REPLICAS") for each in self._addresses), return_exceptions=True
        )
        return max(0 if isinstance(each, BaseException) else len(each) for each in known)

    async def _ask(self, address: tuple[str, int]) -> tuple[str, int] | None:
        """Return the primary that one Sentinel names. None: it does not know the service."""
        named = await self._send(address, "SENTINEL GET-MASTER-ADDR-BY-NAME")
        return (_text(named[0]), int(named[1])) if named else None

    async def _send(self, address: tuple[str, int], command: str) -> Any:
        """Return the reply of one Sentinel about the service.

        Raises:
            RedisError: It does not answer, or refuses user, password or the command.
            OSError: The network fails.
        """
        host, port = address
        async with Redis(host=host, port=port, **self._options) as sentinel:
            return await sentinel.execute_command(  # type: ignore[no-untyped-call]  # redis-py's
                command, self._service
            )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
