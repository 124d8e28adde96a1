"""A log event that comes often: a line at once, then one an interval, each with the number of events."""

import asyncio

import pytest
from structlog.testing import capture_logs
from support.wait import wait_until

from callback_process import limited_event
from callback_process.limited_event import LimitedEvent
from callback_process.logs import get_logger


@pytest.fixture
def event(limits):
    limits(limited_event, INTERVAL_S=0.05)
    return LimitedEvent(get_logger().warning, "gone")


async def test_the_first_event_is_a_line_at_once_and_those_of_the_next_interval_are_one(event):
    with capture_logs() as logs:
        for number in range(100):
            event.log(number=number)
        assert logs == [{"event": "gone", "log_level": "warning", "number": 0, "count": 1}]
        await wait_until(lambda: len(logs) == 2)
        assert logs[1] == {"event": "gone", "log_level": "warning", "number": 99, "count": 99}


async def test_events_of_several_kinds_are_counted_by_kind(event):
    with capture_logs() as logs:
        for kind in ("claim", "sweep", "sweep", "sweep"):
            event.log(kind)
        await wait_until(lambda: len(logs) == 2)
    assert [each["counts"] for each in logs] == [{"claim": 1}, {"sweep": 3}]


async def test_after_a_quiet_interval_an_event_is_a_line_at_once(event):
    with capture_logs() as logs:
        event.log()
        while len(logs) == 1:  # until the interval is over, further events are counted
            await asyncio.sleep(0)
            event.log()
        await wait_until(lambda: not event.is_waiting)
        before = len(logs)
        event.log()
        assert len(logs) == before + 1


def test_an_event_of_another_event_loop_waits_for_no_timer_of_the_first(event):
    async def log():
        event.log()
        event.log()

    with capture_logs() as logs:
        asyncio.run(log())
        asyncio.run(log())
    assert [each["count"] for each in logs] == [1, 1]
