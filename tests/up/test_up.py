"""`callback up` with real processes, which the tests start, call, kill and restart."""

import asyncio
import errno
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from soak.counts import combinations
from support.clients import CHECKS, run_callback
from support.examples import NEED_MORE, commands, examples, write_files
from support.store import free_port
from support.up import READY, is_running, serves_reflection
from support.wait import wait_until_sync

from callback import CallbackClient, Response
from callback_cli.main import cli
from callback_up.data import DataDirectory
from callback_up.running import server_settings


def generate(client, **fields):
    return client.generate_callback_url("record", Response("thanks"), allow_multiple_calls=True, **fields)


def attempts(client, case_id):
    return [call.attempt for call in client.list_calls(case_id)]


def copy_data(stopped, folder):
    ignored = shutil.ignore_patterns("*.sock")
    shutil.copytree(stopped.options["data-dir"], folder, ignore=ignored, copy_function=shutil.copy)


def gone(up):
    wait_until_sync(lambda: not any(map(is_running, up.children())), what="the end of all children")
    return True


@pytest.fixture(scope="module")
def running(make_module_up, tmp_path_factory):
    """Run one that stops at the end of the module. Each test leaves it healthy."""
    up = make_module_up(tmp_path_factory.mktemp("running") / ("deep" * 25) / ("deeper" * 25))
    up.environment |= {"CALLBACK_REFLECTION": "", "http_proxy": "http://127.0.0.1:9"}
    yield up.start()
    assert up.interrupt() == 0
    assert up.output.read() == ""  # it was ready once, whatever happened to its children


@pytest.fixture(scope="module")
def configured(make_module_up, tmp_path_factory):
    """Run one whose addresses, URL and key are settings."""
    directory = tmp_path_factory.mktemp("configured")
    config = directory / "callback.toml"
    config.write_text(
        f'[server]\ngrpc_bind = "localhost:0"\nbox_url = "https://box.example"\nstate_key = "{"k" * 32}"\n'
    )
    up = make_module_up(directory / "it's a %20 ?#é", config=str(config), edge=None, grpc=None)
    up.environment |= {"CALLBACK_EDGE_BIND": "[::1]:0", "CALLBACK_REFLECTION": "false"}
    yield up.start()
    assert up.interrupt() == 0


@pytest.fixture(scope="module")
def stopped(make_module_up, tmp_path_factory):
    """Run one that is called once and then stopped. `made` is its callback, and `answer` the answer to the call."""
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("edge", "grpc")}
    up = make_module_up(tmp_path_factory.mktemp("stopped") / "data", **addresses).start()
    with CallbackClient(up.grpc) as client:
        up.made = generate(client, request_id="order-5")
    up.answer = httpx.post(up.made.url, content=b"hello")
    assert up.interrupt() == 0
    return up


def test_it_prints_one_ready_line_and_then_callbacks_can_be_made_and_called(stopped):
    assert stopped.made.url.startswith(f"http://{stopped.edge}/cb/")
    assert (stopped.answer.status_code, stopped.answer.text) == (200, "thanks")
    assert stopped.output.read() == ""


def test_one_ctrl_c_stops_edge_server_and_store_in_this_order_and_leaves_nothing(stopped):
    assert [(e["child"], e["how"]) for e in stopped.events("child_stopped")] == [
        ("edge", "ended with status 0"),
        ("server", "ended with status 0"),
        ("store", "ended with status 0"),
    ]
    assert gone(stopped)


def test_no_state_is_in_the_logs_or_in_the_data(stopped):
    data = Path(stopped.options["data-dir"])
    kept = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    assert stopped.made.case_id.encode() in b"".join(kept)
    for content in (stopped.said().encode(), *kept):
        assert stopped.made.state.encode() not in content


