"""`callback prove`: from the options to the exit code."""

import asyncio
import shutil
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from callback_launcher.errors import LaunchError
from callback_prove import cluster, failover, network, own_system, power_loss, processes, rolling_restart, sentinel
from callback_prove.checker import Violation, check
from callback_prove.errors import ProveError
from callback_prove.history import History
from callback_prove.proof import OwnSystem, Settings, say
from callback_prove.report import report
from callback_prove.system import MAX_ATTEMPTS


@dataclass(frozen=True)
class Proof:
    """A proof, and how it is run unless the options say otherwise."""

    prove: Callable[[Settings, History], Awaitable[None]]
    durability: str = "always"
    cycles: int = 10


PROOFS: Final[Mapping[str, Proof]] = {
    "processes": Proof(processes.prove),
    "power-loss": Proof(power_loss.prove),
    "failover": Proof(failover.prove, "replicated:1"),
    "sentinel": Proof(sentinel.prove, "replicated:1"),
    "cluster": Proof(cluster.prove, "replicated:1"),
    "network": Proof(network.prove, "replicated:1"),
    "rolling-restart": Proof(rolling_restart.prove, "replicated:1", cycles=1),
    "own-system": Proof(own_system.prove),
}
"""All proofs, by name."""
HISTORY: Final = "history.ndjson"
EXIT_BROKEN, EXIT_NO_RESULT, EXIT_STOPPED = 1, 69, 130


async def prove(name: str, settings: Settings) -> tuple[History, list[Violation]]:
    """Run a proof in an existing, empty directory. Return its history and what it shows.

    Raises:
        ProveError: The proof has no result.
    """
    with History(settings.directory / HISTORY) as history:
        await PROOFS[name].prove(settings, history)
    return history, check(history.steps, max_attempts=MAX_ATTEMPTS)


def run(
    name: str,
    *,
    directory: Path | None,
    durability: str | None,
    seed: int,
    seconds: float | None,
    cycles: int | None,
    rate: float | None = None,
    own: OwnSystem | None = None,
) -> int:
    """Run a proof, and print its report on standard output. Progress goes to standard error.

    Args:
        name: Name of the proof.
        directory: Directory for data, logs and history, which must not exist. None: a temporary one, which is removed
            unless a promise is broken.
        durability: Setting `store_durability` of the servers. None: that of the proof.
        seed: Seed of all choices.
        seconds: Length of the load. None: the default.
        cycles: Number of repetitions. None: the default.
        rate: Number of requests per second. None: the default.
        own: The system of the user. None: the proof starts its own.

    Returns:
        The exit code: 0, 1 if a promise is broken, 69 if the proof has no result, 130 after Ctrl-C.
    """
    try:
        if directory is not None:
            directory.mkdir(parents=True)
        home = Path(tempfile.mkdtemp(prefix="callback-prove-")) if directory is None else directory.absolute()
    except OSError as error:
        return _fail(f"the directory cannot be made: {error}")
    proof = PROOFS[name]
    settings = Settings(
        directory=home, durability=durability or proof.durability, seed=seed, cycles=proof.cycles, rate=rate, own=own
    )
    if seconds is not None:
        settings = replace(settings, seconds=seconds)
    if cycles is not None:
        settings = replace(settings, cycles=cycles)
    say(f"{name}: seed {settings.seed}, durability {settings.durability}, in {home}")
    try:
        # Not with uvloop: there, anyio raises an AttributeError on a connection that is lost as soon as it is made.
        history, violations = asyncio.run(prove(name, settings))
    except (ProveError, LaunchError) as error:
        return _fail(f"{error}\nthe history so far: {home / HISTORY}")
    except Exception as error:  # such as a store that refuses a command; no promise is known to be broken
        traceback.print_exc()
        return _fail(f"it broke off: {type(error).__name__}: {error}\nthe history so far: {home / HISTORY}")
    except KeyboardInterrupt:
        say(f"stopped; the history so far: {home / HISTORY}")
        return EXIT_STOPPED
    print(report(history.steps, violations, has_store=own is None))  # noqa: T201  # the output of this command
    if violations:
        print(f"history: {history.path}")  # noqa: T201  # as above
        return EXIT_BROKEN
    if directory is None:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def _fail(problem: str) -> int:
    sys.stderr.write(f"callback prove: {problem}\n")
    return EXIT_NO_RESULT
