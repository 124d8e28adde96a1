"""Logs: one JSON object a line on standard error, from our code and from every library alike.

1. Each line has `timestamp` (RFC 3339, UTC), `level`, `event`, `process` and `pid`, so no event has a field of that
   name; what comes from a library also has `logger`.
2. No state and no token reaches a log. Every finished line is masked as a whole, so that no way into it (a path, a
   value, an object's repr, a traceback's text) goes around: what follows `/cb/` or `/cbq/`, anything shaped like a UUID
   or like one of our tokens, percent-encoded too, and user and password in a URL.
3. What is raised and not caught is such a line as well, not a bare traceback.
"""

import contextlib
import functools
import json
import logging
import os
import re
import sys
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog

MASK = "***"

_DASH, _SLASH = r"(?:-|%(?:25)*2[dD])", r"(?:/|%(?:25)*2[fF])"
_HEX = r"(?:[0-9a-fA-F]|%(?:25)*(?:3[0-9]|[46][1-6]))"
_PATH = re.compile(rf"""({_SLASH}cbq?){_SLASH}[^\s"'<>\\]*""")
_UUID = re.compile(_DASH.join(rf"{_HEX}{{{count}}}" for count in (8, 4, 4, 4, 12)))
_DASHES = re.compile(r"-.{4}-.{4}-.{4}-")
_TOKEN = re.compile(r"callback_[A-Za-z0-9_-]{43}")
_USER = re.compile(r"""(://)[^\s"'<>\\/?#@]+@""")


def mask(text: str) -> str:
    """Return the text without what could be, or contain, the state of a callback URL, a token or a password."""
    # Every line comes by here, and nearly none has anything to mask: what each needs is cheaper looked for by itself.
    encoded = "%" in text
    if "://" in text:
        text = _USER.sub(rf"\1{MASK}@", text)
    if encoded or "/cb" in text:
        text = _PATH.sub(rf"\1/{MASK}", text)
    if encoded or _DASHES.search(text):
        text = _UUID.sub(MASK, text)
    return _TOKEN.sub(MASK, text)


def configure(process: str, level: str = "INFO") -> None:
    """Send all logs of this process to standard error as masked JSON lines.

    Once, first thing in a process. Libraries' own loggers reach it through the root logger. Hypercorn's do not by
    themselves: give its configuration `errorlog = logging.getLogger("hypercorn.error")`.

    Args:
        process: what this process is called in each line, such as `server`.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
    """
    handler = _StandardError(sys.stderr)
    lines = _Lines(process)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lines.from_library,
            ],
        )
    )
    # Ours do not go through `logging`: that would cost a call more than all else that is done for its line.
    structlog.configure(
        processors=[lines],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Events(handler),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger for events: `log.info("call ended", call_id=…, status=…)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


class _Lines:
    """Makes lines of events: what every line has comes first, for those who read logs by eye."""

    def __init__(self, process: str) -> None:
        self._always = f'"process": {_quoted(process)}, "pid": {os.getpid()}'

    def __call__(self, _logger: Any, level: str, event: structlog.typing.EventDict) -> str:
        """The masked line of an event. An error that can not be told says so, and never reaches who only logs."""
        try:
            if "exc_info" in event or "stack_info" in event:
                event = structlog.processors.format_exc_info(None, level, event)
                event = structlog.processors.StackInfoRenderer()(None, level, event)
            first = f'"timestamp": "{_now()}", "level": "{level}", {self._always}, "event": {_json(event.pop("event"))}'
            rest = "".join([f", {_quoted(name)}: {_json(value)}" for name, value in event.items()])
            # Safe on JSON: no pattern takes a quote or a backslash, so no string is cut open.
            return mask(f"{{{first}{rest}}}")
        except Exception:
            return _lost(__name__)

    def from_library(self, _logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
        """The masked line of a record of `logging`."""
        return self(None, event.pop("level"), event)


_quoted = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(default=repr).encode
"""Of values that JSON does not know it has what Python says of them, which is masked with the rest."""


def _json(value: Any) -> str:
    return _quoted(value) if type(value) is str else _encode(value)  # most are; the other takes ten times as long


def _now() -> str:
    second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(second)}.{nanoseconds // 1000:06d}Z"


@functools.lru_cache(maxsize=1)
def _second(number: int) -> str:
    return f"{datetime.fromtimestamp(number, UTC):%Y-%m-%dT%H:%M:%S}"


def _lost(logger: str) -> str:
    return f'{{"level": "error", "event": "a log record was lost", "logger": "{logger}"}}'


class _StandardError(logging.StreamHandler[Any]):
    """Writes lines; what can not be written says so without showing what it was (the default prints all of it)."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        self.write(_lost(record.name))

    def write(self, line: str) -> None:
        """Writes a line at once, between those of others."""
        # Where standard error itself is gone, nobody is left to tell.
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
            self.stream.write(f"{line}\n")
            self.stream.flush()


class _Events:
    """Where our lines go, of each level."""

    def __init__(self, handler: _StandardError) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = handler.write


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return  # asked for, not an error
    get_logger().critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
