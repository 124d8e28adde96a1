"""What `callback up` prints: text for people on a terminal, JSON elsewhere; and the URLs of its options."""

import json
import os
import re
import signal

import httpx
import pytest
from support.fork_server import start
from support.terminal import reading
from support.up import READY
from support.wait import DEADLINE_S

from callback import Redirect
from callback_up.people import readable

OPTIONS = ("--edge=127.0.0.1:0", "--grpc=127.0.0.1:0", "--no-console")


@pytest.fixture
def run(tmp_path):
    """Return a function that runs `callback up` with a terminal as standard error: `run(option, …)`.

    It yields the ready line, stops it, and returns what was on the terminal.
    """

    def run(*options, use):
        ours, theirs = os.openpty()
        reads, writes = os.pipe()
        arguments = ("up", f"--data-dir={tmp_path}", *OPTIONS, *options)
        with reading(ours) as screen, os.fdopen(reads) as output:
            program = start(
                "callback_cli", *arguments, stdout=writes, stderr=theirs, env={**os.environ, "CALLBACK_CONFIG": ""},
                preloaded=["callback_up.main"],
            )  # fmt: skip
            os.close(writes)
            try:
                use(output.readline())
                program.send_signal(signal.SIGINT)
                assert program.wait(DEADLINE_S) == 0
            finally:
                program.kill()
                os.close(theirs)
        return screen.result()

    return run


def test_on_a_terminal_the_log_is_text_and_the_urls_of_the_options_are_used(run, client):
    def use(line):
        found = READY.fullmatch(line)
        made = client(found["grpc"]).generate_callback_url("record", Redirect("/thankyou"))
        assert made.url.startswith("https://box.example/cb/")
        reply = httpx.post(made.url.replace("https://box.example", f"http://{found['edge']}"))
        assert reply.headers["location"] == "https://shop.example/thankyou"

    screen = run("--box-url=https://box.example", "--platform-url=https://shop.example", use=use)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.decode()).split("\r\n")
    assert not [line for line in lines if line.startswith("{")]
    for process in ("up", "server", "edge"):
        assert [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line) and f"process={process}" in line], process


def test_with_json_the_ready_line_and_the_log_are_json_on_a_terminal_too(run):
    ready = []
    screen = run("--json", use=lambda line: ready.append(json.loads(line)))
    assert ready[0].keys() == {"event", "edge", "grpc"}
    lines = screen.decode().split("\r\n")
    assert {json.loads(line)["process"] for line in lines if line} >= {"up", "server", "edge"}


def test_a_line_that_is_no_event_stays_and_sends_no_command_to_the_terminal():
    assert readable("Fatal Python error: \x1b[2J") == "Fatal Python error: \\x1b[2J"
    assert readable("[1]") == "[1]"
    shown = readable(
        json.dumps({"timestamp": "2026-11-25T09:30:15Z", "level": "error", "event": "e", "detail": "\x1b]0;x"})
    )
    assert "\x1b]" not in shown
    assert "09:30:15" in shown
