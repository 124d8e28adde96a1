"""The counts of long tests: reduced in every run, full with `CALLBACK_SOAK=1` (`tasks.py soak`)."""

import os

SOAK = os.environ.get("CALLBACK_SOAK") == "1"


def count(reduced, full):
    """Return `full` in a soak, else `reduced`."""
    return full if SOAK else reduced
