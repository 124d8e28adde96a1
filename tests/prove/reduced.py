"""A small and light load: of the processor, a proof then takes little but the starts of its processes."""

from callback_prove.system import Size

SIZE = Size(servers=1, edges=1, workers=1, handlers=0, http_handlers=0)
REDUCED = {"durability": "always", "seconds": 0, "size": SIZE, "rate": 6, "min_successes": 1}
"""Settings of a reduced run."""
