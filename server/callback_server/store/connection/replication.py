"""Confirmation by replicas: the replies to a batch of writes are held until enough replicas have them on disk.

A batch is followed by three commands on its connection, because the store counts for each connection:

1. A write of its own. WAIT and WAITAOF wait for the last *write* of the connection. A script that finds its step done
   before, such as the second attempt of a claim, writes nothing; behind it both would answer at once with all
   replicas, also with those that do not have the step. The write comes after all that the scripts have read.
2. `WAIT N`, which asks the replicas for their positions now. Without it, `WAITAOF` takes up to a second on an idle
   connection, because a replica reports the fsync before last.
3. `WAITAOF 1 N`, whose counts decide. It also returns on a timeout, with what it has; and with an error if the node
   became a replica meanwhile.

Too few means that it is not known whether the writes survive a failover. They were done, so they are not undone: the
caller sends the step again with the same call id, and gets its result once it is confirmed.

WAIT counts every replica, also one that cannot be elected (`replica-priority 0`, `cluster-replica-no-failover`). So
only N = all replicas of a primary is safe (see safety.py), and while more are attached, no batch is
confirmed. Sources: redis.io/commands/waitaof and /wait for the counts, the timeouts and MULTI; tried on Valkey 9.1: a
script without a write, and what is counted.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError

from callback_server import metrics
from callback_server.store import keys

WAIT_MS: Final = 500
WAITAOF_MS: Final = 1000
"""The timeouts. Together they are less than `SOCKET_TIMEOUT_S`, which would close the connection."""
MARK_BATCH: Final = """#!lua flags=allow-oom
redis.call('SET', ARGV[1], '')
local found, count = {}, 0
for ip, port in string.gmatch(redis.call('INFO', 'replication'), 'slave%d+:ip=(.-),port=(%d+)') do
  local name = ip .. ':' .. port
  if port ~= '0' and not found[name] then found[name], count = true, count + 1 end
end
return count"""
"""A script, because a full store refuses a plain SET, but not the scripts that end a call. Returns how many replicas
are attached, as nodes.py counts them."""
_REPLIES: Final = 3


class NotReplicatedError(RedisConnectionError):
    """Too few replicas have confirmed a write in time. It is done, and may be lost by a failover."""


class Confirmation:
    """The confirmation of one batch."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._held: list[tuple[asyncio.Future[Any], Any]] = []
        self._replies: list[Any] = []

    def packed(self, key: str) -> bytes:
        """Return the commands to send after the batch. `key` is of a slot that the node serves."""
        commands: tuple[tuple[str | int, ...], ...] = (
            ("EVAL", MARK_BATCH, 1, key, keys.batch_mark_key(key)),
            ("WAIT", self._replicas, WAIT_MS),
            ("WAITAOF", 1, self._replicas, WAITAOF_MS),
        )
        return b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]  # any length

    def hold(self, reply: asyncio.Future[Any], value: Any) -> None:
        """Keep the reply to a command of the batch until the batch is confirmed."""
        self._held.append((reply, value))

    def add_reply(self, value: Any) -> bool:
        """Take the next reply to the commands of the confirmation, and return whether it is the last."""
        self._replies.append(value)
        return len(self._replies) == _REPLIES

    def settle(self, took_s: float) -> None:
        """Set the replies of the batch, or fail them if too few replicas have confirmed it."""
        problem = self.problem
        outcome = "confirmed" if problem is None else "too_few"
        metrics.STORE_REPLICATION_SECONDS.labels(outcome).observe(took_s)
        for reply, value in self._held:
            if problem is None:
                set_value(reply, value)
            else:
                set_error(reply, NotReplicatedError(problem))

    def fail(self, error: BaseException) -> None:
        """Fail the replies of the batch, because the connection is lost."""
        for reply, _ in self._held:
            fail_reply(reply, error, RedisConnectionError)

    @property
    def problem(self) -> str | None:
        """Why the batch is not confirmed, once all replies have come. None: it is."""
        for each in self._replies:
            if isinstance(each, Exception):
                return f"the write could not be confirmed by a replica: {each}"
        if self._replies[0] > self._replicas:  # one of them stands in for one that can be elected and is behind
            return f"{self._replies[0]} replicas are attached, and {self._replicas} must confirm a write"
        on_disk, replicas = self._replies[2]
        if on_disk < 1:
            return "the write was not on disk in time"
        if replicas < self._replicas:
            received = f", and {self._replies[1]} had received it" if self._replies[1] > replicas else ""
            return f"{replicas} of {self._replicas} replicas had the write on disk in time{received}"
        return None


def set_value(reply: asyncio.Future[Any], value: Any) -> None:
    """Set a reply, unless its sender was cancelled."""
    if not reply.done():
        reply.set_result(value)


def set_error(reply: asyncio.Future[Any], error: Exception) -> None:
    """Set an error as the reply, unless its sender was cancelled."""
    if not reply.done():
        reply.set_exception(error)


def fail_reply(reply: asyncio.Future[Any], error: BaseException, kind: type[RedisConnectionError]) -> None:
    """Fail a reply with an error of this kind, or cancel it if the error is not an `Exception`."""
    if reply.done():
        return
    if isinstance(error, Exception):
        failure = kind(str(error))
        failure.__cause__ = error
        reply.set_exception(failure)
    else:
        reply.cancel()
