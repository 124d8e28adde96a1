"""The source tree, for tests of the tree itself."""

import functools
import subprocess
from pathlib import Path

from support.tools import require

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "callback": ROOT / "clients/python/callback",
    "callback_api": ROOT / "clients/api/callback_api",
    "callback_cli": ROOT / "clients/cli/callback_cli",
    "callback_conform": ROOT / "clients/conformance/callback_conform",
    "callback_console": ROOT / "clients/console/callback_console",
    "callback_edge": ROOT / "edge/callback_edge",
    "callback_launcher": ROOT / "server/callback_launcher",
    "callback_process": ROOT / "server/callback_process",
    "callback_prove": ROOT / "server/callback_prove",
    "callback_server": ROOT / "server/callback_server",
    "callback_shared": ROOT / "clients/python/callback_shared",
    "callback_triage": ROOT / "clients/triage/callback_triage",
    "callback_up": ROOT / "server/callback_up",
}
"""Every published package, and its folder."""


@functools.cache
def tracked_files():
    """Return every file that is in the repository, or would be with the next commit."""
    git = [require("git"), "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, capture_output=True, check=True, text=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]
