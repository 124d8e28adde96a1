"""The transition that corrects what is counted that names the body of a response."""

from __future__ import annotations

from typing import Final

from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("repair_uses")


async def repair_uses(
    scripts: Scripts, case_id: str, version: str, *, makes_entries: bool, removes_entries: bool
) -> str:
    """Return what is wrong with what is counted that names the body of a version of a case's response.

    Args:
        scripts: The scripts on the store.
        case_id: The case, which may be deleted.
        version: The version.
        makes_entries: Whether to count calls and kept answers that are not counted.
        removes_entries: Whether to count calls no more that do not exist.

    Returns:
        MISSING: a call or a kept answer is not counted. EXTRA: a call is counted that does not exist. WRONG_TYPE: the
        key is of another type. Empty: nothing, or the case has too many calls or answers to count them.

    Raises:
        StoreError: It is not known whether the number was corrected.
    """
    found: bytes = await scripts.run(
        SCRIPT, case_id=case_id, version=version, makes_entries=makes_entries, removes_entries=removes_entries
    )
    return found.decode()
