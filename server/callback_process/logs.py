"""Logs: one JSON object per line on standard error, from this code and from libraries.

1. Each line has `timestamp` (RFC 3339, UTC), `level`, `event`, `process` and `pid`, so no event may use these names for
   its fields. A library's line also has `logger`, and a line that is written within a span `trace_id` and `span_id`.
2. No state and no token reaches a log. Every finished line is masked as a whole, so that paths, values, reprs and
   tracebacks are all covered. Masked are: the text after `/cb/` or `/cbq/`, anything with the form of a UUID or of a
   token of Callback, also percent-encoded, and user and password in a URL.
3. An uncaught exception becomes such a line too, instead of a bare traceback.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, cast

import orjson
import structlog

MASK = "***"

_DASH, _SLASH = r"(?:-|%(?:25)*2[dD])", r"(?:/|%(?:25)*2[fF])"
_HEX = r"(?:[0-9a-fA-F]|%(?:25)*(?:3[0-9]|[46][1-6]))"
_PATH = re.compile(rf"""({_SLASH}cbq?){_SLASH}[^\s"'<>\\]*""")
_UUID = re.compile(_DASH.join(rf"{_HEX}{{{count}}}" for count in (8, 4, 4, 4, 12)))
_UUID_DASHES = 4
_TOKEN = re.compile(r"callback_[A-Za-z0-9_-]{43}")
_USER = re.compile(r"""(://)[^\s"'<>\\/?#@]+@""")


def mask(text: str) -> str:
    """Mask each part of a text that could be, or contain, the state of a callback URL, a token or a password."""
    # Every line passes here and almost none needs masking, so each pattern runs only after a cheap test for it.
    encoded = "%" in text
    if "://" in text:
        text = _USER.sub(rf"\1{MASK}@", text)
    if encoded or "/cb" in text:
        text = _PATH.sub(rf"\1/{MASK}", text)
    if encoded or text.count("-") >= _UUID_DASHES:
        text = _UUID.sub(MASK, text)
    return _TOKEN.sub(MASK, text) if "callback_" in text else text


def configure(process: str, level: str = "INFO", present: Callable[[str], str] | None = None) -> None:
    """Send all logs of this process to standard error as masked JSON lines.

    Call it once, before anything else in a process. Loggers of libraries arrive through the root logger. Hypercorn's do
    not: set `errorlog = logging.getLogger("hypercorn.error")` in its configuration.

    Args:
        process: Name of this process in each line, such as `server`.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL. Libraries are never logged below INFO: there hpack has the
            cookies of a request.
        present: Returns a finished line as it is to be written. None: as it is.
    """
    handler = _StandardError(sys.stderr, present)
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
    _processors[:] = [lines]
    number = logging.getLevelNamesMapping()[level]
    _logger.configure(handler.write, number)
    handler.setLevel(max(number, logging.INFO))  # also if a library sets the level of its logger
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(handler.level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class EventLogger:
    """Logger of this code's events. It bypasses `logging` and the loggers of structlog.

    Each of these copies an event several times, which costs more than everything else that is done for a line. Of
    structlog remain the processors, so that its `capture_logs` works in tests.
    """

    def __init__(self) -> None:
        self._write: Callable[[str], Any] = lambda line: sys.stderr.write(f"{line}\n")
        self._level = logging.INFO

    def configure(self, write: Callable[[str], Any], level: int) -> None:
        """Write the lines of events from this level on (as in `logging`) with this function."""
        self._write, self._level = write, level

    def debug(self, event: str, **fields: Any) -> None:
        """Log an event."""
        self._log(logging.DEBUG, "debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log an event."""
        self._log(logging.INFO, "info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log an event."""
        self._log(logging.WARNING, "warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log an event."""
        self._log(logging.ERROR, "error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log an error, with the exception that is being handled."""
        self._log(logging.ERROR, "error", event, {"exc_info": True, **fields})

    def critical(self, event: str, **fields: Any) -> None:
        """Log an event."""
        self._log(logging.CRITICAL, "critical", event, fields)

    def _log(self, number: int, level: str, event: str, fields: dict[str, Any]) -> None:
        if number < self._level:
            return
        fields["event"] = event
        try:
            line = _processors[0](self, level, fields)
        except structlog.DropEvent:
            return
        self._write(cast("str", line))


_logger = EventLogger()


def get_logger() -> EventLogger:
    """Return the logger of events: `log.info("call_ended", call_id=…, status=…)`."""
    return _logger


_ids_of_span: list[Callable[[], Mapping[str, str]]] = [dict]
"""The function that returns the ids of the current span."""


def add_ids_of_span(ids: Callable[[], Mapping[str, str]]) -> None:
    """Add to each line what this function returns: `trace_id` and `span_id` of the current span, or nothing."""
    _ids_of_span[:] = [ids]


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _json(line: dict[str, Any]) -> str:
    """Encode a line, with the `repr` of values that JSON does not know, which is masked with the rest.

    Not by msgspec: it writes bytes as base64, which hides a state from `mask`.
    """
    try:
        return orjson.dumps(line, default=repr, option=_OPTIONS).decode()
    except orjson.JSONEncodeError:  # it refuses lone surrogates and integers of more than 64 bits
        return json.dumps(line, default=repr)


class _Lines:
    """Formatter of events as lines. The common fields come first, for people who read logs."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._pid = os.getpid()
        self._second = (0, "")
        """The second of the last line, since the epoch, and as it is written."""

    def __call__(self, _logger: Any, level: str, event: structlog.typing.EventDict) -> str:
        """Return the masked line of an event. If formatting fails, return a `log_record_lost` line; never raise."""
        try:
            if "exc_info" in event or "stack_info" in event:
                event = structlog.processors.format_exc_info(None, level, event)
                event = structlog.processors.StackInfoRenderer()(None, level, event)
            line = {
                "timestamp": self._timestamp(),
                "level": level,
                "process": self._process,
                "pid": self._pid,
                "event": event.pop("event"),
                **event,
                **_ids_of_span[0](),
            }
            # Masking JSON is safe: no pattern matches a quote or a backslash, so every string keeps its end.
            masked = mask(_json(line))
            # A line is ASCII: so it is JSON in every encoding of standard error, and sends no command to a terminal.
            return masked if masked.isascii() else json.dumps(orjson.loads(masked))
        except Exception:
            return _lost(__name__)

    def _timestamp(self) -> str:
        second, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{microseconds:06d}Z"

    def from_library(self, _logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
        """Return the masked line of a record of `logging`."""
        return self(None, event.pop("level"), event)


def _lost(logger: str) -> str:
    return f'{{"level": "error", "event": "log_record_lost", "logger": "{logger}"}}'


class _StandardError(logging.StreamHandler[Any]):
    """Handler that writes lines. It never prints a record that it failed to write, as the default handler does."""

    def __init__(self, stream: Any, present: Callable[[str], str] | None) -> None:
        super().__init__(stream)
        self._present = present

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name is logging's
        self.write(_lost(record.name))

    def write(self, line: str) -> None:
        """Write a line and flush it."""
        if self._present is not None:
            line = self._present(line)
        try:
            with self.lock or contextlib.nullcontext():
                self.stream.write(f"{line}\n")
                self.stream.flush()
        except (OSError, ValueError):  # standard error is gone, so this cannot be reported anywhere
            return


_processors: list[structlog.typing.Processor] = [_Lines("python")]
"""The processor of events."""
structlog.configure(processors=_processors)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return  # requested by the user, not an error
    get_logger().critical("uncaught_exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
