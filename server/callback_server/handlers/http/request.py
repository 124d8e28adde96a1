"""The request to a handler: what it says about the call, and its signatures.

`callback-metadata` holds everything but the body and the headers that the activity names: base64url of JSON in the
names of the contract, without padding. It and the body are each signed by Standard Webhooks; the id of the metadata is
that of the call with `.metadata` behind it. A caller cannot send either: the settings allow no header `callback-…` or
`webhook-…` of a caller to be passed on.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from callback_server.domain.call import CallFailure, Grant, Request
from callback_server.domain.http_target import HttpTarget
from callback_server.domain.ids import case_id_of, case_id_of_call, is_state, state_hash
from callback_server.domain.notification import CallReason
from callback_server.handlers.handler import HandlerError
from callback_server.handlers.http.connection import HttpRequest
from callback_server.handlers.messages import attempt_of, fields_json_of
from callback_server.verification.standard_webhooks import signature

MAX_METADATA_BYTES: Final = 6 * 1024
"""Longest value of `callback-metadata`, in bytes: many servers refuse a field of more than 8 KiB."""
MAX_QUERY_BYTES: Final = 3 * 1024
"""Longest query as JSON, in bytes. It leaves room in the metadata for what else a handler needs."""
_OPTIONAL: Final = ("labels", "message_id", "fields")
"""What is left out, in this order, if the metadata would be longer."""


class Metadata(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the handler is told about a call or notification: the fields of `HandleCallbackRequest`."""

    call_id: str
    callback_system_case: str
    callback_activity: str
    owner: str
    attempt: int
    deadline: str
    """In RFC 3339, by the clock of the server."""
    timeout: str
    """The time to the deadline, in seconds with an `s`."""
    reason: CallReason
    verified: bool
    callback_activity_case: str = ""
    request_method: str = ""
    request_query: Mapping[str, str | Sequence[str]] = {}
    """Without the state. A repeated name has a list."""
    client_address: str = ""
    verification_profile: str = ""
    endpoint: str = ""
    callback_choice: str = ""
    fields: Mapping[str, Any] = {}
    """What a person filled in, by the names of the fields."""
    replayed: bool = False
    message_id: str = ""
    labels: Mapping[str, str] = {}
    left_out: Sequence[str] = ()
    """The fields that did not fit."""


def http_request(
    target: HttpTarget,
    grant: Grant,
    request: Request,
    *,
    timeout_s: float,
    passed: Collection[str],
    secrets: Sequence[bytes],
) -> HttpRequest:
    """Return the request to a handler about a call or notification.

    Args:
        target: The URL of the handler.
        grant: The call.
        request: Its request.
        timeout_s: The time that the handler has, in seconds.
        passed: The names of the headers that the handler gets, in lower case, besides `content-type`.
        secrets: The secrets that sign. The first one signs first.

    Raises:
        HandlerError: The metadata is too large.
    """
    now = time.time()
    metadata = _encoded(_metadata(grant, request, now=now, timeout_s=timeout_s))

    def signatures(message_id: str, content: bytes) -> str:
        return " ".join(signature(secret, message_id, int(now), content) for secret in secrets)

    given = {"content-type", *passed}
    headers = [
        ("host", target.authority),
        ("accept-encoding", "identity"),
        ("user-agent", "callback-server"),
        ("webhook-id", grant.call_id),
        ("webhook-timestamp", str(int(now))),
        ("webhook-signature", signatures(grant.call_id, request.body)),
        ("callback-metadata", metadata.decode("ascii")),
        ("callback-metadata-signature", signatures(f"{grant.call_id}.metadata", metadata)),
        *((name.lower(), value) for name, value in request.headers if name.lower() in given),
    ]
    if request.traceparent:
        headers.append(("traceparent", request.traceparent))
    method = request.method.upper() if grant.reason is CallReason.CALL else "POST"
    return HttpRequest(method, target.path, headers, request.body)


def _metadata(grant: Grant, request: Request, *, now: float, timeout_s: float) -> Metadata:
    case_id = case_id_of_call(grant.call_id)
    is_call = grant.reason is CallReason.CALL
    return Metadata(
        call_id=grant.call_id,
        callback_system_case=case_id,
        callback_activity=grant.activity,
        callback_activity_case=grant.settings.activity_case,
        owner=grant.owner,
        attempt=attempt_of(grant),
        deadline=datetime.fromtimestamp(now + timeout_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        timeout=f"{timeout_s:.3f}s",
        reason=grant.reason,
        request_method=request.method if is_call else "",
        request_query=query_without_state(request, case_id),
        client_address=request.client_address,
        verification_profile=request.verification_profile,
        verified=bool(request.verification_profile),
        endpoint=request.endpoint,
        callback_choice=request.choice,
        fields=msgspec.json.decode(fields_json_of(grant, request) or "{}"),
        replayed=grant.replayed,
        message_id=request.message_id,
        labels=grant.settings.labels,
    )


def query_without_state(request: Request, case_id: str) -> dict[str, str | list[str]]:
    """Return the query of a request as an object. A repeated name has a list. The state of the case is left out."""
    found: dict[str, list[str]] = {}
    for name, value in request.query:
        if not (is_state(value) and case_id_of(state_hash(value)) == case_id):
            found.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def is_query_too_long(request: Request, case_id: str) -> bool:
    """Return whether the metadata of a call has no room for the query of its request."""
    return bool(request.query) and len(msgspec.json.encode(query_without_state(request, case_id))) > MAX_QUERY_BYTES


def _encoded(metadata: Metadata) -> bytes:
    for left_out in range(len(_OPTIONAL) + 1):
        names = [name for name in _OPTIONAL[:left_out] if getattr(metadata, name)]
        empty = {name: type(getattr(metadata, name))() for name in names}
        fields = msgspec.structs.replace(metadata, **empty, left_out=tuple(map(_camel, names)))
        encoded = base64.urlsafe_b64encode(msgspec.json.encode(fields)).rstrip(b"=")
        if len(encoded) <= MAX_METADATA_BYTES:
            return encoded
    detail = f"callback-metadata would have more than {MAX_METADATA_BYTES:,} bytes"
    raise HandlerError(CallFailure.TOO_LARGE, detail)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)
