"""A pytest plugin that prints at the end which files took longest, and where the time of all tests went."""

import os
from collections import Counter
from pathlib import Path

import pytest

SHOWN = 15
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PHASES = ("setup", "call", "teardown")

_failed = set()  # files
_seconds = {}  # by file: of each phase (setup, call, teardown) and of the processor
_used = [0.0]  # by this process and its children, at the last report
_running = [0.0]  # the part of children that run on, at the end of the last file
_last = {}  # by last test of each file, whether it is that of this process: at its end, what all tests share ends

COLLECTION = "collection, in each process"
SHARED = "what all tests share, at its end"


def pytest_runtest_protocol(item, nextitem):
    if nextitem is None or nextitem.path != item.path:
        _last[item] = nextitem is None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add to each report what used the processor since the last one: this process and its ended children.

    The last one of a file has what its other children used too, such as the store and the forked programs of all tests.
    """
    report = yield
    if call.when != "setup" and item in _last:
        _running[0] = used_by_running_children(os.getpid())
    before, _used[0] = _used[0], sum(os.times()[:4]) + _running[0]
    spent = _used[0] - before
    if call.when == "teardown":  # what ended unseen, as a browser does whose driver ends with it, is not taken back
        spent = max(spent, 0.0)
    users = {report.nodeid.partition("::")[0]: spent}
    if before == 0:  # the first report of this process: its first test has begun just now
        users = {COLLECTION: _used[0]}
    elif call.when == "teardown" and _last.get(item):
        users = {SHARED: spent}
    report.processor_s = users
    return report


def used_by_running_children(pid):
    """Return the seconds of processor of the running descendants of a process, and of the ended children of these.

    0 if the machine has no Linux.
    """
    seconds = 0.0
    for thread in _names(f"/proc/{pid}/task"):
        for child in _words(f"/proc/{pid}/task/{thread}/children"):
            used = _words(f"/proc/{child}/stat", behind=")")[11:15]
            seconds += sum(map(int, used)) / _TICKS_PER_S + used_by_running_children(child)
    return seconds


def _names(folder):
    try:
        return [each.name for each in Path(folder).iterdir()]
    except OSError:  # it has ended meanwhile
        return []


def _words(file, *, behind=""):
    try:
        text = Path(file).read_text()
    except OSError:  # it has ended meanwhile
        return []
    return (text.rpartition(behind)[2] if behind else text).split()


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
