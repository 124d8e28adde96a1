"""Messages between replicas (a replica is one server process), through the store.

1. Each process has its own replica id while it runs.
2. Messages to one replica are sent in order, queued messages in one batch. While the store is unreachable, they wait up
   to SEND_WAIT_S; then they are dropped. A message can also arrive twice. Senders and receivers must tolerate both.
3. One reader has a connection of its own, because it waits in the store.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import ClassVar, Final, TypeVar

import msgspec

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.resend import resend
from callback_server.store.failure_log import failures_logged
from callback_server.store.queries.receive_messages import MESSAGES_PER_READ, receive_messages
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.send_messages import send_messages

log = get_logger()

SEND_WAIT_S: Final = 3.0
"""How long messages wait for an unreachable store, in seconds."""
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of a batch of messages, in bytes. A larger message is sent alone."""
READ_RETRY_S: Final = 0.2
"""How long the reader waits before it reads again from a store that was unreachable, in seconds."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode


class ReplicaMessage(msgspec.Struct, frozen=True, array_like=True):
    """A message of one replica to another.

    Append fields at the end, with a default: replicas of two releases exchange messages.
    """

    kind: ClassVar[str]


M = TypeVar("M", bound=ReplicaMessage)


class ReplicaBus:
    """Sends messages to other replicas, and passes on those that arrive here."""

    def __init__(self, scripts: Scripts, client: StoreClient) -> None:
        """Create a bus.

        Args:
            scripts: The scripts on the store.
            client: A client for the reader alone.
        """
        self.replica: Final = secrets.token_hex(8)
        self._scripts = scripts
        self._client = client
        self._receivers: dict[str, Callable[[msgspec.Raw | bytes], None]] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}

    def receive(self, kind: type[M], receiver: Callable[[M], None]) -> None:
        """Pass each message of a kind to `receiver`."""
        decode = msgspec.msgpack.Decoder(kind).decode
        self._receivers[kind.kind] = lambda raw: receiver(decode(raw))

    def send(self, to: str, message: ReplicaMessage) -> None:
        """Send a message to a replica, which may be this one, without waiting for it."""
        packed = _encode((message.kind, message))
        if to == self.replica:
            asyncio.get_running_loop().call_soon(self._on_message, packed)
            return
        self._waiting.setdefault(to, []).append(packed)
        if to not in self._senders:
            self._senders[to] = asyncio.create_task(self._send_waiting(to))

    async def flush(self) -> None:
        """Wait until every message is sent or dropped."""
        while self._senders:
            await asyncio.wait(self._senders.values())

    async def run(self) -> None:
        """Read the messages to this replica until cancelled."""
        while True:
            with failures_logged("replica_messages_not_read"):  # there is no other reader
                for message in await receive_messages(self._client, self.replica):
                    self._on_message(message)
                continue
            await asyncio.sleep(READ_RETRY_S)

    def _on_message(self, packed: bytes) -> None:
        try:
            kind, raw = _decode(packed)
            receiver = self._receivers.get(kind)
            if receiver is not None:  # a newer release may send kinds that are not known here
                receiver(raw)
        except Exception:  # the next message must be read
            log.exception("replica_message_fault")

    async def _send_waiting(self, to: str) -> None:
        try:
            while waiting := self._waiting.get(to):
                batch = _first_batch(waiting)
                del waiting[: len(batch)]
                await self._send_batch(to, batch)
        finally:
            del self._senders[to]
            self._waiting.pop(to, None)

    async def _send_batch(self, to: str, batch: list[bytes]) -> None:
        with failures_logged("replica_messages_dropped", to=to, messages=len(batch)):
            if await resend(
                lambda: send_messages(self._scripts, to, batch), unsent_s=SEND_WAIT_S, unsure_s=SEND_WAIT_S
            ):
                return
            log.warning("replica_messages_dropped", to=to, messages=len(batch), error="its queue is full")
        metrics.REPLICA_MESSAGES_DROPPED.inc(len(batch))


def _first_batch(messages: list[bytes]) -> list[bytes]:
    """Return the first queued messages that fit into one batch; at least one."""
    size, batch = 0, list[bytes]()
    for message in messages[:MESSAGES_PER_READ]:
        size += len(message)
        if batch and size > MAX_BATCH_BYTES:
            break
        batch.append(message)
    return batch
