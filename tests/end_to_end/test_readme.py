"""The README: a test runs each of its commands, files and snippets, in order and unchanged.

Only the addresses differ, so that several tests can run at the same time. URL, CASE and CALL stand for the output of
earlier commands. CI and `tests/up` run the two commands for the setup.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.store import free_port, set_up
from support.system import own_store
from support.tools import require
from support.tree import ROOT
from support.up import Up
from support.wait import wait_until_sync

README = ROOT / "README.md"
BLOCKS = [
    (language, text.strip().splitlines())
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
]
FILES = ("handler.py", "generate.py", "serving.py", "callback.toml", "test_handler.py", "production.toml")
ADDRESSES = ("127.0.0.1:8080", "127.0.0.1:50051", "127.0.0.1:50061", "127.0.0.1:8083")


class Tour:
    """New user in their own directory, with the environment of the README."""

    def __init__(self, directory):
        self.directory = directory
        self.addresses = {address: f"127.0.0.1:{free_port()}" for address in ADDRESSES}
        self.edge, self.grpc, self.handler, self.console = self.addresses.values()
        self.printed = {}
        """Values of URL, CASE and CALL."""
        self.environment = {
            **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CALLBACK_TARGET": self.grpc, "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def write(self, name):
        """Write a file of the README."""
        (text,) = [lines for _, lines in BLOCKS if lines[0] == f"# {name}"]
        content = "\n".join(text) + "\n"
        for address, ours in self.addresses.items():
            content = content.replace(address, ours)
        (self.directory / name).write_text(content)

    def run(self, command, code=0):
        """Run a line of a shell block to its end, and return its output."""
        for word, value in self.printed.items():
            command = re.sub(rf"\b{word}\b", value, command)
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.directory, env=self.environment, capture_output=True, timeout=100,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def remember(self, output):
        """Remember the URL and the case that `callback generate` printed."""
        facts = dict(line.split(maxsplit=1) for line in output.splitlines())
        self.printed = {"URL": facts["URL"], "CASE": facts["case"]}

    @contextlib.contextmanager
    def running(self, *command, ready=None, says="", **environment):
        """Run a program in another terminal until Ctrl-C. Enter the block when it is ready or has logged `says`."""
        with (self.directory / f"{Path(command[0]).name}-{command[1]}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.directory, env=self.environment | environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
        try:
            wait_until_sync(ready or (lambda: says in Path(log.name).read_text()), what=f"{command} in {log.name}")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, Path(log.name).read_text()


def commands(first):
    """Return the lines of the shell block that starts with this command."""
    (lines,) = [lines for language, lines in BLOCKS if language == "sh" and lines[0].startswith(first)]
    return lines


def listens(address):
    def connects():
        try:
            httpx.get(f"http://{address}/")
        except httpx.ConnectError:
            return False
        except httpx.TransportError:
            return True  # the port speaks gRPC
        return True

    return connects


@pytest.fixture
def tour(tmp_path):
    require("curl")
    return Tour(tmp_path)


def test_every_block_of_the_readme_is_tested():
    known = {*(f"# {name}" for name in FILES)}
    shells = (
        "python3 tasks.py up",
        "python3 tasks.py test",
        "python3 tasks.py quick",
        "callback generate",
        "umask",
        "callback server",
    )
    for language, lines in BLOCKS:
        assert lines[0] in known or (language == "sh" and lines[0].startswith(shells)), lines[0]


def test_the_five_minutes_and_the_handler_of_the_readme(tour):
    up = Up(tour.directory / "data", tour.directory / "up.log", edge=tour.edge, grpc=tour.grpc).start()
    try:
        generate, curl, listing, calls, call = commands("callback generate")
        tour.remember(tour.run(generate))
        assert "HTTP/1.1 200" in (answer := tour.run(curl))
        assert answer.endswith("thank you")
        assert tour.printed["CASE"] in tour.run(listing)
        (tour.printed["CALL"],) = re.findall(r"^[0-9a-f]{32}-[0-9a-f]{16}\b", tour.run(calls), re.MULTILINE)
        shown = tour.run(call)
        assert "id=tr_7" in shown
        assert "status=paid" in shown
        assert tour.run(curl).endswith("thank you")
        for name in FILES:
            tour.write(name)
        with tour.running(sys.executable, "handler.py", says="worker_connected"):
            generate_and_call(tour)
    finally:
        assert up.interrupt() == 0
        up.close()

    up.options["config"] = str(tour.directory / "callback.toml")
    with tour.running(sys.executable, "serving.py", says="handlers_listening"):
        up.start()
        try:
            (tour.directory / "generate.py").write_text(
                (tour.directory / "generate.py").read_text().replace("order-5", "order-6")
            )
            generate_and_call(tour)
        finally:
            assert up.interrupt() == 0
            up.close()


def generate_and_call(tour):
    """Generate the URL of the handler twice, and call it, not paid and paid."""
    tour.printed = {"URL": tour.run("python generate.py").strip()}
    assert tour.run("python generate.py").strip() == tour.printed["URL"]
    refused, sent_on = re.findall(r"`(curl -i 'URL[^`]*)`", README.read_text())
    assert "HTTP/1.1 400" in (answer := tour.run(refused))
    assert answer.endswith("not paid")
    answer = tour.run(sent_on)
    assert "HTTP/1.1 302" in answer
    assert "location: https://shop.example/thankyou" in answer.lower()


def test_the_test_of_the_handler(tour):
    tour.write("handler.py")
    tour.write("test_handler.py")
    assert "1 passed" in tour.run("pytest -q test_handler.py")


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    """Run the production setup of a user. Yield the user, and the commands that follow those that run the processes."""
    require("curl")
    tour = Tour(tmp_path_factory.mktemp("production"))
    tour.write("production.toml")
    tour.run("\n".join(commands("umask")))
    store = own_store(tour.directory)
    tour.environment |= {
        "CALLBACK_STORE_URL": store.url, "CALLBACK_GRPC_BIND": tour.grpc, "CALLBACK_BOX_URL": f"http://{tour.edge}",
        "CALLBACK_ADMIN_BIND": "127.0.0.1:0", "CALLBACK_DRAIN_S": "0", "CALLBACK_EDGE_DRAIN_S": "0",
        "CALLBACK_EDGE_BIND": tour.edge, "CALLBACK_EDGE_ADMIN_BIND": "127.0.0.1:0",
        "CALLBACK_EDGE_SERVER_TARGET": tour.grpc, "CALLBACK_CONSOLE_BIND": tour.console,
        "CALLBACK_CONSOLE_ADMIN_BIND": "127.0.0.1:0", "CALLBACK_CONSOLE_SERVER_TARGET": tour.grpc,
    }  # fmt: skip
    server, edge, console, *others = commands("callback server")
    with (
        store,
        set_up(store, maxmemory="1gb"),
        tour.running(*server.split(), ready=listens(tour.grpc)),
        tour.running(*edge.split(), ready=listens(tour.edge)),
        tour.running(*shlex.split(console, comments=True), ready=listens(tour.console)),
    ):
        yield tour, others


def test_the_production_setup_of_the_readme(production):
    tour, (doctor, listing, activities) = production
    assert (tour.directory / "orders.token").stat().st_mode & 0o077 == 0
    assert "UNAUTHENTICATED" in tour.run(f"{listing.split('--token-file')[0]} 2>&1", code=1)
    generate = commands("callback generate")[0]
    tour.remember(tour.run(f"{generate} --token-file orders.token"))
    assert tour.run("curl -s URL") == "thank you"
    assert tour.printed["CASE"] in tour.run(listing)
    assert "record" in tour.run(activities)
    assert "ROLE_MISSING" in tour.run("callback list --token-file edge.token 2>&1", code=1)
    assert "--owner" in tour.run("callback list --token-file worker.token 2>&1", code=1)
    origin = f"http://{tour.console}"
    token = (tour.directory / "orders.token").read_text().strip()
    answer = httpx.post(f"{origin}/sign-in", headers={"Origin": origin}, data={"token": token})
    page = httpx.get(f"{origin}/callbacks", cookies=answer.cookies)
    assert f"/callbacks/{tour.printed['CASE']}" in page.text
    for line in tour.run(doctor).splitlines():
        assert line.startswith("ok  "), line


ANSWERING = """# answering.py
from callback import AsyncCallbackClient, Handlers, Response, Worker

