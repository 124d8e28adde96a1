"""Trial of a profile on a recorded or pasted request, offline: `callback verify`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Final

from callback import Call
from callback_server.domain.call import Request
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.profiles import Profiles
from callback_server.verification.request_text import RequestFormatError, check_url, parse_request, request_of
from callback_server.verification.settings.profiles import ProfileSettings
from callback_server.verification.verifier import Explanation

_FETCHES_NOTHING: Final = "its keys are fetched by servers only; to try it, put the key into a file, and set key_files"


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
    return parse_request(text)


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
    check_url(url)
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
    return request_of(call.method, list(call.headers.pairs), call.query_string, call.body)
