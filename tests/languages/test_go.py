"""The Go client: its format, `go vet`, and its own tests, against a system of this repository.

With a warm build cache it costs about 22 seconds of processor time, and with a cold one two minutes more.
"""

import os
import subprocess

import pytest
from support.conformance import failures
from support.installed import GO_FLAGS
from support.languages import callback_command
from support.tree import ROOT

from callback_conform.program import launch_command
from callback_conform.scenarios import load

CLIENT = ROOT / "clients" / "go"
CONFORMANCE = ROOT / "clients" / "conformance" / "go"
MIXED = ROOT / "tests" / "languages" / "mixed"


@pytest.fixture(scope="module")
def go(go_commands):  # after them, so that two processes do not compile the same packages

    def run(*command, folder=CLIENT):
        environment = os.environ | {"CALLBACK_COMMAND": callback_command(), "GOFLAGS": GO_FLAGS}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        ended = subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **output)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    return run


@pytest.mark.parametrize("folder", [CLIENT, CONFORMANCE], ids=["client", "conformance"])
def test_the_code_is_formatted_and_go_vet_finds_nothing(go, folder):
    assert go("gofmt", "-l", ".", folder=folder) == ""
    go("go", "vet", "./...", folder=folder)


def test_the_program_of_the_mixed_run_is_formatted_and_go_vet_finds_nothing(go):
    program = str(MIXED / "mixed.go")
    assert go("gofmt", "-l", program) == ""
    go("go", "vet", program, folder=CONFORMANCE)


def test_the_tests_of_the_go_client_pass(go):
    go("go", "test", "-race", "-count=1", "./...")  # -count=1: a cached result knows nothing of a change of the server


@pytest.mark.parametrize("kind", ["worker", "client"])
async def test_the_installed_module_passes_every_scenario(go_commands, tmp_path, kind):
    assert await failures(launch_command(go_commands[kind], tmp_path / "errors"), load(kind), kind) == []
