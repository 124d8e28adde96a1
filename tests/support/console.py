"""A console in the process of the tests."""

import contextlib

from callback_console.console import Console
from callback_console.settings import ConsoleSettings


@contextlib.asynccontextmanager
async def running_console(target, **changes):
    """Run a console at free ports."""
    settings = ConsoleSettings(bind="127.0.0.1:0", admin_bind="127.0.0.1:0", server_target=target, **changes)
    async with Console(settings) as console:
        yield console
