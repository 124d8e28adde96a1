"""The result of a run: TAP or a table, line by line, and the exit code."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Report(ABC):
    """A report that grows with each result. Each method returns lines."""

    def __init__(self, scenarios: Sequence[Scenario], known: Collection[str]) -> None:
        """Create the report of a run of these scenarios. `known` are the names of known failures."""
        self._scenarios = scenarios
        self._known = known
        self._results: list[Result] = []

    def head(self) -> list[str]:
        """Return what comes before the first result. By default nothing does."""
        return []

    def entry(self, result: Result) -> list[str]:
        """Return what a result adds."""
        self._results.append(result)
        return self._entry(result, is_known=result.scenario.name in self._known)

    @abstractmethod
    def _entry(self, result: Result, *, is_known: bool) -> list[str]:
        """Return what a result adds, which is the last of `_results`."""

    def foot(self) -> list[str]:
        """Return what comes after the last result. By default nothing does."""
        return []

    def whole(self, results: Sequence[Result]) -> str:
        """Return the text of a run that is over."""
        entries = [line for each in results for line in self.entry(each)]
        return "\n".join([*self.head(), *entries, *self.foot()])


class Tap(Report):
    """TAP version 14. A known failure has the directive TODO."""

    def head(self) -> list[str]:
        """Return the version and the plan."""
        return ["TAP version 14", f"1..{len(self._scenarios)}"]

    def _entry(self, result: Result, *, is_known: bool) -> list[str]:
        word = "ok" if result.problem is None else "not ok"
        name = f"{_escaped(result.scenario.name)}{' # TODO known failure' if is_known else ''}"
        lines = [f"{word} {len(self._results)} - {name}"]
        lines += ["  ---", f"  rules: [{', '.join(result.scenario.rules)}]", f"  seconds: {result.seconds:.3f}"]
        if result.problem is not None:
            lines += ["  message: |", *(f"    {line}" for line in result.problem.splitlines())]
        elif is_known:
            lines.append("  message: it is listed as a known failure, and passes")
        return [*lines, "  ..."]


class Table(Report):
    """A table for people, with a summary."""

    def _entry(self, result: Result, *, is_known: bool) -> list[str]:
        width = max(len(each.name) for each in self._scenarios)
        word = {(True, False): "passed", (True, True): "PASSED", (False, True): "known"}.get(
            (result.problem is None, is_known), "FAILED"
        )
        rules = " ".join(result.scenario.rules)
        lines = [f"{word:7} {result.scenario.name:{width}}  {result.seconds:6.2f} s  {rules}".rstrip()]
        if result.problem is not None:
            lines += [f"        {line}" for line in result.problem.splitlines()]
        elif is_known:
            lines.append("        it is listed as a known failure, and passes")
        return lines

    def foot(self) -> list[str]:
        """Return the summary."""
        passed = sum(each.problem is None for each in self._results)
        failures = sum(each.problem is not None and each.scenario.name in self._known for each in self._results)
        return [f"{passed} of {len(self._results)} passed, {failures} failed as known"]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("#", "\\#")
