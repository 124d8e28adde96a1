"""The data directory: what `callback up` keeps, and that only one of them uses it.

It holds `store/` (the store's append-only file), `state-key`, `store.sock` and `lock`. Nobody else may read the first
two.
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

from callback_up.errors import UpError

STATE_KEY_BYTES = 32
LONGEST_SOCKET_PATH = 107
"""In bytes; the system's `sun_path` has 108 with the zero at its end."""
ORPHANS_S = 5.0
"""How long to wait for the children of a supervisor that was killed: they are told to end at that moment."""


@dataclass(frozen=True)
class DataDirectory:
    """A data directory that is ours."""

    path: Path
    """Absolute."""
    lock: int
    """The descriptor that holds the lock. Children inherit it, so the lock is held until the last of them is gone."""

    @property
    def store(self) -> Path:
        """Where the store keeps its files."""
        return self.path / "store"

    @property
    def state_key(self) -> Path:
        """The file with the key from which the URL of a `request_id` is made."""
        return self.path / "state-key"

    @property
    def store_socket(self) -> Path:
        """Where the store listens. Elsewhere if the directory lies too deep for the path of a socket."""
        path = self.path / "store.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        runtime = _runtime_directory(self.path)
        _make_private(runtime)
        return runtime / "store.sock"


def default_path() -> Path:
    """The data directory where none is given: $CALLBACK_DATA_DIR, else `callback` among the user's state (XDG)."""
    if given := os.environ.get("CALLBACK_DATA_DIR"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "callback"  # noqa: PTH117


@contextlib.contextmanager
def open_directory(path: Path) -> Iterator[DataDirectory]:
    """Make the directory if it is not there, and hold its lock for the time of the block.

    Raises:
        UpError: it is in use, or can not be used.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UpError(f"the data directory {path} can not be used: {error.strerror}") from None
    try:
        _lock(path, lock)
        directory = DataDirectory(path, lock)
        try:
            directory.store.mkdir(mode=0o700, exist_ok=True)
            _make_state_key(directory.state_key)
        except OSError as error:
            raise UpError(f"the data directory {path} can not be used: {error.strerror}") from None
        try:
            yield directory
        finally:
            with contextlib.suppress(OSError):  # there is none, or a killed store's socket is left in it for the next
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
            # A dead holder's children are about to be gone too.
            if _is_alive(holder) or time.monotonic() > until:
                raise UpError(
                    f"the data directory {path} is in use by another `callback up`"
                    f"{f' (process {holder})' if holder else ''}; stop that one, or choose another with --data-dir"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            raise UpError(f"the data directory {path} can not be locked: {error.strerror}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode("ascii"), 0)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ValueError:
        return True  # not written yet: it has only just begun
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
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
    fresh.rename(path)  # whole or not at all, a power loss included
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _runtime_directory(data: Path) -> Path:
    """Return a short path that belongs to one data directory: the same one every time."""
    name = f"callback-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    return Path(tempfile.gettempdir(), name)


def _make_private(path: Path) -> None:
    """Make a directory for this user alone, in a place where anyone could have made it first."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise UpError(f"{path} is not a directory that only this user can use; remove it")
