"""Shutdown of real processes by real signals, on both event loops."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from soak.counts import combinations
from support.wait import DEADLINE_S

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
LOOPS = ["asyncio.run", "uvloop.run"]
STUCK = ["await asyncio.sleep(3600)", "time.sleep(3600)", "threading.Event().wait()"]


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


@pytest.mark.parametrize(("run", "number"), combinations(LOOPS, [signal.SIGTERM, signal.SIGINT]))
def test_the_first_signal_starts_a_graceful_stop(run, number):
    with waiter(run, "await asyncio.sleep(0)") as process:
        process.send_signal(number)
        assert process.communicate(timeout=DEADLINE_S)[0] == "stopping\nstopped\n"
        assert process.returncode == 0


@pytest.mark.parametrize("run", LOOPS)
def test_a_signal_delivered_to_another_thread_wakes_the_loop(run):
    thread = "threading.Thread(target=lambda: (sys.stdin.read(), signal.raise_signal(signal.SIGTERM))).start()"
    with waiter(run, "await asyncio.sleep(0)", thread) as process:
        process.stdin.close()
        assert process.wait(timeout=DEADLINE_S) == 0


@pytest.mark.parametrize(("run", "stuck"), combinations(LOOPS, STUCK[:2]))
def test_the_second_signal_ends_the_process_at_once_even_with_a_stuck_loop(run, stuck):
    with waiter(run, stuck) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=DEADLINE_S) == 128 + signal.SIGINT


@pytest.mark.parametrize(("run", "stuck"), combinations(LOOPS, STUCK))
def test_a_hanging_process_ends_at_its_hard_exit(run, stuck):
    with waiter(run, f"hard_exit_after(0.1); {stuck}") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 1


def test_a_hard_exit_can_be_cancelled():
    with waiter("asyncio.run", "hard_exit_after(0.2).cancel(); await asyncio.sleep(0.5)") as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=DEADLINE_S)[0] == "stopping\nstopped\n"
