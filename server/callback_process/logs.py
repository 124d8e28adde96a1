"""Logs: one JSON object per line on standard error, from this code and from libraries.

1. Each line has `timestamp` (RFC 3339, UTC), `level`, `event`, `process` and `pid`, so no event may use these names for
   its fields. A library's line also has `logger`.
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
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
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
    """Mask each part of a text that could be, or contain, the state of a callback URL, a token or a password."""
    # Every line passes here and almost none needs masking, so each pattern runs only after a cheap test for it.
    encoded = "%" in text
    if "://" in text:
        text = _USER.sub(rf"\1{MASK}@", text)
    if encoded or "/cb" in text:
        text = _PATH.sub(rf"\1/{MASK}", text)
    if encoded or _DASHES.search(text):
        text = _UUID.sub(MASK, text)
    return _TOKEN.sub(MASK, text)


def configure(process: str, level: str = "INFO", present: Callable[[str], str] | None = None) -> None:
    """Send all logs of this process to standard error as masked JSON lines.

    Call it once, before anything else in a process. Loggers of libraries arrive through the root logger. Hypercorn's do
    not: set `errorlog = logging.getLogger("hypercorn.error")` in its configuration.

    Args:
        process: Name of this process in each line, such as `server`.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
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
    # Events of this code bypass `logging`, which would cost more than everything else that is done for a line.
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
    """Return a logger for events: `log.info("call_ended", call_id=…, status=…)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


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
        self._always = {"process": process, "pid": os.getpid()}

    def __call__(self, _logger: Any, level: str, event: structlog.typing.EventDict) -> str:
        """Return the masked line of an event. If formatting fails, return a `log_record_lost` line; never raise."""
        try:
            if "exc_info" in event or "stack_info" in event:
                event = structlog.processors.format_exc_info(None, level, event)
                event = structlog.processors.StackInfoRenderer()(None, level, event)
            line = {
                "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z",
                "level": level,
                **self._always,
                "event": event.pop("event"),
                **event,
            }
            # Masking JSON is safe: no pattern matches a quote or a backslash, so every string keeps its end.
            masked = mask(_json(line))
            # A line is ASCII: so it is JSON in every encoding of standard error, and sends no command to a terminal.
            return masked if masked.isascii() else json.dumps(orjson.loads(masked))
        except Exception:
            return _lost(__name__)

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
        # If standard error itself is gone, the error cannot be reported anywhere.
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError, ValueError):
            self.stream.write(f"{line}\n")
            self.stream.flush()


class _Events:
    """Logger of structlog: writes finished lines of every level."""

    def __init__(self, handler: _StandardError) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = handler.write


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return  # requested by the user, not an error
    get_logger().critical("uncaught_exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
