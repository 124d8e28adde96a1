"""Origins of the console, and the refusal of requests for any other host.

A page of another site can make its own name point to this machine (DNS rebinding). Its requests then have that name as
`Host`.
"""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from callback_process.addresses import Address
from callback_process.http.service import Receive, Send


def origins_of(address: Address, public_url: str | None) -> frozenset[str]:
    """Return the origins at which browsers may use the console.

    Args:
        address: The address on which it listens.
        public_url: The setting.
    """
    if public_url is not None:
        return frozenset({public_url})
    names = {str(address)} | ({f"localhost:{address.port}"} if address.is_loopback else set())
    return frozenset(f"http://{name}" for name in names)


class OwnHostOnly:
    """Application that passes requests for its own hosts on. It refuses all others with a 421."""

    def __init__(self, app: Any, origins: Collection[str]) -> None:
        self._app = app
        self._hosts = {urlsplit(origin).netloc.encode() for origin in origins}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle a request."""
        hosts = [value.lower() for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 421, "headers": headers, "trailers": False})
            await send({"type": "http.response.body", "body": b"unknown host\n", "more_body": False})
            return
        await self._app(scope, receive, send)
