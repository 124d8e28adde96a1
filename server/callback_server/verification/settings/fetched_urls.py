"""The URLs from which keys and certificates may be fetched, as settings name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, Field

_KEY_URL: Final = re.compile(
    r"https://([a-z0-9-]{1,63}\.){1,10}[a-z][a-z0-9-]{0,62}(:[0-9]{1,5})?/[!-\"$-\[\]-~]{0,400}"
)
_HOST_PATTERN: Final = re.compile(r"(?:[^/.\\^]|\\[.d])+")


def _key_url(text: str) -> str:
    if not _KEY_URL.fullmatch(text):
        raise ValueError("must be as in https://issuer.example/keys, without user, fragment, or an address as host")
    return text


def _url_pattern(text: str) -> str:
    """Refuse what is no pattern of URLs on certain hosts: a dot that is not escaped matches any character."""
    host, _, path = text.removeprefix("https://").partition("/")
    if not text.startswith("https://") or not _HOST_PATTERN.fullmatch(host) or not path:
        raise ValueError(
            r"must be a regular expression as in https://keys\.example\.com/[0-9a-f]+\.pem, with \. for each dot in the"
            " host"
        )
    try:
        re.compile(host, re.ASCII)
        re.compile(path, re.ASCII)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def is_allowed_url(url: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns matches a URL: the part up to the path its host, and the rest its path."""
    if not _KEY_URL.fullmatch(url):
        return False
    host, _, path = url.removeprefix("https://").partition("/")
    for pattern in patterns:
        host_pattern, _, path_pattern = pattern.removeprefix("https://").partition("/")
        if re.fullmatch(host_pattern, host, re.ASCII) and re.fullmatch(path_pattern, path, re.ASCII):
            return True
    return False


KeyUrl = Annotated[str, AfterValidator(_key_url)]
"""URL of keys that the server fetches."""
UrlPattern = Annotated[str, AfterValidator(_url_pattern)]
"""Regular expression for whole URLs."""
CertificateName = Annotated[str, Field(pattern=r"^([a-z0-9-]+\.)+(\{domain\}|[a-z0-9-]+)$", max_length=253)]
"""Name in a certificate."""
