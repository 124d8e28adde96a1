"""`callback config`, `callback profiles` and `callback doctor`: output and exit codes, without any secret."""

import json
import re
import tomllib

import pytest
from click.testing import CliRunner
from support.clients import CHECKS, Ran, run_callback
from support.store import set_up
from support.system import running_system

from callback_cli.main import cli
from callback_console.settings import ConsoleSettings
from callback_edge.settings import EdgeSettings
from callback_server.settings import ServerSettings
from callback_server.verification.providers import PROVIDERS

SECRET = "hunter2" * 6
NOWHERE = {"CALLBACK_STORE_URL": "redis://127.0.0.1:1", "CALLBACK_EDGE_SERVER_TARGET": "127.0.0.1:1"}
"""A port on which nothing listens."""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    monkeypatch.delenv("CALLBACK_CONFIG", raising=False)
    for process in (ServerSettings, EdgeSettings, ConsoleSettings):
        for name in process.model_fields:
            monkeypatch.delenv(process.variable(name), raising=False)


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "callback.toml"
        file.write_text(text)
        return file

    return write


async def run(*arguments, **environment):
    """Run a command that checks a process."""
    return await run_callback(*arguments, preloaded=CHECKS, **environment)


def config(*arguments, **environment):
    """Run `callback config`. It needs no process of its own, because it uses no gRPC."""
    return run_here("config", *arguments, **environment)


def run_here(*arguments, **environment):
    ran = CliRunner().invoke(cli, arguments, env=environment, catch_exceptions=False)
    return Ran(ran.exit_code, ran.stdout_bytes, ran.stderr_bytes)


# ---- config ----


def test_config_prints_every_setting_as_equivalent_toml(write):
    file = write(
        '[activities.order-paid]\ntarget = "orders:1"\n[activities."a b"]\ntarget = "x:1"\ntls.ca_file = "/ca"'
    )
    ran = config("--config", str(file), CALLBACK_GRACE_S="3", CALLBACK_ALTERNATIVE_DOMAINS="https://a,https://b")
    assert (ran.code, ran.errors) == (0, "")
    printed = tomllib.loads(ran.output)
    assert printed["server"]["grace_s"] == 3
    assert printed["server"]["alternative_domains"] == ["https://a", "https://b"]
    assert printed["edge"]["bind"] == "127.0.0.1:8080"
    assert printed["activities"]["order-paid"]["connect_timeout_s"] == 2
    assert printed["activities"]["a b"]["tls"] == {"ca_file": "/ca"}
    lines = ran.output.splitlines()
    assert any(line.startswith("grace_s = 3 ") and line.endswith("# CALLBACK_GRACE_S") for line in lines)
    assert any(line.startswith('target = "orders:1" ') and line.endswith(f"# {file}") for line in lines)
    for process in (ServerSettings, EdgeSettings, ConsoleSettings):
        for name in process.model_fields.keys() - process.shared_tables:
            assert any(line.startswith((f"{name} = ", f"# {name} is not set")) for line in lines), name


def test_config_in_json_is_a_list_of_all_with_table_value_and_origin():
    ran = config("--json", CALLBACK_EDGE_BIND="127.0.0.1:1")
    settings = {(*each["table"], each["key"]): (each["value"], each["origin"]) for each in json.loads(ran.output)}
    assert settings["edge", "bind"] == ("127.0.0.1:1", "CALLBACK_EDGE_BIND")
    assert settings["server", "platform_url"] == (None, "default")


def test_config_reads_the_file_of_the_process(write):
    file = write("[edge]\ngrace_s = 7")
    assert f"# {file}" in config(CALLBACK_CONFIG=str(file)).output


async def test_config_reports_invalid_settings_like_the_process(write):
    file = write('[server]\ngrace_s = "long"\n[edge]\ncolour = "red"\n')
    ran = config("--config", str(file))
    assert ran.code == 2
    of_server, of_edge = [await run(process, "--config", str(file)) for process in ("server", "edge")]
    assert ran.errors == of_server.errors + of_edge.errors.partition("\n")[2]
    assert of_server.code == of_edge.code == 2


