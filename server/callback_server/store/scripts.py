"""Lua scripts: loaded from package data, sent by their SHA, and sent whole to a store that does not know them.

Every script is safe to be sent twice. :meth:`Scripts.run` sends it once; its caller knows what the script is for, and
decides whether and for how long to send it again.

A script may do more than it was asked for, such as apply the timeouts that are due on the case, and reports that before
its answer. :class:`Scripts` passes each report on (:meth:`Scripts.receive`). A timeout is reported once, because
only the execution that applies it reports it. If that reply is lost, the report is lost too; the store itself is right.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from importlib import resources
from typing import Any, Final, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from callback_server.domain.call import CallStatus
from callback_server.domain.reports import (
    AwaitedCallEnded,
    CallResolved,
    CaseExpired,
    EntryWithoutCase,
    HoldTimeEnded,
    LeaseEnded,
    Report,
    WrongType,
)
from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.connection.errors import NotSentError, store_errors
from callback_server.store.connection.fence import Fence, Seen, Sent
from callback_server.store.connection.pipeline import Pipeline
from callback_server.store.generated_lua import PARTS, with_keys
from callback_server.store.packing import unpack_effect
from callback_server.store.script_arguments import (
    LIST,
    Argument,
    argument_bindings,
    declared_arguments,
    declared_fields,
    field_bindings,
    is_item_list,
)

PARTITIONS_PER_BATCH: Final = 16
"""How many scripts are sent together to read all partitions. Calls must get in between."""
_ENDS_OF_CALLS: Final[Mapping[bytes, type[LeaseEnded | HoldTimeEnded]]] = {
    b"LEASE_ENDED": LeaseEnded,
    b"HOLD_TIME_ENDED": HoldTimeEnded,
}
_DIRECTIVE: Final = re.compile(r"^( *)-- @(?:include (\w+)|(arguments|fields))$", re.MULTILINE)
_CHECK: Final = "\nif has_lost_steps() then return {false, event_number(), newest_at} end"
_LINE_OF_ERROR: Final = re.compile(r"user_script:(\d+)")
FOLDER: Final = resources.files("callback_server.store") / "lua"

R = TypeVar("R", bound=Report)
Packed = list[str | bytes | int]
"""The arguments of a script in the order and form in which it receives them."""


class Script:
    """One Lua file, and the arguments that its header declares (see script_arguments.py).

    The store gets the file as it is written, except that `-- @include NAME` stands for a file in `lua/includes/` or for
    a generated part (see generated_lua.py), each inserted once; `-- @arguments` stands for the locals that hold the
    arguments, and for the check of `has_lost_steps`; `-- @fields` stands for the locals that hold the fields of an item
    of a list; and `case_key(id)` and so on stand for the keys of the table in keys.py.
    """

    def __init__(self, name: str, *, sends_reports: bool = False, is_transient: bool = False) -> None:
        """Load a script.

        Args:
            name: The name of the file in `lua/`, without its extension.
            sends_reports: Whether the replies of the script begin with reports, and the newest event of the partition.
                It does nothing where the partition does not have the newest one that this server has seen.
            is_transient: Whether what it writes may be lost by a failover, because it is written again or only hastens
                something.
        """
        self.name = name
        self.sends_reports = sends_reports
        written = (FOLDER / f"{name}.lua").read_text("utf-8")
        header = written.partition("\n-- @arguments\n")[0]
        self.arguments = declared_arguments(header)
        self._names = {argument.name for argument in self.arguments}
        self.fields = declared_fields(header)
        """The fields of the items of its list."""
        self._field_names = {field.name for field in self.fields}
        bindings = argument_bindings(self.arguments, len(self.fields)) + (_CHECK if sends_reports else "")
        self.code = _with_parts(written, {"arguments": bindings, "fields": field_bindings(self.fields)})
        """The code with everything that it includes."""
        self.source = with_keys(self.code)
        """What the store gets."""
        self.is_durable = not is_transient and "no-writes" not in self.source.partition("\n")[0]
        """Whether its reply waits until the required replicas have confirmed what it wrote, or found written."""
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def pack(self, **arguments: Any) -> Packed:
        """Return arguments in the order and form in which the script receives them.

        Raises:
            TypeError: An argument is missing or unknown.
        """
        return self._packed(self.arguments, self._names, arguments)

    def pack_item(self, **fields: Any) -> Packed:
        """Return the fields of an item of a list in the order and form in which the script receives them.

        Raises:
            TypeError: A field is missing or unknown.
        """
        return self._packed(self.fields, self._field_names, fields)

    def _packed(self, declared: Sequence[Argument], names: AbstractSet[str], given: Mapping[str, Any]) -> Packed:
        if given.keys() != names:
            raise TypeError(f"{self.name}.lua: arguments missing or unknown: {sorted(given.keys() ^ names)}")
        packed: Packed = []
        for argument in declared:
            name, type_ = argument
            value = given[name]
            if type_ in ("string", "number"):
                packed.append(value)
            elif type_ == "boolean":
                packed.append("1" if value else "")
            elif is_item_list(argument):
                packed += (len(value), *itertools.chain.from_iterable(value))
            else:
                packed += (len(value), *value) if type_ == LIST else value
        return packed


def _with_parts(written: str, bindings: Mapping[str, str]) -> str:
    """Return the code of a script with its `bindings` by directive, and with everything that it includes."""
    included = set[str]()

    def replacement(match: re.Match[str]) -> str:
        indentation, part, directive = match.groups()
        if part is None:
            return indentation + bindings[directive]
        if part in included:
            return ""
        included.add(part)
        if part in PARTS:
            return PARTS[part]()
        return _DIRECTIVE.sub(replacement, (FOLDER / "includes" / f"{part}.lua").read_text("utf-8"))

    return _DIRECTIVE.sub(replacement, written)


class Scripts:
    """Runs scripts on one store."""

    def __init__(
        self,
        client: StoreClient,
        *,
        replicas: int = 0,
        fence: Fence | None = None,
    ) -> None:
        """Make a runner.

        Args:
            client: The client of the store.
            replicas: How many replicas must confirm what a script writes.
            fence: Decides which primary to work on. None: any is taken.
        """
        self.client = client
        self.replicas = replicas
        self.unsafe = ""
        """Why the store is not safe: nothing that must be durable is sent or acknowledged. Empty: it is safe."""
        self.names_bodies = False
        """Whether calls and answers name the body of the response of their case, in place of a copy of it. Each server
        of the store must be able to read that."""
        self._receivers: dict[type[Any], Callable[[Any], None]] = {}
        self._fence = fence
        self._pipeline = Pipeline(client, replicas=replicas, fence=fence)
        self._reads = Pipeline(client, fence=fence)
        """Connections for reads of many keys. Calls have others, so that they do not wait behind these."""

    def receive(self, kind: type[R], receiver: Callable[[R], None]) -> None:
        """Pass each report of a kind to `receiver`."""
        self._receivers[kind] = receiver

    async def run(self, script: Script, partition: int | None = None, /, **arguments: Any) -> Any:
        """Run `script` on a partition (None: that of its argument `case_id`), and return its answer.

        Raises:
            StoreError: The store could not be reached, gave no answer, or refused to run the script.
        """
        tag = keys.tag(keys.partition_of(arguments["case_id"]) if partition is None else partition)
        sent, steps, newest_at = Sent(tag), 0, 0
        seen = self._fence.seen(tag) if self._fence is not None and script.sends_reports else Seen()
        packed = script.pack(**arguments)
        if script.sends_reports:
            packed += (seen.steps, seen.newest_at)
        with store_errors():
            self._require_safe(script, NotSentError)
            reply = await self._evaluate(script, tag, packed, sent)
            self._require_safe(script, RedisConnectionError)
        is_done = True
        if script.sends_reports:
            reports, steps, newest_at, *reply = reply
            is_done = reports is not None
            for words in reports or ():
                report = _report(*words)
                if receiver := self._receivers.get(type(report)):
                    receiver(report)
        if self._fence is not None:
            with store_errors():
                self._fence.acknowledge(tag, sent.epoch, steps, newest_at, lacks=None if is_done else seen)
        if not is_done:  # another primary was noticed when the script was sent, and it may have fewer
            return await self.run(script, partition, **arguments)
        return reply

    def _require_safe(self, script: Script, kind: type[RedisConnectionError]) -> None:
        if self.unsafe and script.is_durable:
            raise kind(f"the store is not safe: {self.unsafe}")

    async def run_on(self, script: Script, key: str, /, **arguments: Any) -> Any:
        """Run `script` on the one key that it is about, with its arguments by name, and return its reply.

        Raises:
            StoreError: The store could not be reached, gave no answer, or refused to run the script.
        """
        with store_errors():
            return await self._evaluate(script, key, script.pack(**arguments), Sent(keys.tag_of(key)))

    async def read(self, key: str, *command: str, is_confirmed: bool = False) -> Any:
        """Send a command that only reads one key, in one write with those of others, and return its reply.

        Args:
            key: The key, or the tag of its partition.
            command: The command.
            is_confirmed: Whether the required replicas must have what is read. The key is then the tag.

        Raises:
            StoreError: The store could not be reached, gave no answer, or has too few replicas that confirm it.
        """
        sent = Sent(keys.tag_of(key))
        with store_errors():
            reply = await self._pipeline.send(key, *command, is_durable=is_confirmed, sent=sent)
            if self._fence is not None and sent.tag:
                self._fence.acknowledge(sent.tag, sent.epoch)
        return reply

    async def run_on_partitions(self, script: Script, packed: Mapping[int, Packed]) -> dict[int, list[Any]]:
        """Run a `script` that only reads on several partitions and return the replies.

        Args:
            script: The script.
            packed: The packed arguments for each partition.

        Raises:
            StoreError: The store could not be reached, gave no answer, or refused to run the script.
        """
        partitions, found = list(packed), dict[int, list[Any]]()
        for at in range(0, len(partitions), PARTITIONS_PER_BATCH):
            batch = [(each, keys.tag(each)) for each in partitions[at : at + PARTITIONS_PER_BATCH]]
            with store_errors():
                replies = await asyncio.gather(
                    *(self._reads.send(tag, "EVALSHA", script.sha, 1, tag, *packed[each]) for each, tag in batch),
                    return_exceptions=True,
                )
                for (partition, tag), reply in zip(batch, replies, strict=True):
                    if isinstance(reply, NoScriptError):
                        found[partition] = await self._evaluate(script, tag, packed[partition], Sent(tag))
                    elif isinstance(reply, BaseException):
                        raise reply
                    else:
                        found[partition] = reply
        return found

    async def read_together(self, commands: Iterable[Sequence[str | int]]) -> list[Any]:
        """Send commands that only read, each about the key in its second word, and return their replies.

        Raises:
            StoreError: The store could not be reached or gave no answer.
        """
        with store_errors():
            return await asyncio.gather(*(self._reads.send(str(each[1]), *each) for each in commands))

    async def _evaluate(self, script: Script, key: str, packed: Packed, sent: Sent) -> Any:
        """Run a script and return its reply. `sent` then has where it was sent."""
        send, is_durable = self._pipeline.send, script.is_durable
        try:
            try:
                return await send(key, "EVALSHA", script.sha, 1, key, *packed, is_durable=is_durable, sent=sent)
            except NoScriptError:
                return await send(key, "EVAL", script.source, 1, key, *packed, is_durable=is_durable, sent=sent)
        except ResponseError as error:
            if line := _LINE_OF_ERROR.search(str(error)):
                error.add_note(f"script: {script.name}, line {line[1]} of `python3 tasks.py script {script.name}`")
            raise


def _report(word: bytes, name: bytes, activity: bytes, *facts: bytes) -> Report:
    """Return a report from its words. The third is the name of a list if a case is not there or damaged."""
    if word in _ENDS_OF_CALLS:
        return _ENDS_OF_CALLS[word](name.decode(), activity.decode(), unpack_effect(facts[0]))
    if word == b"RESOLVED":
        effect, status = unpack_effect(facts[0]), CallStatus(facts[1].decode())
        return CallResolved(name.decode(), activity.decode(), effect, status)
    if word == b"ENTRY_WITHOUT_CASE":
        return EntryWithoutCase(name.decode(), activity.decode())
    if word == b"WRONG_TYPE":
        return WrongType(name.decode(), activity.decode(), facts[0].decode())
    if word == b"CASE_EXPIRED":
        return CaseExpired(name.decode(), activity.decode(), int(facts[0]))
    return AwaitedCallEnded(name.decode(), frozenset(fact.decode() for fact in facts))
