"""Requests as text: what a sender has sent, pasted or recorded by another program, to try a profile on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from callback_server.domain.call import Request

_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")


class RequestFormatError(Exception):
    """The text is no request in one of the known forms."""


def parse_request(text: bytes) -> tuple[Request, str]:
    """Return the HTTP request that a text is, and its URL, which has its `Host`.

    Raises:
        RequestFormatError: It is none.
    """
    end = _HEAD_END.search(text)
    head, body = (text[: end.start()], text[end.end() :]) if end else (text.rstrip(b"\r\n"), b"")
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    words = first.split(" ")
    if len(words) not in (2, 3) or not words[0].isalpha():
        raise RequestFormatError("the first line must be a method, a path and HTTP/1.1")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise RequestFormatError("each line up to the empty one must be a header, as in name: value")
        headers.append((name.strip(), value.strip()))
    lengths = [int(value) for name, value in headers if name.lower() == "content-length" and _LENGTH.fullmatch(value)]
    if lengths:
        body = body[: lengths[0]]  # a pasted request often has a line break at its end
    hosts = [value for name, value in headers if name.lower() == "host"]
    url = f"https://{hosts[0]}{words[1]}" if hosts and words[1].startswith("/") else words[1]
    return request_of(words[0].lower(), headers, url.partition("#")[0].partition("?")[2], body), url


def request_of(method: str, headers: Sequence[tuple[str, str]], query: str, body: bytes) -> Request:
    """Return a request whose query is not decoded yet."""
    return Request(method, tuple(headers), tuple(parse_qsl(query, keep_blank_values=True)), query, "", body)


def check_url(url: str) -> None:
    """Raise RequestFormatError if a text cannot be a URL."""
    try:
        urlsplit(url)
    except ValueError:
        raise RequestFormatError("the URL, or the Host in it, is not valid") from None
