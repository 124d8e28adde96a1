"""A program whose main job is to run handlers: its log output and its stop signals."""

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def log_to_standard_error() -> None:
    """Write the log of this library to standard error, unless the program has configured logging."""
    log = logging.getLogger("callback")
    if not log.hasHandlers():
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Give an event that the first SIGTERM or SIGINT sets, and restore the previous signal handlers after it.

    Outside the main thread, where Python cannot handle signals, nothing sets the event.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # Wakes the loop if the kernel delivers a signal to another thread: Python handlers run on this thread only. Some
    # loops are woken anyway, such as those of Windows.
    signal.set_wakeup_fd(wakeup := signal.set_wakeup_fd(-1))
    woken = tuple(before) if wakeup == -1 else ()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in woken:
        loop.add_signal_handler(number, lambda: None)
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number in woken:
            loop.remove_signal_handler(number)
        restore()
