"""Keeps what this process knows of the store's epochs: in a file across restarts, and what was lost in the store.

The file is small JSON, replaced atomically. It is written when an epoch becomes known, at the end of the process, and
every second for the count of the steps. Its server holds a lock beside it, because two that wrote it would each forget
what the other has seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.store import keys
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.epochs.known import Epoch, Epochs, Known, Loss, PrimaryChanged, StepsNotCounted
from callback_server.store.failure_log import log_store_error
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.record_loss import record_loss

log = get_logger()

WRITE_INTERVAL_S: Final = 1.0
"""How old the count of the steps in the file may be, in seconds."""
COLLECT_S: Final = 0.2
"""How long the changes of other partitions are waited for before the file is written, in seconds."""
RECORD_WAIT_S: Final = 10.0
"""How long to try to record a loss before it is tried again later, in seconds."""


class _Partition(msgspec.Struct, frozen=True, array_like=True):
    """What the file has of one partition. Append fields at the end, with a default."""

    number: int
    id: str
    replication_ids: str
    counted_number: int
    steps: int
    counted_ids: str = ""
    is_found: bool = False
    is_behind: bool = False
    newest_at: int = 0


class _Contents(msgspec.Struct, frozen=True):
    """The contents of the file."""

    partitions: dict[int, _Partition]


class EpochKeeper:
    """The memory of the epochs, its file, and the losses that are to be recorded."""

    def __init__(self, file: Path | None, *, writes: bool = True) -> None:
        """Create a memory with what the file has.

        Args:
            file: The file. None: there is none.
            writes: Whether it is also written, until `close`. Only one process can do that.

        Raises:
            ValueError: The file is damaged, cannot be read or written, or is written by another process.
        """
        self.epochs: Final = Epochs(self._on_report)
        self._file = file
        if file is not None and not file.parent.is_dir():
            raise ValueError(f"store_epochs_file {file}: its folder does not exist")
        self._lock = _lock(file) if file is not None and writes else None
        self._written = b""
        self._writing = threading.Lock()
        """Held while the file is written: a stop writes it while the thread of `run` may not have ended."""
        self._losses: list[Loss] = []
        if file is not None:
            try:
                self._read(file)
            except ValueError:
                self._release()
                raise

    async def run(self, scripts: Scripts, on_change: Callable[[], None]) -> None:
        """Write the file and record losses until cancelled. Call `on_change` after newer epochs became known."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_INTERVAL_S):
                    await self.epochs.changed.wait()
                    await asyncio.sleep(COLLECT_S)
            if self.epochs.changed.is_set():
                self.epochs.changed.clear()
                on_change()
            await self.write()
            await self._record_losses(scripts)

    async def write(self) -> None:
        """Write the file, unless it has what is known now. More steps are seen before it is written again."""
        if self._file is not None:
            await asyncio.to_thread(self._write, self._file, self._contents(is_last=False))

    def close(self) -> None:
        """Write the file for the last time, and let another process write it."""
        if self._file is not None:
            self._write(self._file, self._contents(is_last=True), is_last=True)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _contents(self, *, is_last: bool) -> bytes:
        """Encode what is known. Only the thread of the event loop can do that, which changes it."""
        return msgspec.json.encode(
            _Contents(
                {
                    keys.partition_of_tag(tag): _Partition(
                        known.epoch.number,
                        known.epoch.id,
                        known.epoch.replication_ids,
                        known.counted_number,
                        known.steps,
                        known.counted_ids,
                        known.is_found,
                        known.is_behind or not is_last,
                        known.newest_at,
                    )
                    for tag, known in self.epochs.known.items()
                }
            )
        )

    def _write(self, file: Path, contents: bytes, *, is_last: bool = False) -> None:
        with self._writing:
            if self._lock is None:
                return
            if contents != self._written:
                try:
                    _replace(file, contents)
                except OSError as error:
                    log.error("store_epochs_not_written", file=str(file), error=error.strerror)
                else:
                    self._written = contents
            if is_last:
                self._release()

    def _read(self, file: Path) -> None:
        try:
            contents = msgspec.json.decode(file.read_bytes(), type=_Contents)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ValueError(f"store_epochs_file {file}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ValueError(
                f"store_epochs_file {file} is damaged ({error}); delete it to start without what this server knew"
            ) from error
        for partition, each in contents.partitions.items():
            epoch = Epoch(each.number, each.id, each.replication_ids)
            # A release that counted by the number alone has written no ids. Its count is of the newest epoch, mostly.
            ids = each.counted_ids or (each.id if each.counted_number == each.number else "")
            steps = each.steps if ids else 0
            self.epochs.restore(
                partition,
                Known(epoch, each.counted_number, steps, ids, each.is_found, each.is_behind, each.newest_at),
            )

    def _on_report(self, report: Loss | PrimaryChanged | StepsNotCounted) -> None:
        if isinstance(report, Loss):
            self._on_loss(report)
        elif isinstance(report, StepsNotCounted):
            log.error("steps_not_counted", epoch=report.epoch)
        elif report.was_known:
            log.info("store_primary_changed", epoch=report.epoch)
        else:
            log.warning("store_epoch_not_remembered", epoch=report.epoch)

    def _on_loss(self, loss: Loss) -> None:
        metrics.STEPS_LOST.inc(loss.steps)
        log.error("steps_lost", **dataclasses.asdict(loss))
        self._losses.append(loss)
        self.epochs.changed.set()

    async def _record_losses(self, scripts: Scripts) -> None:
        while self._losses:
            loss = self._losses[0]
            record = functools.partial(record_loss, scripts, **dataclasses.asdict(loss))
            try:
                await resend(record, unsent_s=RECORD_WAIT_S, unsure_s=RECORD_WAIT_S)
            except StoreError as error:
                log_store_error("loss_not_recorded", error)
                return
            self._losses.remove(loss)


def _lock(file: Path) -> int:
    """Lock a file that this process writes, and return the descriptor that holds the lock.

    The file itself is replaced, so the lock is on another one beside it.
    """
    try:
        lock = os.open(f"{file}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ValueError(
            f"store_epochs_file {file}: {file}.lock cannot be written ({error.strerror}); "
            "the user of the server must own it, or be able to create it"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            raise ValueError(f"store_epochs_file {file}: another server uses it; each server has its own") from None
        raise ValueError(f"store_epochs_file {file}: it cannot be locked ({error.strerror})") from error
    return lock


def _replace(file: Path, contents: bytes) -> None:
    """Replace a file so that after a crash it is the earlier or the new one."""
    temporary = file.with_name(f"{file.name}.new")
    with temporary.open("wb") as new:
        new.write(contents)
        new.flush()
        os.fsync(new.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
