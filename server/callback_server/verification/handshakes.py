"""Handshakes: requests by which a sender asks whether a URL accepts its calls. A handshake is not a call.

The answer repeats or signs a part of the request. It is always harmless text, for any browser or proxy: short,
printable, and without the special characters of HTML. The tokens of Microsoft and of hubs are texts with spaces and
other marks; every other challenge has only letters, digits and a few marks.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from callback_server.domain.call import Request
from callback_server.domain.response import Response, ResponseType
from callback_server.verification import request_fields
from callback_server.verification.places import Place, parse_place
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.settings.handshakes import (
    ChallengeHandshake,
    CloudEventsHandshake,
    HandshakeSettings,
    HubHandshake,
    SlackHandshake,
    ValidationTokenHandshake,
)

_HARMLESS: Final = re.compile(r"[ !#-%(-;=?-~]{1,1024}")  # printable ASCII except " & ' < >
_SIGNED: Final = re.compile(r"[A-Za-z0-9_=-]{1,1024}")
"""Challenges that are signed. Anyone can have such a text signed, so no signed message may look like it."""
HEXADECIMAL: Final = re.compile(r"[0-9a-f]{20,64}")
"""Challenges of a sender whose messages could look like other signed ones."""
_REPEATED: Final = re.compile(r"[A-Za-z0-9_.~=+/:-]{1,1024}")
"""Challenges that are only repeated, also in JSON."""
_UNFIT: Final = "the challenge is not 1 to 1,024 letters, digits and the marks that are allowed"
_NOT_HEXADECIMAL: Final = "the challenge is not 20 to 64 lower-case hexadecimal digits"
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


class Challenge:
    """A challenge that the answer repeats or signs, as the settings describe it.

    Args:
        settings: Where the challenge is, and the answer.
        sign: Signs the challenge as the sender signs its messages. None: the answer does not need it.
        receiver_id: Id by which the sender knows this receiver.
    """

    def __init__(
        self, settings: ChallengeHandshake, sign: Callable[[bytes], bytes] | None, receiver_id: str = ""
    ) -> None:
        self._settings = settings
        self._receiver_id = receiver_id
        self._fits = HEXADECIMAL if settings.hexadecimal else _REPEATED if sign is None else _SIGNED
        self._challenge = parse_place(settings.challenge)
        self._conditions = [(parse_place(place), value) for place, value in settings.when.items()]
        self._sign = sign

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """Implement `Handshake.answer`."""
        if request.method != self._settings.method or len(request.body) > _MAX_BYTES:
            return None
        if any(_found(place, request) != value for place, value in self._conditions):
            return None
        challenge = _found(self._challenge, request)
        if challenge is None and not self._conditions:
            return None
        if self._settings.verified:
            verify()
        if challenge is None or not self._fits.fullmatch(challenge):
            raise VerificationError(_NOT_HEXADECIMAL if self._settings.hexadecimal else _UNFIT)
        answer = self._settings.answer.replace("{receiver-id}", self._receiver_id)
        if self._sign is not None:
            made = self._sign(challenge.encode())
            answer = answer.replace("{hmac:base64}", base64.b64encode(made).decode()).replace("{hmac}", made.hex())
        answer = answer.replace("{challenge}", challenge)
        if self._settings.answer_in_header:
            headers = ((self._challenge.name.lower(), answer),)
            return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=b"")
        return _reply(answer, "application/json" if answer.startswith("{") else "text/plain")


class HubChallenge:
    """`hub.challenge`: Meta sends a shared token, and a WebSub hub names a topic that you subscribed to.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started and https://www.w3.org/TR/websub/ (5.3)

    Args:
        settings: The topics and the form of the answer.
        tokens: Valid values of `hub.verify_token`; if empty, it is not checked.
    """

    def __init__(self, settings: HubHandshake, tokens: Sequence[bytes]) -> None:
        self._settings = settings
        self._tokens = tokens

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """Implement `Handshake.answer`. Requests to end a subscription are refused."""
        if request.method != "get" or all(name != "hub.mode" for name, _ in request.query):
            return None
        if self._settings.denials and request_fields.parameter(request, "hub.mode") == "denied":
            self._check_token(request)
            self._check_topic(request)
            why = "a hub has denied the subscription, and nothing proves it"
            raise VerificationError(why, FailureReason.MISSING, is_notice=True)
        if request_fields.parameter(request, "hub.mode") != "subscribe":
            raise VerificationError("hub.mode is not subscribe")
        self._check_token(request)
        self._check_topic(request)
        challenge = request_fields.parameter(request, "hub.challenge")
        if self._settings.answer == "text":
            return _reflected(challenge)
        if not _REPEATED.fullmatch(challenge):
            raise VerificationError(_UNFIT)
        return _reply(json.dumps({"hub.challenge": challenge}), "application/json")

    def _check_token(self, request: Request) -> None:
        if self._tokens:
            token = request_fields.octets(request_fields.parameter(request, "hub.verify_token"))
            if not request_fields.matches(self._tokens, token):
                raise VerificationError("hub.verify_token is wrong", FailureReason.SIGNATURE)

    def _check_topic(self, request: Request) -> None:
        topics = self._settings.topics
        if topics and request_fields.parameter(request, "hub.topic") not in topics:
            raise VerificationError("hub.topic is not a topic of the profile")


class ValidationToken:
    """Microsoft's `validationToken`, in any case (SharePoint uses another). The sender is unknown and learns nothing.

    https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks
    """

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
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

    def answer(self, request: Request, verify: Callable[[], object]) -> Response | None:
        """Implement `Handshake.answer`."""
        if request.method != "options" or not request.values("webhook-request-origin"):
            return None
        origin = request_fields.header(request, "webhook-request-origin")
        if not _ORIGIN.fullmatch(origin) or not {origin.lower(), "*"} & self._origins:
            raise VerificationError("the origin is not allowed")
        headers = (("allow", "POST"), ("webhook-allowed-origin", origin), ("webhook-allowed-rate", self._rate))
        return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=b"")


_SLACK: Final = ChallengeHandshake(
    kind="challenge", method="post", challenge="json:/challenge", when={"json:/type": "url_verification"}
)
"""Slack's `url_verification`: https://docs.slack.dev/reference/events/url_verification."""


