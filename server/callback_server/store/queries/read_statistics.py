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


async def every_replica_stored(scripts: Scripts, name: str, *, first: int, last: int) -> bool:
    """Return whether each replica that stored something for a minute from `first` to `last` stored a count of a name.

    False if none stored anything.

    Raises:
        StoreError: The store did not answer.
    """
    flat = await scripts.run_on(SCRIPT, keys.STATISTICS_KEY, first=first, last=last)
    return bool(flat) and all(name in _decode(packed) for packed in flat[1::2])


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
