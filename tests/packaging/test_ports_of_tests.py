"""The ports of tests: processes that run at once share none, so no test finds its port taken by another one."""

import contextlib
import os
import subprocess
import sys

from support.store import free_port
from support.tree import ROOT

PORTS = 100
PROGRAM = f"""
from support.store import free_port
print(*(free_port() for _ in range({PORTS})), flush=True)
input()
"""


def test_processes_of_tests_that_run_at_once_are_given_no_port_twice():
    given = [free_port() for _ in range(PORTS)]
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(another_process()) for _ in range(3)]
        for other in others:
            given += map(int, other.stdout.readline().split())
        for other in others:
            assert other.communicate("\n")[1] == ""
    assert len(given) == len(set(given)) == 4 * PORTS


def another_process():
    """Start a process that is given ports, and keeps them until it can read a line."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
