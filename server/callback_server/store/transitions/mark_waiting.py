"""The transition that marks a call whose caller waits at the address of the call."""

from __future__ import annotations

from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.store import keys
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("mark_waiting", sends_reports=True)


async def mark_waiting(scripts: Scripts, *, call_id: str, wait_hash: str, method: str, is_own: bool) -> str:
    """Mark a call before its caller, or a repeat, is told to wait, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call.
        wait_hash: SHA-256 of the token in the address, in hexadecimal digits.
        method: The method of the request, in lower case.
        is_own: Whether the caller of the call itself is told to wait, and not a repeat.

    Returns:
        The hash that the call has: of the first mark, if a caller was told to wait before. Empty: the call has ended.

    Raises:
        StoreError: It is not known whether the call was marked.
    """
    word, *kept = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id_of_call(call_id)),
        call_id=call_id,
        wait_hash=wait_hash,
        method=method,
        is_own=is_own,
    )
    return str(kept[0].decode()) if word == b"OK" else ""
