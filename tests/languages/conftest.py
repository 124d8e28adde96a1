"""The clients in other languages as installed packages: each is made once, whichever test process needs it first."""

import functools
import shutil
import subprocess

import pytest
from flows.recipes import blocks_of, files_of
from support.installed import GO_FLAGS, build_node, install_go, install_node
from support.kept import KEPT, content_of, make_once
from support.languages import require_language
from support.tree import ROOT

MIXED = ROOT / "tests" / "languages" / "mixed"
HTTP = ROOT / "tests" / "languages" / "http"
EXPRESS = {"@callback/client": ".", "express": "node_modules/express"}
"""The packages of a handler in Express, and their folders in the Node client."""
SIGNATURES = ROOT / "tests" / "languages" / "signatures"
HOW = ("tests/languages", "tests/support/installed.py", "docs/http-handlers.md")
"""The files that say how the packages are built and tested."""
GO_FACTS = ("GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED", "CC", "GOEXPERIMENT")


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """Return a folder that all test processes share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def built(shared):
    """Install what the Node client depends on, and compile it."""
    require_language("Node")
    make_once("node-build", lambda: content_of("clients/typescript"), lambda _: build_node(), folder=shared)


@pytest.fixture
def with_standard_webhooks(built, tmp_path):
    """Give the folder of the test the library of Standard Webhooks, and return it."""
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "standardwebhooks").symlink_to(
        ROOT / "clients" / "typescript" / "node_modules" / "standardwebhooks"
    )
    return tmp_path


@pytest.fixture
def with_express(built, tmp_path):
    """Give the folder of the test the packages of a handler in Express, and return it."""
    for name, place in EXPRESS.items():
        package = tmp_path / "node_modules" / name
        package.parent.mkdir(parents=True, exist_ok=True)
        package.symlink_to(ROOT / "clients" / "typescript" / place)
    return tmp_path


@pytest.fixture(scope="session")
def content_of_node():
    """Return a function that returns a hash of the Node client and its toolchain, and of more files."""
    version = subprocess.run(["node", "--version"], capture_output=True, check=True, text=True).stdout
    return functools.partial(content_of, "clients/typescript", "clients/conformance", *HOW, version=version)


@pytest.fixture(scope="session")
def node_commands(built, content_of_node, shared):
    """Return the commands of the programs that use the installed package of Node."""
    return make_once(
        "node", content_of_node, lambda folder: install_node(folder, *MIXED.glob("*.mjs")), folder=KEPT or shared
    )


@pytest.fixture(scope="session")
def content_of_go():
    """Return a function that returns a hash of the Go client and its toolchain, and of more files."""
    require_language("Go")
    facts = subprocess.run(["go", "env", *GO_FACTS], capture_output=True, check=True, text=True).stdout
    return functools.partial(content_of, "clients/go", "clients/conformance", *HOW, facts=facts, flags=GO_FLAGS)


@pytest.fixture(scope="session")
def go_commands(content_of_go, shared):
    """Return the commands of the programs that use the installed Go module."""

    def install(folder):
        page = folder / "http-handler.go"
        page.write_text(files_of(blocks_of("http-handlers.md"))[page.name])
        commands = install_go(folder, MIXED / "mixed.go", HTTP / "go-handler.go", SIGNATURES / "go-signatures.go", page)
        for each in folder.iterdir():
            if each.name != "bin" and each.is_dir():
                shutil.rmtree(each)
        return commands

    return make_once("go", content_of_go, install, folder=KEPT or shared)
