"""Exchange of the store's epochs between servers, through edges and workers.

A server that has just started does not know the newest epoch, so another one tells it. The store cannot do that,
because an old primary does not know the newest epoch either. Edges and workers are connected to several servers, one
after the other. They keep the last message without reading it, and pass it to each server. A server takes each epoch
that is newer than the one it knows, and its next message has that epoch. Edges connect to a server that refuses its
store too: it may be the one that does not know enough (see rpc/health.py).

The message is signed with a key that is derived from `state_key`, which all servers share: an edge or a worker cannot
make one. Without a `state_key`, nothing is passed on.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from callback_process.logs import get_logger
from callback_server.store import keys
from callback_server.store.epochs.known import Epoch, Epochs

log = get_logger()

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""The maximum size of a message. It has about 70 bytes for each partition, or 400 after many restarts."""
_VERSION: Final = b"\x01"
_DIGEST_BYTES: Final = 16
_PURPOSE: Final = b"callback store epochs"
_Partitions = dict[int, tuple[int, str, str, int, int]]
"""By partition its epoch, and the number and steps that an earlier release counts: each server counts for itself."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Partitions).decode


class EpochExchange:
    """The messages of this server, and what it does with those of others."""

    def __init__(self, epochs: Epochs, state_key: bytes | None) -> None:
        self._epochs = epochs
        self._key = None if state_key is None else hmac.digest(state_key, _PURPOSE, "sha256")
        self._listeners = set[Callable[[], None]]()

    def message(self) -> bytes:
        """Return what this server knows, without what it has only found. Empty: nothing, or it has no key."""
        known: _Partitions = {
            keys.partition_of_tag(tag): (
                each.epoch.number, each.epoch.id, each.epoch.replication_ids, each.epoch.number, 0
            )
            for tag, each in self._epochs.known.items()
            if not each.is_found
        }  # fmt: skip
        if self._key is None or not known:
            return b""
        content = _VERSION + _encode(known)
        return self._digest(self._key, content) + content

    def receive(self, message: bytes) -> None:
        """Take what another server knows, if the message is signed with our key, and of no later version."""
        if self._key is None or not message or len(message) > MAX_MESSAGE_BYTES:
            return
        digest, content = message[:_DIGEST_BYTES], message[_DIGEST_BYTES:]
        if not hmac.compare_digest(digest, self._digest(self._key, content)):
            log.warning("store_epochs_not_taken", reason="the signature is not ours")
            return
        if not content.startswith(_VERSION):
            return
        known = _decode(content[1:]).items()
        taken = [self._epochs.remember(partition, Epoch(*epoch[:3])) for partition, epoch in known]
        if not all(taken):
            log.error("store_epochs_not_taken", reason="the server that sent them has another store than this one")

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` inside the block, when there is another message."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def notify(self) -> None:
        """Tell the listeners that a newer epoch became known."""
        for listener in [*self._listeners]:
            listener()

    @staticmethod
    def _digest(key: bytes, content: bytes) -> bytes:
        return hmac.digest(key, content, hashlib.sha256)[:_DIGEST_BYTES]
