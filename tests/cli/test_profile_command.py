"""The commands of `callback profile`: a secret goes in by a file, is rotated and retired, and is never shown."""

import functools
import re
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from support.clients import CALL, answers_with, call_message, callback_message, run_callback
from support.keyrings import write_keyring
from support.services import running_services

from callback.v1 import callbacks_service_pb2 as messages
from callback.v1 import profiles_service_pb2 as pb
from callback_cli.main import cli
from callback_cli.own_profiles import profile


@pytest.fixture
async def callback(store_of, tmp_path):
    keyring = write_keyring(tmp_path / "keyring.toml", "key")
    async with running_services(store_of(), keyring_file=keyring) as services:
        yield functools.partial(run_callback, "profile", CALLBACK_TARGET=services.address)


def secret_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


async def test_a_profile_is_made_rotated_retired_and_deleted(callback, tmp_path):
    first, second = (secret_file(tmp_path, name, f"hunter2-{name}\n") for name in ("first", "second"))
    made = await callback("create", "shop-17", "--kind", "provider:stripe", "--secret-file", first)
    assert (made.code, "own/shop-17" in made.output, "provider:stripe" in made.output) == (0, True, True)
    rotated = await callback("rotate", "own/shop-17", "--secret-file", second, "--overlap", "1h", "--json")
    (new, old) = rotated.json["secrets"]
    assert "retireTime" not in new
    due = datetime.fromisoformat(old["retireTime"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < due <= timedelta(hours=1)
    retired = await callback("retire", "shop-17", old["secretId"], "--json")
    assert datetime.fromisoformat(retired.json["secrets"][1]["retireTime"]) <= datetime.now(UTC)
    shown, listed = await callback("show", "shop-17"), await callback("list")
    assert new["secretId"] in shown.output
    assert "own/shop-17" in listed.output
    for ran in (made, rotated, retired, shown, listed):
        assert "hunter2" not in ran.output + ran.errors
    assert (await callback("delete", "shop-17")).output == "own/shop-17 is deleted.\n"
    gone = await callback("delete", "shop-17")
    assert (gone.code, "callback profile list" in gone.errors) == (3, True)


async def test_a_rotation_can_be_run_again_and_taken_back(callback, tmp_path):
    """The new secret was retired by the second run, so that a day later the profile had none."""
    first, second = (secret_file(tmp_path, name, f"whsec_{name}") for name in ("first", "second"))
    await callback("create", "shop-17", "--kind", "provider:stripe", "--secret-file", first)
    rotated = await callback("rotate", "shop-17", "--secret-file", second, "--json")
    again = await callback("rotate", "shop-17", "--secret-file", second, "--json")
    assert again.json == rotated.json
    new, old = (each["secretId"] for each in rotated.json["secrets"])
    back = await callback("rotate", "shop-17", "--secret-file", first, "--json")
    assert {each["secretId"]: "retireTime" in each for each in back.json["secrets"]} == {new: True, old: False}


async def test_settings_are_json_and_a_refusal_names_the_option(callback, tmp_path):
    secret = secret_file(tmp_path, "secret", "hunter2")
    made = await callback(
        "create", "partner", "--kind", "shared-secret", "--settings", '{"header": "x-token"}', "--secret-file", secret
    )
    assert made.code == 0
    refused = await callback("create", "other", "--kind", "shared-secret", "--settings", "{", "--secret-file", secret)
    assert (refused.code, refused.errors) == (
        1,
        "Error: the request is not valid (INVALID_REQUEST)\n  --settings (settings): must be a JSON object\n",
    )
    assert "hunter2" not in refused.errors
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    refused = await callback("create", "other", "--kind", "basic", "--secret-file", str(binary))
    assert (refused.code, "is not UTF-8 text" in refused.errors) == (2, True)


async def test_the_request_of_a_call_is_checked_by_the_profile_of_its_callback(server):
    callback = functools.partial(run_callback, "profile", CALLBACK_TARGET=server.address)
    case = callback_message(verification_profile="own/shop-17")
    server.answers |= answers_with(case, call_message())
    server.answers["CheckProfile"] = pb.CheckProfileResponse(outcome=pb.CHECK_OUTCOME_PASSES, secret_id="4f1d2c3b")
    passes = await callback("check", CALL)
    assert (passes.code, "4f1d2c3b" in passes.output) == (0, True)
    assert server.requests[-1] == pb.CheckProfileRequest(name="own/shop-17", call_id=CALL)
    server.answers["CheckProfile"] = pb.CheckProfileResponse(outcome=pb.CHECK_OUTCOME_FAILS, why="the time is missing")
    fails = await callback("check", CALL, "--profile", "other")
    assert (fails.code, "the time is missing" in fails.output) == (1, True)
    assert server.requests[-1].name == "own/other"
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    assert (await callback("check", CALL)).code == 2


@pytest.mark.parametrize("command", profile.commands.values(), ids=profile.commands)
def test_each_command_has_an_example_help_for_each_option_and_the_connection(command):
    ran = CliRunner().invoke(cli, ["profile", command.name, "--help"], prog_name="callback")
    assert ran.exit_code == 0
    assert re.search(rf"^ +callback profile {command.name}", ran.stdout.partition("Example")[2], re.MULTILINE)
    assert {"--target", "--token-file", "--json"} <= {name for each in command.params for name in each.opts}
    assert all(each.help for each in command.params if each.param_type_name == "option")
