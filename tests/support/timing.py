"""A pytest plugin that prints at the end which files took longest, and where the time of all tests went."""

import os
from collections import Counter

import pytest

SHOWN = 15
_PHASES = ("setup", "call", "teardown")

_failed = set()  # files
_seconds = {}  # by file: of each phase (setup, call, teardown) and of the processor
_used = [0.0]  # by this process and its ended children, at the last report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add to each report the processor time that this process and its ended children took since the last one."""
    report = yield
    before, _used[0] = _used[0], sum(os.times()[:4])
    report.processor_s = _used[0] - before
    return report


def pytest_runtest_logreport(report):
    file = report.nodeid.partition("::")[0]
    if report.failed:
        _failed.add(file)
    if hasattr(report, "processor_s"):  # not that of a lost process
        spent = _seconds.setdefault(file, Counter())
        spent[report.when] += report.duration
        spent["processor"] += report.processor_s


def pytest_terminal_summary(terminalreporter, config):
    if not _seconds or hasattr(config, "workerinput"):
        return
    terminalreporter.section("time, in seconds")
    longest = sorted(_seconds.items(), key=lambda each: _wall(each[1]), reverse=True)
    whole = sum(_seconds.values(), Counter())
    for what, spent in [("all tests, side by side", whole), *longest[:SHOWN]]:
        parts = ", ".join(f"{phase} {spent[phase]:.1f}" for phase in (*_PHASES, "processor"))
        terminalreporter.line(f"{_wall(spent):7.1f}  {what}: {parts}")


def seconds_of_passed_files():
    """Return the seconds that the tests of each file took that passed, by the path of the file."""
    return {file: _wall(spent) for file, spent in _seconds.items() if file not in _failed}


def _wall(spent):
    return sum(spent[phase] for phase in _PHASES)
