"""Console: the one place where its parts are wired. The process and every test use it.

The stop: `/readyz` answers 503, the live pages and the watches of the API end, running requests get `grace_s`, and all
sessions close.
"""

import asyncio
import contextlib
from typing import Final, Self

from callback_api.admission import Admission
from callback_api.application import ApiFirst
from callback_api.codecs import MAX_BODY_BYTES
from callback_api.forwarding import Forwarding
from callback_console.app import create_app
from callback_console.hosts import OwnHostOnly, origins_of
from callback_console.request_context import SESSIONS
from callback_console.server_access import tls_of
from callback_console.service import ConsoleService
from callback_console.sessions import Sessions
from callback_console.settings import ConsoleSettings
from callback_process.addresses import Address
from callback_process.admin import AdminServer
from callback_process.entry_point import StartError
from callback_process.http.listener import HttpListener
from callback_process.http.service import HttpLimits
from callback_process.http.turns import Turns
from callback_process.listener import address_of, listen

_LIMITS: Final = HttpLimits(
    max_connections=1024,
    max_connections_per_address=256,  # a person has about six, and an office has one address
    head_timeout_s=10,
    keep_alive_timeout_s=75,  # longer than that of a proxy in front
    body_limit_bytes=MAX_BODY_BYTES,
)
"""Limits of connections."""


class Console:
    """One console, from `async with` to its end.

    Args:
        settings: The settings.
    """

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self.address: Address
        """Address for browsers, from the start on."""
        self.admin_address: Address
        """Address for operators, from the start on."""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as parts:
            try:
                public = parts.enter_context(listen(self._settings.bind))
                admin = parts.enter_context(listen(self._settings.admin_bind))
            except OSError as error:
                raise StartError(str(error)) from error
            self.address, self.admin_address = address_of(public), address_of(admin)
            origins = origins_of(self.address, self._settings.public_url)
            try:
                app = create_app(self._settings, origins)
            except (OSError, ValueError) as error:
                raise StartError(f"openid: {error}") from error
            self._sessions: Sessions = app.extensions[SESSIONS]
            parts.push_async_callback(self._sessions.close_all)
            try:
                self._forwarding = Forwarding(
                    self._settings.server_target, tls_of(self._settings), is_local=self._settings.is_local
                )
            except (OSError, ValueError) as error:
                raise StartError(f"server_tls: {error}") from error
            parts.push_async_callback(self._forwarding.close)
            admission = Admission(Turns())
            pages_and_api = OwnHostOnly(ApiFirst(app, self._forwarding, origins, admission), origins)
            service = ConsoleService(pages_and_api, self._sessions, admission, self._settings.cookie_name)
            self._listener = HttpListener(service, _LIMITS, self._settings.trusted_proxies)
            await app.startup()
            parts.push_async_callback(app.shutdown)
            await self._listener.start(public)
            parts.push_async_callback(self._listener.stop, 0)
            parts.enter_context(AdminServer(admin, self._why_not_ready))
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()
        await self._parts.aclose()

    async def stop(self) -> None:
        """End the live pages and watches, and wait for running requests. `async with` then closes what is left."""
        self._stopping.set()
        self._sessions.end_live_pages()
        self._forwarding.end_watches()
        await self._listener.stop(self._settings.grace_s)

    async def _why_not_ready(self) -> str:
        return "stopping" if self._stopping.is_set() else ""
