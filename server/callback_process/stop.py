"""A stop that begins when asked and comes to an end.

The order of a stop belongs to each process. These two make sure that it begins (SIGTERM or SIGINT) and that nothing
that is stuck, in Python or below it, can hold it for ever.
"""

import asyncio
import os
import signal
import threading
from types import FrameType


def stop_on_signals() -> asyncio.Event:
    """Set the returned event on the first SIGTERM or SIGINT; end the process at once on the second.

    Call it on the main thread, inside the running loop. The second signal ends the process with 128 + its number, as a
    shell reports it, even where the loop is stuck: the handlers are the interpreter's own and need no turn of the loop.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    asked = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        # Has the loop woken, whichever thread the kernel gave the signal to: handlers run in this one, once it runs.
        loop.add_signal_handler(number, lambda: None)
        signal.signal(number, on_signal)
    return stopping


def hard_exit_after(seconds: float) -> threading.Timer:
    """End the process with status 1 after this many seconds, whatever still runs then.

    For the beginning of a stop: what does not end within its grace, be it a call that swallows its cancellation or a
    thread that never returns, can not hold the process any longer. Nothing is flushed and nothing is cleaned up.

    Returns:
        The running timer: a daemon, so it holds nothing itself. `cancel()` it where the process lives on.
    """
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
    return timer