def test_config_reports_a_shared_problem_once_and_shows_valid_settings(write):
    ran = config("--config", str(write("[colours]\n")))
    assert ran.errors.count("colours") == 1
    ran = config(CALLBACK_EDGE_GRACE_S="long")
    assert (ran.code, "[server]" in ran.output, "[edge]" in ran.output) == (2, True, False)


# ---- profiles ----


def test_profiles_lists_every_provider_and_whether_it_is_proven():
    ran = run_here("profiles")
    as_json = json.loads(run_here("profiles", "--json").output)
    assert [line.split()[0] for line in ran.output.splitlines()] == [each["kind"] for each in as_json]
    assert [each["kind"] for each in as_json] == [f"provider:{name}" for name in PROVIDERS]
    (stripe,) = (line for line in ran.output.splitlines() if line.startswith("provider:stripe "))
    assert stripe.split()[1:3] == ["proven", "Stripe"]


# ---- verify ----

SENT = """\
POST /cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11 HTTP/1.1
Host: box.example
Content-Length: 13
X-GitHub-Delivery: d1
X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17

Hello, World!
"""
"""The example of docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, and a line break."""


@pytest.fixture
def verified(tmp_path, monkeypatch):
    """Return a function that tries the profile `repository` on a request, and returns the exit code and the output."""
    (tmp_path / "old").write_text("another secret")
    (tmp_path / "new").write_text("It's a Secret to Everybody")
    file = tmp_path / "callback.toml"
    file.write_text(
        f'[profiles.repository]\nkind = "provider:github"\nsecret_files = ["{tmp_path}/old", "{tmp_path}/new"]\n'
        f'[profiles.timed]\nkind = "provider:slack"\nsecret_files = ["{tmp_path}/old"]\n'
    )

    def verify(text, *arguments, profile="repository"):
        ran = CliRunner().invoke(cli, ["verify", profile, "--config", str(file), *arguments], input=text)
        return ran.exit_code, ran.output

    return verify


def test_verify_says_which_secret_matches_and_masks_what_was_signed(verified):
    code, output = verified(SENT)
    assert code == 0
    assert output.splitlines() == [
        "passes: a call", "secret: secret_files[1]", "message id: d1", "signed: 13 bytes; --show-signed prints them",
    ]  # fmt: skip
    assert "signed: 'Hello, World!'" in verified(SENT, "--show-signed")[1]


def test_verify_says_why_a_request_does_not_pass(verified):
    code, output = verified(SENT.replace("Hello", "Hallo"))
    assert (code, output.splitlines()[0]) == (1, "refused: no signature is valid")
    assert verified(SENT.replace("X-GitHub-Delivery", "X-Other"))[1].startswith("refused: x-github-delivery is missing")
    late = SENT.replace("X-GitHub-Delivery: d1", "X-Slack-Signature: v0=0\nX-Slack-Request-Timestamp: 1700000000")
    code, output = verified(late, "--at", "2023-11-14T22:30:00Z", profile="timed")
    assert (code, output.splitlines()[0]) == (1, "refused: the time is too far in the past: 1000 s")


def test_verify_tries_a_recorded_call(verified):
    recorded = {
        "requestMethod": "post", "requestQueryString": "", "requestBody": "Hello, World!",
        "requestHeaders": {
            "x-github-delivery": "d1",
            "x-hub-signature-256": ["sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"],
        },
    }  # fmt: skip
    assert verified(json.dumps(recorded))[0] == 0
    encoded = recorded | {"requestBodyBase64": "SGVsbG8sIFdvcmxkIQ=="}
    del encoded["requestBody"]
    assert verified(json.dumps(encoded))[0] == 0


