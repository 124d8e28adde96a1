"""The data directory of `callback up`, locked so that only one process uses it.

It contains `store/` (the store's append-only file), `state-key`, `store.sock` and `lock`. Other users cannot read the
first two.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from callback_launcher.errors import LaunchError

STATE_KEY_BYTES = 32
MAX_SOCKET_PATH = 107
"""In bytes: `sun_path` has 108 with the terminating zero."""
ORPHANS_S = 5.0
"""Time to wait for the children of a killed supervisor, in seconds: they get their signal at that moment."""


@dataclass(frozen=True)
class DataDirectory:
    """The paths in a data directory."""

    path: Path
    """Absolute path."""
    lock: int = -1
    """Descriptor that holds the lock, if this process has locked it. Children inherit it, so the lock is held until the
    last of them ends."""

    @property
    def store(self) -> Path:
        """Directory of the store's files."""
        return self.path / "store"

    @property
    def state_key(self) -> Path:
        """File with the key from which the URL of a `request_id` is derived."""
        return self.path / "state-key"

    @property
    def store_socket(self) -> Path:
        """Unix socket of the store. It is in another directory if this path is too long for a socket."""
        path = self.path / "store.sock"
        return path if len(os.fsencode(path)) <= MAX_SOCKET_PATH else _runtime_directory(self.path) / "store.sock"

    @property
    def store_url(self) -> str:
        """The `store_url` of the store."""
        return f"unix://{quote(str(self.store_socket))}"


def default_path() -> Path:
    """Return the default data directory: $CALLBACK_DATA_DIR, else `callback` in the user's state directory (XDG)."""
    if given := os.environ.get("CALLBACK_DATA_DIR"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "callback"  # noqa: PTH117  # `Path.is_absolute` would need a Path of an empty text


@contextlib.contextmanager
def open_directory(path: Path) -> Iterator[DataDirectory]:
    """Create the directory if it does not exist, and hold its lock inside the `with` block.

    Raises:
        LaunchError: The directory is in use, or cannot be used.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LaunchError(f"the data directory {path} cannot be used: {error.strerror}") from None
    try:
        _lock(path, lock)
        directory = DataDirectory(path, lock)
        if directory.store_socket.parent != path:
            _make_private(directory.store_socket.parent)
        try:
            directory.store.mkdir(mode=0o700, exist_ok=True)
            _make_state_key(directory.state_key)
        except OSError as error:
            raise LaunchError(f"the data directory {path} cannot be used: {error.strerror}") from None
        try:
            yield directory
        finally:
            with contextlib.suppress(OSError):  # it does not exist, or contains the socket of a killed store
                _runtime_directory(path).rmdir()
    finally:
        os.close(lock)


def _lock(path: Path, lock: int) -> None:
    until = time.monotonic() + ORPHANS_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace")
            # The children of a dead holder end in a moment too.
            if _is_alive(holder) or time.monotonic() > until:
                raise LaunchError(
                    f"the data directory {path} is in use by another `callback up`"
                    f"{f' (process {holder})' if holder else ''}; stop that one, or choose another with --data-dir"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            raise LaunchError(f"the data directory {path} cannot be locked: {error.strerror}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode("ascii"), 0)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ValueError:
        return True  # the holder has just started and not written its number yet
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of another user
    return True


def _make_state_key(path: Path) -> None:
    if path.exists():
        return
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(STATE_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)  # complete or absent, also after a power loss
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _runtime_directory(data: Path) -> Path:
    """Return a short path for a data directory: always the same one."""
    name = f"callback-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    return Path(tempfile.gettempdir(), name)


def _make_private(path: Path) -> None:
    """Create a directory for this user only, in a place where other users could have created it first."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise LaunchError(f"{path} is not a private directory of this user; remove it")
