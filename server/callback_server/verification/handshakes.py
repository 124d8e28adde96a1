"""What senders ask before they call: whether this URL wants to be called. None of it is a call.

What is given back is text that can never be more, whatever a browser or a proxy makes of it: short, printable, and
without a character that HTML is made of.
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

_HARMLESS: Final = re.compile(r"[ !#-%(-;=?-~]{1,1024}")  # printable ASCII but " & ' < >
_MOST_BYTES: Final = 4096
"""How much of a question whose sender has proven nothing yet is read. Slack's has three short members."""
_ORIGIN: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


class Handshake(Protocol):
    """One way to ask."""

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """The answer. None: it does not ask.

        Args:
            request: the request.
            verify: raises VerificationError if the request would not pass as a call.

        Raises:
            VerificationError: it asks, and proves the wrong thing, or what would be given back is not harmless.
        """


class SlackChallenge:
    """Slack's `url_verification`, which is signed as events are.

    https://docs.slack.dev/reference/events/url_verification
    """

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """As of `Handshake`."""
        if request.method != "post" or len(request.body) > _MOST_BYTES or b"url_verification" not in request.body:
            return None
        asked = request_fields.json_object(request.body)
        if asked.get("type") != "url_verification":
            return None
        verify()
        return _reflected(asked.get("challenge"))


class HubChallenge:
    """`hub.challenge`: Meta proves a token that both know, a WebSub hub names a topic that was asked for.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started and https://www.w3.org/TR/websub/ (5.3)

    Args:
        tokens: what `hub.verify_token` may be; if there are none, it is not looked at.
        topics: the same for `hub.topic`.
    """

    def __init__(self, tokens: Sequence[bytes], topics: Sequence[str]) -> None:
        self._tokens = tokens
        self._topics = topics

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:  # not signed
        """As of `Handshake`. To end a subscription is nobody's to ask for."""
        if request.method != "get" or all(name != "hub.mode" for name, _ in request.query):
            return None
        if request_fields.parameter(request, "hub.mode") != "subscribe":
            raise VerificationError("hub.mode is not subscribe")
        if self._tokens:
            token = request_fields.octets(request_fields.parameter(request, "hub.verify_token"))
            if not request_fields.matches(self._tokens, token):
                raise VerificationError("hub.verify_token is wrong")
        if self._topics and request_fields.parameter(request, "hub.topic") not in self._topics:
            raise VerificationError("hub.topic is none of those that are wanted")
        return _reflected(request_fields.parameter(request, "hub.challenge"))


class ValidationToken:
    """Microsoft's `validationToken`, as SharePoint spells it too. Nothing proves who asks, and nothing is told.

    https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks
    """

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:  # not signed
        """As of `Handshake`."""
        names = {name for name, _ in request.query if name.lower() == "validationtoken"}
        if request.method != "post" or not names:
            return None
        if len(names) > 1:
            raise VerificationError("the parameter is there more than once")
        return _reflected(request_fields.parameter(request, names.pop()))


class CloudEventsOptions:
    """The OPTIONS of CloudEvents' web hooks: may this origin send, and how much.

    https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md (4)

    Args:
        origins: those that may; `*` is any.
        rate: how many requests a minute. None: any number.
    """

    def __init__(self, origins: Sequence[str], rate: int | None) -> None:
        self._origins = {origin.lower() for origin in origins}
        self._rate = "*" if rate is None else str(rate)

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:  # not signed
        """As of `Handshake`."""
        if request.method != "options" or not request.values("webhook-request-origin"):
            return None
        origin = request_fields.header(request, "webhook-request-origin")
        if not _ORIGIN.fullmatch(origin) or not {origin.lower(), "*"} & self._origins:
            raise VerificationError("the origin is none of those that are allowed")
        headers = (
            ("allow", "POST"),
            ("webhook-allowed-origin", origin),
            ("webhook-allowed-rate", self._rate),
        )
        return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=b"")


def make_handshake(settings: HandshakeSettings | None, hub_tokens: Sequence[bytes]) -> Handshake | None:
    """The handshake that settings ask for, if any; and for that of a hub, the tokens in its files."""
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
        raise VerificationError("what is to be given back is not harmless")
    headers = (("content-type", "text/plain; charset=utf-8"),)
    return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=value.encode())
