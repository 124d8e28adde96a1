"""Which features the servers of a store know. They announce them with their statistics (calls/call_statistics.py)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from callback_server.domain.features import FEATURES
from callback_server.store.queries.read_statistics import GAUGE, read_stored_names
from callback_server.store.scripts import Scripts

CLOCKS_DIFFER_MIN: Final = 3
"""How many minutes the clocks of servers may differ, for an older release to be seen."""
_FEATURE: Final = f"{GAUGE}feature:"
"""Start of the names of counts of each server that knows a feature, whose name follows."""


def announcements() -> Mapping[str, int]:
    """Return the counts by which this server announces what it knows."""
    return {f"{_FEATURE}{name}": 1 for name in FEATURES}


async def read_names_of_servers(scripts: Scripts, minute: int) -> list[frozenset[str]]:
    """Return the names of the counts that each server has stored, for each of the minutes around `minute`.

    A server that has started some seconds ago has stored none yet.

    Raises:
        StoreError: The store did not answer.
    """
    return await read_stored_names(scripts, first=minute - CLOCKS_DIFFER_MIN, last=minute + CLOCKS_DIFFER_MIN)


async def unavailable_features(scripts: Scripts, features: Collection[str], *, minute: int) -> set[str]:
    """Return those of some features that a server of the store does not know, or did not in the last minutes.

    Args:
        scripts: The scripts on the store.
        features: The names of the features.
        minute: The present minute since the epoch.

    Raises:
        StoreError: The store did not answer.
    """
    return _missing(features, await read_names_of_servers(scripts, minute))


async def feature_differences(scripts: Scripts, *, minute: int) -> tuple[list[str], list[str]]:
    """Return the features that other servers know and this release does not, and those that it knows and one does not.

    Args:
        scripts: The scripts on the store.
        minute: The present minute since the epoch.

    Raises:
        StoreError: The store did not answer.
    """
    servers = await read_names_of_servers(scripts, minute)
    announced = {name.removeprefix(_FEATURE) for names in servers for name in names if name.startswith(_FEATURE)}
    return sorted(announced - FEATURES.keys()), sorted(_missing(FEATURES, servers))


def _missing(features: Collection[str], servers: Collection[frozenset[str]]) -> set[str]:
    return {each for each in features if any(f"{_FEATURE}{each}" not in names for names in servers)}
