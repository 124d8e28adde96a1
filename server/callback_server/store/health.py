"""The state of the store, as this process sees it: checked before the start, probed while it serves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.disk import local_directories, why_full
from callback_server.store.epochs.known import Epochs
from callback_server.store.failure_log import log_store_error
from callback_server.store.queries.node_status import read_node_memory
from callback_server.store.queries.read_pauses import read_pauses
from callback_server.store.recording import Recording
from callback_server.store.safety import HIDDEN, Durability, UnsafeStoreError, check_store, refusals, setting_problems
from callback_server.store.schema import naming_key
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.sweep_partition import SweepResult, sweep_partition
from callback_server.store.transitions.sync_pauses import sync_pauses

log = get_logger()

START_WAIT_S: Final = 30.0
"""How long a start waits for the store, in seconds."""
_START_RETRY_S: Final = 0.5
"""Interval between two attempts of a start to reach the store, in seconds."""
PROBED_PARTITIONS: Final = (0, 21, 42)
"""The partitions that the probe sweeps. On a cluster they are likely to be on different nodes."""
PROBE_INTERVAL_S: Final = 1.0
"""Interval between two probes of the store, in seconds."""
CHECK_INTERVAL_S: Final = 5.0
"""Interval between two checks that the store is still safe, in seconds."""


async def wait_for_store(
    scripts: Scripts, durability: Durability, *, shown_url: str, stop_requested: asyncio.Event
) -> bytes | None:
    """Wait until the store answers, then check that it is safe and copy the pauses to every partition.

    The pauses are copied before anything is delivered: a partition may not know of a pause yet.

    Args:
        scripts: The scripts on the store.
        durability: The durability that the settings ask for.
        shown_url: The URL of the store for the log, without its password.
        stop_requested: Ends the wait.

    Returns:
        The naming key of the store, which is ready. None: a stop was requested first.

    Raises:
        UnsafeStoreError: The store's configuration can lose data.
        StoreError: The store was not reached within `START_WAIT_S`.
    """
    began, logged, directories = time.monotonic(), set[bool](), frozenset[str]()
    while not stop_requested.is_set():
        try:
            with refusals():
                directories = await local_directories(scripts.client)
            await check_store(scripts.client, durability)
            await sync_pauses(scripts, await read_pauses(scripts))
            with refusals():
                return await naming_key(scripts.client)
        except StoreError as error:
            full = why_full(directories, str(error))
            if time.monotonic() - began > START_WAIT_S:
                raise (StoreError(full, maybe_done=False) if full else error) from error
            if not logged or bool(full) not in logged:  # once, also for a store that ends in another way each time
                log.warning("waiting_for_store", store_url=shown_url, error=full or str(error))
            logged |= {False, bool(full)}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_RETRY_S):
                await stop_requested.wait()
    return None


class StoreProbe:
    """Periodic check that the store works, and that it is still safe: after a failover it is another one.

    The probe sweeps, because a sweep needs everything of the store that a call needs.

    A store that is away for a moment is no reason to report it: calls wait for it for `tolerance_s`. Nor is the loss of
    a part of a cluster, because other servers cannot reach that part either, nor a single broken connection.
    """

    def __init__(
        self,
        scripts: Scripts,
        recording: Recording,
        epochs: Epochs,
        *,
        durability: Durability,
        tolerance_s: float,
        report: Callable[[bool], None],
    ) -> None:
        """Create a probe.

        Args:
            scripts: The scripts on the store.
            recording: What is recorded of the calls that a sweep ends.
            epochs: What is known of the epochs of the store.
            durability: The durability that the settings ask for.
            tolerance_s: How long the store may not answer before it counts as down, in seconds.
            report: Called after each probe with whether the store is up and safe.
        """
        self._scripts = scripts
        self._recording = recording
        self._epochs = epochs
        self._refused = False
        """Whether the store was older than the known epochs at the last probe."""
        self._durability = durability
        self._directories = frozenset[str]()
        """Where the store keeps its data on this machine, as far as that is known."""
        self.disk_problem = ""
        """Why the store does not answer, if its disk is full."""
        self._is_hidden = False
        """Whether the store hides its settings now. It did not at the start."""
        self._tolerance_s = tolerance_s
        self._report = report

    async def run(self) -> None:
        """Probe the store until cancelled."""
        answered, checked = time.monotonic(), float("-inf")
        while True:
            probed = () if self._scripts.unsafe else PROBED_PARTITIONS  # otherwise a sweep is not sent
            replies = await asyncio.gather(*map(self._sweep, probed), return_exceptions=True)
            errors = [reply for reply in replies if isinstance(reply, BaseException)]
            for error in errors:
                if isinstance(error, StoreError):
                    log_store_error("probe_failed", error)
                else:
                    log.error("store_probe_failed", exc_info=error)
            self._look_at_disk(errors)
            if len(errors) < len(replies) or not replies:
                answered = time.monotonic()
            is_up = time.monotonic() - answered <= self._tolerance_s
            # redis-py closes all connections to a cluster if a node does not answer a command like those of the check.
            if not errors and time.monotonic() - checked >= CHECK_INTERVAL_S:
                await self._check()
                await self._measure_memory()
                checked = time.monotonic()
            self._log_refusal()
            self._report(is_up and not self._scripts.unsafe and not self._refused)
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _log_refusal(self) -> None:
        problem = self._epochs.problem
        if problem and not self._refused:
            log.error("store_refused", problem=problem)
        elif self._refused and not problem:
            log.info("store_taken_again")
        self._refused = bool(problem)

    def _look_at_disk(self, errors: Sequence[BaseException]) -> None:
        texts = "; ".join(str(error) for error in errors if isinstance(error, StoreError))
        problem = why_full(self._directories, texts) if texts else ""
        if problem and not self.disk_problem:
            log.error("store_disk_full", problem=problem)
        self.disk_problem = problem

    async def _check(self) -> None:
        try:
            with refusals():
                self._directories = await local_directories(self._scripts.client)
                problems = await setting_problems(self._scripts.client, self._durability)
        except UnsafeStoreError as error:
            problems = [str(error)]
        except StoreError:
            return  # the next sweep tells
        except Exception:  # nothing else notices a store that is lost
            log.exception("store_probe_failed")
            return
        if HIDDEN in problems and not self._is_hidden:  # a changed permission makes no store unsafe that was safe
            log.warning("store_settings_hidden", problem=HIDDEN)
        self._is_hidden = HIDDEN in problems
        problem = "; ".join(each for each in problems if each != HIDDEN)
        if problem and problem != self._scripts.unsafe:
            log.error("store_unsafe", problem=problem)
        elif self._scripts.unsafe and not problem:
            log.info("store_safe_again")
        self._scripts.unsafe = problem

    async def _measure_memory(self) -> None:
        try:
            with refusals():
                nodes = await read_node_memory(self._scripts.client)
        except (StoreError, UnsafeStoreError):
            return  # the next sweep tells, and a store that hides its memory is as safe as before
        metrics.STORE_MEMORY_BYTES.clear()
        metrics.STORE_MEMORY_LIMIT_BYTES.clear()
        for name, memory in nodes.items():
            metrics.STORE_MEMORY_BYTES.labels(name).set(memory.used)
            if memory.limit:
                metrics.STORE_MEMORY_LIMIT_BYTES.labels(name).set(memory.limit)

    async def _sweep(self, partition: int) -> SweepResult:
        return await resend(
            lambda: sweep_partition(self._scripts, partition, recording=self._recording),
            unsent_s=PROBE_INTERVAL_S,
            unsure_s=PROBE_INTERVAL_S,
        )
