"""The text of the conformance matrix: what passes, what fails and why."""

from languages.matrix import in_one_list, table

from callback_conform.report import Result, Tap
from callback_conform.scenarios import Scenario


def result(name, problem=None):
    return Result(Scenario(name, ["C1"], []), problem, 0.5)


FOUND = {
    "worker": {
        "Go": {"a handler rejects": result("a handler rejects")},
        "Node": {"a handler rejects": result("a handler rejects", "no result")},
    },
    "client": {language: {"a watch goes on": result("a watch goes on")} for language in ("Go", "Node")},
}


def test_the_table_has_a_line_for_each_scenario_and_says_what_failed():
    assert table(FOUND).splitlines() == [
        "a worker           Go      Node",
        "a handler rejects  passed  FAILED",
        "Go: 1 of 1 passed",
        "Node: 0 of 1 passed",
        "a client           Go      Node",
        "a watch goes on    passed  passed",
        "Go: 1 of 1 passed",
        "Node: 1 of 1 passed",
        "FAILED Node, worker: a handler rejects",
        "        no result",
    ]


def test_the_list_has_the_language_of_each_result():
    every = in_one_list(FOUND)
    text = Tap([each.scenario for each in every], ()).whole(every)
    lines = [line for line in text.splitlines() if " ok " in f" {line} "]
    assert lines == [
        "ok 1 - Go worker: a handler rejects",
        "not ok 2 - Node worker: a handler rejects",
        "ok 3 - Go client: a watch goes on",
        "ok 4 - Node client: a watch goes on",
    ]
