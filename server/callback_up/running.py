"""What a running `callback up` gives its server, for the commands that use the settings of a server."""

import socket
from pathlib import Path

from callback_process.settings import SettingsError
from callback_up import data
from callback_up.children import UpServerSettings


def server_settings(config: Path | None) -> dict[str, str]:
    """Return the settings that `callback up` gives its server: its store, and its key unless the settings have one.

    Empty if no `callback up` runs with the default data directory, and if the settings name a store: then they are
    those of another server.

    Args:
        config: Settings file; None means the file that CALLBACK_CONFIG names, if any.
    """
    try:
        settings = UpServerSettings.load(config)
    except SettingsError:
        return {}  # the command reports it
    directory = data.DataDirectory(data.default_path().absolute())
    if settings.store_url is not None or not _is_open(directory.store_socket):
        return {}
    found = {"store_url": directory.store_url}
    if settings.state_key is None and settings.state_key_file is None:
        found["state_key_file"] = str(directory.state_key)
    return found


def _is_open(path: Path) -> bool:
    """Return whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
