"""The counts of long tests: reduced in every run, full in a soak, and a tenth with `pytest --quick`."""

import os

SOAK = os.environ.get("CALLBACK_SOAK") == "1"
QUICK = os.environ.get("CALLBACK_QUICK") == "1"


def count(reduced, full):
    """Return `full` in a soak, else `reduced`, or a tenth of it with `--quick`."""
    if SOAK:
        return full
    return max(1, reduced // 10) if QUICK else reduced