@pytest.mark.parametrize(
    ("text", "arguments", "profile", "told"),
    [
        ("", (), "repository", "the first line must be a method"),
        ("POST /\nno header\n\n", (), "repository", "each line up to the empty one must be a header"),
        ('{"a":' * 50_000, (), "repository", "the JSON is not the output of callback call --json"),
        ("{}", (), "repository", "the JSON is not the output of callback call --json"),
        (SENT.replace("box.example", "[box"), (), "repository", "the URL, or the Host in it, is not valid"),
        (SENT, ("--url", "https://[box/"), "repository", "the URL, or the Host in it, is not valid"),
        (SENT, (), "none", "no such profile; declared: repository, timed"),
        (SENT, ("--at", "today"), "repository", "must be a time"),
    ],
)
def test_verify_says_what_it_cannot_read(verified, text, arguments, profile, told):
    code, output = verified(text, *arguments, profile=profile)
    assert code == 2
    assert told in output


def test_verify_takes_a_length_that_is_no_number_for_none(verified):
    text = SENT.removesuffix("\n").replace("Content-Length: 13", f"Content-Length: {'9' * 5000}")
    assert verified(text)[0] == 0


# ---- doctor ----


async def test_doctor_finds_no_problem_in_a_running_system(tmp_path, store_of):
    store = store_of()
    async with running_system(tmp_path, store) as system:
        environment = {
            "CALLBACK_STORE_URL": system.store.url,
            "CALLBACK_EDGE_SERVER_TARGET": system.grpc,
            "CALLBACK_CONSOLE_SERVER_TARGET": system.grpc,
            "CALLBACK_EDGE_TRUSTED_PROXIES": "[]",
            "CALLBACK_BOX_URL": "https://box.example",
            "CALLBACK_PLATFORM_URL": "https://shop.example",
            "CALLBACK_STATE_KEY": "k" * 32,
        }
        with set_up(store, maxmemory="1gb"):
            ran = await run("doctor", **environment)
            as_json = await run("doctor", "--json", **environment)
    assert (ran.code, ran.errors) == (0, "")
    lines = [line.partition(":")[0] for line in ran.output.splitlines()]
    # A write to a busy disk can be slow, of which doctor warns.
    assert [line for line in lines if not line.startswith("ok       ")] in ([], ["warning  store write"])
    checks = json.loads(as_json.output)
    assert [line[len("warning  ") :] for line in lines] == [each["check"] for each in checks]
    assert {each["process"] for each in checks} == {"server", "edge", "console"}


async def test_doctor_exits_with_1_and_advice_after_a_problem():
    ran = await run("doctor", **NOWHERE)
    assert (ran.code, ran.errors) == (1, "")
    problems = [line for line in ran.output.splitlines() if line.startswith("problem  ")]
    assert [line.split(":")[0] for line in problems] == ["problem  store", "problem  edge server_target"]
    assert all("; " in line for line in problems)
    ran = await run("doctor", "--json", **NOWHERE)
    assert ran.code == 1
    assert [each["check"] for each in json.loads(ran.output) if each["level"] == "problem"] == [
        "store",
        "edge server_target",
    ]


async def test_doctor_warns_of_what_a_production_file_lacks_and_says_where_it_goes(write):
    ran = await run("doctor", "server", "--json", "--config", str(write("")), **NOWHERE)
    advice = {each["check"]: each["advice"] for each in json.loads(ran.output) if each["level"] == "warning"}
    assert advice.keys() == {"box_url", "platform_url", "state_key_file"}
    for name, text in advice.items():
        assert f"{name} in [server] or CALLBACK_{name.upper()}" in text


@pytest.mark.parametrize("process", ["server", "edge", "console"])
async def test_doctor_checks_only_the_named_process(process):
    ran = await run("doctor", process, "--json", **NOWHERE)
    assert {each["process"] for each in json.loads(ran.output)} == {process}


