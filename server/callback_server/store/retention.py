"""How much of what has ended is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of closed cases and ended calls (spec, "Kept")."""

    time_ms: int = 7 * 24 * 3600 * 1000
    """How long a closed case and an ended call are kept."""
    calls_per_case: int = 100
    """How many ended calls of a case are kept."""
    bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of ended calls of a case are kept: requests and responses, packed."""
