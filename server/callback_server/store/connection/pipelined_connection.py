"""One pipelined connection to the store: batches of commands in, their replies out, without redis-py's streams.

With a fence, the connection asks the store for the epoch of a partition before its first command there, and again when
a newer one is known. A batch waits for these replies: nothing is done on a store that is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import hiredis
from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from callback_server.store.connection.client import SOCKET_TIMEOUT_S, StoreConnection
from callback_server.store.connection.errors import NO_PRIMARY, NotSentError, reply_error
from callback_server.store.connection.fence import Fence, Sent
from callback_server.store.connection.replication import Confirmation, fail_reply, set_error, set_value

PackedCommand = tuple[bytes, "asyncio.Future[Any]", str, Sent]
"""A command as it is written, the future of its reply, the key that it is about, and a record of where it went."""
_REFUSALS: Final = (ResponseError, AuthenticationError, BusyLoadingError)
"""The errors that redis-py makes of a reply. Its other errors concern the connection."""
_INCOMPLETE: Final = object()
"""Stands for a reply that has not arrived completely."""


class PipelinedConnection(asyncio.Protocol):
    """A connection that redis-py has made, and the commands that were sent on it. It reads and writes by itself.

    redis-py takes several turns of the event loop, a timer and a task for what is one write and one read here.
    """

    def __init__(
        self,
        connection: StoreConnection,
        *,
        replicas: int,
        fence: Fence | None,
        on_free: Callable[[], None],
        on_closed: Callable[[PipelinedConnection], None],
        on_no_primary: Callable[[], None],
    ) -> None:
        """Take over a connection.

        Args:
            connection: A connection that is connected.
            replicas: The number of replicas that must confirm each batch before its replies are set (replication.py).
            fence: Decides whether the connection may work on a partition. None: it may.
            on_free: Called when every command has its reply.
            on_closed: Called once, when the connection is closed.
            on_no_primary: Called when the node says that it is not the primary any more. The connection closes once
                every command has its reply.

        Raises:
            NotSentError: The store has closed the connection already.
        """
        self.connection = connection
        self._on_free = on_free
        self._on_closed = on_closed
        self._on_no_primary = on_no_primary
        self._leads_to_primary = True
        self._sent = deque[PackedCommand]()
        """The commands that have no reply yet. After them comes the confirmation of their batch, if there is one."""
        self._fence = fence
        self._epochs: dict[str, Any] = {}
        """The epochs in which the connection can work, by the tag of the partition."""
        self._asked_first: Mapping[str, Any] = {}
        """The epochs for which the store was asked first of all."""
        self._asked = deque[tuple[str, Any]]()
        """The partitions that the store was asked for, each with the epoch that was known then."""
        self._unconfirmed: list[tuple[str, Any, Any]] = []
        """What it has replied, for the fence to judge once replicas have confirmed it."""
        self._held: Sequence[PackedCommand] = ()
        """The batch that waits for these replies."""
        self._replicas = replicas
        self._confirmation: Confirmation | None = None
        """The confirmation of the batch that was sent."""
        self._mark_key = ""
        """The key of the last command that the node has done. A batch is marked there, because a node of a cluster
        refuses a slot that moves, and the first command of a batch can be about one. Any slot of the node will do."""
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=reply_error, notEnoughData=_INCOMPLETE)
        self.sent_at = 0.0
        """When commands were sent last, by the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._transport, self._streams = connection.hand_over(self)

    @property
    def is_free(self) -> bool:
        """Whether commands can be sent now."""
        return not self._is_busy() and self._leads_to_primary and not self._transport.is_closing()

    def _is_busy(self) -> bool:
        return bool(self._sent or self._asked) or self._confirmation is not None

    def send(self, commands: Sequence[PackedCommand]) -> None:
        """Send commands in one write. Call it only while the connection is free."""
        if self._fence is not None and (unknown := self._partitions_to_ask(self._fence, commands)):
            self._held = commands
            self._asked.extend((tag, self._fence.current(tag)) for tag in unknown)
            self._write([hiredis.pack_command(self._fence.question(tag)) for tag in unknown])  # type: ignore[arg-type]  # any length
            return
        self._sent.extend(commands)
        written = [packed for packed, _, _, _ in commands]
        if self._replicas:
            self._confirmation = Confirmation(self._replicas)
            written.append(self._confirmation.packed(self._mark_key or commands[0][2]))
        self._write(written)

    def _partitions_to_ask(self, fence: Fence, commands: Sequence[PackedCommand]) -> list[str]:
        """Return the partitions to ask the store for now, before these commands."""
        witnesses = fence.witnesses
        if witnesses is not self._asked_first:
            before, self._asked_first = self._asked_first, witnesses
            first = [
                tag
                for tag, epoch in witnesses.items()
                if self._epochs.get(tag) is not epoch and before.get(tag) is not epoch
            ]
            if first:
                return first
        return self._unknown_partitions(fence, commands) or [*fence.unseen]

    def _unknown_partitions(self, fence: Fence, commands: Sequence[PackedCommand]) -> list[str]:
        """Return the partitions of commands whose newest epoch the store has not shown. Tell the senders all others."""
        unknown: dict[str, None] = {}
        for _, _, _, sent in commands:
            if not (tag := sent.tag):
                continue
            epoch = self._epochs.get(tag)
            if epoch is None or epoch is not fence.current(tag):
                unknown[tag] = None
            else:
                sent.epoch = epoch
        return [*unknown]

    def _write(self, packed: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        self.sent_at = loop.time()
        if self._timer is None:
            self._timer = loop.call_at(self.sent_at + SOCKET_TIMEOUT_S, self._check_timeout)
        self._transport.write(b"".join(packed))

    def close(self) -> None:
        """Close the connection, on which no command is under way."""
        self._close(RedisConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        """Set the replies that have arrived."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._set_reply(reply)
        except (RedisConnectionError, InvalidResponse) as error:
            self._close(error)
            return
        if self._is_busy():
            return
        if self._leads_to_primary:
            self._on_free()
        else:
            self.close()

    def eof_received(self) -> None:
        """Close the connection after the store has closed its side."""
        self._close(RedisConnectionError("the store has closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the commands that have no reply."""
        self._streams.connection_lost(exc)  # redis-py waits for this when it closes the connection
        self._close(exc or RedisConnectionError("the connection was closed"))

    def _set_reply(self, value: Any) -> None:
        if isinstance(value, Exception):
            if not isinstance(value, _REFUSALS):
                raise value
            if isinstance(value, NO_PRIMARY) and self._leads_to_primary:
                self._leads_to_primary = False
                self._on_no_primary()
        elif isinstance(value, hiredis.PushNotification):
            return
        if self._asked:
            self._take_epoch(*self._asked.popleft(), value)
        elif self._sent:
            _, reply, key, _ = self._sent.popleft()
            if isinstance(value, Exception):
                set_error(reply, value)
            elif self._confirmation is not None:
                self._mark_key = key
                self._confirmation.hold(reply, value)
            else:
                set_value(reply, value)
        elif self._confirmation is None:
            raise InvalidResponse("a reply without a command")
        elif self._confirmation.add_reply(value):
            confirmation, self._confirmation = self._confirmation, None
            confirmation.settle(asyncio.get_running_loop().time() - self.sent_at)
            if self._unconfirmed:
                self._take_confirmed(confirmation.problem)

    def _take_epoch(self, tag: str, asked: Any, value: Any) -> None:
        """Take the reply of the store about a partition. With the last one, send the commands that are not refused."""
        fence = cast("Fence", self._fence)
        if fence.must_confirm(tag, value):
            self._unconfirmed.append((tag, asked, value))
        else:
            self._judge(fence, tag, asked, value)
        if self._asked:
            return
        if self._unconfirmed:
            self._confirmation = Confirmation(fence.replicas)
            self._write([self._confirmation.packed(self._unconfirmed[0][0])])
        else:
            self._send_held()

    def _take_confirmed(self, problem: str | None) -> None:
        """Take what replicas have confirmed about partitions, or not. Then send the commands that are not refused."""
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for tag, asked, value in unconfirmed:
            if problem is None:
                self._judge(cast("Fence", self._fence), tag, asked, value)
            else:
                self._refuse(tag, NotSentError(f"the primary has changed or restarted: {problem}"))
        self._send_held()

    def _judge(self, fence: Fence, tag: str, asked: Any, value: Any) -> None:
        try:
            self._epochs[tag] = fence.judge(tag, asked, value)
        except Exception as error:  # it belongs to the commands
            self._refuse(tag, error)

    def _refuse(self, tag: str, error: Exception) -> None:
        """Fail the commands that an error about a partition concerns."""
        is_refused = isinstance(error, NotSentError)
        for _, reply, _, sent in self._held:
            if is_refused or sent.tag == tag:
                set_error(reply, error)
        if is_refused and self._leads_to_primary:
            self._leads_to_primary = False  # look the primary up anew
            self._on_no_primary()

    def _send_held(self) -> None:
        held, self._held = [command for command in self._held if not command[1].done()], ()
        if held:
            self.send(held)

    def _check_timeout(self) -> None:
        """Close the connection if replies are late. One timer serves all commands that are sent while it runs."""
        self._timer = None
        if not self._is_busy():
            return
        loop = asyncio.get_running_loop()
        late_at = self.sent_at + SOCKET_TIMEOUT_S
        if loop.time() < late_at:
            self._timer = loop.call_at(late_at, self._check_timeout)
        else:
            self._close(TimeoutError("no reply in time"))

    def _close(self, error: Exception) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        self.connection.release()
        fail(self._sent, error, RedisConnectionError)
        self._sent.clear()
        fail(self._held, error, NotSentError)
        self._held = ()
        self._asked.clear()
        self._unconfirmed.clear()
        if self._confirmation is not None:
            self._confirmation.fail(error)
            self._confirmation = None
        self._on_closed(self)


def fail(commands: Iterable[PackedCommand], error: BaseException, kind: type[RedisConnectionError]) -> None:
    """Fail commands with an error of this kind, or cancel them if the error is not an `Exception`."""
    for _, reply, _, _ in commands:
        fail_reply(reply, error, kind)
