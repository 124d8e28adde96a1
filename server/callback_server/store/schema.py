"""The layout of a store: read, checked, and raised to ours (see keys.SCHEMA_VERSION). The naming key of a store."""

from __future__ import annotations

import re
import secrets
from typing import Final, cast

from callback_server.store import keys
from callback_server.store.connection.client import StoreClient
from callback_server.store.scripts import Script

UPGRADE_SCHEMA: Final = Script("upgrade_schema")
_NAMING_KEY_BYTES: Final = 32


async def upgrade_schema(client: StoreClient) -> str | None:
    """Set the layout of a new store, raise a lower version to ours, and return what is wrong with the layout.

    A new store gets its naming key first, so a store without one is of an earlier numbering of the versions. Call it
    within `safety.refusals`.
    """
    if await stored_layout(client) is None:
        await naming_key(client)
    elif problem := await find_layout_problem(client):
        return problem
    stored = await client.execute_command(
        "EVAL",
        UPGRADE_SCHEMA.source,
        1,
        keys.SCHEMA_KEY,
        *UPGRADE_SCHEMA.pack(version=keys.SCHEMA_VERSION, partitions=keys.PARTITIONS),
    )
    return _layout_problem(stored.decode(errors="replace"))


async def naming_key(client: StoreClient) -> bytes:
    """Return the naming key of the store, and make it for a new store. Call it within `safety.refusals`."""
    made = secrets.token_bytes(_NAMING_KEY_BYTES)
    kept = cast("bytes | None", await client.set(keys.NAMING_KEY, made, nx=True, get=True))
    return made if kept is None else kept


async def stored_layout(client: StoreClient) -> str | None:
    """Return the layout as `version:partitions`. None: the store is new. Call it within `safety.refusals`."""
    stored = cast("bytes | None", await client.get(keys.SCHEMA_KEY))
    return None if stored is None else stored.decode(errors="replace")


async def find_layout_problem(client: StoreClient) -> str | None:
    """Return what is wrong with the layout of a store, if it has data. Only reads. Call it within `safety.refusals`."""
    stored = await stored_layout(client)
    if stored is None:
        return None
    if problem := _layout_problem(stored):
        return problem
    if not await client.exists(keys.NAMING_KEY):
        seen = f"the store is laid out as {stored} of an earlier numbering: it has no {keys.NAMING_KEY}"
        return f"{seen}; use another store"
    return None


def _layout_problem(stored: str) -> str | None:
    """Return what is wrong with a layout, if its version is not ours or next to ours."""
    version, ours = re.fullmatch(r"([1-9]\d{0,8}):(\d{1,9})", stored), keys.SCHEMA_VERSION
    if version is None or int(version[2]) != keys.PARTITIONS:
        advice = "use another store"
    elif int(version[1]) > ours + 1:
        advice = "use the release that raised it, or the one before that"
    elif int(version[1]) < ours - 1:
        advice = "run the releases between first, one after the other"
    else:
        return None
    return (
        f"the store is laid out as {stored} (version:partitions) and this release works with "
        f"{max(ours - 1, 1)} to {ours + 1}:{keys.PARTITIONS}; {advice}"
    )
