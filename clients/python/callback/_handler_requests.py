"""Requests of a server to an HTTP handler: their signatures (Standard Webhooks), and the calls in them.

The library `standardwebhooks` decodes a body as UTF-8 before it verifies it, so it refuses any other body. The
signatures are therefore verified here.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Sequence
from typing import Any

from callback._converters import incoming_call_from_proto, notification_from_proto
from callback._multi_mapping import Headers, PairsLike
from callback._values import IncomingCall, Notification
from callback.json_form import from_json
from callback.v1 import callback_handler_service_pb2, callback_pb2

TOLERANCE_S = 300
"""How far the time of a request may be from that of this machine, in seconds."""
_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class UnverifiedRequestError(ValueError):
    """A request is not one that a server has signed with this secret, or an old one. Answer it with a 401."""


def verify_handler_request(secret: str | Sequence[str], headers: PairsLike, body: bytes) -> IncomingCall | Notification:
    """Return the call, or the notification, in a request to an HTTP handler, once its signatures are verified.

    A `Notification` comes only if the activity says `notifications = true`. The headers of the call are those of the
    request: `content-type`, and what `request_headers` of the activity names, are the caller's.

    `response` and `query_string` of the call are always empty, because the request does not have them. So are `labels`
    and `message_id` if they do not fit beside the query, which the caller chooses: do not rely on the absence of
    a label.

    Args:
        secret: The secret, `whsec_…`, or several while it is changed: one of them must have signed.
        headers: The headers of the request.
        body: Its body, byte for byte.

    Raises:
        UnverifiedRequestError: The request is not signed, not with these secrets, or more than five minutes old.
        ValueError: A secret is not valid.
    """
    keys = [_key(each) for each in ([secret] if isinstance(secret, str) else secret)]
    given = Headers(headers)
    call_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not _TIMESTAMP.fullmatch(timestamp) or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        raise UnverifiedRequestError("the request has no webhook-timestamp, or one of another time")
    metadata = given.get("callback-metadata", "")
    _verify(keys, f"{call_id}.{timestamp}.", body, given.get("webhook-signature", ""))
    signed, signatures = metadata.encode(), given.get("callback-metadata-signature", "")
    _verify(keys, f"{call_id}.metadata.{timestamp}.", signed, signatures)
    return _call(json.loads(base64.urlsafe_b64decode(metadata + "=" * (-len(metadata) % 4))), given, body)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not (secret.strip().startswith(_PREFIX) and key):
        raise ValueError("the secret is not one of Standard Webhooks: whsec_ and base64")
    return key


def _verify(keys: Sequence[bytes], before: str, signed: bytes, signatures: str) -> None:
    given = [each.removeprefix("v1,").encode() for each in signatures.split(" ") if each.startswith("v1,")]
    for key in keys:
        code = hmac.new(key, before.encode(), hashlib.sha256)
        code.update(signed)
        expected = base64.b64encode(code.digest())
        if any(hmac.compare_digest(expected, each) for each in given):
            return
    raise UnverifiedRequestError("no signature of the request is by this secret")


def _call(metadata: dict[str, Any], headers: Headers, body: bytes) -> IncomingCall | Notification:
    message = from_json(metadata, callback_handler_service_pb2.HandleCallbackRequest(), ignore_unknown=True)
    message.traceparent = headers.get("traceparent", "")
    if message.reason != callback_pb2.CALL_REASON_CALL:
        return notification_from_proto(message)
    message.request_body = body
    for name, value in headers.pairs:
        message.request_headers.add(name=name.lower(), value=value)
    return incoming_call_from_proto(message)
