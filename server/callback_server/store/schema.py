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


async def upgrade_schema(client: StoreClient) -> str:
    """Set the layout of a new store, raise a lower version to ours, and return the layout that the store has now.

    Call it within `safety.refusals`.
    """
    stored = await client.execute_command(
        "EVAL",
        UPGRADE_SCHEMA.source,
        1,
        keys.SCHEMA_KEY,
        *UPGRADE_SCHEMA.pack(version=keys.SCHEMA_VERSION, partitions=keys.PARTITIONS),
    )
    return str(stored.decode(errors="replace"))


async def naming_key(client: StoreClient) -> bytes:
    """Return the naming key of the store, and make it for a new store. Call it within `safety.refusals`."""
    made = secrets.token_bytes(_NAMING_KEY_BYTES)
    kept = cast("bytes | None", await client.set(keys.NAMING_KEY, made, nx=True, get=True))
    return made if kept is None else kept


async def stored_layout(client: StoreClient) -> str | None:
    """Return the layout as `version:partitions`. None: the store is new. Call it within `safety.refusals`."""
    stored = cast("bytes | None", await client.get(keys.SCHEMA_KEY))
    return None if stored is None else stored.decode(errors="replace")


def layout_problem(stored: str | None) -> str | None:
    """Return the problem with the layout of a store, if its version is not ours or next to ours."""
    if stored is None:
        return None
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
