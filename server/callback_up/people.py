"""Lines of the log for people on a terminal, in place of JSON."""

import json

from structlog.dev import ConsoleRenderer

_render = ConsoleRenderer(timestamp_key="time", pad_event_to=28)
_LEFT_OUT = ("timestamp", "pid", "child_pid")


def readable(line: str) -> str:
    """Return a line of the log as text: the time of day, the level, the event, then its fields.

    A line that is not an event, such as a message of the interpreter, stays. Characters that a terminal could take for
    commands are shown as escapes.
    """
    try:
        event = json.loads(line)
        name = event["event"]
    except (ValueError, TypeError, KeyError):
        return _printable(line)
    shown = {key: _printable(value) if isinstance(value, str) else value for key, value in event.items()}
    time = str(event.get("timestamp", ""))[11:19]
    fields = {key: value for key, value in shown.items() if key not in _LEFT_OUT}
    return _render(None, "", {"time": time, **fields, "event": str(shown["event"] if name else name)})


def _printable(text: str) -> str:
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
