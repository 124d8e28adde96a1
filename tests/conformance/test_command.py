"""`callback conform` with a command that cannot be a worker under test: it says so, and at once."""

import pytest
from support.clients import run_callback

from callback_conform.scenarios import load

PRELOADED = ("callback_conform.main",)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--", "/nowhere/worker"], 2, "/nowhere/worker cannot be started: No such file or directory"),
        (["--known-failures", "{latin}", "--", "true"], 2, "is not UTF-8"),
        (["--only", "nothing", "--", "true"], 2, "there is no such scenario of a worker: nothing"),
        (["--only", "a call", "--", "true"], 2, "several scenarios of a worker begin with a call: a call is offered"),
        ([], 2, "Missing argument '-- COMMAND…'"),
    ],
)
async def test_an_argument_that_is_not_usable_is_an_error(tmp_path, arguments, code, said):
    (tmp_path / "latin").write_bytes(b"\xe9")
    given = [each.format(latin=tmp_path / "latin") for each in arguments]
    ran = await run_callback("conform", *given, preloaded=PRELOADED)
    assert (ran.code, "Traceback" in ran.errors) == (code, False)
    assert said in ran.errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "a handler rej"], "the program has ended, with the exit code 1"),
        (["--client", "--only", load("client")[0].name], "the driver has ended with 1"),
    ],
)
async def test_a_program_that_ends_fails_a_scenario_with_its_exit_code(arguments, said):
    ran = await run_callback("conform", *arguments, "--", "false", preloaded=PRELOADED)
    assert ran.code == 1
    assert said in ran.output


@pytest.mark.parametrize("kind", ["worker", "client", "handlers"])
async def test_a_list_has_the_name_of_each_scenario_and_runs_none(kind):
    ran = await run_callback("conform", "--list", *([] if kind == "worker" else [f"--{kind}"]), preloaded=PRELOADED)
    assert ran.code == 0
    assert [line.split("  ")[-1].strip() for line in ran.output.splitlines()] == [each.name for each in load(kind)]


async def test_the_standard_error_of_a_program_has_the_name_of_the_scenario_that_failed():
    command = ("sh", "-c", "echo it broke >&2; exit 3")
    ran = await run_callback("conform", "--only", "a handler rejects", "--", *command, preloaded=PRELOADED)
    assert ran.errors.splitlines() == ['standard error of the program in "a handler rejects":', "it broke"]
