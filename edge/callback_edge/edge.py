"""Edge: the one place where its parts are wired. The process and every test use it.

The start: render the pages, connect to the servers, accept callers, then answer operators.

The stop:

1. `/readyz` answers 503, and each answer is the last of its connection. This lasts `drain_s`, so that a proxy in front
   notices and uses another edge.
2. The callers of held calls, and those that wait for an answer, are told to wait: at another edge, or at this one after
   its restart.
3. The listener accepts no more connections, and waits for running requests until the end of `grace_s`.
4. Calls whose callers disconnected may continue until the same time. Then every call ends with OUTCOME_UNKNOWN.
5. The connections to the servers close, and what is left of the traces is sent.
"""

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final, Self

from callback_edge.activation import passed_socket
from callback_edge.app import create_app
from callback_edge.brand import BrandError
from callback_edge.call.exchange import Exchanges
from callback_edge.pages.pages import Pages
from callback_edge.pages.template_errors import TemplatesError
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import ServerClient
from callback_process.addresses import Address
from callback_process.admin import AdminServer
from callback_process.credentials import CredentialsError
from callback_process.entry_point import StartError
from callback_process.http.listener import HttpListener
from callback_process.http.service import HttpLimits
from callback_process.listener import address_of, listen

if TYPE_CHECKING:
    from callback_edge.tracing import Tracing

FLUSH_S: Final = 5.0
"""The longest time in which a stop sends what is left of the traces, in seconds, within the grace."""
MIN_FLUSH_S: Final = 0.5
"""The same after a grace that is used up: before the forced end of the process."""


class Edge:
    """One edge, from `async with` to its end.

    Args:
        settings: The settings.
        listening: Bound socket for callers. None: the one that systemd passed, or a new one at `bind`.
        upstream: Makes the calls, in place of the client of the servers in the settings.

    Raises:
        StartError: A file of the settings cannot be used.
    """

    def __init__(
        self, settings: EdgeSettings, *, listening: socket.socket | None = None, upstream: ServerClient | None = None
    ) -> None:
        self._settings = settings
        self._listening = listening
        self._tracing = _load_tracing() if settings.tracing else None
        self._flush_s = FLUSH_S
        try:
            self.upstream = upstream or ServerClient(settings)
        except CredentialsError as error:
            raise StartError(str(error)) from error
        self.app = create_app(settings)
        self.listener: HttpListener
        """Server of the callers, from the start on."""
        self.exchanges: Exchanges
        """What the exchanges of its requests use, from the start on."""
        self.address: Address
        """Address for callers, from the start on."""
        self.admin_address: Address
        """Address for operators, from the start on."""
        self._is_stopping = False

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as parts:
            observe = None if self._tracing is None else self._tracing.start_request
            if self._tracing is not None:
                tracing = self._tracing
                parts.push_async_callback(lambda: tracing.stop(self._flush_s))
            try:
                pages = await Pages.render(self.app, self._settings.load_brand())
                public = parts.enter_context(self._listening or passed_socket() or listen(self._settings.bind))
                admin = parts.enter_context(listen(self._settings.admin_bind))
            except (BrandError, TemplatesError, OSError) as error:
                raise StartError(str(error)) from error
            self.address, self.admin_address = address_of(public), address_of(admin)
            await parts.enter_async_context(self.upstream)
            self.exchanges = Exchanges(self.app, pages, self.upstream, self._settings, observe)
            self.listener = HttpListener(self.exchanges, _limits(self._settings), self._settings.trusted_proxies)
            await self.listener.start(public)
            parts.push_async_callback(self.listener.stop, 0)
            parts.enter_context(AdminServer(admin, self._why_not_ready))
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._parts.aclose()

    async def stop(self) -> None:
        """Drain, and wait for running requests and calls. `async with` then closes what is left."""
        self._is_stopping = True
        self.listener.drain()
        await asyncio.sleep(self._settings.drain_s)
        self.upstream.release_callers()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.grace_s
        loop.call_at(end, self.upstream.give_up)
        await self.listener.stop(self._settings.grace_s)
        await self.upstream.wait_idle(max(0, end - loop.time()))  # calls whose callers disconnected
        self._flush_s = min(FLUSH_S, max(MIN_FLUSH_S, end - loop.time()))

    async def _why_not_ready(self) -> str:
        return "stopping" if self._is_stopping else self.upstream.why_not_ready()


def _limits(settings: EdgeSettings) -> HttpLimits:
    return HttpLimits(
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
        head_timeout_s=settings.head_timeout_s,
        keep_alive_timeout_s=settings.keep_alive_timeout_s,
        body_limit_bytes=settings.body_limit_bytes,
    )


def _load_tracing() -> "Tracing":
    """Return the traces. Only a process that traces imports OpenTelemetry. Raises StartError."""
    try:
        from callback_edge.tracing import Tracing
    except ImportError as error:
        raise StartError(str(error)) from error
    return Tracing()
