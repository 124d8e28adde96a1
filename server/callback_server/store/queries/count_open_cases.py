"""Count of the cases of an owner that are not closed, across partitions."""

from __future__ import annotations

from typing import Final

from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("count_open_cases")


async def count_open_cases(scripts: Scripts, owner: str) -> int:
    """Return the number of open cases. It is exact only if nothing changes while the partitions are read.

    Raises:
        StoreError: The store did not answer.
    """
    replies = await scripts.run_on_partitions(SCRIPT, dict.fromkeys(range(keys.PARTITIONS), SCRIPT.pack(owner=owner)))
    return sum(reply[0] for reply in replies.values())
