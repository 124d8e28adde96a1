"""The mailbox of this process: what other replicas write to it, and what is written to them.

1. Each process has an identity of its own, its replica id, for as long as it lives.
2. Letters to one replica are sent in their order, and together where several wait. A store that is away delays them for
   a moment; then they are dropped. Letters may also come twice. Who writes and who reads must be able to live with it.
3. One reader, on a connection of its own, for it waits in the store.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import ClassVar, Final, TypeVar

import msgspec

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.store.connection.client import StoreClient, StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.queries.receive_messages import MESSAGES_PER_READ, receive_messages
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.send_messages import send_messages

log = get_logger()

DELAY_S: Final = 3.0
"""How long letters wait for a store that is away, in seconds."""
BYTES_AT_ONCE: Final = 4 * 1024 * 1024
"""Beyond, letters are not sent together."""
PAUSE_S: Final = 0.2
"""How long the reader waits before it asks a store again that was away, in seconds."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode


class ReplicaMessage(msgspec.Struct, frozen=True, array_like=True):
    """What one replica writes to another. Append fields at the end, with a default: replicas of two releases write."""

    kind: ClassVar[str]


L = TypeVar("L", bound=ReplicaMessage)


class ReplicaBus:
    """Writes to other replicas, and has those read what comes who asked for it."""

    def __init__(self, scripts: Scripts, client: StoreClient) -> None:
        """`client` is for the reader alone."""
        self.replica: Final = secrets.token_hex(8)
        self._scripts = scripts
        self._client = client
        self._readers: dict[str, Callable[[msgspec.Raw | bytes], None]] = {}
        self._waiting: dict[str, list[bytes]] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}

    def receive(self, letter: type[L], read: Callable[[L], None]) -> None:
        """Has `read` get each letter of a kind."""
        decode = msgspec.msgpack.Decoder(letter).decode
        self._readers[letter.kind] = lambda raw: read(decode(raw))

    def post(self, to: str, letter: ReplicaMessage) -> None:
        """Sends a letter to a replica, soon. To this one too."""
        packed = _encode((letter.kind, letter))
        if to == self.replica:
            asyncio.get_running_loop().call_soon(self._read, packed)
            return
        self._waiting.setdefault(to, []).append(packed)
        if to not in self._senders:
            self._senders[to] = asyncio.create_task(self._send(to))

    async def flush(self) -> None:
        """Waits until all that was posted is sent, or dropped."""
        while self._senders:
            await asyncio.wait(self._senders.values())

    async def read_for_ever(self) -> None:
        """Reads what comes, until it is cancelled."""
        while True:
            try:
                letters = await receive_messages(self._client, self.replica)
            except StoreError as error:
                log.warning("mail_not_read", error=str(error))
                await asyncio.sleep(PAUSE_S)
            except Exception:  # nobody else reads it
                log.exception("mail_not_read")
                await asyncio.sleep(PAUSE_S)
            else:
                for letter in letters:
                    self._read(letter)

    def _read(self, packed: bytes) -> None:
        try:
            kind, raw = _decode(packed)
            read = self._readers.get(kind)
            if read is not None:  # a release that is newer may write what is not known here
                read(raw)
        except Exception:  # the next letter must be read
            log.exception("letter_fault")

    async def _send(self, to: str) -> None:
        try:
            while waiting := self._waiting.get(to):
                letters = _some(waiting)
                del waiting[: len(letters)]
                await self._send_some(to, letters)
        finally:
            del self._senders[to]
            self._waiting.pop(to, None)

    async def _send_some(self, to: str, letters: list[bytes]) -> None:
        try:
            if await resend(lambda: send_messages(self._scripts, to, letters), unsent_s=DELAY_S, unsure_s=DELAY_S):
                return
            log.warning("letters_dropped", to=to, letters=len(letters), error="its mailbox is full")
        except StoreError as error:
            log.warning("letters_dropped", to=to, letters=len(letters), error=str(error))
        except Exception:
            log.exception("letters_dropped", to=to, letters=len(letters))
        metrics.LETTERS_DROPPED.inc(len(letters))


def _some(letters: list[bytes]) -> list[bytes]:
    """The first letters, as many as are sent together: at least one."""
    size, some = 0, list[bytes]()
    for letter in letters[:MESSAGES_PER_READ]:
        size += len(letter)
        if some and size > BYTES_AT_ONCE:
            break
        some.append(letter)
    return some
