"""The TypeScript client: its types, its style, its tests with a running system, and the package that users install."""

import os
import subprocess
from datetime import UTC, datetime

import pytest
import trustme
from flows.programs import running
from flows.recipes import blocks_of, files_of
from support.conformance import failures
from support.http_handlers import SECRET, check_handler_of_the_page
from support.kept import SYSTEM, check_once
from support.languages import callback_command
from support.store import free_port
from support.tree import ROOT

from callback_conform.program import launch_command
from callback_conform.scenarios import load

PACKAGE = ROOT / "clients" / "typescript"
EARLIER = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Make certificates of two authorities for the tests of TLS, and return their folder."""
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    others.cert_pem.write_to_path(folder / "other-ca.pem")
    for name, certificate in {
        "server": ours.issue_cert("127.0.0.1"),
        "client": ours.issue_cert("callback.internal"),
        "other": others.issue_cert("127.0.0.1"),
        "old": ours.issue_cert("127.0.0.1", not_before=EARLIER, not_after=EARLIER.replace(year=2021)),
    }.items():
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


def run(*command, **environment):
    """Run a program in the folder of the client. Fail with its output if it fails."""
    ended = subprocess.run(
        command, cwd=PACKAGE, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_its_style_is_that_of_biome(built, content_of_node):
    check_once("node-lint", content_of_node, lambda: run("npm", "run", "--silent", "lint"))


def test_its_tests_pass(built, certificates, content_of_node):
    variables = {"CALLBACK_COMMAND": callback_command(), "TEST_CERTIFICATES": str(certificates)}
    check_once(
        "node-test", lambda: content_of_node(*SYSTEM), lambda: run("npm", "run", "--silent", "test", **variables)
    )


@pytest.mark.parametrize("kind", ["worker", "client", "handlers"])
async def test_the_installed_package_passes_every_scenario(node_commands, tmp_path, kind):
    assert await failures(launch_command(node_commands[kind], tmp_path / "errors"), load(kind), kind) == []


async def test_the_handler_of_the_page_in_express_decides_the_calls_that_its_server_signs(with_express, store_of):
    program = files_of(blocks_of("http-handlers.md"))["http-handler.mjs"]
    (with_express / "http-handler.mjs").write_text(program.replace("3000", str(port := free_port())))
    (with_express / "handler-secret").write_text(f"{SECRET}\n")
    async with running(with_express, "http-handler.mjs", says="listening", program="node"):
        await check_handler_of_the_page(f"http://127.0.0.1:{port}/callback", store_of(), with_express)


def test_its_lock_file_names_no_registry():
    lock = (PACKAGE / "package-lock.json").read_text()
    assert '"integrity": "sha512-' in lock
    assert '"resolved"' not in lock


def test_its_licence_is_that_of_the_repository():
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
