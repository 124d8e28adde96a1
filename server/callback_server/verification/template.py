"""What is signed, as a text with places: `{timestamp}.{body}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

PLACES: Final = ("timestamp", "id", "method", "url", "body")
"""What a template can have, each at most once."""


class Template:
    """A template, read once.

    Raises:
        ValueError: it has a place that there is not, or one twice, or nothing that tells one message from another; or
            nothing shows where what stands in one ends.
    """

    def __init__(self, text: str) -> None:
        pieces = re.split(r"\{([a-z]+)\}", text)  # text, place, text, place, …, text
        self._texts = [piece.encode() for piece in pieces[::2]]
        self.parts: Final = tuple(pieces[1::2])
        """The places, in order."""
        if unknown := [each for each in self.parts if each not in PLACES]:
            raise ValueError(f"there is no {{{unknown[0]}}}; there are " + ", ".join(f"{{{each}}}" for each in PLACES))
        if any(mark in piece for piece in pieces[::2] for mark in "{}"):
            raise ValueError("{ and } stand only around the name of a place")
        if len(set(self.parts)) != len(self.parts):
            raise ValueError("a place can stand in it once")
        if not {"body", "url"} & set(self.parts):
            raise ValueError("it has neither {body} nor {url}")
        if "id" in self.parts[:-1] and not self.after("id"):
            raise ValueError("behind {id} there must be some text, or the id could end elsewhere")
        if "body" in self.parts[:-1]:
            raise ValueError("{body} must be the last place, or the body could end elsewhere")
        self.url_must_be_as_made: Final = "url" in self.parts[:-1] and not self.after("url")[:1].isspace()
        """Nothing shows where the URL ends. So its query must be that of the URL which was handed out, or what follows
        could be moved into it."""

    def after(self, part: str) -> bytes:
        """The text behind a place."""
        return self._texts[self.parts.index(part) + 1]

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The bytes that are signed."""
        filled = [self._texts[0]]
        for part, text in zip(self.parts, self._texts[1:], strict=True):
            filled += values[part], text
        return b"".join(filled)
