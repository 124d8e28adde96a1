"""Which language a caller gets, by `Accept-Language`. Pure."""

from collections.abc import Collection
from typing import Final

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

DEFAULT: Final = "en"
"""For who accepts none of ours, and for programs."""


def best_language(accept_language: str, languages: Collection[str]) -> str:
    """Return which of the languages is wanted most.

    A range stands for its language, whatever the region: who asks for `nl-BE`, then `en`, gets Dutch (RFC 4647, section
    3.4), where Werkzeug's own `best_match` would take what fits to the letter. Of those that are wanted alike the first
    that was named is taken, as it was meant (RFC 9110, section 12.5.4).
    """
    wanted: dict[str, float] = {}
    for tag, quality in parse_accept_header(accept_language, LanguageAccept):  # the most wanted first, `*` at the end
        wanted.setdefault(tag.partition("-")[0].lower(), quality)

    def quality_of(language: str) -> float:
        return wanted.get(language, wanted.get("*", 0))

    named = [language for language in wanted if language in languages]
    best = max((*named, *languages), key=quality_of)
    return best if quality_of(best) > 0 else DEFAULT
