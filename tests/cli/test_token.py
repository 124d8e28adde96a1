"""`callback token` prints a token once, stores its hash, and preserves the rest of the principals file."""

import asyncio
import hashlib
import re
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from support.clients import run_callback
from support.secrets import Haystack
from support.system import Process
from support.wait import wait_until

from callback_cli.main import cli
from callback_cli.tokens import ROLES
from callback_server.access.principals import read_principals
from callback_server.access.roles import Role

WRITTEN = """# Ask the platform team before you change this.
[principals.orders]   # the shop
roles = ["owner"]
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Run each test in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("CALLBACK_CONFIG", "CALLBACK_PRINCIPALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def file(directory):
    return directory / "principals.toml"


def token(*arguments, **environment):
    return CliRunner().invoke(cli, ["token", *arguments], env=environment)


def test_the_roles_are_those_of_the_server():
    assert tuple(Role) == ROLES


def test_the_token_is_alone_on_standard_output_and_stored_nowhere(directory, file):
    ran = token("orders", "--role", "owner", "--role", "edge", "--file", str(file))
    assert ran.exit_code == 0
    assert re.fullmatch(r"callback_[A-Za-z0-9_-]{43}\n", ran.stdout)
    made = ran.stdout.strip()
    principal = read_principals(file).of_token(made)
    assert (principal.name, principal.roles) == ("orders", {Role.OWNER, Role.EDGE})
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(directory.iterdir()) == [file]
    assert made not in ran.stderr + file.read_text()
    assert hashlib.sha256(made.encode()).hexdigest() in file.read_text()
    assert f"Added a token for orders to {file}." in ran.stderr


def test_a_further_token_has_the_same_roles_and_both_are_valid(file):
    file.write_text(WRITTEN)
    made = [token("orders", "--file", str(file)).stdout.strip() for _ in range(2)]
    assert len(set(made)) == 2
    assert [read_principals(file).of_token(each).roles for each in made] == [{Role.OWNER}] * 2
    assert file.read_text().startswith(WRITTEN)


def test_a_token_can_expire(file):
    ran = token("orders", "--role", "owner", "--file", str(file), "--expires", "90d")
    [entry] = tomllib.loads(file.read_text())["principals"]["orders"]["tokens"]
    assert timedelta(days=89, hours=23) < entry["expires"] - datetime.now(UTC) <= timedelta(days=90)
    assert f"It expires at {entry['expires']:%Y-%m-%d %H:%M} UTC." in ran.stderr


def test_a_worker_has_the_given_activities(file):
    ran = token("w", "--role", "worker", "--activity", "b", "--activity", "a", "--file", str(file))
    assert tomllib.loads(file.read_text())["principals"]["w"]["activities"] == ["a", "b"]
    further = token("w", "--file", str(file))
    for made in (ran, further):
        principal = read_principals(file).of_token(made.stdout.strip())
        assert [principal.may_work_on(each) for each in ("a", "b", "c")] == [True, True, False]


def test_a_worker_can_be_allowed_to_answer_and_an_owner_limited_to_activities(file):
    made = token("w", "--role", "worker", "--activity", "a", "--answers", "--file", str(file)).stdout.strip()
    worker = read_principals(file).of_token(made)
    assert (worker.sees("orders", "a"), worker.sees("orders", "b"), worker.owns("orders", "a")) == (True, False, False)
    made = token("orders", "--role", "owner", "--activity", "a", "--file", str(file)).stdout.strip()
    owner = read_principals(file).of_token(made)
    assert (owner.owns("orders", "a"), owner.owns("orders", "b"), owner.sees("other", "a")) == (True, False, False)


@pytest.mark.parametrize("named", ["file", "variable", "both"])
def test_the_default_file_is_that_of_the_settings(directory, file, named):
    other = directory / "other.toml"
    (directory / "callback.toml").write_text(
        f'[server]\nprincipals_file = "{other if named == "both" else file}"\n' if named != "variable" else ""
    )
    environment = {"CALLBACK_PRINCIPALS_FILE": str(file)} if named != "file" else {}
    ran = token("orders", "--role", "owner", "--config", str(directory / "callback.toml"), **environment)
    assert ran.exit_code == 0
    assert read_principals(file).of_token(ran.stdout.strip()).name == "orders"
    assert not other.exists()


def test_without_a_principals_file_the_entry_is_printed(directory, file):
    ran = token("orders", "--role", "owner", "--role", "edge", "--expires", "1d")
    assert ran.exit_code == 0
    made = ran.stdout.strip()
    file.write_text(ran.stderr.partition("\n\n")[2].rpartition("\n\n")[0])
    assert read_principals(file).of_token(made).roles == {Role.OWNER, Role.EDGE}
    assert made not in ran.stderr
    further = token("orders")
    file.write_text(file.read_text() + further.stderr.partition("\n\n")[2].rpartition("\n\n")[0])
    assert {read_principals(file).of_token(each).name for each in (made, further.stdout.strip())} == {"orders"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["orders", "--role", "edge"], "orders has other roles: owner; change them there"),
        (["shipping"], "shipping is not in the file yet: give its roles"),
        (["shipping", "--role", "king"], "'king' is not one of 'owner', 'edge', 'admin', 'worker'"),
        (["shipping", "--role", "worker"], "--role worker requires --activity NAME"),
        (["shipping", "--role", "edge", "--activity", "a"], "--activity requires --role worker or --role owner"),
        (["shipping", "--role", "owner", "--answers"], "--answers requires --role worker"),
        (["orders", "--answers"], "orders has no answers = true; change it there"),
        (["shipping", "--role", "worker", "--activity", ""], "1 to 200 characters"),
        (["orders", "--activity", "a"], "orders has other activities: none; change them there"),
        (["Shipping", "--role", "owner"], "a name has 1 to 63 lower-case letters"),
        (["ship ping", "--role", "owner"], "a name has 1 to 63 lower-case letters"),
        (["x" * 64, "--role", "owner"], "a name has 1 to 63 lower-case letters"),
        (["orders", "--expires", "soon"], "'soon' is not a duration"),
        (["orders", "--expires", "0s"], "the time must be longer than 0"),
        (["orders", "--expires", "9999999d"], "too long"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_invalid_usage_is_reported_and_changes_nothing(directory, file, arguments, says):
    file.write_text(WRITTEN)
    ran = token(*arguments, "--file", str(file))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert isinstance(ran.exception, SystemExit)
    assert file.read_text() == WRITTEN
    assert list(directory.iterdir()) == [file]


def test_an_invalid_file_or_setting_is_reported(directory, file):
    file.write_text("[principals.orders")
    (directory / "callback.toml").write_text('[server]\ncolour = "red"\n')
    for arguments, says in (
        (["--file", str(file)], "principals.toml: "),
        (["--file", str(directory / "nowhere" / "a.toml")], "cannot be written: No such file or directory"),
        (["--config", str(directory / "callback.toml")], "colour"),
    ):
        ran = token("orders", "--role", "owner", *arguments)
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert ran.stderr.startswith("Error: ")
        assert says in ran.stderr


async def test_a_running_server_accepts_a_new_token_and_refuses_a_removed_one(store_of, directory, file):
    made = await run_callback("token", "orders", "--role", "owner", "--file", str(file))
    assert made.code == 0, made
    (directory / "first").write_text(made.output)
    store = store_of()
    process = Process(
        "callback_server",
        directory / "log",
        CALLBACK_STORE_URL=store.url,
        CALLBACK_GRPC_BIND="127.0.0.1:0",
        CALLBACK_ADMIN_BIND="127.0.0.1:0",
        CALLBACK_DRAIN_S="0",
        CALLBACK_PRINCIPALS_FILE=str(file),
    )
    await asyncio.to_thread(process.start)
    try:

        async def code(name):
            target = process.facts["grpc"]
            return (await run_callback("list", "--token-file", str(directory / name), CALLBACK_TARGET=target)).code

        assert await code("first") == 0
        one_more = await run_callback("token", "orders", CALLBACK_PRINCIPALS_FILE=str(file))
        (directory / "second").write_text(one_more.output)
        await wait_until(lambda: len(process.events("principals_read")) == 1)
        assert (await code("first"), await code("second")) == (0, 0)
        old = hashlib.sha256(made.output.strip().encode()).hexdigest()
        file.write_text(file.read_text().replace(old, "0" * 64))
        await wait_until(lambda: len(process.events("principals_read")) == 2)
        assert (await code("first"), await code("second")) == (1, 0)
    finally:
        process.kill()
    written = Haystack()
    written.add_files(directory, "*")
    written.add_store(store)
    found = written.names_with_texts([made.output.strip(), one_more.output.strip()])
    assert found == {str(directory / "first"), str(directory / "second")}
