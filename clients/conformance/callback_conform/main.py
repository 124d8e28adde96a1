"""A run: the scenarios of a kind against a command, its report and its exit code."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from callback_conform.changes import PATIENCE_S
from callback_conform.client_steps import ClientRunner
from callback_conform.program import Launch, launch_command
from callback_conform.report import Result, exit_code, table, tap
from callback_conform.scenarios import Scenario, load
from callback_conform.worker_steps import WorkerRunner


def run(command: Sequence[str], *, kind: str, names: Collection[str], known: Collection[str], format_: str) -> int:
    """Run the scenarios against a command, print the report, and return the exit code.

    Args:
        command: The program under test with its arguments.
        kind: `worker` or `client`.
        names: The scenarios to run. Empty: all.
        known: The scenarios that are known to fail. They run too.
        format_: `tap` or `table`.

    Raises:
        LookupError: There is no scenario of one of the names.
    """
    scenarios = load(kind)
    if unknown := {*names, *known} - {each.name for each in scenarios}:
        raise LookupError(f"there is no such scenario of a {kind}: {', '.join(sorted(unknown))}")
    scenarios = [each for each in scenarios if not names or each.name in names]
    with tempfile.NamedTemporaryFile(prefix="callback-conform-") as log:
        results = asyncio.run(run_scenarios(kind, scenarios, launch_command(command, Path(log.name))))
        report = tap if format_ == "tap" else table
        print(report(results, known))  # noqa: T201  # its output
        code = exit_code(results, known)
        if code != 0:
            print("standard error of the program:", file=sys.stderr)  # noqa: T201  # its output
            sys.stderr.write(Path(log.name).read_text(errors="replace")[-8_000:])
    return code


async def run_scenarios(
    kind: str, scenarios: Sequence[Scenario], launch: Launch, *, patience_s: float = PATIENCE_S, pace: float = 1
) -> list[Result]:
    """Run scenarios of a kind, one after the other. `patience_s` and `pace` are those of `Runner`."""
    results = []
    runner_class = WorkerRunner if kind == "worker" else ClientRunner
    async with runner_class(launch, patience_s=patience_s, pace=pace) as runner:
        for scenario in scenarios:
            began = time.monotonic()
            problem = await runner.run(scenario)
            results.append(Result(scenario, problem, time.monotonic() - began))
    return results


def known_failures_of(file: Path) -> list[str]:
    """Return the names in a file of known failures: one a line; empty lines and lines with # are left out."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
