"""HTTP handlers: the server sends each call of an activity as a request to its URL.

The connection is made first, and the request is sent once, so that a call that never left this process is distinguished
from one that may have left it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from callback_process.addresses import parse_network
from callback_process.credentials import Contents, FileReloader, reload_logger, tls_files, tls_reloader
from callback_process.public_addresses import Resolve, resolve
from callback_process.settings import TlsSettings
from callback_process.tasks import TaskSet
from callback_server import metrics
from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.domain.http_target import parse_http_target
from callback_server.domain.notification import CallReason
from callback_server.handlers.handler import HandlerError, Reply
from callback_server.handlers.http.answer import answered
from callback_server.handlers.http.connection import AnswerError, BrokenConnectionError
from callback_server.handlers.http.pool import ConnectionPool, NotConnectedError
from callback_server.handlers.http.request import http_request
from callback_server.settings import ActivitySettings, HttpSettings
from callback_server.verification.credential import Credential
from callback_server.verification.standard_webhooks import signing_secret

FILES_INTERVAL_S: Final = 1.0
"""Interval between two checks of the files, in seconds."""
_LOOPBACK: Final = tuple(map(parse_network, ("127.0.0.0/8", "::1")))


class HttpHandler:
    """The HTTP handler of one activity with its connections, from `async with` to its end."""

    def __init__(
        self, activity: str, settings: ActivitySettings, http: HttpSettings, *, resolve: Resolve = resolve
    ) -> None:
        """Read the secrets and the TLS files.

        Args:
            activity: The name of the activity.
            settings: Its settings, whose target is a URL.
            http: The part of them that is for such a target.
            resolve: Resolves names.

        Raises:
            CredentialsError: A file cannot be used.
        """
        self._activity = activity
        self._settings = settings
        self._http = http
        self._target = target = parse_http_target(settings.target or "")
        self._secrets = signing_secrets(activity, http)
        self._tls = _tls(activity, settings) if target.scheme == "https" else None
        self._pool = ConnectionPool(
            target,
            tls=lambda: None if self._tls is None else self._tls.value,
            server_name=None if settings.tls is None else settings.tls.server_name,
            private_networks=http.private_networks if target.scheme == "https" else _LOOPBACK,
            max_in_flight=http.max_in_flight,
            resolve=resolve,
        )
        self._tasks = TaskSet()

    async def __aenter__(self) -> Self:
        self._tasks.start(self._follow_files())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._tasks.cancel()
        self._pool.close()

    async def handle(self, grant: Grant, request: Request, *, timeout_s: float) -> Reply:
        """Ask the handler for its decision. See `Handler`."""
        if grant.reason is not CallReason.CALL and not self._http.notifications:
            raise HandlerError(CallFailure.NO_HANDLER, f"the handler of {self._activity} takes no notifications")
        end = time.monotonic() + timeout_s
        try:
            connection = await self._pool.acquire(min(self._settings.connect_timeout_s, timeout_s))
        except NotConnectedError as error:
            detail = f"no connection to the handler of {self._activity}: {error}"
            raise HandlerError(CallFailure.HANDLER_UNREACHABLE, detail) from error
        try:
            if (left_s := end - time.monotonic()) <= 0:  # such as in a process that was suspended for a while
                detail = f"the time for the handler of {self._activity} was over before a request could be sent"
                raise HandlerError(CallFailure.HANDLER_UNREACHABLE, detail)
            sent = http_request(
                self._target,
                grant,
                request,
                timeout_s=left_s,
                passed=self._http.request_headers,
                secrets=self._secrets.value,
            )
            async with asyncio.timeout(left_s):
                answer = await connection.exchange(sent)
        except TimeoutError as error:
            detail = "the handler did not answer completely by its deadline"
            raise HandlerError(CallFailure.DEADLINE_EXCEEDED, detail) from error
        except BrokenConnectionError as error:
            raise HandlerError(CallFailure.HANDLER_LOST, str(error)) from error
        except AnswerError as error:
            raise HandlerError(CallFailure.INVALID_RESPONSE, str(error)) from error
        finally:
            self._pool.release(connection)
        decided = answered(answer, self._target, self._http.response_headers)
        return Reply(decided, lambda _refusal: None)  # it cannot be told; the call says why

    def stop(self) -> None:
        """Send no more calls: those that wait for a connection end, and their handler has not started."""
        self._pool.stop()

    async def check(self) -> str:
        """Connect to the handler and send nothing. Return why that fails; empty if it does not."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                connection = await self._pool.connect(self._settings.connect_timeout_s)
        except NotConnectedError as error:
            return str(error)
        except TimeoutError:
            return f"no connection in {self._settings.connect_timeout_s:g} s"
        connection.close()
        return ""

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(FILES_INTERVAL_S)
            self._secrets.reload()
            if self._tls is not None:
                self._tls.reload()


def signing_secrets(activity: str, http: HttpSettings) -> FileReloader[list[bytes]]:
    """Return the secrets that sign the requests of an activity, which follow their files. Raise CredentialsError."""
    files: dict[str, Path | None] = {
        f"activities.{activity}.http.secret_files[{index}]": path for index, path in enumerate(http.secret_files)
    }

    def secrets(contents: Contents) -> list[bytes]:
        credentials = [Credential(f"{name} {files[name]}", content or b"") for name, content in contents.items()]
        return [signing_secret(each) for each in credentials]

    failed = metrics.RELOADS_FAILED.labels("handler_secrets")
    on_reload = reload_logger(failed, "handler_secrets_read", "handler_secrets_not_read", activity=activity)
    return FileReloader(files, secrets, on_reload)


def _tls(activity: str, settings: ActivitySettings) -> FileReloader[ssl.SSLContext]:
    tls = settings.tls or TlsSettings()
    failed = metrics.RELOADS_FAILED.labels("handler_tls")
    on_reload = reload_logger(failed, "handler_tls_read", "handler_tls_not_read", activity=activity)
    make: Callable[..., ssl.SSLContext] = lambda *_contents: _context(tls)  # noqa: E731  # OpenSSL reads the files
    return tls_reloader(tls_files(f"activities.{activity}.tls", tls), make, on_reload)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")  # or OpenSSL asks on the terminal
    return context
