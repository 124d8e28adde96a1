"""The transition that marks a call whose caller did not get its answer."""

from __future__ import annotations

from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("mark_caller_gone", sends_reports=True)


async def mark_caller_gone(scripts: Scripts, call_id: str) -> bool:
    """Mark a call whose caller did not get its answer, durably, and return whether the call is known. Safe to resend.

    Raises:
        StoreError: It is not known whether the call was marked.
    """
    case_id = case_id_of_call(call_id)
    (word,) = await scripts.run(SCRIPT, case_id=case_id, call_id=call_id)
    return bool(word == b"OK")
