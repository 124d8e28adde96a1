"""Findings of `callback doctor`: one line for each check. Checks change nothing."""

import enum
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from callback_process.effective import effective_settings, mask_url
from callback_process.settings import ProcessSettings, SettingsError, config_path

_Settings = TypeVar("_Settings", bound=ProcessSettings)


class Level(enum.StrEnum):
    """Severity of a finding."""

    OK = "ok"
    """The check passed."""
    WARNING = "warning"
    """It works, but needs attention."""
    PROBLEM = "problem"
    """It does not work, or breaks a promise."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. Its texts contain no secret."""

    check: str
    """Name of the check, such as `store memory`."""
    level: Level
    """Severity."""
    seen: str
    """Observation."""
    advice: str = ""
    """Advice for the operator; empty if there is nothing to do."""

    @property
    def is_problem(self) -> bool:
        """Whether the check failed."""
        return self.level is Level.PROBLEM

    @classmethod
    def ok(cls, check: str, seen: str) -> Self:
        """Return a finding of a check that passed."""
        return cls(check, Level.OK, seen)

    @classmethod
    def warning(cls, check: str, seen: str, advice: str) -> Self:
        """Return a warning."""
        return cls(check, Level.WARNING, seen, advice)

    @classmethod
    def problem(cls, check: str, seen: str, advice: str) -> Self:
        """Return a finding of a check that failed."""
        return cls(check, Level.PROBLEM, seen, advice)


def check_secret_file(check: str, path: Path) -> Finding:
    """Check that this user can read a file with a secret, and that not every user can."""
    if not_readable := check_readable(check, path):
        return not_readable
    if path.stat().st_mode & stat.S_IROTH:
        return Finding.warning(check, f"everyone on this machine can read {path}", f"chmod o-r {path}")
    return Finding.ok(check, f"{path} is readable, and not by everyone")


def check_readable(check: str, path: Path) -> Finding | None:
    """Return a problem if this user cannot read a file, else None."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        advice = "use the path of a file that the user of the process can read"
        return Finding.problem(check, f"{path} cannot be read: {error.strerror}", advice)
    return None


def unreachable(check: str, target: str, why: str | None, advice: str) -> Finding:
    """Return a problem: a target is unreachable. Leave out the reason if the target has a secret."""
    shown = mask_url(target)
    reason = (why or "").rpartition("; last error: ")[2].rstrip(".")  # gRPC repeats the text before this marker
    return Finding.problem(check, f"{shown} cannot be reached" + (f": {reason}" if shown == target else ""), advice)


async def diagnose(
    check: str,
    process: type[_Settings],
    config_file: Path | None,
    checks: Iterable[Callable[[_Settings], AsyncIterator[Finding]]],
    of_up: Mapping[str, str] = {},
) -> AsyncIterator[Finding]:
    """Check the settings of a process; if they are valid, run further checks.

    Args:
        check: Name of the findings about the settings.
        process: Class of the settings.
        config_file: The file; None means the file that CALLBACK_CONFIG names, if any.
        checks: The further checks, in order.
        of_up: Settings that a running `callback up` gives the process.
    """
    config_file = config_path(config_file)
    try:
        settings, origins = process.load_with_origins(config_file, **of_up)
    except SettingsError as error:
        for each in error.problems:
            yield Finding.problem(check, each, "correct it; see docs/settings.md")
        return
    from_where = sorted(
        {"the `callback up` that runs here" if name in of_up else origin for name, origin in origins.items()}
    )
    yield Finding.ok(check, f"from {', '.join(from_where)}" if from_where else "all settings have their default")
    secret_origins = {each.origin for each in effective_settings(settings, origins) if each.is_secret}
    if config_file is not None and str(config_file) in secret_origins:
        yield check_secret_file(f"{check} file", config_file)
    for run_check in checks:
        async for finding in run_check(settings):
            yield finding
