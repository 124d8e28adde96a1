"""Language of a page, by `Accept-Language`. Pure."""

from collections.abc import Collection
from typing import Final

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

DEFAULT: Final = "en"
"""Language of programs, and of callers that accept none of the languages."""


def best_language(accept_language: str, languages: Collection[str]) -> str:
    """Return the language that the caller prefers.

    A range stands for its language, whatever the region: `nl-BE, en` is Dutch (RFC 4647, section 3.4), where Werkzeug's
    own `best_match` takes the exact match. Of languages with the same quality, the first in the header is taken (RFC
    9110, section 12.5.4).
    """
    qualities: dict[str, float] = {}
    for tag, quality in parse_accept_header(accept_language, LanguageAccept):  # the best first, `*` at the end
        qualities.setdefault(primary_language(tag), quality)

    def quality_of(language: str) -> float:
        return qualities.get(language, qualities.get("*", 0))

    named = [language for language in qualities if language in languages]
    best = max((*named, *languages), key=quality_of)
    return best if quality_of(best) > 0 else DEFAULT


def primary_language(tag: str) -> str:
    """Return the language of a tag, without its region or script: `nl` for `nl-BE`."""
    return tag.partition("-")[0].lower()
