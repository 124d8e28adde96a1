"""The report of `callback conform`: TAP, the table, and the exit code with known failures."""

import pytest

from callback_conform.main import known_failures_of
from callback_conform.report import Result, Table, Tap, exit_code
from callback_conform.scenarios import Scenario, plain


def result(name, problem=None):
    return Result(Scenario(name, ["C1"], []), problem, 0.5)


def text(report, known):
    return report([each.scenario for each in RESULTS], known).whole(RESULTS)


RESULTS = [result("one # two"), result("broken", "step 1:\nno accept"), result("known", "no line"), result("mended")]


def test_tap_has_a_line_for_each_scenario_and_its_problem():
    lines = text(Tap, ["known", "mended"]).splitlines()
    assert lines[:2] == ["TAP version 14", "1..4"]
    assert [line for line in lines if line.startswith(("ok", "not ok"))] == [
        "ok 1 - one \\# two",
        "not ok 2 - broken",
        "not ok 3 - known # TODO known failure",
        "ok 4 - mended # TODO known failure",
    ]
    assert "    no accept" in lines


def test_the_table_says_what_passed_and_what_did_not():
    said = text(Table, ["known", "mended"])
    assert [line.split()[0] for line in said.splitlines() if " s  C1" in line] == [
        "passed",
        "FAILED",
        "known",
        "PASSED",
    ]
    assert "no accept" in said
    assert said.endswith("2 of 4 passed, 1 failed as known")


@pytest.mark.parametrize(
    ("known", "code"),
    [([], 1), (["broken", "known"], 0), (["broken"], 1), (["broken", "known", "mended"], 1)],
    ids=["none is known", "all are known", "one is not known", "a known one passes"],
)
def test_the_exit_code_is_0_if_exactly_the_known_failures_fail(known, code):
    assert exit_code(RESULTS, known) == code


def test_a_file_of_known_failures_has_a_name_on_each_line(tmp_path):
    file = tmp_path / "known"
    file.write_text("# of this release\n\n  a handler rejects  \n")
    assert known_failures_of(file) == ["a handler rejects"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"expect": {"result": "c1", "outcome": "declined"}}, "expect result c1, outcome declined"),
        ({"expect": {"drain": True}, "within_s": 5}, "expect drain, within_s 5"),
        ({"never": {"accept": ""}}, "never accept"),
        ({"refuse": None}, "refuse nothing"),
        ({"headers": [["x", "a\x80"]]}, "headers [[x; a\\x80]]"),
        ({"header": "z" * 130}, f"header {'z' * 40}… (130 characters)"),
    ],
)
def test_a_step_is_shown_without_the_signs_of_a_program_and_without_long_texts(step, said):
    assert plain(step) == said
