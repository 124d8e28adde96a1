"""Where a process begins and ends: settings in, exit code out."""

import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from callback_process import logs, loop
from callback_process.settings import SettingsError

log = logs.get_logger()

Settings = TypeVar("Settings")


class StartError(Exception):
    """The process cannot start. The text says why, for the operator who starts it."""


def main(load: Callable[[], Settings], run: Callable[[Settings], int]) -> int:
    """Run a process with the settings of its environment.

    Returns:
        The exit code of `run`, or 2 with the reasons on standard error if a setting is wrong.
    """
    try:
        settings = load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


class _ProcessSettings(Protocol):
    @property
    def log_level(self) -> str: ...

    def misspelt_variables(self) -> Iterable[tuple[str, str]]: ...


def run_process(name: str, settings: _ProcessSettings, serve: Coroutine[Any, Any, None]) -> int:
    """Run `serve` to its end, with the log of the process `name`. Call this on the main thread.

    Returns:
        The exit code: 0, or 1 with a line on standard error if `serve` raises StartError.
    """
    logs.configure(name, settings.log_level)
    for variable, near in settings.misspelt_variables():
        log.warning("environment_variable_unknown", variable=variable, is_it=near)
    try:
        loop.run(serve)
    except StartError as error:
        sys.stderr.write(f"callback {name}: {error}\n")
        return 1
    return 0
