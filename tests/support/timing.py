"""A pytest plugin that prints at the end which files took longest, and where the time of all tests went."""

import os
from collections import Counter

import pytest

SHOWN = 15
_PHASES = ("setup", "call", "teardown")

_failed = set()  # files
_seconds = {}  # by file: of each phase (setup, call, teardown) and of the processor
_used = [0.0]  # by this process and its ended children, at the last report
_last = []  # the last test of this process: at its end, what all tests share ends

COLLECTION = "collection, in each process"
SHARED = "what all tests share, at its end"


def pytest_runtest_teardown(item, nextitem):
    if nextitem is None:
        _last.append(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add to each report what used the processor since the last one: this process, and its children that ended."""
    report = yield
    before, _used[0] = _used[0], sum(os.times()[:4])
    users = {report.nodeid.partition("::")[0]: _used[0] - before}
    if before == 0:  # the first report of this process: its first test has begun just now
        users = {COLLECTION: _used[0]}
    elif call.when == "teardown" and item in _last:
        users = {SHARED: _used[0] - before}
    report.processor_s = users
    return report


def pytest_runtest_logreport(report):
    file = report.nodeid.partition("::")[0]
    if report.failed:
        _failed.add(file)
    if hasattr(report, "processor_s"):  # not that of a lost process
        _seconds.setdefault(file, Counter())[report.when] += report.duration
        for user, seconds in report.processor_s.items():
            _seconds.setdefault(user, Counter())["processor"] += seconds


def pytest_terminal_summary(terminalreporter, config):
    if not _seconds or hasattr(config, "workerinput"):
        return
    terminalreporter.section("time, in seconds")
    longest = sorted(_seconds.items(), key=lambda each: _wall(each[1]), reverse=True)
    common = [(what, _seconds[what]) for what in (COLLECTION, SHARED) if what in _seconds]
    whole = sum(_seconds.values(), Counter())
    for what, spent in [("all tests, side by side", whole), *common, *longest[:SHOWN]]:
        parts = ", ".join(f"{phase} {spent[phase]:.1f}" for phase in (*_PHASES, "processor"))
        terminalreporter.line(f"{_wall(spent):7.1f}  {what}: {parts}")


def seconds_of_passed_files():
    """Return the seconds that the tests of each file took that passed, by the path of the file."""
    return {file: _wall(spent) for file, spent in _seconds.items() if _wall(spent) and file not in _failed}


def _wall(spent):
    return sum(spent[phase] for phase in _PHASES)
