"""HTTP answer, as a program makes it and the connection sends it."""

from collections.abc import Sequence
from dataclasses import dataclass


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
