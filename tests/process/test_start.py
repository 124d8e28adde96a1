"""How a process starts."""

import subprocess
import sys

PROGRAM = """
import gc
from callback_process.imports import uncollected
with uncollected():
    during = gc.isenabled()
print(during, gc.isenabled(), gc.get_freeze_count() > 1000)
"""


def test_the_garbage_collector_stays_away_from_what_is_imported_and_then_it_is_on():
    assert subprocess.check_output([sys.executable, "-c", PROGRAM], text=True).split() == ["False", "True", "True"]