def test_a_line_for_the_clock_that_comes_too_early_ends_no_process(up):
    up.options["test-clock"] = True
    up.stdin, held = os.pipe()
    os.write(held, b"advance 1000\n")
    up.spawn()
    lines = [up.output.readline(), up.output.readline()]
    os.close(up.stdin)
    assert "not advanced: the server does not serve; try again once it does\n" in lines
    assert any(READY.fullmatch(line) for line in lines)
    assert up.events("child_died") == []
    os.write(held, b"advance 1000\n")
    assert up.output.readline() == "advanced\n"
    os.close(held)
    assert up.ends() == 0


def test_the_console_runs_too_and_stops_first_also_at_the_end_of_standard_input_with_until_eof(make_up):
    up = make_up(console="127.0.0.1:0", **{"until-eof": True})
    up.stdin, held = os.pipe()
    try:
        up.start()
        os.close(up.stdin)
        os.write(held, b"what is written there does not matter")
        answer = httpx.get(f"http://{up.console}/", follow_redirects=True)
        assert (answer.status_code, answer.url.path) == (200, "/overview")
    finally:
        os.close(held)
    assert up.ends() == 0
    assert [event["child"] for event in up.events("child_stopped")] == ["console", "edge", "server", "store"]


def test_a_stop_before_the_ready_line_is_clean(up):
    up.spawn()
    wait_until_sync(lambda: len(up.children()) == 3, what="the start of the children")
    assert up.interrupt() == 0
    assert up.output.read() == ""
    assert gone(up)


def test_a_second_ctrl_c_ends_it_at_once_and_leaves_nothing(up):
    up.start()
    up.process.send_signal(signal.SIGSTOP)  # both signals are then delivered before it does anything else
    up.process.send_signal(signal.SIGTERM)
    up.process.send_signal(signal.SIGINT)
    up.process.send_signal(signal.SIGCONT)
    assert up.ends() in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert gone(up)


@pytest.mark.parametrize("child", ["store", "server", "edge"])
def test_a_killed_child_keeps_its_port_and_is_restarted_with_the_same_address_and_data(running, client, child):
    made = generate(client(running.grpc))
    died = len(running.events("child_died"))
    before = running.child(child)
    os.kill(before, signal.SIGKILL)
    wait_until_sync(lambda: not is_running(before), what="the end of the child")
    if child != "store":  # no other process can take its port
        host, port = (running.edge if child == "edge" else running.grpc).split(":")
        with socket.socket() as stranger, pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            stranger.bind((host, int(port)))
    wait_until_sync(lambda: running.child(child) != before, what="another start of the child")
    running.wait_healthy()
    assert httpx.get(made.url).text == "thanks"
    assert attempts(client(running.grpc), made.case_id) == [1]
    assert [(e["child"], e["how"]) for e in running.events("child_died")[died:]] == [(child, "ended by signal 9")]


def test_data_and_urls_survive_a_stop_and_the_death_of_the_supervisor_which_leaves_no_orphan(
    stopped, up, tmp_path, client
):
    copy_data(stopped, tmp_path / "data")
    up.options |= {name: stopped.options[name] for name in ("edge", "grpc")}
    made, children = stopped.made, stopped.children()
    for calls in (2, 3):
        up.start()
        assert [each for each in children if is_running(each)] == []
        assert httpx.get(made.url).status_code == 200
        assert attempts(client(up.grpc), made.case_id) == [*range(calls, 0, -1)]
        children = up.children()
        if calls == 2:
            up.process.kill()  # no process waits for its end
    assert generate(client(up.grpc), request_id="order-5") == made


def test_by_default_it_ignores_the_end_of_standard_input(running):
    assert running.stdin == subprocess.DEVNULL  # it is empty
    assert running.is_healthy()


