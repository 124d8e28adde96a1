"""Proof: a system of the user, under a load of its own and without faults.

The cases have an activity and a label that nothing else uses, and a worker in this process serves them. Afterwards they
are closed, and what is recorded of their calls is erased. Nothing is stopped or broken: the user can do that meanwhile.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from callback_prove.errors import ProveError
from callback_prove.history import History
from callback_prove.proof import Settings, calling, wait_for_successes
from callback_prove.worker import handlers_of, runs
from callback_prove.workload import Workload

RATE: Final = 10.0
"""Number of requests per second."""
LABEL: Final = "callback-prove"


async def prove(settings: Settings, history: History) -> None:
    """Run the proof.

    Raises:
        ProveError: The proof has no result.
    """
    own = settings.own
    if own is None:
        raise ProveError("the proof own-system needs a namespace, an activity that nothing else uses: --namespace NAME")
    settings = replace(settings, rate=settings.rate or RATE)
    diary = settings.directory / "worker.diary"
    with diary.open("x", encoding="utf-8") as file, _logging_to(settings.directory / "worker.log"):
        workload = Workload(
            own.client(),
            [],
            history,
            activities=[own.namespace],
            labels={LABEL: own.namespace},
            seed=settings.seed,
        )
        worker = own.worker(handlers_of(own.namespace, file))
        async with worker.working():
            await worker.connected()
            async with calling(workload, history, settings):
                await asyncio.sleep(settings.seconds)  # the length of the load
                await wait_for_successes(workload, settings.min_successes)
    history.add(*runs(diary, time.time()))


@contextlib.contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Let the worker log the failures that the proof asks for to a file."""
    logger, handler = logging.getLogger("callback"), logging.FileHandler(file)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
