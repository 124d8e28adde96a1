"""How much a proof does: a reduced count in every run, the full one with `CALLBACK_SOAK=1` (`tasks.py soak`)."""

import os

SOAK = os.environ.get("CALLBACK_SOAK") == "1"


def count(reduced, full):
    """`full` in a soak, else `reduced`."""
    return full if SOAK else reduced
