"""What is kept in the virtual environment from one run to the next: results of checks, and what is built.

Each is kept with a hash of all that it depends on. It is written only after a success, and not if a file has changed
meanwhile. A soak and CI neither read nor write it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from soak.counts import SOAK
from support.tree import ROOT

KEPT = None if SOAK or os.environ.get("CI") == "true" else Path(sys.prefix) / "callback-kept"
"""The folder. None: nothing is kept."""
KEPT_FOR_S = 7 * 24 * 3600
"""How long something is kept that no run uses, in seconds."""
MADE = ("node_modules", "dist", "build", "__pycache__")
"""Folders that are made from others."""
SYSTEM = (
    "clients/api", "clients/cli", "clients/console", "clients/python", "clients/triage", "edge", "requirements",
    "server", "pyproject.toml",
)  # fmt: skip
"""The tree of what `callback up` runs."""


def content_of(*paths, root=ROOT, **facts):
    """Return a hash of facts, and of files and folders at paths in a tree."""
    content = hashlib.sha256(json.dumps([sys.version, facts], sort_keys=True).encode())
    for path in sorted(file for each in paths for file in _files(root / each)):
        content.update(f"{path.relative_to(root)}\n{path.stat().st_size}\n".encode() + path.read_bytes())
    return content.hexdigest()


def _files(path):
    if not path.is_dir():
        return [path]
    found = []
    for folder, names, files in os.walk(path):
        names[:] = [name for name in names if name not in MADE]
        found += [Path(folder, name) for name in files]
    return found


def check_once(name, content, check, *, folder=KEPT):
    """Run a check, unless it has passed with the same content: a function that returns a hash."""
    before = content()
    if folder is None:
        check()
        return
    stamp = folder / f"{name}.passed"
    if not (stamp.is_file() and stamp.read_text() == before):
        check()
        if content() == before:
            folder.mkdir(exist_ok=True)
            stamp.write_text(before)


def make_once(name, content, make, *, folder):
    """Return what `make` returned for a folder that it has filled from the same content: in this run, or before."""
    folder.mkdir(exist_ok=True)
    with _alone(folder / f"{name}.lock"):
        before = content()
        filled = folder / f"{name}-{before[:16]}"
        made = filled / "made.json"
        if not made.is_file():
            shutil.rmtree(filled, ignore_errors=True)
            filled.mkdir()
            result = json.dumps(make(filled))
            assert content() == before, f"a file has changed while {name} was made"
            made.write_text(result)
        os.utime(filled)
        for other in folder.glob(f"{name}-*"):
            if other.stat().st_mtime < time.time() - KEPT_FOR_S:
                shutil.rmtree(other)
        return json.loads(made.read_text())


@contextlib.contextmanager
def _alone(path):
    """Let no other process do this at the same time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
