"""The table of times at the end of a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.timing import used_by_running_children
from support.wait import wait_until_sync

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
sys.stdin.read()
child.kill()
child.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it reads what Linux says of processes")
def test_the_processor_time_of_children_that_run_on_is_counted_with_that_of_their_children():
    before = used_by_running_children(os.getpid())
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent:
        wait_until_sync(lambda: used_by_running_children(os.getpid()) >= before + 0.5, what="half a second of work")
        parent.stdin.close()
