"""Runs the Lua scripts: package data, sent by their SHA, and whole to a store that does not know them (yet, or again).

A script is sent once per call of :meth:`Scripts.run`. Who sends it again, and how long, is decided above, where it is
known what the script is for: every script is safe to be sent twice.

Some do what is due besides what they were asked for, and say so before their answer. That is told here, where all
replies come by: once, for only the execution that did it says it. What a lost reply said is not told; the store alone
knows.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from redis.exceptions import NoScriptError

from callback_server.domain.due import CaseExpired, Due, LeaseEnded
from callback_server.store import keys
from callback_server.store.client import POOL_SIZE, StoreClient, store_errors
from callback_server.store.packing import unpack_consequence

LISTS_AT_ONCE: Final = 8
_INCLUDE: Final = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Script:
    """One Lua file, with its includes and the key functions in their place.

    `settles` says that its replies begin with what was due.
    """

    def __init__(self, name: str, *, settles: bool = False) -> None:
        lua = resources.files("callback_server.store") / "lua"

        def included(match: re.Match[str]) -> str:
            text = (lua / "includes" / f"{match[1]}.lua").read_text("utf-8")
            return f"{keys.lua_functions()}\n{text}"

        self.name = name
        self.settles = settles
        self.source = _INCLUDE.sub(included, (lua / f"{name}.lua").read_text("utf-8"))
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one store."""

    def __init__(self, client: StoreClient, tell: Callable[[Due], None]) -> None:
        """`tell` is told of each thing that was due, once it is done."""
        self.client = client
        self._tell = tell
        self._connections = asyncio.Semaphore(POOL_SIZE)
        """A cluster's client does not wait for a connection, and refuses when it has none."""
        self.lists = asyncio.Semaphore(LISTS_AT_ONCE)
        """Held by each script of a list, so that lists do not take the connections that calls need."""

    async def run(self, script: Script, partition: int, *args: str | bytes | int) -> Any:
        """Runs `script` on a partition and returns its answer.

        Raises:
            StoreError: the store could not be reached, gave no answer, or refused to run anything.
        """
        tag = keys.tag(partition)
        async with self._connections:
            with store_errors():
                try:
                    reply = await self.client.execute_command("EVALSHA", script.sha, 1, tag, *args)
                except NoScriptError:
                    reply = await self.client.execute_command("EVAL", script.source, 1, tag, *args)
        if script.settles:
            due, *reply = reply
            for word, name, activity, *made in due:
                if word == b"LEASE_ENDED":
                    self._tell(LeaseEnded(name.decode(), activity.decode(), unpack_consequence(made[0])))
                else:
                    self._tell(CaseExpired(name.decode(), activity.decode()))
        return reply
