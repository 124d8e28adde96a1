"""Runs the Lua scripts: package data, sent by their SHA, and whole to a store that does not know them (yet, or again).

A script is sent once per call of :meth:`Scripts.run`. Who sends it again, and how long, is decided above, where it is
known what the script is for: every script is safe to be sent twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from importlib import resources
from typing import Any, Final

from redis.exceptions import NoScriptError

from callback_server.store import keys
from callback_server.store.client import POOL_SIZE, StoreClient, store_errors

LISTS_AT_ONCE: Final = 8
_INCLUDE: Final = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Script:
    """One Lua file, with its includes and the key functions in their place."""

    def __init__(self, name: str) -> None:
        lua = resources.files("callback_server.store") / "lua"

        def included(match: re.Match[str]) -> str:
            text = (lua / "includes" / f"{match[1]}.lua").read_text("utf-8")
            return f"{keys.lua_functions()}\n{text}"

        self.name = name
        self.source = _INCLUDE.sub(included, (lua / f"{name}.lua").read_text("utf-8"))
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one store."""

    def __init__(self, client: StoreClient) -> None:
        self.client = client
        self._connections = asyncio.Semaphore(POOL_SIZE)
        """A cluster's client does not wait for a connection, and refuses when it has none."""
        self.lists = asyncio.Semaphore(LISTS_AT_ONCE)
        """Held by each script of a list, so that lists do not take the connections that calls need."""

    async def run(self, script: Script, partition: int, *args: str | bytes | int) -> Any:
        """Runs `script` on a partition and returns its reply.

        Raises:
            StoreError: the store could not be reached, gave no answer, or refused to run anything.
        """
        tag = keys.tag(partition)
        async with self._connections:
            with store_errors():
                try:
                    return await self.client.execute_command("EVALSHA", script.sha, 1, tag, *args)
                except NoScriptError:
                    return await self.client.execute_command("EVAL", script.source, 1, tag, *args)
