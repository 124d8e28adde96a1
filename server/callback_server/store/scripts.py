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
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Final

from redis.exceptions import NoScriptError

from callback_server.domain.timeouts import CaseExpired, LeaseEnded, Timeout
from callback_server.store import keys
from callback_server.store.connection.client import StoreClient, store_errors
from callback_server.store.connection.pipeline import Pipeline
from callback_server.store.packing import unpack_effect

LISTS_AT_ONCE: Final = 8
PARTITIONS_AT_ONCE: Final = 16
"""How many scripts of a list are sent in one go: calls must get in between."""
_INCLUDE: Final = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Script:
    """One Lua file, with its includes, each once, and the key functions in their place.

    `settles` says that its replies begin with what was due.
    """

    def __init__(self, name: str, *, settles: bool = False) -> None:
        lua = resources.files("callback_server.store") / "lua"

        included = set[str]()

        def include(match: re.Match[str]) -> str:
            if match[1] in included:
                return ""
            included.add(match[1])
            return _INCLUDE.sub(include, (lua / "includes" / f"{match[1]}.lua").read_text("utf-8"))

        def with_keys(match: re.Match[str]) -> str:
            return f"{keys.lua_functions()}\n{match[0]}"

        self.name = name
        self.settles = settles
        text = _INCLUDE.sub(with_keys, (lua / f"{name}.lua").read_text("utf-8"), count=1)
        self.source = _INCLUDE.sub(include, text)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one store."""

    def __init__(self, client: StoreClient, tell: Callable[[Timeout], None]) -> None:
        """`tell` is told of each thing that was due, once it is done."""
        self.client = client
        self._tell = tell
        self._lanes = Pipeline(client)
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)
        """Held by what lists send, so that they do not take the connections that calls need."""

    async def run(self, script: Script, partition: int, *args: str | bytes | int) -> Any:
        """Runs `script` on a partition and returns its answer.

        Raises:
            StoreError: the store could not be reached, gave no answer, or refused to run anything.
        """
        reply = await self.run_on(script, keys.tag(partition), *args)
        if script.settles:
            due, *reply = reply
            for word, name, activity, *made in due:
                if word == b"LEASE_ENDED":
                    self._tell(LeaseEnded(name.decode(), activity.decode(), unpack_effect(made[0])))
                else:
                    self._tell(CaseExpired(name.decode(), activity.decode()))
        return reply

    async def run_on(self, script: Script, key: str, *args: str | bytes | int) -> Any:
        """Runs `script` on the one key that it is about, and returns its reply.

        Raises:
            StoreError: the store could not be reached, gave no answer, or refused to run anything.
        """
        with store_errors():
            try:
                return await self._lanes.send(key, "EVALSHA", script.sha, 1, key, *args)
            except NoScriptError:
                return await self._lanes.send(key, "EVAL", script.source, 1, key, *args)

    async def run_lists(
        self, script: Script, arguments: Mapping[int, Sequence[str | bytes | int]]
    ) -> dict[int, list[Any]]:
        """Runs a `script` that only reads on each partition, with its arguments, and returns the replies.

        Raises:
            StoreError: the store could not be reached, gave no answer, or refused to run anything.
        """
        partitions = list(arguments)
        groups = [partitions[at : at + PARTITIONS_AT_ONCE] for at in range(0, len(partitions), PARTITIONS_AT_ONCE)]

        async def run_group(group: Sequence[int]) -> list[Any]:
            async with self._lists:
                with store_errors():
                    pipeline = self.client.pipeline(transaction=False)
                    for partition in group:
                        pipeline.execute_command("EVALSHA", script.sha, 1, keys.tag(partition), *arguments[partition])
                    replies = await pipeline.execute(raise_on_error=False)
            for at, reply in enumerate(replies):
                if isinstance(reply, Exception):  # the store does not know the script yet; or it says so once more
                    replies[at] = await self.run(script, group[at], *arguments[group[at]])
            return replies

        replies = await asyncio.gather(*(run_group(group) for group in groups))
        return dict(zip(partitions, itertools.chain.from_iterable(replies), strict=True))
