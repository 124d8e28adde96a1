"""Template of the signed bytes, a text with placeholders: `{timestamp}.{body}`.

The signed bytes of two different requests must differ. Otherwise a request could move the end of its URL into its body
and keep its signature. Timestamp and method need no end marker: recent timestamps have the same number of digits, and
no method is the prefix of another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PLACEHOLDERS: Final = ("timestamp", "id", "method", "url", "body")
"""Placeholders of a template, each at most once."""

_NEVER_IN_A_URL: Final = (b" ", b"\n")
_VARIABLE: Final = ("id", "url")
"""Placeholders, except the body, whose length the sender can choose."""


class Template:
    """A parsed template.

    Raises:
        ValueError: The template has an unknown or repeated placeholder, or neither body nor URL, or a part without a
            clear end.
    """

    def __init__(self, text: str) -> None:
        pieces = re.split(r"\{([a-z]+)\}", text)  # text, placeholder, text, …, text
        self._texts = [piece.encode() for piece in pieces[::2]]
        self.parts: Final = tuple(pieces[1::2])
        """The placeholders, in order."""
        if unknown := [each for each in self.parts if each not in PLACEHOLDERS]:
            raise ValueError(
                f"unknown placeholder {{{unknown[0]}}}; known: " + ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            )
        if any(mark in piece for piece in pieces[::2] for mark in "{}"):
            raise ValueError("{ and } are allowed only around the name of a placeholder")
        if len(set(self.parts)) != len(self.parts):
            raise ValueError("a placeholder can occur only once")
        if not {"body", "url"} & set(self.parts):
            raise ValueError("must contain {body} or {url}")
        if "id" in self.parts[:-1] and not self.after("id"):
            raise ValueError("some text must follow {id}, to mark its end")
        if "body" in self.parts[:-1]:
            raise ValueError("{body} must be the last placeholder, because nothing marks its end")
        has_end = "url" not in self.parts[:-1] or self.after("url").startswith(_NEVER_IN_A_URL)
        if not has_end and not self.body_follows_url:
            raise ValueError("a space, a line break or {body} must follow {url}, to mark its end")

    @property
    def body_follows_url(self) -> bool:
        """Whether the body follows the URL directly. The URL must then be exactly the generated one."""
        return self.parts[-2:] == ("url", "body") and not self.after("url")

    def after(self, part: str) -> bytes:
        """Return the text after a placeholder."""
        return self._texts[self.parts.index(part) + 1]

    def is_bounded(self, values: Mapping[str, bytes]) -> bool:
        """Return whether id and URL do not contain the text that marks their end."""
        for part in _VARIABLE:
            end = self.after(part) if part in self.parts[:-1] else b""
            if end and (values[part] + end).find(end) != len(values[part]):
                return False
        return True

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """Return the signed bytes."""
        filled = [self._texts[0]]
        for part, text in zip(self.parts, self._texts[1:], strict=True):
            filled += values[part], text
        return b"".join(filled)
