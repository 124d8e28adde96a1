"""What all replicas have done in each of some minutes."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("read_statistics")

GAUGE: Final = "gauge:"
"""Start of the names of counts that each replica stores of the whole store: the largest one counts, not the sum."""

_decode = msgspec.msgpack.Decoder(dict[str, int]).decode


async def read_stored_names(scripts: Scripts, *, first: int, last: int) -> list[frozenset[str]]:
    """Return the names of the counts that each replica stored for each minute from `first` to `last`.

    Raises:
        StoreError: The store did not answer.
    """
    flat = await scripts.run_on(SCRIPT, keys.STATISTICS_KEY, first=first, last=last)
    return [frozenset(_decode(packed)) for packed in flat[1::2]]


async def read_statistics(scripts: Scripts, *, first: int, last: int) -> dict[int, Counter[str]]:
    """Return the sums of the counts, and the largest gauges, of each minute from `first` to `last`.

    Raises:
        StoreError: The store did not answer.
    """
    found: dict[int, Counter[str]] = {minute: Counter() for minute in range(first, last + 1)}
    flat = await scripts.run_on(SCRIPT, keys.STATISTICS_KEY, first=first, last=last)
    for minute, packed in zip(flat[::2], flat[1::2], strict=True):
        counts = found[minute]
        for name, count in _decode(packed).items():
            counts[name] = max(counts[name], count) if name.startswith(GAUGE) else counts[name] + count
    return found
