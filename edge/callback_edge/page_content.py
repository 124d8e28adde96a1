"""Content of pages that belongs to one callback. It is text, not HTML: the templates escape it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SHORT_CHARS: Final = 24
"""The longest label of a button that fits into half the width of a page, in two lines at most."""


_TEXTS: Final = frozenset(("text", "long_text", "email", "url"))
"""The kinds of fields that have text of any length."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """Content of a response of the type page."""

    status: int
    """HTTP status."""
    heading: str
    """Heading and title."""
    text: str
    """Text, with its line breaks. Can be empty."""
    link_label: str = ""
    """Label of the link. Empty: there is no link."""
    link_url: str = ""
    """Absolute http(s) URL of the link."""
    language: str = ""
    """Language of the texts. Empty: the owner did not say it."""

    def as_text(self) -> bytes:
        """Return the content for a client that does not prefer HTML."""
        parts = [self.heading, self.text, f"{self.link_label}: {self.link_url}" if self.link_label else ""]
        return ("\n\n".join(filter(None, parts)) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of a prompt."""

    value: str
    """Value that the button posts."""
    label: str
    """Text on the button."""


@dataclass(frozen=True, slots=True)
class FieldContent:
    """A field of a form."""

    name: str
    """Name in the form."""
    label: str
    """Text at the field."""
    kind: str = "text"
    """Word of its `FieldKind`, in lower case."""
    is_required: bool = False
    """Whether it must be filled in."""
    value: str = ""
    """What it has at first, or what was entered."""
    minimum: str = ""
    maximum: str = ""
    choices: tuple[Choice, ...] = ()
    """What it offers."""
    help: str = ""
    """Text below the label."""
    problem: str = ""
    """Why it does not have what was entered, by the word of the server. Empty: it has it."""

    @property
    def is_text(self) -> bool:
        """Whether its bounds count characters."""
        return self.kind in _TEXTS

    @property
    def values(self) -> list[str]:
        """The values of several choices."""
        return self.value.split(",")

    def shown(self, text: str) -> str:
        """Return the value or a bound as the input has it: of a time, its minute in UTC."""
        return _minute(text) if self.kind == "date_time" else text


def _minute(text: str) -> str:
    """Return the minute of a time in UTC, without its offset. What is no time stays as it was entered."""
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return time.replace(tzinfo=None).isoformat(timespec="minutes")


@dataclass(frozen=True, slots=True)
class PromptContent:
    """Content of a confirmation page."""

    heading: str
    """Heading and title."""
    text: str
    """Text, with its line breaks. Can be empty."""
    choices: tuple[Choice, ...] = ()
    """A button each. Empty: the one button of every confirmation page."""
    language: str = ""
    """Language of the texts. Empty: the owner did not say it."""
    fields: tuple[FieldContent, ...] = ()
    """What a person fills in. Empty: the page has buttons alone."""

    @property
    def has_problems(self) -> bool:
        """Whether something that was entered does not fit."""
        return any(each.problem for each in self.fields)

    @property
    def has_pairs(self) -> bool:
        """Whether the buttons can stand in pairs, so that no line has fewer than another."""
        return len(self.choices) % 2 == 0 and all(len(each.label) <= _SHORT_CHARS for each in self.choices)


SAMPLE_PROMPT = PromptContent("A heading", "A text", (Choice("one", "Label 1"), Choice("two", "Label 2")))
"""Content with which a template is checked."""
SAMPLE_FORM = PromptContent(
    "A heading",
    "A text",
    SAMPLE_PROMPT.choices,
    fields=(
        FieldContent("field-text", "Field text", "text", help="A help"),
        FieldContent("field-boolean", "Field boolean", "boolean"),
        FieldContent("field-choices", "Field choices", "choices", choices=SAMPLE_PROMPT.choices, problem="required"),
    ),
)
"""Content with which a template is checked."""
SAMPLE = PageContent(200, "A heading", "A text", "A label", "https://callback.invalid/link")
"""Content with which a template is checked."""
