"""The TypeScript client: its types, its style, its tests with a running system, and the package that users install."""

import os
import subprocess
import sys

import pytest
from support.languages import callback_command, require_language
from support.tree import ROOT

PACKAGE = ROOT / "clients" / "typescript"
INSTALL = "from generators.typescript import install_packages; install_packages()"


@pytest.fixture(scope="session")
def built():
    """Install the packages of the lock file, and compile the client."""
    require_language("Node")
    subprocess.run([sys.executable, "-c", INSTALL], cwd=ROOT, check=True)
    run("npm", "run", "--silent", "build")


def run(*command):
    """Run a program in the folder of the client. Fail with its output if it fails."""
    environment = {**os.environ, "CALLBACK_COMMAND": callback_command()}
    ended = subprocess.run(command, cwd=PACKAGE, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_its_style_is_that_of_biome(built):
    run("npm", "run", "--silent", "lint")


def test_its_tests_pass(built):
    run("npm", "run", "--silent", "test")


def test_its_lock_file_names_no_registry():
    lock = (PACKAGE / "package-lock.json").read_text()
    assert '"integrity": "sha512-' in lock
    assert '"resolved"' not in lock


def test_its_licence_is_that_of_the_repository():
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
