"""The transition that sets a flag of a call."""

from __future__ import annotations

import enum
from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.script_arguments import texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("flag_call", texts("call_id", "flag"))


class CallFlag(enum.StrEnum):
    """A flag of a call."""

    CALLER_GONE = "caller_gone"
    """The caller hung up before it was answered."""


async def flag_call(scripts: Scripts, call_id: str, flag: CallFlag) -> bool:
    """Set a flag of a call, durably, and return whether the call is known. Safe to send again.

    Raises:
        StoreError: It is not known whether the flag was set.
    """
    (word,) = await scripts.run(SCRIPT, keys.partition_of(case_id_of_call(call_id)), call_id=call_id, flag=flag)
    return bool(word == b"OK")
