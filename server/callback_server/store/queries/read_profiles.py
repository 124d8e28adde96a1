"""Reads of the verification profiles of an owner."""

from __future__ import annotations

from typing import cast

from callback_server.store import keys
from callback_server.store.scripts import Scripts


async def read_profile(scripts: Scripts, owner: str, name: str) -> bytes | None:
    """Return a profile of an owner as it is stored. None: the owner has no such profile.

    Raises:
        StoreError: The store did not answer.
    """
    key = keys.key(keys.partition_of_owner(owner), "profile", owner, name)
    return cast("bytes | None", await scripts.read(key, "GET", key))


async def list_profiles(scripts: Scripts, owner: str, *, after: str, limit: int) -> tuple[dict[str, bytes], str]:
    """Return profiles of an owner by name, sorted, and the name behind which the next ones are.

    Args:
        scripts: The scripts on the store.
        owner: The owner.
        after: The name behind which to begin. Empty: at the first one.
        limit: How many names to read. A profile that is deleted meanwhile is left out.

    Returns:
        The profiles, and the last name. It is empty if there are no more.

    Raises:
        StoreError: The store did not answer.
    """
    partition = keys.partition_of_owner(owner)
    key = keys.key(partition, "profiles", owner)
    names = cast(
        "list[bytes]",
        await scripts.read(key, "ZRANGEBYLEX", key, f"({after}" if after else "-", "+", "LIMIT", "0", str(limit + 1)),
    )
    shown = [name.decode() for name in names[:limit]]
    profiles = [keys.key(partition, "profile", owner, name) for name in shown]
    contents = await scripts.read_together(("GET", profile) for profile in profiles)
    found = {name: content for name, content in zip(shown, contents, strict=True) if content is not None}
    return found, shown[-1] if len(names) > limit else ""
