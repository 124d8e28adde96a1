"""Console process: settings in, exit code out."""

from typing import Final

from callback_console.console import Console
from callback_console.settings import ConsoleSettings
from callback_process import logs
from callback_process.entry_point import run_process
from callback_process.stop import hard_exit_after, stop_on_signals
from callback_process.version import VERSION

log = logs.get_logger()

_HARD_EXIT_S: Final = 2.0
"""How long after the grace period the process exits in any case, in seconds."""


def run(settings: ConsoleSettings) -> int:
    """Serve until SIGTERM or SIGINT. Call this on the main thread.

    Returns:
        The exit code: 0 after a stop, 1 with a line on standard error if an address cannot be used.
    """
    return run_process("console", settings, _serve(settings))


async def _serve(settings: ConsoleSettings) -> None:
    stop_requested = stop_on_signals()
    async with Console(settings) as console:
        log.info("ready", version=VERSION, console=str(console.address), admin=str(console.admin_address))
        await stop_requested.wait()
        log.info("stopping", grace_s=settings.grace_s)
        hard_exit_after(settings.grace_s + _HARD_EXIT_S)
    log.info("stopped")
