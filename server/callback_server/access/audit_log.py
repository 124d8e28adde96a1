"""The audit of a server: appends entries with their changes, verifies chains, and deletes what is past its retention.

1. An entry and its change are made by one script, which does neither if another entry came first. The server then
   makes the entry again. It makes one change of a chain at a time, and knows the head of each chain from its last
   change. So a change usually costs no more requests to the store than without an entry.
2. A script that is sent again, because its reply was lost, finds its entry and does not append it twice.
3. A head that is older than one that was seen before is a warning in the log, and a problem of the next verification.
4. What is not proven is a warning in the log and counted in a metric, wherever it is met: as the newest entry, by a
   verification, and by retention, which then deletes nothing of its chain.
5. Retention never deletes the newest entry. So during a change of the `state_key`, a look appends an entry under the
   present key behind one under the other key, and a start under the other key is signed again. In time nothing is left
   under the other key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.access.principals import Principals, PrincipalsFile
from callback_server.domain.audit import (
    NO_ENTRIES,
    START,
    UNKNOWN,
    AuditAction,
    AuditEntry,
    AuditKey,
    AuditStart,
    Change,
    EntryId,
    Head,
    StoredEntry,
    decode_entry,
    decode_start,
    digest_of,
)
from callback_server.domain.audit_check import ChainCheck, ChainResult, KnownHead
from callback_server.store import keys
from callback_server.store.audit_argument import HeadMovedError, audit_argument
from callback_server.store.connection.resend import resend_knowing
from callback_server.store.failure_log import failures_logged
from callback_server.store.queries.list_audit import READ_ENTRIES, list_audit
from callback_server.store.queries.read_audit import LIMIT, AuditPart, read_audit
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.append_audit import append_audit
from callback_server.store.transitions.trim_audit import trim_audit

log = get_logger()
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

CLOCK: Final[Callable[[], int]] = time.time_ns
"""The clock of entries and of retention, in nanoseconds since the epoch."""
TRIM_INTERVAL_S: Final = 3600.0
"""Interval between two looks at the chains, which delete what is past its retention, in seconds."""
RETRY_S: Final = 5.0
"""How long to wait before the reading of the principals file is recorded again, in seconds."""
MAX_NAMES: Final = 50
"""How many principals an entry names that were added, removed or changed."""


class Transition(Protocol[R_co]):
    """A transition that takes an entry of the audit, with its other arguments."""

    def __call__(self, *, audit: bytes) -> Awaitable[R_co]:
        """Send it once. Raises HeadMovedError if another entry came first."""
        ...


class AuditLog:
    """The chains of the audit on one store."""

    def __init__(self, scripts: Scripts, key: AuditKey, *, retention_ms: int) -> None:
        """Create it.

        Args:
            scripts: The scripts on the store.
            key: The key that all servers share.
            retention_ms: How long entries are kept, in milliseconds.
        """
        self._scripts = scripts
        self._key = key
        self._retention_ms = retention_ms
        self._heads: dict[int, Head] = {}
        """The newest known entry of each chain."""
        self._seen: dict[int, Head] = {}
        """The newest entry of each chain at the last look."""
        self._lost: dict[int, Head] = {}
        """A head of each chain that the store did not have any more."""
        self._changing: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By chain: held while this server makes a change."""

    async def record(self, change: Change, make: Transition[T], *, is_recorded: Callable[[T], bool]) -> T:
        """Make a change with its entry, and return the result.

        Args:
            change: The change.
            make: Makes it by one script that gets the entry. It is sent again until there is a reply.
            is_recorded: Whether a result means that the entry was appended.

        Raises:
            StoreError: It is not known whether the change was made. It has its entry if it was.
        """
        result, _ = await self.record_knowing(change, make, is_recorded=is_recorded)
        return result

    async def record_knowing(
        self, change: Change, make: Transition[T], *, is_recorded: Callable[[T], bool]
    ) -> tuple[T, bool]:
        """Make a change as `record` does, and also return whether an earlier attempt may have made it.

        Raises:
            StoreError: It is not known whether the change was made.
        """
        chain = _chain_of(change)
        async with self._changing[chain]:
            while True:
                try:
                    return await self._attempt(chain, change, make, is_recorded)
                except HeadMovedError:
                    continue

    async def _attempt(
        self, chain: int, change: Change, make: Transition[T], is_recorded: Callable[[T], bool]
    ) -> tuple[T, bool]:
        """Make a change, unless another entry came first. Raises HeadMovedError, and then knows the head."""
        head = self._heads.get(chain, UNKNOWN)
        stored, next_head = self._key.seal(change, chain, head, CLOCK() // 1_000_000)
        audit = audit_argument(head, stored)
        try:
            result, unsure = await resend_knowing(lambda: make(audit=audit))
        except HeadMovedError as moved:
            metrics.AUDIT_ENTRIES_REFUSED.inc()
            self._take(chain, moved.newest)
            raise
        if is_recorded(result):
            metrics.AUDIT_ENTRIES.labels(change.action).inc()
            self._heads[chain] = next_head
        return result, unsure

    def _take(self, chain: int, newest: StoredEntry | None) -> bool:
        """Take the head that the store has. Tell if it is not proven, or if entries are gone: then return True."""
        head = NO_ENTRIES if newest is None else Head.of(newest.id, newest.entry)
        if newest is not None and (verdict := self._key.judge_entry(chain, newest)) != self._key.best:
            metrics.AUDIT_PROBLEMS.labels("head_not_proven").inc()
            log.warning("audit_head_not_proven", chain=chain, entry=head.sequence, verdict=verdict)
        known = self._heads.get(chain, NO_ENTRIES)
        is_gone = known.sequence > 0 and (
            head.sequence < known.sequence or (head.sequence == known.sequence and head.digest != known.digest)
        )
        if is_gone:
            self._miss(chain, known, head)
        self._heads[chain] = head
        return is_gone

    def _miss(self, chain: int, known: Head, newest: Head) -> None:
        self._lost[chain] = known
        metrics.AUDIT_PROBLEMS.labels("missing").inc()
        log.warning("audit_entries_missing", chain=chain, known=known.sequence, found=newest.sequence)

    async def verify(self, chain: int, kept: Sequence[KnownHead]) -> ChainResult:
        """Verify a chain, also against heads that were kept outside of the store.

        Raises:
            StoreError: The store did not answer.
        """
        result: ChainResult | int = 0
        while isinstance(result, int):
            result = await self._checked(chain, kept, result)
        if result.problems:
            metrics.AUDIT_PROBLEMS.labels("not_verified").inc()
            log.warning("audit_not_verified", chain=chain, problems=len(result.problems), first=result.problems[0].text)
        return result

    async def _checked(self, chain: int, kept: Sequence[KnownHead], deleted: int) -> ChainResult | int:
        """Verify as many entries of a chain as there are now.

        Who changes the store meanwhile cannot make this last: it ends behind that number of entries, and begins again
        only behind a start that is proven, and later than each one before.

        Args:
            chain: The chain.
            kept: Heads that were kept outside of the store.
            deleted: The newest entry that retention is known to have deleted. 0: none.

        Returns:
            The result, or the newest entry that retention has deleted meanwhile.
        """
        seen = [heads[chain] for heads in (self._heads, self._seen, self._lost) if chain in heads]
        known = [KnownHead(head.sequence, head.digest, head.id_ms, is_kept=False) for head in seen if head.sequence]
        check, after = ChainCheck(chain, self._key, [*kept, *known]), None
        part = await read_audit(self._scripts, chain, after)
        start, left = part.start, part.length
        self._begin(check, start)
        while True:
            for stored in part.entries:
                check.add(stored)
            left -= len(part.entries)
            if len(part.entries) < LIMIT or left <= 0:
                return check.result()
            after = part.entries[-1].id
            part = await read_audit(self._scripts, chain, after)
            if part.start != start:
                then, now = self._proven_start(chain, start), self._proven_start(chain, part.start)
                deleted = max(deleted, 0 if then is None else then.sequence)
                if now is not None and now.sequence > deleted and (not start or then is not None):
                    return now.sequence
                check.add_altered_start()
                start = part.start

    @staticmethod
    def _begin(check: ChainCheck, start: bytes) -> None:
        if start:
            mac, _, text = start.partition(b" ")
            check.begin(text, mac.decode("latin-1"))

    async def run_retention(self) -> None:
        """Look at the chains, and delete entries that are past their retention, until cancelled."""
        while True:
            for chain in range(keys.AUDIT_CHAINS):
                with failures_logged("audit_retention_failed", chain=chain):
                    await self.look(chain)
                    while await self.trim(chain):
                        pass
            await asyncio.sleep(TRIM_INTERVAL_S * random.uniform(0.8, 1.2))  # noqa: S311  # spreads replicas

    async def look(self, chain: int) -> None:
        """Look whether the newest entry of the last look is still there, and take the newest one.

        If that is proven by the other key, append one under the present key.

        Raises:
            StoreError: The store did not answer.
        """
        async with self._changing[chain]:
            seen = self._seen.get(chain, NO_ENTRIES)
            before = EntryId(seen.id_ms, seen.sequence - 1) if seen.sequence else None
            part = await read_audit(self._scripts, chain, before, limit=1)
            is_there = seen == NO_ENTRIES or any(digest_of(each.entry) == seen.digest for each in part.entries)
            is_told = self._take(chain, part.newest)
            if not (is_there or is_told or self._is_deleted(chain, part.start, seen)):
                self._miss(chain, seen, self._heads[chain])
            self._seen[chain] = self._heads[chain]
            if part.newest is not None and self._is_under_other_key(chain, part.newest):
                change = Change(AuditAction.STATE_KEY_CHANGED, "")
                with suppress(HeadMovedError):  # then the next look sees under which key that entry is
                    await self._attempt(chain, change, partial(append_audit, self._scripts, chain), lambda _none: True)

    def _is_under_other_key(self, chain: int, stored: StoredEntry) -> bool:
        entry = decode_entry(stored.entry)
        is_proven = self._key.judge_entry(chain, stored) is self._key.best
        return is_proven and entry is not None and self._key.is_other(entry)

    def _is_deleted(self, chain: int, start: bytes, seen: Head) -> bool:
        """Return whether a start that is proven explains that an entry is gone."""
        said = self._proven_start(chain, start)
        return said is not None and said.sequence >= seen.sequence and said.id_ms >= seen.id_ms

    def _proven_start(self, chain: int, start: bytes) -> AuditStart | None:
        """Return what the start of a chain says. None: there is none that is proven."""
        mac, _, text = start.partition(b" ")
        said = decode_start(text)
        if said is None or said.chain != chain:
            return None
        return said if self._key.judge(START, text, mac.decode("latin-1"), said) is self._key.best else None

    async def trim(self, chain: int) -> bool:
        """Delete the oldest entries of a chain that are past their retention, but never its newest one.

        Only what is proven is deleted: each of them, the start before them, and the entry behind them, whose link is
        the proof of the last one. Otherwise the start that this server signs would prove what nothing proves.

        Returns:
            Whether there may be more of them.

        Raises:
            StoreError: The store did not answer.
        """
        due_ms = CLOCK() // 1_000_000 - self._retention_ms
        part = await read_audit(self._scripts, chain, None, limit=2)
        await self._sign_again(chain, part)
        if len(part.entries) < 2 or part.entries[0].id.ms >= due_ms:
            return False
        part = await read_audit(self._scripts, chain, None)
        check = ChainCheck(chain, self._key)
        self._begin(check, part.start)
        deleted = None
        for stored, following in zip(part.entries, part.entries[1:], strict=False):
            if stored.id.ms >= due_ms:
                break
            check.add(stored)
            deleted, first = stored, following
        if deleted is None:
            return False
        check.add(first)
        problems = [each for each in check.result().problems if each.kind.value != self._key.best]
        if problems:
            metrics.AUDIT_PROBLEMS.labels("retention_stopped").inc()
            log.warning("audit_retention_stopped", chain=chain, problems=len(problems), first=problems[0].text)
            return False
        is_done = await self._begin_at(chain, part.start, Head.of(deleted.id, deleted.entry), first)
        return is_done and len(part.entries) == LIMIT

    async def _sign_again(self, chain: int, part: AuditPart) -> None:
        """Sign the start of a chain under the present key, if it is proven by the other one."""
        said = self._proven_start(chain, part.start)
        if said is not None and self._key.is_other(said) and part.entries:
            await self._begin_at(chain, part.start, Head(said.sequence, said.digest, said.id_ms, ""), part.entries[0])

    async def _begin_at(self, chain: int, known_start: bytes, deleted: Head, first: StoredEntry) -> bool:
        """Let a chain begin with an entry, behind the newest deleted one. Return whether it was done."""
        start, mac = self._key.seal_start(chain, deleted)
        return await trim_audit(
            self._scripts, chain, known_start=known_start, start=f"{mac} ".encode() + start, first=first.id
        )

    async def run_principals(self, file: PrincipalsFile) -> None:
        """Record what was read from the principals file, now and whenever it has changed, until cancelled."""
        while True:
            file.changed.clear()
            with failures_logged("audit_failed"):
                await self.record_principals(file.current)
                await file.changed.wait()
                continue
            await asyncio.sleep(RETRY_S)

    async def record_principals(self, known: Principals) -> None:
        """Record the reading of principals, unless they are those of the last entry about them.

        Raises:
            StoreError: It is not known whether it was recorded.
        """
        now = {name: self._fingerprint(entry.model_dump(mode="json")) for name, entry in known.entries.items()}
        chain = keys.STORE_CHAIN
        async with self._changing[chain]:
            while True:
                before = await self._recorded_principals()
                if now == before:
                    return
                change = Change(AuditAction.PRINCIPALS_READ, "", details=_difference(before or {}, now), principals=now)
                try:
                    await self._attempt(
                        chain,
                        change,
                        partial(append_audit, self._scripts, chain),
                        lambda _none: True,
                    )
                except HeadMovedError:
                    continue  # perhaps another server has recorded it
                return

    async def _recorded_principals(self) -> dict[str, str] | None:
        """Return the principals of the last proven entry about them: that with the highest number, wherever it stands.

        An entry that was moved is as proven as the others until its chain is verified.
        """
        last: AuditEntry | None = None
        after = None
        while True:
            found, after = await list_audit(
                self._scripts,
                [keys.STORE_CHAIN],
                lambda entry: entry.action == AuditAction.PRINCIPALS_READ,
                after=after,
                limit=READ_ENTRIES,
            )
            for listed in found:
                is_later = last is None or listed.entry.sequence > last.sequence
                if is_later and self._key.judge_entry(keys.STORE_CHAIN, listed.stored) == self._key.best:
                    last = listed.entry
            if after is None:
                return None if last is None else last.principals

    def _fingerprint(self, entry: Mapping[str, Any]) -> str:
        """Return a short digest of a principal, under the key of the servers if there is one."""
        canonical = json.dumps(_sorted(entry), sort_keys=True).encode()
        mac = self._key.mac(b"principal", canonical) if self._key.id else hashlib.sha256(canonical).hexdigest()
        return mac[:8]


def _chain_of(change: Change) -> int:
    """Return the chain of a change: that of the partition in which it is made."""
    if change.case_id:
        return keys.partition_of(change.case_id)
    return keys.partition_of_owner(change.owner) if change.verification_profile else keys.STORE_CHAIN


def _sorted(value: Any) -> Any:
    """Return a value of JSON with its lists in order: those of principals are sets."""
    if isinstance(value, Mapping):
        return {name: _sorted(each) for name, each in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(each) for each in value), key=repr)
    return value


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the principals that were added, removed and changed, and how many there are."""
    names = {
        "added": now.keys() - before.keys(),
        "removed": before.keys() - now.keys(),
        "changed": {name for name in now.keys() & before.keys() if now[name] != before[name]},
    }
    return {kind: _listed(found) for kind, found in names.items() if found} | {"principals": str(len(now))}


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:MAX_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
