"""Logs that a real process writes to its standard error."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from support.wait import DEADLINE_S

from callback_process.logs import mask

STATE = "0b1c2d3e-4f5a-4b6c-8d7e-9f0a1b2c3d4e"
CASE = "0b1c2d3e4f5a4b6c8d7e9f0a1b2c3d4e"

PROLOGUE = """
import logging, sys, threading
from callback_process import logs
STATE = sys.argv[1]
log = logs.get_logger()
logs.configure("server", "INFO")
"""


def lines(program: str) -> list[dict]:
    """Run a program that logs, and return what it logged."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program, STATE],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stdout == ""
    assert STATE not in done.stderr.lower().replace("%2d", "-")
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_has_time_level_process_and_event():
    before = datetime.now(UTC)
    (line,) = lines('log.warning("call ended", call_id="x-1", status=3)')
    assert list(line) == ["timestamp", "level", "process", "pid", "event", "call_id", "status"]
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)
    assert {**line, "timestamp": "", "pid": 0} == {
        "timestamp": "",
        "level": "warning",
        "process": "server",
        "pid": 0,
        "event": "call ended",
        "call_id": "x-1",
        "status": 3,
    }


def test_a_timestamp_is_utc_to_the_microsecond_in_any_time_zone():
    before = datetime.now(UTC)
    written = lines("""
import os, time
os.environ["TZ"] = "IST-5:30"
time.tzset()
log.info("now")

time.time_ns = lambda: 1767225600_000000999
log.info("a whole second")
""")
    now, whole = (line["timestamp"] for line in written)
    assert before <= datetime.fromisoformat(now) <= datetime.now(UTC)
    assert whole == "2026-01-01T00:00:00.000000Z"


def test_a_line_has_the_given_process_name():
    name = 'the "first"\\n one'
    (line,) = lines(f'logs.configure({name!r}); log.info("x")')
    assert line["process"] == name


@pytest.mark.parametrize("level_of_library", ["NOTSET", "DEBUG"])
def test_a_library_is_never_logged_below_info_because_hpack_has_cookies_there(level_of_library):
    (line,) = lines(f"""
import hpack
logs.configure("server", "DEBUG")
logging.getLogger("hpack").setLevel({level_of_library!r})
log.debug("ours")
hpack.Decoder().decode(hpack.Encoder().encode([("cookie", "session=secret")]))
logging.getLogger("asyncio").debug("theirs")
""")
    assert (line["level"], line["event"]) == ("debug", "ours")


def test_a_line_of_a_library_has_the_same_form():
    (line,) = lines('logging.getLogger("hypercorn.error").info("Running on %s", "127.0.0.1:1")')
    assert list(line) == ["timestamp", "level", "process", "pid", "event", "logger"]
    assert (line["event"], line["logger"]) == ("Running on 127.0.0.1:1", "hypercorn.error")


def test_lines_below_the_level_are_not_written():
    assert lines('log.debug("x"); logging.getLogger("grpc").debug("y")') == []


PATHS = [
    'log.info("called", path="/cb/" + STATE)',
    'log.info("called", scope={"raw_path": b"/cbq/state", "query_string": b"state=" + STATE.encode()})',
    'log.info("called", **{STATE: 1})',
    'log.info("called", error=ValueError([STATE]))',
    'log.info(f"called {STATE.upper()}")',
    'log.info("called", form="state=" + STATE.replace("-", "%2D"))',
    'logging.getLogger("quart.app").error("Exception on request GET %s", "/cb/" + STATE)',
    'logging.getLogger("quart.app").error("x %d", STATE)',
    'logging.getLogger("x").error("x", stack_info=STATE)',
    "t = threading.Thread(target=int, args=(STATE,)); t.start(); t.join()",
    'try: raise KeyError(STATE)\nexcept KeyError: log.exception("failed")',
    'import warnings; warnings.warn("/cb/" + STATE)',
    """
import asyncio
loop = asyncio.new_event_loop()
loop.call_soon(int, STATE)
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
""",
    "raise RuntimeError(STATE)",
]


def test_a_state_never_reaches_a_log_on_any_path():
    assert len(lines("\n".join(PATHS))) == len(PATHS)


def test_bytes_are_written_as_text_so_that_a_state_in_them_is_masked():
    (line,) = lines('log.info("called", form=b"state=" + STATE.encode(), scope={"raw_path": [b"/cb/state"]})')
    assert (line["form"], line["scope"]) == ("b'state=***'", {"raw_path": ["b'/cb/***'"]})


def test_text_that_is_not_unicode_is_written():
    (line,) = lines('log.info("read", path=b"\\xff".decode("ascii", "surrogateescape"))')
    assert line["path"] == "\udcff"


def test_a_line_is_ascii_so_that_it_is_json_in_every_encoding_and_no_command_for_a_terminal():
    (line,) = lines("""
sys.stderr.reconfigure(encoding="ascii")
log.info("read", path="\\u20ac \\x9b31m", count=1)
""")
    assert (line["path"], line["count"]) == ("\u20ac \x9b31m", 1)


def test_an_event_that_cannot_be_written_is_reported_and_never_raises():
    lost, after = lines("""
class Odd:
    def __repr__(self):
        raise RuntimeError(STATE)

log.info("odd", value=Odd())
log.info("after")
""")
    assert (lost["level"], lost["event"]) == ("error", "log_record_lost")
    assert after["event"] == "after"


def test_an_uncaught_exception_is_a_line_with_its_traceback():
    (line,) = lines("raise RuntimeError('lost')")
    assert (line["event"], line["level"]) == ("uncaught_exception", "critical")
    assert line["exception"].endswith("RuntimeError: lost")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"GET /cb/{STATE}?trxid=1 HTTP/1.1", "GET /cb/*** HTTP/1.1"),
        (f"/cbq/state?state={STATE}&x=1", "/cbq/***"),
        (f"state={STATE}&x=1", "state=***&x=1"),
        (f"('authorization', 'Bearer callback_{'a-_Z9' * 8}xyz')", "('authorization', 'Bearer ***')"),
        (f'{{"path": "/cb/{STATE}"}}', '{"path": "/cb/***"}'),
        ("/cb/not-a-uuid", "/cb/***"),
        (f"/cb%2F{STATE}", "/cb/***"),
        ("back=%252Fcb%252Fnot-a-uuid", "back=%252Fcb/***"),
        (f"x={STATE.replace('-', '%252D')}&y", "x=***&y"),
        (f"x={''.join(f'%25{ord(each):02X}' for each in STATE)}&y", "x=***&y"),
        (f"x={''.join(f'%2525{ord(each):02x}' for each in STATE.upper())}&y", "x=***&y"),
        ('"redis://me:hunter2@store:6379/0"', '"redis://***@store:6379/0"'),
        ("to https://hunter2@a.example?b=c@d", "to https://***@a.example?b=c@d"),
        ("https://a.example/@me, me@a.example", "https://a.example/@me, me@a.example"),
        (f"case {CASE}, call {CASE}-0123456789abcdef", f"case {CASE}, call {CASE}-0123456789abcdef"),
        ("/cbx/1 /page/thankyou", "/cbx/1 /page/thankyou"),
    ],
)
def test_only_states_callback_paths_tokens_and_passwords_are_masked(text, masked):
    assert mask(text) == masked
