"""The size of the messages of this server."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""The maximum size of a message, in bytes: a request with its body, whatever the limit of the edge."""
