"""Records that a caller had hung up before it could be answered."""

from __future__ import annotations

from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("report_caller_gone")


async def report_caller_gone(scripts: Scripts, call_id: str) -> bool:
    """Records it, durably. False: there is no such call, or no longer. Safe to send again.

    Raises:
        StoreError: it is not known whether it was recorded.
    """
    (word,) = await scripts.run(SCRIPT, keys.partition_of(case_id_of_call(call_id)), call_id)
    return bool(word == b"OK")
