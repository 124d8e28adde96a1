"""Words of the pages: the texts of each language, and values as words.

The languages are the files `texts.LANGUAGE.toml`. Each text has a name such as `call.request`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Final

from werkzeug.datastructures import LanguageAccept

from callback_triage import texts
from callback_triage.texts import DEFAULT, text_of

_SHOWN_BYTES: Final = 2048

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    language: texts.TEXTS[language] | own
    for language, own in texts.read_texts(files(__package__) / "templates").items()
}
"""Texts by language and name: those of the pages, and those of reasons."""


def best_language(accepted: LanguageAccept) -> str:
    """Return the first language that a browser accepts and the console has. A range stands for its language."""
    for tag, quality in accepted:
        language = tag.partition("-")[0].lower()
        if language in TEXTS and quality > 0:
            return language
    return DEFAULT


class Words:
    """Texts and values in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = TEXTS[language]

    def text(self, name: str, **values: object) -> str:
        """Return a text, with values in place of its `{names}`."""
        text = text_of(self._texts, name)
        return text.format(**values) if values else text

    def time(self, when: datetime) -> str:
        """Return a time: `26 Nov 2026, 03:12:45.120 UTC`."""
        when = when.astimezone(UTC)
        month = self._texts["months"].split()[when.month - 1]
        return f"{when.day} {month} {when.year}, {when:%H:%M:%S}.{when.microsecond // 1000:03} UTC"

    def minute(self, when: datetime) -> str:
        """Return a time of day in UTC: `03:12`."""
        return f"{when.astimezone(UTC):%H:%M}"

    def number(self, count: int) -> str:
        """Return a number, with a space between thousands: it means the same in every language."""
        return f"{count:,}".replace(",", "\u202f")

    def rate(self, per_second: float) -> str:
        """Return a number of events a second, with two digits that count."""
        return f"{per_second:.2g}" if per_second < 10 else self.number(round(per_second))

    def took(self, duration: timedelta) -> str:
        """Return a duration: `12 ms`, `3.4 s`, or as a clock from a minute on."""
        seconds = duration.total_seconds()
        if seconds < 1:
            return f"{round(seconds * 1000)} ms"
        return f"{seconds:.1f} s" if seconds < 60 else self.clock(seconds)

    def clock(self, seconds: float) -> str:
        """Return a time that is left: `4:05`, `1:04:05` or `3 d 1:04:05`. `console.js` counts it down."""
        minutes, second = divmod(max(0, int(seconds)), 60)
        hours, minute = divmod(minutes, 60)
        days, hour = divmod(hours, 24)
        if not hours:
            return f"{minute}:{second:02}"
        return (f"{days} d " if days else "") + f"{hour}:{minute:02}:{second:02}"

    def start_of(self, body: bytes) -> str:
        """Return the start of a body as text."""
        return body[:_SHOWN_BYTES].decode("utf-8", "replace") + ("…" if len(body) > _SHOWN_BYTES else "")

    def size(self, count: int) -> str:
        """Return a number of bytes."""
        return f"{self.number(count)} bytes" if count < 10_000 else f"{self.number(round(count / 1024))} KiB"
