"""Stopping a process: react to signals, and end within a bounded time.

Each process decides the order of its own stop. These two functions make sure that the stop starts (SIGTERM or SIGINT),
and that nothing that hangs, in Python or below it, can block it forever.
"""

import asyncio
import os
import signal
import threading
from types import FrameType


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets. The second signal ends the process at once.

    Call it on the main thread, inside the running loop. The second signal ends the process with 128 + its number, as a
    shell reports it. This works even if the loop hangs, because the signal handlers belong to the interpreter and need
    no turn of the loop.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    signaled = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal signaled
        if signaled:
            os._exit(128 + number)
        signaled = True
        loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        # Wakes the loop if the kernel delivers the signal to another thread: Python handlers run on this thread only.
        loop.add_signal_handler(number, lambda: None)
        signal.signal(number, on_signal)
    return stopping


def hard_exit_after(seconds: float) -> threading.Timer:
    """End the process with status 1 after a time, whatever still runs then.

    Call it when a stop begins. Work that does not end within its grace period (a call that swallows its cancellation, a
    thread that never returns) then cannot keep the process alive. Nothing is flushed and nothing is cleaned up.

    Returns:
        The running timer. It is a daemon thread and does not keep the process alive itself. Call `cancel()` if the
        process continues.
    """
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
    return timer
