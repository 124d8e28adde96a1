"""Trial of a profile on a recorded or pasted request, offline: `callback verify`."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from callback import Call
from callback_server.domain.call import Request
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.profiles import Profiles
from callback_server.verification.settings.profiles import ProfileSettings
from callback_server.verification.verifier import Explanation

_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_FETCHES_NOTHING: Final = "its keys are fetched by servers only; to try it, put the key into a file, and set key_files"
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")


class RequestFormatError(Exception):
    """The text is no request in one of the known forms."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Result of a trial."""

    passes: bool
    why: str
    """Reason why the request does not pass. Empty if it passes."""
    found: Explanation
    """What the verifier finds in the request, as far as it can be told."""
    is_handshake: bool = False
    message_id: str = ""


def read_request(text: bytes) -> tuple[Request, str]:
    """Return a request and its URL. The text is an HTTP request, or the output of `callback call --json`.

    The URL of an HTTP request has its `Host`. A recorded call has no URL, because its state is not recorded.

    Raises:
        RequestFormatError: The text is neither.
    """
    if text.lstrip().startswith(b"{"):
        return _of_recorded_call(text), ""
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
    return _request(words[0].lower(), headers, url.partition("#")[0].partition("?")[2], body), url


def try_request(name: str, settings: ProfileSettings, request: Request, url: str, now: float) -> Trial:
    """Verify a request as a server does.

    Args:
        name: Name of the profile.
        settings: Its settings.
        request: The request.
        url: URL of the request, as its sender knows it.
        now: The time at which the request arrived, in seconds since 1970.

    Raises:
        CredentialsError: A file of the profile cannot be used.
        RequestFormatError: The URL is not one.
    """
    try:
        urlsplit(url)
    except ValueError:
        raise RequestFormatError("the URL, or the Host in it, is not valid") from None
    profile = Profiles({name: settings}, lambda: now)[name]
    found = Explanation()
    with contextlib.suppress(VerificationError):  # `verify` gives the reason
        found = profile.verifier.explain(request, url)
    try:
        is_handshake = profile.handshake(request, url) is not None
        message_id = "" if is_handshake else profile.verify(request, url).message_id
    except VerificationError as error:
        why = _FETCHES_NOTHING if error.reason is FailureReason.KEYS else str(error)
        return Trial(False, why, found)
    return Trial(True, "", found, is_handshake, message_id)


def _of_recorded_call(text: bytes) -> Request:
    try:
        recorded = json.loads(text)
        call = Call.from_dict(recorded)
        if "requestMethod" not in recorded:
            raise ValueError("it has no request")
    except (ValueError, RecursionError):
        raise RequestFormatError("the JSON is not the output of callback call --json") from None
    return _request(call.method, list(call.headers.pairs), call.query_string, call.body)


def _request(method: str, headers: list[tuple[str, str]], query: str, body: bytes) -> Request:
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    return Request(method, tuple(headers), pairs, query, "", body)
