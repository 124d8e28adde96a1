"""Connection options: target, tokens, certificates, and the errors about them."""

import asyncio
import json
import shlex
import sys
from asyncio.subprocess import PIPE
from datetime import timedelta

import grpc
import pytest
import trustme
from click.testing import CliRunner
from support.clients import CALL, CASE, CREATED, Refusal, call_message, callback_message, run_callback, scripted_server
from support.services import running_services
from support.tools import require
from support.wait import DEADLINE_S

from callback.v1 import callbacks_service_pb2 as messages
from callback_cli.connection import TOKEN_VARIABLE, ServerCommand, misspelt_variables
from callback_cli.main import COMMANDS, cli
from callback_console.settings import ConsoleSettings
from callback_edge.settings import EdgeSettings
from callback_server.access.principals import read_principals
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token
from callback_server.settings import ServerSettings

TOKEN = "callback_" + "t" * 43
EMPTY_LIST = messages.ListCallbacksResponse()


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


async def test_a_token_comes_from_a_file_or_the_environment_and_never_from_an_argument(server, callback, tmp_path):
    server.answers["ListCallbacks"] = EMPTY_LIST
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("callback_first\n")
    second.write_text("callback_second")
    for arguments, environment, expected in (
        ([], {}, None),
        (["--token-file", str(first)], {}, "first"),
        ([], {"CALLBACK_TOKEN_FILE": str(second)}, "second"),
        ([], {"CALLBACK_TOKEN": "callback_third\n"}, "third"),
        (["--token-file", str(first)], {"CALLBACK_TOKEN_FILE": str(second), "CALLBACK_TOKEN": "callback_no"}, "first"),
        ([], {"CALLBACK_TOKEN_FILE": str(second), "CALLBACK_TOKEN": "callback_no"}, "second"),
        ([], {"CALLBACK_TOKEN_FILE": "", "CALLBACK_TOKEN": ""}, None),
    ):
        assert (await callback("list", "--json", *arguments, **environment)).json == []
        assert server.tokens.pop() == (expected and f"Bearer callback_{expected}")
    assert not [command.name for command in COMMANDS for each in command.params if "--token" in each.opts]


def test_environment_variables_of_the_command_line_are_no_settings():
    settings = {each.variable(field) for each in (ServerSettings, EdgeSettings) for field in each.model_fields}
    ours = {
        option.envvar
        for command in COMMANDS
        for option in command.params
        if isinstance(command, ServerCommand) and option.envvar
    }
    assert len(ours) == 7
    assert not (ours | {TOKEN_VARIABLE}) & settings


async def test_a_token_from_a_pipe_serves_all_requests_of_a_command(server):
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message())
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    program = await asyncio.create_subprocess_exec(
        require("bash"), "-c",
        f"{shlex.quote(sys.executable)} -m callback_cli call {CALL} --target {server.address}"
        f" --token-file <(echo {TOKEN})",
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    _, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert (program.returncode, errors) == (0, b"")
    assert server.tokens == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize("content", ["", "\n", "callback_hunter2 and more", "callback_hunter2\ncallback_other", "één"])
@pytest.mark.parametrize("source", ["file", "variable"])
def test_a_malformed_token_is_invalid_usage_and_not_repeated(content, source, tmp_path):
    file = tmp_path / "token"
    file.write_text(content)
    arguments, environment = (
        (["--token-file", str(file)], {}) if source == "file" else ([], {"CALLBACK_TOKEN": content or " "})
    )
    ran = CliRunner().invoke(cli, ["get", CASE, *arguments], env={"CALLBACK_TARGET": "127.0.0.1:1"} | environment)
    assert ran.exit_code == 2
    assert "the token is empty or contains characters that a token cannot have" in ran.stderr
    assert (str(file) if source == "file" else "CALLBACK_TOKEN") in ran.stderr
    assert "hunter2" not in ran.stderr


async def test_a_token_sent_in_plain_text_prints_a_warning_on_one_line(server, token_file):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message(call_count=1))
    server.answers["ListCalls"] = messages.ListCallsResponse(calls=[call_message()])
    server.answers["GetCall"] = messages.GetCallResponse(call=call_message())
    elsewhere = server.address.replace("127.0.0.1", "0.0.0.0")  # this machine, but not by an address of its own
    text = f"the token is sent to {elsewhere} in plain text. Use --tls."
    for asked, environment, said in (
        ([], {"CALLBACK_TOKEN": TOKEN}, f"Warning: {text}\n"),
        (["--token-file", str(token_file)], {}, f"Warning: {text}\n"),
        (["--json"], {"CALLBACK_TOKEN": TOKEN}, json.dumps({"warning": text}) + "\n"),
        ([], {}, ""),
    ):
        # The command makes two clients, each of which would log the warning.
        ran = await run_callback("wait", CASE, "--after", "0", "--target", elsewhere, *asked, **environment)
        assert (ran.code, ran.errors) == (0, said)
    ran = await run_callback("get", CASE, "--target", server.address, CALLBACK_TOKEN=TOKEN)
    assert (ran.code, ran.errors) == (0, "")


