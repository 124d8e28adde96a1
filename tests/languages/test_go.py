"""The Go client: its format, `go vet`, and its own tests, against a system of this repository.

All that is compiled is compiled once, with the race detector of the tests.
"""

import os
import subprocess

import pytest
from flows.programs import running
from support.conformance import failures
from support.http_handlers import SECRET, check_handler_of_the_page
from support.installed import GO_FLAGS
from support.kept import SYSTEM, check_once
from support.languages import callback_command
from support.store import free_port
from support.tree import ROOT

from callback_conform.program import launch_command
from callback_conform.scenarios import load

CLIENT = ROOT / "clients" / "go"
CONFORMANCE = ROOT / "clients" / "conformance" / "go"
CODE = {
    "client": (CLIENT, "./..."),
    "conformance": (CONFORMANCE, "./..."),
    "mixed": (CONFORMANCE, str(ROOT / "tests" / "languages" / "mixed" / "mixed.go")),
}
"""Folders of modules, and the packages in each."""


@pytest.fixture(scope="module")
def go(go_commands):  # after them, so that two processes do not compile the same packages

    def run(*command, folder=CLIENT):
        environment = os.environ | {"CALLBACK_COMMAND": callback_command(), "GOFLAGS": GO_FLAGS}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        ended = subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **output)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    return run


@pytest.mark.parametrize("name", CODE)
def test_the_code_is_formatted_and_go_vet_finds_nothing(go, content_of_go, name):
    folder, packages = CODE[name]

    def check():
        assert go("gofmt", "-l", packages.replace("./...", "."), folder=folder) == ""
        go("go", "vet", "-race", packages, folder=folder)

    check_once(f"go-vet-{name}", content_of_go, check)


def test_the_tests_of_the_go_client_pass(go, content_of_go):
    # -count=1: a result that Go keeps knows nothing of a change of the server
    check_once(
        "go-test", lambda: content_of_go(*SYSTEM), lambda: go("go", "test", "-race", "-vet=off", "-count=1", "./...")
    )


@pytest.mark.parametrize("kind", ["worker", "client", "handlers"])
async def test_the_installed_module_passes_every_scenario(go_commands, tmp_path, kind):
    assert await failures(launch_command(go_commands[kind], tmp_path / "errors"), load(kind), kind) == []


async def test_the_handler_of_the_page_in_go_decides_the_calls_that_its_server_signs(go_commands, store_of, tmp_path):
    (program,) = go_commands["http-handler"]
    (tmp_path / "handler-secret").write_text(f"{SECRET}\n")
    address = f"127.0.0.1:{free_port()}"
    async with running(tmp_path, f"-address={address}", says="listening", program=program):
        await check_handler_of_the_page(f"http://{address}/callback", store_of(), tmp_path)
