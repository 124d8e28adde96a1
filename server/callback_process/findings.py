"""What `callback doctor` finds: one line for each thing that it looks at. It looks, and changes nothing."""

import enum
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from callback_process.effective import effective_settings, mask_url
from callback_process.settings import ProcessSettings, SettingsError, config_path

_Settings = TypeVar("_Settings", bound=ProcessSettings)


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    """As it should be."""
    WARNING = "warning"
    """It works, and somebody should see to it."""
    PROBLEM = "problem"
    """Something does not work, or breaks a promise."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. None of its texts has a secret in it."""

    check: str
    """What was looked at, such as `store memory`."""
    level: Level
    """How bad it is."""
    seen: str
    """What was seen."""
    advice: str = ""
    """What to do about it; empty where nothing is to be done."""

    @property
    def is_problem(self) -> bool:
        """Whether something does not work."""
        return self.level is Level.PROBLEM

    @classmethod
    def ok(cls, check: str, seen: str) -> Self:
        """All is well."""
        return cls(check, Level.OK, seen)

    @classmethod
    def warning(cls, check: str, seen: str, advice: str) -> Self:
        """It works so far."""
        return cls(check, Level.WARNING, seen, advice)

    @classmethod
    def problem(cls, check: str, seen: str, advice: str) -> Self:
        """It does not work."""
        return cls(check, Level.PROBLEM, seen, advice)


def check_secret_file(check: str, path: Path) -> Finding:
    """Whether this user can read a file that holds a secret, and not everyone can."""
    if not_readable := check_readable(check, path):
        return not_readable
    if path.stat().st_mode & stat.S_IROTH:
        return Finding.warning(check, f"everyone on this machine can read {path}", f"chmod o-r {path}")
    return Finding.ok(check, f"{path} can be read, and not by everyone")


def check_readable(check: str, path: Path) -> Finding | None:
    """What is wrong with a file if this user can not read it; None: it can."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        advice = "give the path of a file that the user of the process can read"
        return Finding.problem(check, f"{path} can not be read: {error.strerror}", advice)
    return None


def unreachable(check: str, target: str, why: str | None, advice: str) -> Finding:
    """Say that somebody can not be reached, and why; not why if the target has a secret, for that may repeat it."""
    shown = mask_url(target)
    reason = (why or "").rpartition("; last error: ")[2].rstrip(".")  # before it, gRPC says that this was the last
    return Finding.problem(check, f"{shown} can not be reached" + (f": {reason}" if shown == target else ""), advice)


async def diagnose(
    check: str,
    process: type[_Settings],
    config_file: Path | None,
    looks: Iterable[Callable[[_Settings], AsyncIterator[Finding]]],
) -> AsyncIterator[Finding]:
    """Look at the settings of a process; then, if they can be used, at all that it needs.

    Args:
        check: what the findings about the settings are called.
        process: whose settings.
        config_file: the file; None takes the one that CALLBACK_CONFIG names, if any.
        looks: what looks at the rest, in this order.
    """
    config_file = config_path(config_file)
    try:
        settings, origins = process.load_with_origins(config_file)
    except SettingsError as error:
        for each in error.problems:
            yield Finding.problem(check, each, "correct it, as docs/settings.md says")
        return
    from_where = sorted(set(origins.values()))
    yield Finding.ok(check, f"from {', '.join(from_where)}" if from_where else "all are the default")
    secret_origins = {each.origin for each in effective_settings(settings, origins) if each.is_secret}
    if config_file is not None and str(config_file) in secret_origins:
        yield check_secret_file(f"{check} file", config_file)
    for look in looks:
        async for finding in look(settings):
            yield finding
