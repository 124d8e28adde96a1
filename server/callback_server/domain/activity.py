"""Who decides what happens on a call, and how long that may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callback_server.domain.retries import DEFAULT_RETRIES, Retries

LEASE_SLACK_MS: Final = 10_000
"""A lease is the handler's deadline and this (spec, "A case's life")."""
DEFAULT_DEADLINE_MS: Final = 8_000
"""The deadline of a handler whose activity does not say otherwise."""
HOLD_DEADLINE_MS: Final = 300_000
"""How long a held call of such an activity waits for its answer."""


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity that the configuration declares."""

    name: str
    deadline_ms: int | None = None
    """None: the default, which is another one for a held call."""
    retries: Retries = DEFAULT_RETRIES


def deadline_ms(activities: Mapping[str, Activity], name: str, *, held: bool) -> int:
    """How long who decides on a call of an activity may take: its handler, or whoever answers a held one."""
    declared = activities.get(name)
    if declared is not None and declared.deadline_ms is not None:
        return declared.deadline_ms
    return HOLD_DEADLINE_MS if held else DEFAULT_DEADLINE_MS
