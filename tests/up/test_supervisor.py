"""The supervisor, with small programs in place of store, server and edge."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from support.up import is_running
from support.wait import wait_until

from callback_launcher import die_with_parent
from callback_launcher.child import Child
from callback_launcher.errors import LaunchError
from callback_up import supervisor as supervision
from callback_up.supervisor import Supervisor

SLEEPER = "import time; time.sleep(3600)"
POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(0)))
print("hello", flush=True)
signal.pause()
"""


def yes():
    return True


def no():
    return False


@pytest.fixture(autouse=True)
def short_pauses(limits):
    limits(supervision, RESTART_DELAY_S=0.01)


@pytest.fixture
def lines():
    """Return the list of lines that the children print, as pairs of name and line."""
    return []


@pytest.fixture
def make(lines):
    """Make a child from the text of a program."""

    def make(name, program, **fields):
        return Child(
            name=name,
            command=[sys.executable, "-S", "-c", program],
            on_line=lambda line: lines.append((name, line)),
            **{"is_healthy": yes, "stop_s": 30, **fields},
        )

    return make


@pytest.fixture
def polite(make, lines):
    """Make a child that prints hello, is healthy from then on, and prints bye when it gets the signal to stop."""

    def polite(name, **fields):
        def has_said_hello():
            return (name, "hello") in lines

        return make(name, POLITE, is_healthy=has_said_hello, **fields)

    return polite


class Run:
    """Supervisor that runs in a task."""

    def __init__(self, *children, **options):
        self.supervisor = Supervisor(children, **options)
        self.stopping = asyncio.Event()
        self.ready = 0
        self.task = asyncio.create_task(self.supervisor.run(self.stopping, self._count))

    async def _count(self):
        self.ready += 1

    def pid(self, child):
        return child.process and child.process.pid

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.stopping.set()
        await asyncio.wait([self.task])


async def test_children_start_in_order_and_stop_in_reverse_order(polite, lines):
    first = polite("first")
    second = polite("second", after=first)
    async with Run(first, second) as run:
        await wait_until(lambda: run.ready)
    assert run.ready == 1
    assert lines == [("first", "hello"), ("second", "hello"), ("second", "bye"), ("first", "bye")]


async def test_nothing_is_ready_before_every_child_is_healthy(make, lines):
    healthy = asyncio.Event()

    def is_healthy():
        return healthy.is_set()

    async with Run(make("quick", POLITE), make("slow", POLITE, is_healthy=is_healthy)) as run:
        await wait_until(lambda: len(lines) == 2)
        assert run.ready == 0
        healthy.set()
        await wait_until(lambda: run.ready == 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_child_that_dies_is_restarted(make, number):
    child = make("child", SLEEPER)
    async with Run(child) as run:
        await wait_until(lambda: run.ready)
        before = run.pid(child)
        os.kill(before, number)
        await wait_until(lambda: run.pid(child) != before)
    assert run.ready == 1


async def test_a_child_that_never_becomes_healthy_ends_everything_and_is_named(make, polite, lines):
    other = polite("other")
    child = make("child", "print('cannot', flush=True); raise SystemExit(3)", is_healthy=no, after=other)
    async with Run(other, child) as run:
        with pytest.raises(LaunchError, match="the child does not start: ended with status 3, 5 times in a row"):
            await run.task
    assert run.ready == 0
    assert lines.count(("child", "cannot")) == 5
    assert lines.count(("other", "bye")) == 1


async def test_a_child_that_was_healthy_in_between_is_restarted_again(make, lines):
    def is_healthy():
        return len(lines) % 2 == 0

    child = make("child", "print('x', flush=True); raise SystemExit(3)", is_healthy=is_healthy)
    async with Run(child) as run:
        await wait_until(lambda: run.task.done() or len(lines) > 12)
        assert not run.task.done()


async def test_a_child_that_takes_too_long_to_start_is_killed_and_counts_as_failed(make):
    async with Run(make("child", SLEEPER, is_healthy=no, start_s=0.05)) as run:
        with pytest.raises(LaunchError, match="the child does not start: ended by signal 9, 5 times"):
            await run.task


async def test_a_child_that_does_not_stop_is_killed(make, lines):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('hello', flush=True)\n" + SLEEPER
    child = make("child", stubborn, stop_s=0.05)
    async with Run(child) as run:
        await wait_until(lambda: lines)
        pid = run.pid(child)
    assert run.task.exception() is None
    assert not is_running(pid)


async def test_a_child_waits_for_the_child_it_needs_at_each_start(make, lines):
    open_gate = asyncio.Event()
    open_gate.set()

    asked = []

    def is_healthy():
        asked.append(1)
        return open_gate.is_set()

    needed = make("needed", POLITE, is_healthy=is_healthy)
    child = make("child", POLITE, after=needed)
    async with Run(needed, child) as run:
        await wait_until(lambda: run.ready and len(lines) == 2)
        before = run.pid(child), run.pid(needed)
        open_gate.clear()
        os.kill(before[1], signal.SIGKILL)
        await wait_until(lambda: run.pid(needed) != before[1])
        os.kill(before[0], signal.SIGKILL)
        await wait_until(lambda: lines.count(("needed", "hello")) == 2)
        await wait_until(lambda: not is_running(before[0]))
        asked.clear()
        await wait_until(lambda: len(asked) > 4)  # enough time for a start that does not wait
        assert run.pid(child) == before[0]
        open_gate.set()
        await wait_until(lambda: run.pid(child) != before[0])


async def test_a_health_check_that_cannot_connect_means_not_yet_healthy(make):
    asked = []

    def is_healthy():
        asked.append(1)
        if len(asked) < 3:
            raise ConnectionRefusedError
        return True

    async with Run(make("child", SLEEPER, is_healthy=is_healthy)) as run:
        await wait_until(lambda: run.ready)


async def test_a_child_has_its_own_session_and_environment(make, lines):
    program = "import os; print(os.getsid(0) == os.getpid(), os.environ['COLOUR'], flush=True)\n" + SLEEPER
    async with Run(make("child", program, environment={"COLOUR": "red"})):
        await wait_until(lambda: lines)
    assert lines == [("child", "True red")]


async def test_a_child_inherits_only_the_given_descriptors(make, lines):
    program = (
        "import os; print([n for n in range(3, 4096) if os.path.exists(f'/proc/self/fd/{n}')], flush=True)\n" + SLEEPER
    )
    reading, writing = os.pipe()
    try:
        async with Run(make("child", program), inherit=[writing]):
            await wait_until(lambda: lines)
    finally:
        os.close(reading)
        os.close(writing)
    assert lines == [("child", f"[{writing}]")]


async def test_an_endless_line_does_not_block_a_child(make, lines):
    program = "print('x' * 300_000, flush=True); print('done', flush=True)\n" + SLEEPER
    async with Run(make("child", program)):
        await wait_until(lambda: lines)
        await wait_until(lambda: lines[-1] == ("child", "done"))


def test_a_program_whose_parent_is_already_gone_does_not_start():
    command = [sys.executable, die_with_parent.__file__, "1", "9", sys.executable, "-c", "print('hello')"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == b""
