"""The buckets of durations, of servers and edges alike."""

from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.1, 5, 8, 8.2, 10, 30, 60, 300)
"""The upper bounds of the buckets of durations, in seconds.

Two lie close together at the default deadlines, 2 s for the answer to a browser and 8 s for a handler. So quantiles
show what ended at its deadline, and not a value between bounds far apart.
"""
