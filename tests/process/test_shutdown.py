"""Shutdown of real processes by real signals, on both event loops."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WAITER = """
import asyncio, signal, sys, threading, time, uvloop
from callback_process.stop import hard_exit_after, stop_on_signals
async def main():
    stopping = stop_on_signals()
    {before}
    print("ready", flush=True)
    await stopping.wait()
    print("stopping", flush=True)
    {after}
    print("stopped", flush=True)
{run}(main())
"""
LOOPS = pytest.mark.parametrize("run", ["asyncio.run", "uvloop.run"])
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@contextmanager
def waiter(run: str, after: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    program = WAITER.format(run=run, after=after, before=before)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@LOOPS
@SIGNALS
def test_the_first_signal_starts_a_graceful_stop(run, number):
    with waiter(run, "await asyncio.sleep(0)") as process:
        process.send_signal(number)
        assert process.communicate(timeout=120)[0] == "stopping\nstopped\n"
        assert process.returncode == 0


@LOOPS
def test_a_signal_delivered_to_another_thread_wakes_the_loop(run):
    thread = "threading.Thread(target=lambda: (sys.stdin.read(), signal.raise_signal(signal.SIGTERM))).start()"
    with waiter(run, "await asyncio.sleep(0)", thread) as process:
        process.stdin.close()
        assert process.wait(timeout=120) == 0


@LOOPS
@pytest.mark.parametrize("stuck", ["await asyncio.sleep(3600)", "time.sleep(3600)"])
def test_the_second_signal_ends_the_process_at_once_even_with_a_stuck_loop(run, stuck):
    with waiter(run, stuck) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 128 + signal.SIGINT


@LOOPS
@pytest.mark.parametrize("stuck", ["await asyncio.sleep(3600)", "time.sleep(3600)", "threading.Event().wait()"])
def test_a_hanging_process_ends_at_its_hard_exit(run, stuck):
    with waiter(run, f"hard_exit_after(0.1); {stuck}") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 1


def test_a_hard_exit_can_be_cancelled():
    with waiter("asyncio.run", "hard_exit_after(1).cancel(); await asyncio.sleep(1.5)") as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=120)[0] == "stopping\nstopped\n"