async def test_a_token_that_disappears_between_two_requests_is_reported_on_one_line(server, callback, token_file):
    async def take_it_away(_request):
        token_file.write_text("")
        return messages.GetCallbackResponse(callback=callback_message())

    server.answers["GetCallback"] = take_it_away
    ran = await callback("wait", CASE, "--token-file", str(token_file))
    assert (ran.code, ran.output) == (2, "")
    assert ran.errors == f"Error: {token_file}: the token is empty or contains characters that a token cannot have\n"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """Write PEM files: the authority `ca`, another authority, and a client certificate of each."""
    directory = tmp_path_factory.mktemp("tls")
    for name, issuer in (("ca", authority), ("other", trustme.CA())):
        issuer.cert_pem.write_to_path(directory / f"{name}.pem")
        own = issuer.issue_cert("orders.example")
        own.cert_chain_pems[0].write_to_path(directory / f"{name}-client.pem")
        own.private_key_pem.write_to_path(directory / f"{name}-client.key")
    (directory / "junk.pem").write_text("not PEM\n")
    return directory


def credentials(authority, name="127.0.0.1", *, mutual=False, **validity):
    """Return the credentials of a server."""
    own = authority.issue_cert(name, **validity)
    return grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes() if mutual else None,
        mutual,
    )


async def test_options_and_environment_configure_tls(authority, files, token_file):
    own = ["--cert-file", str(files / "ca-client.pem"), "--key-file", str(files / "ca-client.key")]
    trusting = ["--ca-file", str(files / "ca.pem")]
    for settings, arguments, environment in (
        ({}, trusting, {}),
        ({}, [], {"CALLBACK_CA_FILE": str(files / "ca.pem")}),
        ({"name": "callback.example"}, [*trusting, "--server-name", "callback.example"], {}),
        ({"mutual": True}, [*trusting, *own], {}),
        (
            {"mutual": True},
            trusting,
            {
                "CALLBACK_CERT_FILE": str(files / "ca-client.pem"),
                "CALLBACK_KEY_FILE": str(files / "ca-client.key"),
                "CALLBACK_TLS": "1",
            },
        ),
    ):
        async with scripted_server(credentials=credentials(authority, **settings)) as server:
            server.answers["ListCallbacks"] = EMPTY_LIST
            ran = await run_callback(
                "list", "--json", "--target", server.address, "--token-file", str(token_file), *arguments, **environment
            )
            assert ran.json == []
            assert server.tokens == [f"Bearer {TOKEN}"]


async def test_a_failed_connection_is_reported_with_its_reason_and_advice(authority, files, token_file):
    trusting = ["--ca-file", str(files / "ca.pem")]
    expired = {"not_before": CREATED - timedelta(days=900), "not_after": CREATED - timedelta(days=800)}
    foreign = ["--cert-file", str(files / "other-client.pem"), "--key-file", str(files / "other-client.key")]
    for settings, arguments, says, advice in (
        ({}, ["--ca-file", str(files / "other.pem")], "not from a trusted authority", "--ca-file"),
        ({}, ["--tls"], "not from a trusted authority", "--ca-file"),
        (expired, trusting, "its certificate has expired", "to renew it"),
        ({"name": "callback.example"}, trusting, "its certificate is for another name", "--server-name"),
        ({}, [], "the server closed the connection immediately", "If it requires TLS, use --ca-file"),
        ({"mutual": True}, trusting, "the server closed the connection immediately", "--cert-file and --key-file"),
        (
            {"mutual": True},
            [*trusting, *foreign],
            "the server closed the connection immediately",
            "--cert-file and --key-file",
        ),
        (None, trusting, "the port does not speak TLS", "Leave out --tls"),
    ):
        secure = None if settings is None else credentials(authority, **settings)
        async with scripted_server(credentials=secure) as server:
            ran = await run_callback("list", "--target", server.address, "--token-file", str(token_file), *arguments)
            assert (ran.code, ran.output) == (69, ""), arguments
            first, second = ran.errors.splitlines()
            assert first.startswith(f"Error: cannot reach {server.address}: ")
            assert says in first
            assert first.endswith("(UNAVAILABLE)")
            assert advice in second
            assert (server.requests, server.tokens) == ([], [])


