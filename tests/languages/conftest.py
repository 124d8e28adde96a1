"""The clients in other languages as installed packages: each is made once, whichever test process needs it first."""

import fcntl
import json

import pytest
from support.installed import build_node, install_go, install_node
from support.languages import require_language
from support.tree import ROOT

MIXED = ROOT / "tests" / "languages" / "mixed"


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """Return a function that makes something in a folder, once for all test processes, and returns what it made."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def make_once(name, make):
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made, folder = shared / f"{name}.json", shared / name
            if not made.exists():
                folder.mkdir()
                made.write_text(json.dumps(make(folder)))
        return json.loads(made.read_text())

    return make_once


@pytest.fixture(scope="session")
def built(once):
    """Install what the Node client depends on, and compile it."""
    require_language("Node")
    once("node-build", lambda _: build_node())


@pytest.fixture(scope="session")
def node_commands(built, once):
    """Return the commands of the programs that use the installed package of Node."""
    return once("node", lambda folder: install_node(folder, *MIXED.glob("*.mjs")))


@pytest.fixture(scope="session")
def go_commands(once):
    """Return the commands of the programs that use the installed Go module."""
    require_language("Go")
    return once("go", lambda folder: install_go(folder, MIXED / "mixed.go"))
