"""Where a process begins and ends: settings in, exit code out."""

import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from callback_process import logs, loop
from callback_process.settings import SettingsError

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


def run_process(name: str, log_level: str, serve: Coroutine[Any, Any, None]) -> int:
    """Run `serve` to its end, with the log of the process `name`. Call this on the main thread.

    Returns:
        The exit code: 0, or 1 with a line on standard error if `serve` raises StartError.
    """
    logs.configure(name, log_level)
    try:
        loop.run(serve)
    except StartError as error:
        sys.stderr.write(f"callback {name}: {error}\n")
        return 1
    return 0
