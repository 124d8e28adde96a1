"""Proxies that lose replies of a store or another server: the request is executed, and its reply is dropped."""

import asyncio
import contextlib
import hashlib
import importlib
from collections import Counter, deque

from callback_conform.relay import stop_accepting

_SCRIPTS = (
    "append_audit", "apply_retention", "change_pauses", "change_profile", "claim_call", "close_case", "create_cases",
    "erase_calls", "extend_case", "finish_call", "mark_caller_gone", "mark_fallback", "mark_waiting", "replay_call",
    "resolve_case", "set_response", "sweep_partition",
)  # fmt: skip
_NAMES = {
    importlib.import_module(f"callback_server.store.transitions.{name}").SCRIPT.sha.encode(): name for name in _SCRIPTS
}


def script_of(command):
    """Return the name of the script that a command runs, or None."""
    word = command[0].upper()
    if word == b"EVALSHA":
        return _NAMES.get(command[1])
    if word == b"EVAL":
        return _NAMES.get(hashlib.sha1(command[1], usedforsecurity=False).hexdigest().encode())
    return None


def each_once(*names):
    """Return a `lose` function that drops the first reply to each different command that runs one of these scripts."""
    seen = set()

    def lose(command):
        script = script_of(command)
        if script not in names:
            return False
        # Each attempt to set a response names the version that it is based on, and has an entry of the audit; all
        # attempts count as one command.
        same = command[:6] + command[7:11] + command[12:] if script == "set_response" else command
        known = hashlib.sha256(repr(same).encode()).digest()
        if known in seen:
            return False
        seen.add(known)
        return True

    return lose


class StoreProxy:
    """Proxy in front of a store. It drops the reply to each command that `lose` selects, and the connection.

    `lost` counts the dropped replies by script. `change` makes what the client gets of the bytes of a reply.
    """

    def __init__(self, store, lose):
        self._port = store.port
        self._lose = lose
        self.change = bytes
        self.lost = Counter()
        self._connections = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error):
        await stop_accepting(self._server)
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader, writer):
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._port)
        waiting = deque()  # for each command without a reply yet: None, or the script whose reply is to be dropped

        async def commands():
            while True:
                command = await read_command(reader)
                waiting.append(script_of(command) if self._lose(command) else None)
                store_writer.write(encoded(command))
                await store_writer.drain()

        async def replies():
            while True:
                reply = await read_reply(store_reader)
                if waiting[0] is not None:  # the replies to the commands after it are lost too
                    self.lost.update(script for script in waiting if script is not None)
                    return
                waiting.popleft()
                writer.write(self.change(reply))
                await writer.drain()

        tasks = [asyncio.create_task(commands()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            store_writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def read_command(reader):
    """Read one command as a client sends it: an array of strings."""
    head = await reader.readuntil(b"\r\n")
    assert head[:1] == b"*", head
    command = []
    for _ in range(int(head[1:])):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        command.append((await reader.readexactly(size + 2))[:-2])
    return command


async def read_reply(reader):
    """Read the bytes of one reply, RESP2 or RESP3."""
    reply = await reader.readuntil(b"\r\n")
    kind, rest = reply[:1], reply[1:-2]
    if kind in b"$=!" and int(rest) >= 0:
        reply += await reader.readexactly(int(rest) + 2)
    elif kind in b"*~>%":
        for _ in range(int(rest) * (2 if kind == b"%" else 1)):
            reply += await read_reply(reader)
    return reply


def encoded(command):
    """Return the bytes of a command."""
    return b"".join([b"*%d\r\n" % len(command), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)])
