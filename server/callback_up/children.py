"""The child processes: their commands, health checks and time limits."""

import re
import signal
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from callback_launcher import programs
from callback_launcher.child import Child
from callback_launcher.programs import answers_ping, store_command, store_program
from callback_process import logs
from callback_process.addresses import Address
from callback_process.settings import Bind, LogLevel, ProcessSettings
from callback_up.data import DataDirectory

log = logs.get_logger()

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
        LaunchError: This machine has no Valkey or Redis.
    """
    socket = directory.store_socket
    listen = ("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--logfile", "")
    return Child(
        name="store",
        command=store_command(store_program(), directory.store, *listen),
        is_healthy=partial(answers_ping, socket),
        stop_s=STORE_STOP_S,
        start_s=None,  # a long append-only file takes time to load, and a loading store must not be killed
        death_signal=signal.SIGTERM,
        on_line=_log_store_line,
    )


def server_settings(settings: UpServerSettings, directory: DataDirectory, edge: Address) -> dict[str, object]:
    """Return what is given to the server: the store, and the URL of the edge and a key unless it has them."""
    given = {
        "BOX_URL": settings.box_url or f"http://{edge}",
        "REFLECTION": settings.has_reflection,
        "CHECK_WORKERS": True,
        "STORE_URL": directory.store_url,
    }
    if settings.platform_url is not None:
        given["PLATFORM_URL"] = settings.platform_url
    if settings.state_key is None and settings.state_key_file is None:
        given["STATE_KEY_FILE"] = directory.state_key
    return given


def serving(settings: UpSettings, admin: Address, config: Path | None, after: Child, **given: object) -> Child:
    """Return the server, the edge, which is healthy when it reaches a serving server, or the console, which needs none.

    Args:
        settings: Its settings.
        admin: Address of its probes.
        config: Settings file. None: the file that CALLBACK_CONFIG names, if any.
        after: Child that must be healthy before.
        given: Settings that replace its own.
    """
    if settings.drain_s is not None:
        given["DRAIN_S"] = settings.drain_s
    return programs.serving(
        settings.table, admin, given, config, inherits_settings=True, start_s=START_S, after=after,
        stop_s=(settings.drain_s or 0) + settings.grace_s + STOP_SLACK_S,
    )  # fmt: skip


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
