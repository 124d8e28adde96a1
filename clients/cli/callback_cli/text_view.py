"""Text output for people: aligned columns, with colours on a terminal that supports them.

1. Nothing is truncated or wrapped, so that ids and URLs can be copied, and lines can be searched. In a list that is too
   wide for a terminal, an id is shown by its beginning, which every command takes.
2. Everything from outside is printed as plain text. Control characters, and characters that reverse or hide others, are
   shown as escapes, so that a recorded call cannot manipulate a terminal.
3. Each field of a callback or a call has its line, in the order of the contract and with its name in words. `_SAID` has
   the lines that say it better. What is empty, or as it is by default, is left out. A secret that no line or section
   is for is masked.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import chain
from operator import attrgetter
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from callback import (
    Activity,
    ActivityKind,
    AuditChain,
    AuditEntry,
    Call,
    Callback,
    CallbackStatus,
    CallEvent,
    CallEventType,
    CallReason,
    CloseReason,
    Delivery,
    DeliveryStatus,
    Headers,
    Query,
    Response,
    ResponseType,
    Statistics,
)
from callback.masking import MASK
from callback_cli._contract import MESSAGES
from callback_cli.fields import Field

SHOWN_BODY_BYTES = 16 * 1024
"""The largest part of a body that is printed, in bytes."""

SHORT_ID = 8
"""The length of the beginning of an id on a narrow terminal."""

_STYLES = {
    word: style
    for style, words in (
        ("green", ("OPEN", "SUCCEEDED", "DELIVERED", "ok")),
        ("yellow", ("IN_PROGRESS", "RUNNING", "REJECTED", "PENDING", "warning")),
        ("red", ("FAILED", "INTERRUPTED", "NOT_STARTED", "DEAD", "problem")),
        ("dim", ("CLOSED",)),
    )
    for word in words
}
"""The style of each status, and of each level of a finding."""

_Cell = Callable[[Any], str | Text] | None


class TextView:
    """Text output on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False, emoji=False)

    def value(self, value: Any) -> None:
        """Print the fields of a value, such as a new callback."""
        self._facts(list(_facts(value)))

    def values(self, values: Sequence[Any], *, empty: str = "None.") -> None:
        """Print values of the same kind as a table of their fields."""
        fields = [each for each in MESSAGES[type(values[0]).__name__] if each.kind != "message"] if values else []
        rows = [[_shown(each, getattr(value, each.short_name)) or "-" for each in fields] for value in values]
        self._table([_label(each).upper() for each in fields], rows, empty=empty)

    def callback(self, value: Callback) -> None:
        """Print a callback."""
        self._title("Callback", value.case_id)
        self.value(value)
        for field in MESSAGES["Callback"]:
            response = getattr(value, field.short_name)
            if field.of == "Response" and response is not None:
                self._response(response, _label(field).capitalize())
        if value.notifications:
            self._console.print()
            self._heading("Notifications")
            for each in value.notifications:
                facts = f"  {each.call_id}  {_time(each.start_time)}  {_words(each.reason)}: "
                self._console.print(Text.assemble(plain(facts), _delivery(each)), soft_wrap=True)

    def callbacks(self, values: Sequence[Callback], newest: Mapping[str, Call], now: datetime) -> None:
        """Print callbacks as a table, with the status of their newest calls, and their owners if there are several.

        Labels are left out if there are none, or the terminal is not wide enough.
        """
        has_owners = len({value.owner for value in values}) > 1

        self._list(
            values,
            ("CASE", attrgetter("case_id"), lambda each: each.case_id[:SHORT_ID]),
            ("OWNER", attrgetter("owner") if has_owners else None),
            (
                "STATUS",
                lambda each: _styled(_status(each), each.status),
                lambda each: _styled(_short(each), each.status),
            ),
            ("AGE", lambda each: _age(now - each.create_time)),
            ("CALLS", lambda each: str(each.call_count)),
            ("LAST", lambda each: _last_status(newest.get(each.case_id))),
            ("ACTIVITY", attrgetter("activity")),
            ("LABELS", _labels, None),
            empty="No callbacks.",
            last_if_it_fits=True,
        )

    def call(self, value: Call, activity: str) -> None:
        """Print a call of an activity, with its request and responses, or a notification."""
        is_call = value.reason is CallReason.CALL
        self._title("Call" if is_call else "Notification", value.call_id)
        self._facts([("activity", activity), *_facts(value)])
        if is_call and not value.erased:
            self._console.print()
            self._heading("Request")
            self._line(f"  {value.method.upper()}" + (f" ?{value.query_string}" if value.query_string else ""))
            self._headers(value.headers)
            self._body(value.body, value.body_size, lost="dropped" if value.body_dropped else "not recorded")
        if value.response is not None:
            self._response(value.response, "Decided later, not sent" if value.fallback_sent else "Response")
        if value.delivery is not None and value.delivery.response is not None:
            self._response(value.delivery.response, "Decided by the handler, not sent")

    def calls(self, values: Sequence[Call], callbacks: Mapping[str, Callback], now: datetime) -> None:
        """Print calls as a table, with their owners if there are several, and their deliveries if there are any."""
        has_owners = len({callbacks[value.case_id].owner for value in values}) > 1
        has_deliveries = any(value.delivery for value in values)

        self._list(
            values,
            ("CALL", attrgetter("call_id"), lambda each: short_call_id(each.call_id)),
            ("OWNER", (lambda each: callbacks[each.case_id].owner) if has_owners else None),
            ("ACTIVITY", lambda each: callbacks[each.case_id].activity),
            ("STATUS", lambda each: _styled(_call_status(each), each.status)),
            ("METHOD", _method, None),
            ("BODY", lambda each: "erased" if each.erased else _size(each.body_size), None),
            ("ANSWER", _answer),
            ("STARTED", lambda each: _time(each.start_time), None),
            ("AGE", None, lambda each: _age(now - each.start_time)),
            ("TOOK", _took),
            ("DELIVERY", _delivery if has_deliveries else None),
            empty="No calls.",
        )

    def trace(
        self,
        callback: Callback,
        entries: Sequence[tuple[Call | None, Sequence[str], Sequence[str]]],
        activity: Activity | None,
    ) -> None:
        """Print why each of some calls of a callback is as it is, or why it has none (None), and what is said of it."""
        self._title("Callback", f"{callback.case_id}  {_status(callback)}")
        for call, sentences, details in entries:
            if call is None:
                head, facts, when = callback.activity, f"owner {callback.owner}", callback.create_time
            else:
                head, when = f"{callback.activity}  {_call_status(call)}", call.start_time
                facts = f"call {call.call_id}, owner {callback.owner}"
            self.reason(head, facts, when, sentences, details, activity)

    def reason(
        self,
        head: str,
        facts: str,
        when: datetime,
        sentences: Sequence[str],
        details: Sequence[str],
        activity: Activity | None,
    ) -> None:
        """Print a reason in sentences, what was said of it, and what serves its activity now, if that is known."""
        self._console.print()
        self._console.print(Text.assemble((plain(head), "bold"), plain(f"  {_time(when)}  {facts}")), soft_wrap=True)
        for sentence in sentences:
            self._line(f"  {sentence}")
        for detail in details:
            self._line(f"  | {detail}")
        if activity is not None and (not activity.is_served or activity.paused):
            problem = "is paused" if activity.paused else "is served by nothing"
            self._line(f"  Now the activity {problem}.")

    def event(self, value: CallEvent) -> None:
        """Print an event of a callback or a call."""
        status = value.delivery_status if value.type is CallEventType.DELIVERY_CHANGED else value.call_status
        case = _closed(value.case_status, value.close_reason)
        self._console.print(
            Text.assemble(
                f"{_time(value.time)}  {_words(value.type):<16}  {plain(value.call_id or value.case_id):<49}  ",
                f"{plain(value.activity)}: ",
                *(((_words(status), _STYLES.get(status, "")), "; case ") if status else ()),
                (case, _STYLES.get(value.case_status, "")),
            ),
            soft_wrap=True,
        )

    def activities(self, values: Sequence[Activity]) -> None:
        """Print activities as a table."""
        self._list(
            values,
            ("ACTIVITY", attrgetter("activity")),
            ("SERVED BY", _served_by),
            ("OPEN", lambda each: str(each.open_callback_count)),
            ("DELIVERIES", lambda each: f"{each.delivery_count}{' (paused)' if each.paused else ''}"),
            empty="No activities.",
        )

    def statistics(self, value: Statistics) -> None:
        """Print the calls of the last hour, their stages, and what waits."""
        outcomes: Counter[tuple[str, str]] = Counter()
        for each in chain.from_iterable(minute.outcomes for minute in value.minutes):
            outcomes[_words(each.status), _words(each.failure) if each.failure else ""] += each.count
        refusals: Counter[str] = Counter()
        for minute in value.minutes:
            refusals.update({each.reason: each.count for each in minute.refusals})
        self._table(
            ("CALLS OF THE LAST HOUR", "FAILURE", "COUNT"),
            [(*outcome, f"{count:,}") for outcome, count in outcomes.most_common()],
            empty="No calls in the last hour.",
        )
        if refusals:
            self._console.print()
            rows = [(reason, f"{count:,}") for reason, count in refusals.most_common()]
            self._table(("REFUSED REQUESTS", "COUNT"), rows, empty="")
        if value.stages:
            self._console.print()
            self.values(value.stages)
        self._console.print()
        self.values(value.owners, empty="No owners.")
        self._console.print()
        self.value(value.work)

    def audit_entries(self, values: Sequence[AuditEntry]) -> None:
        """Print entries of the audit as a table; on a narrow terminal without owners and facts, and with short ids."""
        self._list(
            values,
            ("TIME", lambda each: _time(each.time), lambda each: f"{each.time.astimezone(UTC):%m-%d %H:%M:%S}"),
            ("ACTOR", lambda each: each.actor or "(server)"),
            ("ACTION", lambda each: _words(each.action)),
            ("CHANGED", _changed, lambda each: _changed(each, is_short=True)),
            ("OWNER", attrgetter("owner"), None),
            ("FACTS", _facts_of, None),
            empty="No entries.",
            last_if_it_fits=True,
        )

    def audit_chains(self, values: Sequence[AuditChain]) -> None:
        """Print the result of a verification of the audit."""
        problems = [(value.chain, problem) for value in values for problem in value.problems]
        self._table(
            ("CHAIN", "PROBLEM", "WHERE"),
            [(str(chain), _words(problem.kind), problem.text) for chain, problem in problems],
            empty="The audit is as the servers have stored it.",
        )
        entries, chains = sum(value.entry_count for value in values), sum(value.head is not None for value in values)
        self._line(f"{entries:,} entries in {chains} chains, {len(problems)} problems")

    def settings(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Print settings as TOML, each with its origin as a comment."""
        tables: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
        for each in values:
            shown = "" if each["value"] is None else f"{_toml_key(each['key'])} = {_toml_value(each['value'])}"
            tables.setdefault(tuple(each["table"]), []).append((each["key"], shown, each["origin"]))
        settings = [setting for table in tables.values() for setting in table]
        column = max((cell_len(shown) for _, shown, _ in settings), default=0)
        width = column + max((cell_len(origin) for *_, origin in settings), default=0) + len("  # ")
        if self._console.is_terminal and width > self._console.width:
            column = 0  # no columns, because a narrow terminal would break the lines
        for index, (table, rows) in enumerate(tables.items()):
            if index:
                self._console.print()
            self._heading(f"[{'.'.join(_toml_key(part) for part in table)}]")
            for key, shown, origin in rows:
                style = "dim" if origin == "default" else "green"
                comment = (f"# {plain(origin)}", style) if shown else (f"# {plain(key)} is not set", "dim")
                text = plain(shown)
                gap = " " * max(2, column - cell_len(text) + 2) if shown else ""
                self._console.print(Text.assemble(text, gap, comment), soft_wrap=True)

    def finding(self, *, check: str, level: str, seen: str, advice: str) -> None:
        """Print the result of one check."""
        text = f"{check}: {seen}" + (f"; {advice}" if advice else "")
        self._console.print(Text.assemble((f"{level:<8} ", _STYLES.get(level, "")), plain(text)), soft_wrap=True)

    def _response(self, value: Response, heading: str) -> None:
        self._console.print()
        self._heading(heading)
        if value.type is ResponseType.REDIRECT:
            self._line(f"  redirect to {value.redirect_url or '(the URL of the handler)'}")
        elif value.type is ResponseType.PAGE:
            self._line(f"  {value.code or 200}, a page")
            self._line(f"  {value.heading or '(the heading of the handler)'}")
            for line in plain(value.text or "", keep="\n").splitlines():
                self._line(f"  {line}")
            if value.link_label or value.link_url:
                self._line(f"  link: {value.link_label or '(no label)'} to {value.link_url or '(no URL)'}")
        else:
            self._line(f"  {value.code or 200}")
            self._headers(value.headers or Headers())
        for label, text in _facts(value):
            self._line(f"  {label}: {text}")
        if value.type is ResponseType.RESPONSE and value.body is not None:
            self._body(value.body, len(value.body))

    def _headers(self, headers: Headers) -> None:
        for name, value in headers.pairs:
            self._console.print(Text.assemble("  ", (f"{plain(name)}: ", "dim"), plain(value)), soft_wrap=True)

    def _body(self, body: bytes, size: int, *, lost: str = "not recorded") -> None:
        if not size:
            return
        self._console.print()
        if not body:
            self._line(f"  ({_size(size)}, {lost})")
            return
        shown, rest = body[:SHOWN_BODY_BYTES], len(body) - SHOWN_BODY_BYTES
        try:
            body.decode()
        except UnicodeDecodeError:
            self._line(f"  ({_size(size)} that are not text; --json shows them in base64)")
            return
        for line in plain(shown.decode(errors="ignore").replace("\r\n", "\n"), keep="\n\t").split("\n"):
            self._line(f"  {line}", keep="\t")
        if rest > 0:
            self._line(f"  (and {_size(rest)} more; --json shows everything)")

    def _title(self, word: str, name: str) -> None:
        self._console.print(Text.assemble((word, "bold"), " ", plain(name)), soft_wrap=True)

    def _heading(self, word: str) -> None:
        self._console.print(Text(word, "bold"))

    def _line(self, text: str, *, keep: str = "") -> None:
        self._console.print(Text(plain(text, keep=keep)), soft_wrap=True)

    def _facts(self, facts: Sequence[tuple[str, str | Text]]) -> None:
        """Print names and values in two columns."""
        width = max((len(name) for name, _ in facts), default=0)
        for name, value in facts:
            text = value if isinstance(value, Text) else Text(plain(value))
            self._console.print(Text.assemble("  ", (f"{name:<{width}}  ", "dim"), text), soft_wrap=True)

    def _list(self, values: Sequence[Any], *columns: tuple[str, *tuple[_Cell, ...]], **settings: Any) -> None:
        """Print values as a table.

        Args:
            values: The values.
            columns: The name and the cell of each column, and another cell on a narrow terminal. None: it has none.
            settings: Those of `_table`.
        """

        def table(place: int) -> tuple[list[str], list[list[str | Text]]]:
            shown = [(name, cell) for name, *cells in columns if (cell := cells[min(place, len(cells) - 1)])]
            return [name for name, _ in shown], [[cell(value) for _, cell in shown] for value in values]

        self._table(*table(0), short=table(1), **settings)

    def _table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[str | Text]],
        *,
        empty: str,
        last_if_it_fits: bool = False,
        short: tuple[Sequence[str], Sequence[Sequence[str | Text]]] | None = None,
    ) -> None:
        """Print a table.

        Args:
            head: The names of the columns.
            rows: The rows.
            empty: What is printed instead if there are no rows.
            last_if_it_fits: Whether the last column is left out if it is empty, or a terminal is too narrow for it.
            short: Another head and rows for a terminal that is too narrow for the other columns.
        """
        if not rows:
            self._line(empty)
            return
        cells = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
        cells.insert(0, [Text(name, "bold") for name in head])
        widths = [max(cell_len(row[column].plain) for row in cells) for column in range(len(head))]
        if last_if_it_fits:
            too_wide = self._console.is_terminal and sum(widths) + 2 * len(head) - 2 > self._console.width
            if too_wide or not any(row[-1].plain for row in cells[1:]):
                widths.pop()
        if short and self._console.is_terminal and sum(widths) + 2 * len(widths) - 2 > self._console.width:
            self._table(*short, empty=empty)
            return
        for row in cells:
            line = Text()
            for cell, width in zip(row, widths, strict=False):
                line += cell
                line += " " * (width - cell_len(cell.plain) + 2)
            line.rstrip()
            self._console.print(line, soft_wrap=True)


def short_call_id(call_id: str) -> str:
    """Return an id of a call of which both parts are short. Every command takes it."""
    case_id, dash, own = call_id.partition("-")
    return f"{case_id[:SHORT_ID]}{dash}{own[:SHORT_ID]}"


def plain(text: str, *, keep: str = "") -> str:
    """Return the text with every character that is not printable as an escape, except those in `keep`."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _toml_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # for the types of settings, JSON and TOML look the same


def _status(value: Callback) -> str:
    return _closed(value.status, value.close_reason)


def _short(value: Callback) -> str:
    return _words(value.close_reason) if value.close_reason else _status(value)


def _styled(text: str, status: str) -> Text:
    return Text(text, _STYLES.get(status, ""))


def _closed(status: CallbackStatus, reason: CloseReason | None) -> str:
    return _words(status) if reason is None else f"{_words(status)}, {_words(reason).removeprefix('closed ')}"


def _method(value: Call) -> str:
    return "-" if value.erased or value.reason is not CallReason.CALL else value.method.upper()


def _last_status(value: Call | None) -> str | Text:
    return "-" if value is None else _styled(_words(value.status), value.status)


def _call_status(value: Call) -> str:
    if value.reason is not CallReason.CALL:
        return _words(value.reason)
    return _words(value.status) + (", caller gone" if value.caller_gone else "")


def _delivery(value: Call) -> str | Text:
    delivery = value.delivery
    if delivery is None:
        return ""
    facts = ["paused" if delivery.paused else _words(delivery.status)]
    facts.append(f"{delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}")
    if delivery.status is DeliveryStatus.PENDING and delivery.next_attempt_time is None:
        facts.append("after an earlier call of its callback")
    elif delivery.next_attempt_time and not delivery.paused:
        facts.append(f"next at {_time(delivery.next_attempt_time)}")
    facts += [f"{label} {text}" for label, text in _facts(delivery)]
    why = _failure(delivery)
    return Text(plain(", ".join(facts) + (f": {why}" if why else "")), _STYLES.get(delivery.status, ""))


def _failure(value: Call | Delivery) -> str:
    return " - ".join(filter(None, (value.failure and _words(value.failure), value.failure_detail)))


_SAID: Mapping[str, Callable[[Any], str | Text]] = {
    "GeneratedCallback.url": attrgetter("url"),
    "GeneratedCallback.state": attrgetter("state"),
    "Callback.status": lambda value: _styled(_status(value), value.status),
    "Callback.state_query_parameter": lambda value: _kind(value.state_query_parameter),
    "Callback.call_count": lambda value: _mode(value),
    "Call.status": lambda value: _styled(_words(value.status), value.status),
    "Call.failure": _failure,
    "Call.end_time": lambda value: f"{_time(value.end_time)}, after {_took(value)}" if value.end_time else "",
    "Call.delivery": _delivery,
}
"""What is said of a field, where it is more than its value."""
_SHOWN_ELSEWHERE: Mapping[str, set[str]] = {
    "GeneratedCallback": {"warnings"},
    "Profile": {"secrets"},
    "Callback": {"case_id", "close_reason", "retryable_after_error", "allow_multiple_calls", "notifications"},
    "Call": {
        "call_id", "failure_detail", "method", "headers", "query", "query_string", "body", "body_size",
    },
    "Delivery": {"status", "attempts", "next_attempt_time", "failure", "failure_detail", "paused"},
    "Response": {"type", "redirect_url", "body", "code", "headers", "heading", "text", "link_label", "link_url"},
}  # fmt: skip
"""Fields without a line of their own: the title, another line, or a section shows them. So does each response."""
_LABELS = {
    "url": "URL", "case_id": "case", "state_query_parameter": "URL", "alternative_domain": "domain",
    "call_count": "calls",
    "create_time": "created", "expire_time": "expires", "close_time": "closed", "start_time": "started",
    "end_time": "ended", "client_address": "from", "verification_profile": "verified by",
    "verification_failure": "not verified", "closed_response": "after it is closed",
}  # fmt: skip
"""Better labels than the name of a field in words."""


def _facts(value: Any, before: str = "") -> Iterator[tuple[str, str | Text]]:
    """Yield the label and the text of each field of a value that is not empty."""
    message = type(value).__name__ if type(value).__name__ in MESSAGES else "Response"  # a Redirect is one
    for field in MESSAGES[message]:
        own = getattr(value, field.short_name)
        said = _SAID.get(f"{message}.{field.short_name}")
        is_default = field.kind == "enum" and own == field.unset
        if is_default or field.of == "Response" or field.short_name in _SHOWN_ELSEWHERE.get(message, ()):
            continue
        if said is None and field.kind == "message" and not field.is_repeated:
            yield from () if own is None else _facts(own, f"{_label(field)} ")
        elif text := _shown(field, own) if said is None else said(value):
            yield f"{before}{_label(field)}", text


def _label(field: Field) -> str:
    return _LABELS.get(field.short_name) or field.short_name.replace("_", " ")


def _shown(field: Field, value: Any) -> str:
    """Return the value of a field as text. Empty: it is empty, or as it is by default."""
    if field.is_secret and value:
        return MASK
    match value:
        case bool():
            return "yes" if value else ""
        case Enum():
            return _words(str(value))
        case datetime():
            return _time(value)
        case timedelta():
            return _span(value) if value else ""
        case bytes():
            return _size(len(value)) if value else ""
        case Headers() | Query():
            return ", ".join(f"{name}={each}" for name, each in value.pairs)
        case Mapping():
            return ", ".join(f"{name}={each}" for name, each in sorted(value.items()))
        case tuple():
            return ", ".join(_shown(field, each) for each in value)
        case int():
            return f"{value:,}" if value else ""
    return str(value or "")


def _span(time: timedelta) -> str:
    """Return a duration as options take it: `1h30m`."""
    seconds, parts = time.total_seconds(), []
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            parts.append(f"{seconds // length:.0f}{unit}")
            seconds %= length
    return "".join([*parts, f"{seconds:g}s"] if seconds else parts)


def _served_by(value: Activity) -> str | Text:
    if value.kind is not ActivityKind.WORKERS:
        return {ActivityKind.BUILT_IN: "the server", ActivityKind.PUSH: "a target"}.get(value.kind, "-")
    if not value.is_served and value.notification_worker_count:
        return f"{_workers(value.notification_worker_count)} (notifications)"
    return _workers(value.worker_count) if value.is_served else Text("nothing", "yellow")


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _labels(value: Callback) -> str:
    return ", ".join(f"{name}={label}" for name, label in sorted(value.labels.items()))


def _kind(parameter: str) -> str:
    return f"/cbq/{parameter}, state in the parameter {parameter}" if parameter else "/cb/…, state in the path"


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


def _changed(value: AuditEntry, *, is_short: bool = False) -> str:
    """Return what an entry of the audit is about."""
    if value.call_id:
        return short_call_id(value.call_id) if is_short else value.call_id
    if value.case_id:
        return value.case_id[:SHORT_ID] if is_short else value.case_id
    return value.activity or ", ".join(each for name, each in sorted(value.details.items()) if name != "principals")


def _facts_of(value: AuditEntry) -> str:
    """Return the reason and the facts of an entry of the audit."""
    facts = [f"{name}: {each}" for name, each in sorted(value.details.items())]
    return "; ".join([*([value.reason] if value.reason else []), *facts])


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
