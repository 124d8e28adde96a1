"""The log of limits that refuse requests."""

from __future__ import annotations

import time
from typing import Final

from callback_process.logs import get_logger

log = get_logger()

LOG_AGAIN_S: Final = 60
"""How long after a line about a limit and an owner the next one may come, in seconds."""
_logged_at: Final[dict[tuple[str, str], float]] = {}
"""When each limit was logged last, for each owner."""


def log_limit(limit: str, owner: str) -> None:
    """Log that a limit refuses requests: not for each of them, because under overload each line would be expensive.

    Args:
        limit: The setting of the limit.
        owner: Whose calls are refused. Empty: it is not known, because the limit is that of all.
    """
    now = time.monotonic()
    if now - _logged_at.get((limit, owner), -LOG_AGAIN_S) >= LOG_AGAIN_S:
        _logged_at[limit, owner] = now
        log.warning("limit_exceeded", limit=limit, owner=owner or None)
