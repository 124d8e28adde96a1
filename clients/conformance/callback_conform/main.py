"""A run: the scenarios of a kind against a command, its report and its exit code."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TextIO

from callback_conform.changes import PATIENCE_S
from callback_conform.client_steps import ClientRunner
from callback_conform.handler_steps import HandlersRunner
from callback_conform.program import Launch, launch_command
from callback_conform.report import Report, Result, Table, Tap, exit_code
from callback_conform.runner import Runner
from callback_conform.scenarios import Scenario, load
from callback_conform.worker_steps import WorkerRunner

_RUNNERS: Mapping[str, type[Runner]] = {
    "worker": WorkerRunner,
    "client": ClientRunner,
    "handlers": HandlersRunner,
}
MAX_ERROR_BYTES = 4_000
"""How much of what a program wrote to its standard error is printed for a scenario that failed, in bytes: the end."""


def run(command: Sequence[str], *, kind: str, names: Collection[str], known: Collection[str], format_: str) -> int:
    """Run the scenarios against a command, print the report line by line, and return the exit code.

    Args:
        command: The program under test with its arguments.
        kind: `worker`, `client` or `handlers`.
        names: The scenarios to run, each by its name or by the beginning of no other name. Empty: all.
        known: The scenarios that are known to fail. They run too.
        format_: `tap` or `table`.

    Raises:
        LookupError: There is no scenario of one of the names, or there are several.
    """
    scenarios = _chosen(load(kind), kind, names, known)
    report = (Tap if format_ == "tap" else Table)(scenarios, known)
    with tempfile.NamedTemporaryFile(prefix="callback-conform-") as log:
        file = Path(log.name)
        return asyncio.run(_report(kind, scenarios, launch_command(command, file), report, known, file))


def list_scenarios(kind: str) -> str:
    """Return the names of the scenarios, one a line, each after the rules that it shows."""
    scenarios = load(kind)
    width = max(len(" ".join(each.rules)) for each in scenarios)
    return "\n".join(f"{' '.join(each.rules):{width}}  {each.name}".strip() for each in scenarios)


async def run_scenarios(
    kind: str, scenarios: Sequence[Scenario], launch: Launch, *, patience_s: float = PATIENCE_S, time_factor: float = 1
) -> AsyncGenerator[Result, None]:
    """Run scenarios of a kind, one after the other, and yield their results."""
    async with _RUNNERS[kind](launch, patience_s=patience_s, time_factor=time_factor) as runner:
        for scenario in scenarios:
            began = time.monotonic()
            problem = await runner.run(scenario)
            yield Result(scenario, problem, time.monotonic() - began)


async def _report(
    kind: str, scenarios: Sequence[Scenario], launch: Launch, report: Report, known: Collection[str], log: Path
) -> int:
    """Print each result as it comes, and for a failure what the program wrote to its standard error, the file `log`."""
    _print(report.head())
    results = []
    begin = 0
    async with aclosing(run_scenarios(kind, scenarios, launch)) as found:
        async for result in found:
            results.append(result)
            _print(report.entry(result))
            with log.open("rb") as errors:
                end = errors.seek(0, 2)
                errors.seek(max(begin, end - MAX_ERROR_BYTES))
                said = errors.read(end - errors.tell()).decode(errors="replace").strip()
            begin = end
            if said and result.problem is not None and result.scenario.name not in known:
                _print([f'standard error of the program in "{result.scenario.name}":', said], sys.stderr)
    _print(report.foot())
    return exit_code(results, known)


def _print(lines: Sequence[str], to: TextIO | None = None) -> None:
    for line in lines:
        print(line, file=to, flush=True)


def _chosen(
    scenarios: Sequence[Scenario], kind: str, names: Collection[str], known: Collection[str]
) -> Sequence[Scenario]:
    """Return the scenarios of these names, in their order. LookupError: a name, or one of `known`, is that of none."""
    all_names = [each.name for each in scenarios]
    chosen = set()
    for name in names:
        found = [name] if name in all_names else [each for each in all_names if each.startswith(name)]
        if len(found) > 1:
            raise LookupError(f"several scenarios of a {kind} begin with {name}: {'; '.join(found)}")
        chosen.add(found[0] if found else name)
    if unknown := {*chosen, *known} - {*all_names}:
        raise LookupError(f"there is no such scenario of a {kind}: {', '.join(sorted(unknown))}")
    return [each for each in scenarios if not names or each.name in chosen]


def known_failures_of(file: Path) -> list[str]:
    """Return the names in a file of known failures: one a line; empty lines and lines with # are left out."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