@pytest.mark.parametrize("option", ["edge", "grpc"])
def test_a_port_in_use_is_reported_with_its_option_before_any_process_starts(make_up, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = make_up(**{option: f"127.0.0.1:{port}"}).spawn()
        assert up.ends() == 1
    assert up.said() == (
        f"callback up: port {port} of 127.0.0.1 is in use by another program; stop that program, or choose "
        f"another port: --{option} 127.0.0.1:0 picks a free one\n"
    )


def test_a_directory_in_use_is_refused_with_the_process_that_uses_it(running, make_up):
    directory = running.options["data-dir"]
    second = make_up(directory).spawn()
    assert second.ends() == 1
    assert second.said() == (
        f"callback up: the data directory {directory} is in use by another `callback up` "
        f"(process {running.process.pid}); stop that one, or choose another with --data-dir\n"
    )
    assert running.is_healthy()


@pytest.mark.parametrize(("option", "host"), combinations(["edge", "grpc"], ["0.0.0.0", "[::]", "192.0.2.1"]))
def test_an_address_beyond_this_machine_is_refused(make_up, option, host):
    up = make_up(**{option: f"{host}:0"}).spawn()
    assert up.ends() == 1
    assert up.said().startswith(f"callback up: --{option} {host}:0 is reachable from other machines")
    assert up.children() == []


def test_an_invalid_address_is_a_wrong_setting(make_up):
    up = make_up(edge="nowhere").spawn()
    assert up.ends() == 2
    assert up.said() == "callback up: --edge must be HOST:PORT, as in 127.0.0.1:8080\n"


def test_without_options_it_uses_the_addresses_of_the_settings(configured):
    assert (configured.grpc.split(":")[0], configured.edge.rpartition(":")[0]) == ("localhost", "[::1]")
    assert configured.is_healthy()


def test_the_url_and_the_key_can_be_set(configured, client):
    made = generate(client(configured.grpc), request_id="x")
    assert made.url.startswith("https://box.example/cb/")


def test_reflection_is_switched_on_and_off_in_the_server(running, configured):
    assert [serves_reflection(up.grpc) for up in (running, configured)] == [True, False]


@pytest.mark.parametrize("directory", ["running", "configured"])
def test_any_directory_works(request, client, directory):
    up = request.getfixturevalue(directory)
    made = generate(client(up.grpc))
    assert httpx.get(f"http://{up.edge}/cb/{made.state}").status_code == 200


def test_the_data_is_private_to_this_user(configured):
    data = Path(configured.options["data-dir"])
    modes = {path.name: path.stat().st_mode & 0o777 for path in (data, *data.iterdir())}
    assert modes == {data.name: 0o700, "lock": 0o600, "state-key": 0o600, "store": 0o700, "store.sock": 0o700}


def test_an_http_proxy_of_the_environment_is_not_used(running):
    assert running.environment["http_proxy"] == "http://127.0.0.1:9"  # nothing listens there
    assert running.is_healthy()


def test_settings_that_a_child_refuses_end_it_with_the_message_of_the_child(make_up, tmp_path):
    config = tmp_path / "callback.toml"
    config.write_text("[edge]\nspeed = 1\n")
    up = make_up(config=str(config)).spawn()
    assert up.ends() == 2
    assert f"speed ([edge] of {config}): unknown" in up.said()
    assert up.said().endswith("callback up: the edge refuses its settings; its last lines above have the reason\n")
    assert gone(up)


def test_a_store_with_a_damaged_file_is_not_restarted_forever(stopped, up, tmp_path):
    copy_data(stopped, tmp_path / "data")
    (file,) = (tmp_path / "data" / "store").rglob("*.incr.aof")
    damaged = bytearray(file.read_bytes())
    middle = damaged.index(b"\r\n*", len(damaged) // 2) + 2  # where a command begins: inside of a value, all are valid
    damaged[middle : middle + 200] = b"X" * 200
    file.write_bytes(damaged)
    up.spawn()
    assert up.ends() == 1
    assert up.said().endswith(
        "callback up: the store does not start: ended with status 1, 5 times in a row; see its last lines above\n"
    )
    assert "Bad file format reading the append only file" in up.said()
    assert file.read_bytes() == damaged


def test_the_demo_generates_a_redirect_and_a_webhook_and_prints_commands(make_up, client):
    up = make_up(demo=True).start()
    lines = iter(up.output.readline, None)
    text = ""
    while text.count(" close ") == 0:
        text += next(lines)
    redirect, webhook = re.findall(r"curl -i '(http://\S+)'", text)
    first, second = dict.fromkeys(re.findall(r"\b[0-9a-f]{32}\b", text))
    assert httpx.get(redirect).headers["location"] == "https://example.com/thankyou"
    for _ in range(2):
        assert httpx.post(webhook, json={"id": "5"}).json() == {"received": True}
    assert attempts(client(up.grpc), first) == [1]
    assert attempts(client(up.grpc), second) == [2, 1]
    assert f"--target {up.grpc}" in text
    command = re.search(r"^  (.* get .*)$", text, flags=re.MULTILINE)[1]
    shown = subprocess.run([*shlex.split(command), "--json"], capture_output=True, check=True, text=True)
    assert json.loads(shown.stdout)["callbackCaseId"] == first


def test_one_port_for_two_addresses_is_refused_before_any_process_starts(make_up):
    both = f"127.0.0.1:{free_port()}"
    up = make_up(edge=both, grpc=both).spawn()
    assert up.ends() == 1
    assert up.said() == f"callback up: --grpc {both} is used twice; each address needs its own port\n"


# ---- The examples of the helps ----

IN_A_PROCESS = {"doctor", "replay"}
"""Commands that use grpc.aio, which a test cannot."""


@pytest.fixture
def callback(running, tmp_path, monkeypatch):
    """Return a function that runs a command in a directory of its own, and returns its output. It must end with 0."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "CALLBACK_CONFIG": "", "CALLBACK_DATA_DIR": running.options["data-dir"], "CALLBACK_TARGET": running.grpc,
        "CALLBACK_EDGE_SERVER_TARGET": running.grpc,
    }  # fmt: skip

    def run(*arguments, typed=""):
        if arguments[0] in IN_A_PROCESS:
            ran = asyncio.run(run_callback(*arguments, preloaded=CHECKS, **environment))
            assert ran.code == 0, f"{arguments}: {ran}"
            return ran.output
        ran = CliRunner().invoke(cli, arguments, prog_name="callback", input=typed, env=environment)
        assert ran.exit_code == 0, f"{arguments}: {ran.output}"
        return ran.stdout

    return run


def called(callback):
    """Make a callback that is called once, and return what stands for the names in examples."""
    made = json.loads(callback("generate", "--activity", "record", "--type", "response", "--multiple", "--json"))
    callback("send", made["callbackUrl"], "--provider", "oidc-return")
    call = json.loads(callback("calls", made["callbackCaseId"], "--json"))[0]["callId"]
    return {"URL": made["callbackUrl"], "CASE": made["callbackCaseId"], "CALL": call}


def test_every_example_in_a_help_works_without_any_setting(callback, tmp_path):
    write_files(tmp_path)
    callback("audit", "--export-head", "heads.json")
    for example in examples():
        names = called(callback) if {"URL", "CASE", "CALL"} & set(example.split()) else {}
        output = ""
        for before, (program, *arguments) in commands(example):
            if program == "callback" and arguments[0] not in NEED_MORE:
                output = callback(*(names.get(each, each) for each in arguments), typed=output if before == "|" else "")


def test_settings_that_name_a_store_are_those_of_other_servers(running, monkeypatch):
    monkeypatch.setenv("CALLBACK_DATA_DIR", running.options["data-dir"])
    monkeypatch.delenv("CALLBACK_CONFIG", raising=False)
    monkeypatch.delenv("CALLBACK_STORE_URL", raising=False)
    directory = DataDirectory(Path(running.options["data-dir"]))
    given = {"store_url": directory.store_url, "state_key_file": str(directory.state_key)}
    assert server_settings(None) == given
    monkeypatch.setenv("CALLBACK_STATE_KEY", "k" * 32)
    assert server_settings(None) == {"store_url": directory.store_url}
    monkeypatch.setenv("CALLBACK_STORE_URL", "redis://127.0.0.1:1")
    assert server_settings(None) == {}


def test_no_settings_come_from_a_system_that_has_ended(stopped, monkeypatch):
    monkeypatch.setenv("CALLBACK_DATA_DIR", stopped.options["data-dir"])
    assert server_settings(None) == {}
