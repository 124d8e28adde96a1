"""Handshakes: requests by which a sender asks whether a URL accepts its calls. A handshake is not a call.

The answer repeats a part of the request. It is always harmless text, for any browser or proxy: short, printable, and
without the special characters of HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from callback_server.domain.call import Request
from callback_server.domain.response import Response, ResponseType
from callback_server.verification import request_fields
from callback_server.verification.profile import VerificationError
from callback_server.verification.settings import (
    CloudEventsHandshake,
    HandshakeSettings,
    HubHandshake,
    SlackHandshake,
    ValidationTokenHandshake,
)

_HARMLESS: Final = re.compile(r"[ !#-%(-;=?-~]{1,1024}")  # printable ASCII except " & ' < >
_MAX_BYTES: Final = 4096
"""Size limit of a handshake from an unverified sender, in bytes. Slack's has three short members."""
_ORIGIN: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


class Handshake(Protocol):
    """One kind of handshake."""

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """Return the answer to a handshake, or None if the request is not one.

        Args:
            request: The request.
            verify: Raises VerificationError if the request would not pass as a call.

        Raises:
            VerificationError: The request is a handshake without a valid proof, or its answer would not be harmless.
        """


class SlackChallenge:
    """Slack's `url_verification`, which has a signature like events.

    https://docs.slack.dev/reference/events/url_verification
    """

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """Implement `Handshake.answer`."""
        if request.method != "post" or len(request.body) > _MAX_BYTES or b"url_verification" not in request.body:
            return None
        message = request_fields.json_object(request.body)
        if message.get("type") != "url_verification":
            return None
        verify()
        return _reflected(message.get("challenge"))


class HubChallenge:
    """`hub.challenge`: Meta sends a shared token, and a WebSub hub names a topic that you subscribed to.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started and https://www.w3.org/TR/websub/ (5.3)

    Args:
        tokens: Valid values of `hub.verify_token`; if empty, it is not checked.
        topics: Valid values of `hub.topic`; if empty, it is not checked.
    """

    def __init__(self, tokens: Sequence[bytes], topics: Sequence[str]) -> None:
        self._tokens = tokens
        self._topics = topics

    def answer(
        self, request: Request, verify: Callable[[], object]
    ) -> Response | None:  # a handshake without a signature
        """Implement `Handshake.answer`. Requests to end a subscription are refused."""
        if request.method != "get" or all(name != "hub.mode" for name, _ in request.query):
            return None
        if request_fields.parameter(request, "hub.mode") != "subscribe":
            raise VerificationError("hub.mode is not subscribe")
        if self._tokens:
            token = request_fields.octets(request_fields.parameter(request, "hub.verify_token"))
            if not request_fields.matches(self._tokens, token):
                raise VerificationError("hub.verify_token is wrong")
        if self._topics and request_fields.parameter(request, "hub.topic") not in self._topics:
            raise VerificationError("hub.topic is not a topic of the profile")
        return _reflected(request_fields.parameter(request, "hub.challenge"))


class ValidationToken:
    """Microsoft's `validationToken`, in any case (SharePoint uses another). The sender is unknown and learns nothing.

    https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks
    """

    def answer(
        self, request: Request, verify: Callable[[], object]
    ) -> Response | None:  # a handshake without a signature
        """Implement `Handshake.answer`."""
        names = {name for name, _ in request.query if name.lower() == "validationtoken"}
        if request.method != "post" or not names:
            return None
        if len(names) > 1:
            raise VerificationError("the parameter occurs more than once")
        return _reflected(request_fields.parameter(request, names.pop()))


class CloudEventsOptions:
    """OPTIONS of CloudEvents' web hooks: asks whether an origin may send, and how many requests.

    https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md (4)

    Args:
        origins: Allowed origins; `*` allows any.
        rate: Allowed requests per minute. None means any number.
    """

    def __init__(self, origins: Sequence[str], rate: int | None) -> None:
        self._origins = {origin.lower() for origin in origins}
        self._rate = "*" if rate is None else str(rate)

    def answer(
        self, request: Request, verify: Callable[[], object]
    ) -> Response | None:  # a handshake without a signature
        """Implement `Handshake.answer`."""
        if request.method != "options" or not request.values("webhook-request-origin"):
            return None
        origin = request_fields.header(request, "webhook-request-origin")
        if not _ORIGIN.fullmatch(origin) or not {origin.lower(), "*"} & self._origins:
            raise VerificationError("the origin is not allowed")
        headers = (
            ("allow", "POST"),
            ("webhook-allowed-origin", origin),
            ("webhook-allowed-rate", self._rate),
        )
        return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=b"")


def make_handshake(settings: HandshakeSettings | None, hub_tokens: Sequence[bytes]) -> Handshake | None:
    """Return the handshake of the settings, if any. `hub_tokens` are the tokens in the files of a hub handshake."""
    match settings:
        case SlackHandshake():
            return SlackChallenge()
        case HubHandshake():
            return HubChallenge(hub_tokens, settings.topics)
        case ValidationTokenHandshake():
            return ValidationToken()
        case CloudEventsHandshake():
            return CloudEventsOptions(settings.origins, settings.max_requests_per_minute)
        case None:
            return None


def _reflected(value: object) -> Response:
    if not isinstance(value, str) or not _HARMLESS.fullmatch(value):
        raise VerificationError("the challenge contains characters that are not allowed")
    headers = (("content-type", "text/plain; charset=utf-8"),)
    return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=value.encode())