def make_handshake(
    settings: HandshakeSettings | None,
    hub_tokens: Sequence[bytes],
    sign: Callable[[bytes], bytes] | None,
    receiver_id: str = "",
) -> Handshake | None:
    """Return the handshake of the settings, if any.

    Args:
        settings: The settings.
        hub_tokens: The tokens in the files of a hub handshake.
        sign: Signs a challenge. None: the profile has no secret to sign with.
        receiver_id: Id by which the sender knows this receiver.
    """
    match settings:
        case SlackHandshake():
            return Challenge(_SLACK, None)
        case ChallengeHandshake():
            return Challenge(settings, sign if settings.signs else None, receiver_id)
        case HubHandshake():
            return HubChallenge(settings, hub_tokens)
        case ValidationTokenHandshake():
            return ValidationToken()
        case CloudEventsHandshake():
            return CloudEventsOptions(settings.origins, settings.max_requests_per_minute)
        case None:
            return None


def _found(place: Place, request: Request) -> str | None:
    """Return the value at a place. A place that cannot be read has none: the request is then a call, if anything."""
    try:
        return place.find(request)
    except VerificationError:
        return None


def _reflected(value: object) -> Response:
    if not isinstance(value, str) or not _HARMLESS.fullmatch(value):
        raise VerificationError("the challenge contains characters that are not allowed")
    return _reply(value, "text/plain")


def _reply(text: str, content_type: str) -> Response:
    headers = (("content-type", f"{content_type}; charset=utf-8" if content_type == "text/plain" else content_type),)
    return Response(type=ResponseType.RESPONSE, code=200, headers=headers, body=text.encode())