async def test_an_http_port_is_distinguished_from_an_unreachable_server():
    async def answer(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        address = "{}:{}".format(*other.sockets[0].getsockname())
        ran = await run_callback("list", "--target", address)
    assert (ran.code, ran.output) == (69, "")
    first, second = ran.errors.splitlines()
    assert first == f"Error: cannot reach {address}: the port does not speak gRPC (UNAVAILABLE)"
    assert "gRPC port in --target" in second


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cert-file", "ca-client.pem"], "--cert-file and --key-file must be given together"),
        (["--ca-file", "junk.pem"], "junk.pem: no usable PEM content"),
        (
            ["--cert-file", "ca-client.pem", "--key-file", "other-client.key"],
            "the key does not belong to the certificate",
        ),
        (["--ca-file", "nowhere.pem"], "'nowhere.pem' does not exist"),
        (["--token-file", "nowhere"], "'nowhere' does not exist"),
        (
            ["--target", "https://callback.example"],
            "Use HOST:PORT without a scheme, such as 127.0.0.1:50051, with --tls",
        ),
    ],
)
def test_unusable_files_are_invalid_usage(files, monkeypatch, arguments, says):
    monkeypatch.chdir(files)
    ran = CliRunner().invoke(cli, ["get", CASE, *arguments], env={"CALLBACK_TARGET": "127.0.0.1:1"})
    assert ran.exit_code == 2
    assert says in ran.stderr


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (
            Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_OPEN_CALLBACKS", facts={"limit": "7"}),
            ["(TOO_MANY_OPEN_CALLBACKS, limit 7)", "Close some first"],
        ),
        # from a proxy in between, which sends no error reasons of Callback
        (grpc.StatusCode.UNAUTHENTICATED, ["says gRPC (UNAUTHENTICATED)", "--token-file"]),
    ],
)
async def test_an_authentication_error_says_what_to_do(server, callback, refusal, says):
    server.answers["GetCallback"] = refusal
    ran = await callback("get", CASE)
    assert ran.code == 1
    for each in says:
        assert each in ran.errors


@pytest.fixture
async def secured(store_of, tmp_path):
    """Run the real services with principals; `ask` runs the command line as one of them."""
    path = tmp_path / "principals.toml"
    for name, role in (("orders", Role.OWNER), ("shipping", Role.OWNER), ("edge-1", Role.EDGE), ("root", Role.ADMIN)):
        (tmp_path / name).write_text(add_token(path, name, [role], None))
    async with running_services(store_of(), principals=lambda: read_principals(path)) as services:

        async def ask(name, *arguments):
            file = ["--token-file", str(tmp_path / name)] if name else []
            return await run_callback(*arguments, *file, CALLBACK_TARGET=services.address)

        yield ask


GENERATE = ("generate", "--activity", "record", "--type", "response", "--json")


async def test_an_administrator_lists_those_of_every_owner_and_takes_the_beginning_of_an_id(secured):
    mine = (await secured("orders", *GENERATE)).json["callbackCaseId"]
    other = (await secured("shipping", *GENERATE)).json["callbackCaseId"]
    assert [each["callbackCaseId"] for each in (await secured("root", "list", "--json")).json] == [other, mine]
    head, *lines = (await secured("root", "list")).output.splitlines()
    assert [line.split()[:2] for line in (head, *lines)] == [["CASE", "OWNER"], [other, "shipping"], [mine, "orders"]]
    ran = await secured("root", "list", "--jq", '.[] | "\\(.owner): \\(.response.responseType)"')
    assert ran.output == "shipping: RESPONSE\norders: RESPONSE\n"
    for name in ("root", "orders"):
        assert (await secured(name, "get", mine[:10], "--json")).json["callbackCaseId"] == mine
    ran = await secured("shipping", "get", mine[:10])
    assert (ran.code, ran.output) == (3, "")


async def test_a_principal_that_is_unknown_or_lacks_the_role_gets_advice(secured, tmp_path):
    ran = await secured(None, "list")
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors.splitlines()[1:] == [
        "Authenticate with --token-file or CALLBACK_TOKEN_FILE, or with a certificate (--cert-file and --key-file).",
        "The operator of the server creates a token with `callback token NAME`.",
    ]
    (tmp_path / "nobody").write_text(TOKEN)
    ran = await secured("nobody", "list")
    assert ran.code == 1
    assert "(UNAUTHENTICATED)" in ran.errors
    assert TOKEN not in ran.errors
    ran = await secured("nobody", "listen", "order-paid", "--forward-to", "http://127.0.0.1:1")
    assert ran.errors.count("UNAUTHENTICATED") == 1
    ran = await secured("edge-1", *GENERATE[:-1])
    assert ran.code == 1
    assert "(ROLE_MISSING, role owner)" in ran.errors


async def test_an_environment_variable_that_is_nearly_one_of_the_connection_prints_a_warning(server, callback):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    text = "the environment variable CALLBACK_TOKENFILE has no effect. Is it CALLBACK_TOKEN_FILE?"
    for asked, said in ([], f"Warning: {text}\n"), (["--json"], json.dumps({"warning": text}) + "\n"):
        ran = await callback("get", CASE, *asked, CALLBACK_TOKENFILE="a", CALLBACK_SERVICE_HOST="10.0.0.1")
        assert (ran.code, ran.errors) == (0, said)


def test_no_variable_of_a_setting_is_nearly_one_of_the_connection(monkeypatch):
    for settings in (ServerSettings, EdgeSettings, ConsoleSettings):
        for field in settings.model_fields:
            monkeypatch.setenv(settings.variable(field), "1")
    assert not list(misspelt_variables())