async def test_a_file_that_everyone_can_read_is_a_warning(tmp_path):
    token = tmp_path / "token"
    token.write_text("callback_x")
    token.chmod(0o604)
    ran = await run("doctor", "edge", "--json", CALLBACK_EDGE_SERVER_TOKEN_FILE=str(token), **NOWHERE)
    levels = {each["check"]: each["level"] for each in json.loads(ran.output)}
    assert levels["edge server_token_file"] == "warning"


# ---- Secrets ----


def planted(name, schema, folder):
    """Return a value with a secret for a setting: in a URL, in the name of a file or folder, or as the value itself."""
    kinds = [schema, *schema.get("anyOf", ())]
    if any(kind.get("format") == "path" for kind in kinds):
        file = folder / name
        file.write_text(f"{SECRET} is secret\n")
        return str(file)
    if any(kind.get("format") == "directory-path" for kind in kinds):
        inner = folder / name
        inner.mkdir()
        (inner / "style.css").write_text(f"{SECRET} is secret\n")
        return str(inner)
    if any(kind.get("type") == "array" for kind in kinds):
        return [f"https://me:{SECRET}@a.example"]
    if any(kind.get("type") == "string" and kind.get("format") != "password" for kind in kinds):
        return f"redis://me:{SECRET}@127.0.0.1:1/0"
    return SECRET


@pytest.mark.parametrize("origin", ["variable", "file"])
@pytest.mark.parametrize("process", [ServerSettings, EdgeSettings], ids=lambda process: process.table)
async def test_a_secret_in_a_setting_is_never_printed(process, origin, tmp_path, write):
    schemas = process.model_json_schema()["properties"]  # of all at once: it takes 20 ms
    values = {name: planted(name, schemas[name], tmp_path) for name in schemas.keys() - process.shared_tables}

    def environment(names):
        """Return the environment in which these settings have their values, from this origin."""
        if origin == "file":
            lines = [f"{name} = {json.dumps(values[name])}" for name in names]
            file = write("\n".join([f"[{process.table}]", *lines]))
            return {**NOWHERE, "CALLBACK_CONFIG": str(file)} | {process.variable(name): "" for name in names}
        text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        return {**NOWHERE} | {process.variable(name): text[name] for name in names}

    def groups(names):
        """Return the names of settings in groups whose values are right together."""
        if len(names) == 1 or config("--json", **environment(names)).code == 0:
            return [names]
        return [*groups(names[::2]), *groups(names[1::2])]

    said, accepted, refused = {}, [], []
    for name in values:
        ran = config("--json", **environment([name]))
        said[name, "config", "--json"] = ran.output + ran.errors
        (refused if ran.code else accepted).append(name)
    # Both forms of its output have the same findings, and these do not depend on the origin: one form for each origin.
    # One process finds all values that are wrong by themselves.
    command = ["doctor", "--json"] if origin == "file" else ["doctor"]
    ran = await run(*command, process.table, **environment(refused))
    said["refused", *command] = ran.output + ran.errors
    unnamed = [name for name in refused if not re.search(rf"\b{name}(\.\d+)? \(", ran.output)]
    assert len(unnamed) < len(refused) / 4, unnamed
    apart = [*groups(accepted), *([name] for name in unnamed)]
    for names in apart:
        ran = await run(*command, process.table, **environment(names))
        said[(*names, *command)] = ran.output + ran.errors
    for names in (refused, *apart):
        ran = config(**environment(names))
        said[(*names, "config")] = ran.output + ran.errors
    assert all(said.values())
    assert [where for where, text in said.items() if SECRET in text] == []


@pytest.mark.parametrize("variable", ["CALLBACK_ACTIVITIES", "CALLBACK_EDGE_SERVER_TLS"])
@pytest.mark.parametrize(
    "value", [SECRET, f'{{"{{": "{SECRET}"}}', f'{{"paid": {{"target": "dns://a:{SECRET}@b/c"}}}}']
)
async def test_a_secret_in_a_table_is_never_printed(variable, value):
    environment = NOWHERE | {variable: value}
    for ran in config(**environment), config("--json", **environment), await run("doctor", **environment):
        assert SECRET not in ran.output + ran.errors
