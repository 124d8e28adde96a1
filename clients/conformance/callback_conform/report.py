"""The result of a run: TAP, or a table, and the exit code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from callback_conform.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario ended."""

    scenario: Scenario
    problem: str | None
    """What the program did wrong. None: it passed."""
    seconds: float


def exit_code(results: Sequence[Result], known: Collection[str]) -> int:
    """Return 0 if each scenario passed that is not a known failure, and each known failure failed; else 1."""
    return int(any((each.problem is not None) != (each.scenario.name in known) for each in results))


def tap(results: Sequence[Result], known: Collection[str]) -> str:
    """Return the results as TAP version 14. A known failure has the directive TODO."""
    lines = ["TAP version 14", f"1..{len(results)}"]
    for number, each in enumerate(results, 1):
        is_known = each.scenario.name in known
        word = "ok" if each.problem is None else "not ok"
        lines.append(f"{word} {number} - {_escaped(each.scenario.name)}{' # TODO known failure' if is_known else ''}")
        lines += ["  ---", f"  rules: [{', '.join(each.scenario.rules)}]", f"  seconds: {each.seconds:.3f}"]
        if each.problem is not None:
            lines += ["  message: |", *(f"    {line}" for line in each.problem.splitlines())]
        elif is_known:
            lines.append("  message: it is listed as a known failure, and passes")
        lines.append("  ...")
    return "\n".join(lines)


def table(results: Sequence[Result], known: Collection[str]) -> str:
    """Return the results as a table for people, with a summary."""
    width = max((len(each.scenario.name) for each in results), default=0)
    lines = []
    for each in results:
        is_known = each.scenario.name in known
        word = {(True, False): "passed", (True, True): "PASSED", (False, True): "known"}.get(
            (each.problem is None, is_known), "FAILED"
        )
        rules = " ".join(each.scenario.rules)
        lines.append(f"{word:7} {each.scenario.name:{width}}  {each.seconds:6.2f} s  {rules}".rstrip())
        if each.problem is not None:
            lines += [f"        {line}" for line in each.problem.splitlines()]
        elif is_known:
            lines.append("        it is listed as a known failure, and passes")
    passed = sum(each.problem is None for each in results)
    failures = sum(each.problem is not None and each.scenario.name in known for each in results)
    lines.append(f"{passed} of {len(results)} passed, {failures} failed as known")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("#", "\\#")
