"""The transition that marks a call whose caller gets the fallback."""

from __future__ import annotations

from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.script_arguments import texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("mark_fallback", texts("call_id"))


async def mark_fallback(scripts: Scripts, call_id: str) -> bool:
    """Mark a call before its caller gets the fallback, durably. Safe to send again.

    Returns:
        Whether the call was marked while it ran. If not, it has ended, and its caller must not get the fallback.

    Raises:
        StoreError: It is not known whether the call was marked.
    """
    (word,) = await scripts.run(SCRIPT, keys.partition_of(case_id_of_call(call_id)), call_id=call_id)
    return bool(word == b"OK")
