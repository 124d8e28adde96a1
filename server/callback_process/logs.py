"""Logs: one JSON object a line on standard error, from our code and from every library alike.

1. Each line has `timestamp` (RFC 3339, UTC), `level`, `event`, `process` and `pid`; what comes from a library also has
   `logger`.
2. No state and no token reaches a log. Every finished line is masked as a whole, so that no way into it (a path, a
   value, an object's repr, a traceback's text) goes around: what follows `/cb/` or `/cbq/`, anything shaped like a UUID
   or like one of our tokens, percent-encoded too, and user and password in a URL.
3. What is raised and not caught is such a line as well, not a bare traceback.
"""

import contextlib
import logging
import os
import re
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

MASK = "***"

_DASH, _SLASH = r"(?:-|%(?:25)*2[dD])", r"(?:/|%(?:25)*2[fF])"
_HEX = r"(?:[0-9a-fA-F]|%(?:25)*(?:3[0-9]|[46][1-6]))"
_PATH = re.compile(rf"""({_SLASH}cbq?){_SLASH}[^\s"'<>\\]*""")
_UUID = re.compile(_DASH.join(rf"{_HEX}{{{count}}}" for count in (8, 4, 4, 4, 12)))
_TOKEN = re.compile(r"callback_[A-Za-z0-9_-]{43}")
_USER = re.compile(r"""(://)[^\s"'<>\\/?#@]+@""")


def mask(text: str) -> str:
    """Return the text without what could be, or contain, the state of a callback URL, a token or a password."""
    text = _USER.sub(rf"\1{MASK}@", text)
    return _TOKEN.sub(MASK, _UUID.sub(MASK, _PATH.sub(rf"\1/{MASK}", text)))


def configure(process: str, level: str = "INFO") -> None:
    """Send all logs of this process to standard error as masked JSON lines.

    Once, first thing in a process. Libraries' own loggers reach it through the root logger. Hypercorn's do not by
    themselves: give its configuration `errorlog = logging.getLogger("hypercorn.error")`.

    Args:
        process: what this process is called in each line, such as `server`.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
    """

    def add_process(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "process": process, "pid": os.getpid()}

    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_process,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = _StandardError(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.StackInfoRenderer(),
                _order,
                structlog.processors.JSONRenderer(),
                _mask_line,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return a logger for events: `log.info("call ended", call_id=…, status=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
    return logger


def _order(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put what every line has first, for those who read logs by eye."""
    return {**{name: event[name] for name in ("timestamp", "level", "process", "pid", "event")}, **event}


def _mask_line(_logger: Any, _method: str, line: Any) -> str:
    # Safe on JSON: neither pattern takes a quote or a backslash, so no string is cut open.
    return mask(line)


class _StandardError(logging.StreamHandler[Any]):
    """Writes lines; what can not be written says so without showing what it was (the default prints all of it)."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        with contextlib.suppress(OSError, ValueError):  # standard error itself is gone: nobody is left to tell
            self.stream.write(f'{{"level": "error", "event": "a log record was lost", "logger": "{record.name}"}}\n')


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return  # asked for, not an error
    get_logger().critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
