"""The table of times at the end of a run."""

import os
import subprocess
import sys

from support.timing import used_by_running_children

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
sys.stdin.read()
child.kill()
child.wait()
"""


def test_the_processor_time_of_children_that_run_on_is_counted_with_that_of_their_children():
    before = used_by_running_children(os.getpid())
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent:
        while used_by_running_children(os.getpid()) < before + 0.5:
            assert parent.poll() is None
        parent.stdin.close()
