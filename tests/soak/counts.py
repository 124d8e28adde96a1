"""Counts and combinations of long tests: reduced in every run, full in a soak."""

import itertools
import os

SOAK = os.environ.get("CALLBACK_SOAK") == "1"


def count(reduced, full):
    """Return `full` in a soak, else `reduced`."""
    return full if SOAK else reduced


def combinations(*parameters):
    """Return all combinations of values of parameters in a soak, else as many that each value is in one of them.

    Each parameter is a sequence of its values, or a mapping that has them as its keys. The first values are together in
    a combination, and so are the second ones. A parameter with fewer values begins again with its first one.
    """
    if SOAK:
        return list(itertools.product(*parameters))
    values = [list(each) for each in parameters]
    return [tuple(each[n % len(each)] for each in values) for n in range(max(map(len, values), default=1))]
