"""The report of a rolling restart: what failed, and what was being restarted. It needs a fast enough machine."""

import contextlib

import pytest

from callback_prove import rolling_restart
from callback_prove.checker import Promise
from callback_prove.errors import ProveError
from callback_prove.history import Generated, History, Ran, Recorded, Requested, Restarted
from callback_prove.report import report


def requested(began, code=202, reason=""):
    return Requested(began=began, ended=began + 1, case_id="case", body="body", code=code, reason=reason)


def restarted(process, began, *, may_fail=False):
    return Restarted(began=began, ended=began + 5, process=process, may_fail=may_fail)


def test_the_report_has_each_class_of_error_by_what_was_being_restarted():
    steps = [
        Generated(at=1, mode="record", case_id="case"),
        requested(2),
        restarted("server-1", 10),
        requested(11),
        requested(12, 503, "handler_not_started"),
        restarted("node-1", 20, may_fail=True),
        restarted("node-2", 25, may_fail=True),
        *(requested(began, 503, "store_unavailable") for began in (21, 22, 29)),
        Generated(at=23, began=21, mode="record", case_id="", reason="STORE_UNAVAILABLE"),
        Ran(case_id="case", call_id="call", attempt=1, began=14.5, ended=20.5, outcome="cancelled"),
        requested(40, 0, "ConnectError"),
    ]
    lines = [" ".join(line.split()) for line in report(steps, [], has_store=False).splitlines()]
    first = lines.index("restarted times seconds requests failures")
    assert lines[first : first + 10] == [
        "restarted times seconds requests failures",
        "nothing 2 1",
        "a caller got no response: ConnectError: 1",
        "server 1 5.0 2 1",
        "a caller got 503: handler_not_started: 1",
        "node 2 10.0 3 5",
        "a caller got 503: store_unavailable: 3",
        "a client got no URL: STORE_UNAVAILABLE: 1",
        "a handler was cancelled: 1",
        "failures: 7, 5 of them while the store failed over",
    ]


def test_the_report_names_the_promises_that_were_checked_too_few_times():
    steps = [Generated(at=1, mode="record", case_id="case"), Recorded(case_id="case", status="OPEN")]

    def told(number):
        text = report([*steps, *[requested(1)] * number], [], has_store=False)
        return next(" ".join(each.split()) for each in text.splitlines() if Promise.CODE in each)

    assert told(99) == f"checked 99 times, too few: {Promise.CODE}"
    assert told(100) == f"checked 100 times: {Promise.CODE}"


class IdleWorkload:
    """A workload whose callers get nothing."""

    @contextlib.asynccontextmanager
    async def calling(self, _callers):
        yield


async def test_a_machine_that_serves_too_little_is_no_result_and_the_rate_that_it_serves_is_named(tmp_path, limits):
    limits(rolling_restart, WARM_UP_S=0, MEASURED_S=0.01)
    with (
        History(tmp_path / "history.ndjson") as history,
        pytest.raises(
            ProveError, match=r"serves 0 requests per second .* 100 beside a restart take 150; use --rate 1,"
        ),
    ):
        await rolling_restart.require_speed(IdleWorkload(), history, 100)
