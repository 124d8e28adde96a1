"""Values for people: aligned text, with colours on a terminal that wants them.

1. Nothing is cut or wrapped: an id or a URL can be copied as it stands, and a line can be searched for.
2. Whatever came from outside is printed as text. Control characters, and those that would turn or hide others, are
   shown as escapes: a recorded call can not play tricks with a terminal.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from callback import Call, Callback, CallbackStatus, CallStatus, GeneratedCallback, Headers, Response, ResponseType

SHOWN_BODY_BYTES = 16 * 1024
"""How much of a body is printed."""

_STYLES = {
    CallbackStatus.OPEN: "green",
    CallbackStatus.IN_PROGRESS: "yellow",
    CallbackStatus.CLOSED: "dim",
    CallStatus.RUNNING: "yellow",
    CallStatus.SUCCEEDED: "green",
    CallStatus.REJECTED: "yellow",
    CallStatus.FAILED: "red",
    CallStatus.INTERRUPTED: "red",
    CallStatus.NOT_STARTED: "red",
}


class Screen:
    """Standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False, emoji=False)

    def generated(self, value: GeneratedCallback) -> None:
        """Print a new callback."""
        self._facts([("URL", value.url), ("state", value.state), ("case", value.case_id)])

    def callback(self, value: Callback) -> None:
        """Print a case."""
        self._title("Case", value.case_id)
        self._facts(
            [
                ("status", Text(_status(value), _STYLES.get(value.status, ""))),
                ("activity", value.activity),
                ("activity case", value.activity_case),
                ("calls", _mode(value)),
                ("URL", f"/cbq/{value.state_query_parameter}" if value.state_query_parameter else "/cb/"),
                ("domain", value.alternative_domain),
                ("owner", value.owner),
                ("labels", ", ".join(f"{name}={label}" for name, label in sorted(value.labels.items()))),
                ("created", _time(value.create_time)),
                ("expires", _time(value.expire_time)),
                ("closed", _time(value.close_time)),
            ]
        )
        self._response(value.response)

    def callbacks(self, values: Iterable[Callback], now: datetime) -> None:
        """Print cases as a table."""
        self._table(
            ("CASE", "STATUS", "AGE", "CALLS", "ACTIVITY"),
            [
                (
                    value.case_id,
                    Text(_status(value), _STYLES.get(value.status, "")),
                    _age(now - value.create_time),
                    str(value.call_count),
                    value.activity,
                )
                for value in values
            ],
            empty="No cases.",
        )

    def call(self, value: Call) -> None:
        """Print a call, whole."""
        self._title("Call", value.call_id)
        self._facts(
            [
                ("case", value.case_id),
                ("status", Text(_words(value.status), _STYLES.get(value.status, ""))),
                ("failure", " - ".join(filter(None, (value.failure and _words(value.failure), value.failure_detail)))),
                ("attempt", str(value.attempt)),
                ("kept open", "yes, by its handler" if value.keep_open else ""),
                ("from", value.client_address),
                ("started", _time(value.start_time)),
                ("ended", f"{_time(value.end_time)}, after {_took(value)}" if value.end_time else ""),
            ]
        )
        self._console.print()
        self._heading("Request")
        self._line(f"  {value.method.upper()}" + (f" ?{value.query_string}" if value.query_string else ""))
        self._headers(value.headers)
        self._body(value.body, value.body_size)
        if value.response is not None:
            self._response(value.response)

    def calls(self, values: Iterable[Call]) -> None:
        """Print calls as a table."""
        self._table(
            ("CALL", "STATUS", "METHOD", "BODY", "ANSWER", "STARTED", "TOOK"),
            [
                (
                    value.call_id,
                    Text(_words(value.status), _STYLES.get(value.status, "")),
                    value.method.upper(),
                    _size(value.body_size),
                    _answer(value),
                    _time(value.start_time),
                    _took(value),
                )
                for value in values
            ],
            empty="No calls.",
        )

    def _response(self, value: Response) -> None:
        self._console.print()
        self._heading("Response")
        if value.type is ResponseType.REDIRECT:
            self._line(f"  redirect to {value.redirect_url or '(what the handler says)'}")
            return
        self._line(f"  {value.code or 200}")
        self._headers(value.headers or Headers())
        if value.body is not None:
            self._body(value.body, len(value.body))

    def _headers(self, headers: Headers) -> None:
        for name, value in headers.pairs:
            self._console.print(Text.assemble("  ", (f"{plain(name)}: ", "dim"), plain(value)), soft_wrap=True)

    def _body(self, body: bytes, size: int) -> None:
        if not size:
            return
        self._console.print()
        if not body:
            self._line(f"  ({_size(size)}, not recorded)")
            return
        shown, rest = body[:SHOWN_BODY_BYTES], len(body) - SHOWN_BODY_BYTES
        try:
            body.decode()
        except UnicodeDecodeError:
            self._line(f"  ({_size(size)} that are not text; --json has them in base64)")
            return
        for line in plain(shown.decode(errors="ignore").replace("\r\n", "\n"), keep="\n\t").split("\n"):
            self._line(f"  {line}", keep="\t")
        if rest > 0:
            self._line(f"  (and {_size(rest)} more; --json has all)")

    def _title(self, word: str, name: str) -> None:
        self._console.print(Text.assemble((word, "bold"), " ", plain(name)), soft_wrap=True)

    def _heading(self, word: str) -> None:
        self._console.print(Text(word, "bold"))

    def _line(self, text: str, *, keep: str = "") -> None:
        self._console.print(Text(plain(text, keep=keep)), soft_wrap=True)

    def _facts(self, facts: Sequence[tuple[str, str | Text]]) -> None:
        """Print names and values in two columns; without those that have no value."""
        facts = [(name, value) for name, value in facts if value]
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            text = value if isinstance(value, Text) else Text(plain(value))
            self._console.print(Text.assemble("  ", (f"{name:<{width}}  ", "dim"), text), soft_wrap=True)

    def _table(self, head: Sequence[str], rows: Sequence[Sequence[str | Text]], *, empty: str) -> None:
        if not rows:
            self._line(empty)
            return
        cells = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
        cells.insert(0, [Text(name, "bold") for name in head])
        widths = [max(cell_len(row[column].plain) for row in cells) for column in range(len(head))]
        for row in cells:
            line = Text()
            for cell, width in zip(row, widths, strict=True):
                line += cell
                line += " " * (width - cell_len(cell.plain) + 2)
            line.rstrip()
            self._console.print(line, soft_wrap=True)


def plain(text: str, *, keep: str = "") -> str:
    """Return the text with everything that is not printable as an escape, but for the characters in `keep`."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _status(value: Callback) -> str:
    if value.close_reason is None:
        return _words(value.status)
    return f"{_words(value.status)}, {_words(value.close_reason).removeprefix('closed ')}"


def _mode(value: Callback) -> str:
    if value.allow_multiple_calls:
        mode = "any number"
    else:
        mode = "one, again after an error" if value.retryable_after_error else "one"
    return f"{value.call_count} so far; {mode} allowed"


def _answer(value: Call) -> str:
    if value.response is None:
        return "-"
    return "redirect" if value.response.type is ResponseType.REDIRECT else str(value.response.code or 200)


def _words(word: str) -> str:
    return word.lower().replace("_", " ")


def _size(count: int) -> str:
    return f"{count:,} byte{'' if count == 1 else 's'}"


def _time(when: datetime | None) -> str:
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _took(value: Call) -> str:
    if value.end_time is None:
        return "-"
    seconds = (value.end_time - value.start_time).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
