"""Verification by an HMAC over parts of the request. Settings describe the format; `PRESETS` has those of some senders.

The signature is compared in its encoded form, so each signature has exactly one form and nothing is decoded.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from callback_server.domain.call import Request
from callback_server.domain.url import is_as_handed_out
from callback_server.verification import request_fields
from callback_server.verification.profile import VerificationError, VerifiedMessage
from callback_server.verification.settings import HmacSettings, PresetSettings
from callback_server.verification.template import Template

MAX_SIGNATURES: Final = 16
"""Number of signatures in one request, at most: each costs time for every secret."""

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    "github": {"header": "X-Hub-Signature-256", "prefix": "sha256=", "id_header": "X-GitHub-Delivery"},
    # https://docs.stripe.com/webhooks#verify-manually
    "stripe": {
        "header": "Stripe-Signature",
        "signature_field": "v1",
        "timestamp_field": "t",
        "signed": "{timestamp}.{body}",
        "id_member": "id",
    },
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    "slack": {
        "header": "X-Slack-Signature",
        "prefix": "v0=",
        "timestamp_header": "X-Slack-Request-Timestamp",
        "signed": "v0:{timestamp}:{body}",
        "id_member": "event_id",
    },
    # https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
    "shopify": {"header": "X-Shopify-Hmac-Sha256", "encoding": "base64", "id_header": "X-Shopify-Webhook-Id"},
}
"""HMAC settings of known senders."""


def as_hmac(settings: PresetSettings) -> HmacSettings:
    """Return the HMAC settings of a preset."""
    given = settings.model_dump() | {"kind": "hmac"}
    return HmacSettings(**given, **PRESETS[settings.kind])


class Signature:
    """Verifier: an HMAC in a header.

    Args:
        settings: The signed parts and the format.
        secrets: Valid secrets.
    """

    challenge = "Signature"
    reads_body = True

    def __init__(self, settings: HmacSettings, secrets: Sequence[bytes]) -> None:
        self._settings = settings
        self._secrets = secrets
        self._template = Template(settings.signed)
        self._prefix = settings.prefix.encode()
        self._read_id = None if settings.id_member is None else _id_reader(settings.id_member)

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Implement `Verifier.verify`."""
        settings = self._settings
        signatures, time = self._signatures(request)
        values = {
            "body": request.body,
            "url": request_fields.octets(url),
            "method": request_fields.octets(request.method.upper()),
        }
        if request.body and "body" not in self._template.parts:
            raise VerificationError("the request has a body that is not signed")
        if time is not None:
            request_fields.require_recent(request_fields.seconds(time), now, settings.tolerance_s)
            values["timestamp"] = time.encode()
        message_id = ""
        if settings.id_header is not None:
            message_id = request_fields.message_id(request_fields.header(request, settings.id_header))
            values["id"] = message_id.encode()
        if not self._template.is_bounded(values):
            raise VerificationError("the message id or the URL contains the text that must end it")
        if self._template.body_follows_url and not is_as_handed_out(url):
            raise VerificationError("the URL differs from the generated one, and the signature does not mark its end")
        expected = self._expected(self._template.fill(values))
        if not request_fields.matches(expected, *map(request_fields.octets, signatures)):
            raise VerificationError("no signature is valid")
        if self._read_id is not None:
            message_id = self._read_id(request.body)
        return VerifiedMessage(message_id, settings.tolerance_s * 2000 if message_id else 0)

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`: a signature is not a secret."""
        return request

    def _signatures(self, request: Request) -> tuple[list[str], str | None]:
        """Return the signatures, and the time in its original form."""
        settings = self._settings
        value = request_fields.header(request, settings.header)
        signatures, time = [value], None
        if settings.timestamp_header is not None:
            time = request_fields.header(request, settings.timestamp_header)
        if settings.signature_field is not None:
            fields = [field.partition("=") for field in re.split("[,;]", value)]
            signatures = [text for name, _, text in fields if name == settings.signature_field]
            if settings.timestamp_field is not None:
                times = [text for name, _, text in fields if name == settings.timestamp_field]
                if len(times) != 1:
                    raise VerificationError("the signature does not have exactly one time")
                time = times[0]
        if not 1 <= len(signatures) <= MAX_SIGNATURES:
            raise VerificationError(f"the request has {len(signatures)} signatures")
        return signatures, time

    def _expected(self, signed: bytes) -> list[bytes]:
        """Return the valid signatures, one for each secret."""
        digests = [hmac.digest(secret, signed, self._settings.algorithm) for secret in self._secrets]
        if self._settings.encoding == "hex":
            return [self._prefix + digest.hex().encode() for digest in digests]
        return [self._prefix + base64.b64encode(digest) for digest in digests]


def _id_reader(member: str) -> Callable[[bytes], str]:
    """Return a function that reads the message id from a member of a JSON body, or returns an empty id."""
    message = msgspec.defstruct("Message", [("id", str, "")], rename={"id": member})
    decode = msgspec.json.Decoder(message).decode

    def read(body: bytes) -> str:
        try:
            (found,) = msgspec.structs.astuple(decode(body))
        except (ValueError, RecursionError):
            return ""
        return found if request_fields.is_message_id(found) else ""

    return read
