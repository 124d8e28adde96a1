"""Targets that are URLs: the address of a handler that is asked over HTTP."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

_MAX_CHARS: Final = 2048
_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def is_url(target: str) -> bool:
    """Return whether a target is meant to be a URL, and not a target of gRPC."""
    return target.lower().startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A valid URL in its parts."""

    url: str
    """As the setting has it. Its query may be a secret."""
    scheme: str
    host: str
    """Name or address; IPv6 without brackets."""
    port: int
    authority: str
    """Value of the header `Host`."""
    path: str
    """Path and query, as a request has them."""

    def is_same(self, location: str) -> bool:
        """Return whether a `Location` in an answer is this URL but for its scheme or its last slash.

        A web framework answers so to a URL that it wants to have in another form, whatever the request was about.
        """
        try:
            ours, other = urlsplit(self.url), urlsplit(urljoin(self.url, location))
            other_port = other.port
        except ValueError:
            return False
        ports = [
            None if port == _DEFAULT_PORTS.get(scheme) else port
            for port, scheme in ((ours.port, ours.scheme), (other_port, other.scheme))
        ]
        return (
            ours.hostname == other.hostname
            and ports[0] == ports[1]
            and ours.path.rstrip("/") == other.path.rstrip("/")
            and ours.query == other.query
        )


def parse_http_target(text: str) -> HttpTarget:
    """Return the parts of a URL.

    Raises:
        ValueError: It cannot be a target. The text says why, as the rest of a sentence, and repeats nothing of it.
    """
    if len(text) > _MAX_CHARS or not _PRINTABLE.fullmatch(text):
        raise ValueError(f"must have at most {_MAX_CHARS} printable ASCII characters, without spaces")
    try:
        parts = urlsplit(text)
        host, given_port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a URL, as in https://orders.example/callback") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no user or password: the handler checks the signature of each request")
    if "#" in text or "\\" in text:
        raise ValueError("must have no fragment, and no backslash")
    if not _HOST.fullmatch(host) or given_port == 0:
        raise ValueError("must have the name or address of a host, as in https://orders.example/callback")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must be https: http is for a handler on this machine (127.0.0.1, [::1] or localhost)")
    path = (parts.path or "/") + (f"?{parts.query}" if "?" in text else "")
    port = given_port or _DEFAULT_PORTS[parts.scheme]
    return HttpTarget(text, parts.scheme, host, port, parts.netloc.lower(), path)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
