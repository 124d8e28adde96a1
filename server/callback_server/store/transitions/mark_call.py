"""Records something of a call that changes nothing else."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.generated_lua import text
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("mark_call", text("call_id", "mark"))


class CallMark(enum.StrEnum):
    """What."""

    CALLER_GONE = "caller_gone"
    """Its caller had hung up before it could be answered."""
    FALLBACK_SENT = "fallback_sent"
    """Its caller got the fallback, at the answer deadline."""


async def mark_call(scripts: Scripts, call_id: str, mark: CallMark) -> bool:
    """Records it, durably. False: there is no such call, or no longer. Safe to send again.

    Raises:
        StoreError: it is not known whether it was recorded.
    """
    (word,) = await scripts.run(SCRIPT, keys.partition_of(case_id_of_call(call_id)), call_id=call_id, mark=mark)
    return bool(word == b"OK")
