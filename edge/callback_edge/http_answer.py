"""HTTP answer, as the call and the pages make it and the connection sends it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FIXED_HEADERS: Final[Sequence[tuple[str, str]]] = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex"),
)
"""Headers of every answer, once each. The connection adds them, also to Hypercorn's own answers. So no `HttpAnswer` has
them, and the edge removes those of a handler."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Complete HTTP answer, without what the connection adds (date, fixed headers)."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    """Names in lower case, values in ISO-8859-1, in the order in which they are sent."""
    body: bytes = b""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Headers as they are sent, with `content-length`, which a 204 does not have (RFC 9110, section 8.6)."""
        fields = [(name.encode(), value.encode("latin-1")) for name, value in self.headers]
        if self.status != 204:
            fields.append((b"content-length", b"%d" % len(self.body)))
        return fields