client, handlers = AsyncCallbackClient("127.0.0.1:50051", token_file="worker.token"), Handlers()


@handlers.activity("order-paid")
async def paid(call):
    async for held in client.list_calls(call.activity_case):
        await client.answer_call(held.call_id, Response("your order is paid"))


if __name__ == "__main__":
    Worker(handlers, "127.0.0.1:50051", token_file="worker.token").run()
"""


def test_a_handler_with_the_worker_token_of_the_readme_answers_a_held_call(production):
    tour, _ = production
    (tour.directory / "answering.py").write_text(ANSWERING.replace("127.0.0.1:50051", tour.grpc))
    generate = "callback generate --activity order-paid --type response --token-file orders.token"
    with tour.running(sys.executable, "answering.py", says="worker_connected"):
        tour.remember(tour.run(f"{generate} --answer-mode hold"))
        with ThreadPoolExecutor(1) as visitor:
            held = visitor.submit(httpx.get, tour.printed["URL"], timeout=60)
            waiting = "callback list --waiting --owner orders --token-file worker.token"
            wait_until_sync(lambda: tour.printed["CASE"] in tour.run(waiting), what="the call to be held")
            tour.remember(tour.run(f"{generate} --activity-case CASE"))
            assert tour.run("curl -s -o /dev/null -w '%{http_code}' URL") == "200"
            assert held.result().text == "your order is paid"
