"""Reads of cases and calls. They change nothing: a timeout shows once a transition or a sweep has applied it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from callback_server.domain.call import Call, CallFailure, CallStatus, Delivery, DeliveryStatus, Outcome, Request
from callback_server.domain.case import Case, CaseStatus, CloseReason, GetGuard, NewCase, Settings
from callback_server.domain.ids import case_id_of, case_id_of_call
from callback_server.domain.notification import CallReason, expiry_id, reminder_id
from callback_server.domain.response import Response, complete
from callback_server.store import keys
from callback_server.store.fields import read_attributes, stored_attributes
from callback_server.store.packing import (
    unpack_answer,
    unpack_content,
    unpack_fallback,
    unpack_request,
    unpack_response,
)
from callback_server.store.queries.read_body import read_body
from callback_server.store.scripts import Scripts

FIELDS_OF_CALLS: Final = (
    *(field.decode() for field in stored_attributes(Call)), "attempt", "start", "end", "request", "response", "failure",
    "detail", "keep_open", "platform_url", "delivery", "attempts_started", "attempts_not_asked", "next",
    "delivery_failure", "delivery_detail", "delivery_response", "repeats", "body_of",
    "delivery_shares_body", "dropped_bytes",
)  # fmt: skip
_CALL_KEYS: Final = tuple(field.encode() for field in FIELDS_OF_CALLS)
FIELDS_OF_HELD_CALLS: Final = ("status", "replica", "answer_digest", "failure", "answer_of")
FIELDS_OF_BODIES: Final = ("request_body", "response_body", "delivery_body")


@dataclass(frozen=True, slots=True)
class HeldCall:
    """The state of a held call."""

    status: CallStatus
    replica: str
    """The replica where the caller waits. Empty: the call is not held."""
    answer_digest: str
    """A digest of the answer. Empty: there is no answer yet."""
    answer: Response | None
    """The whole answer, which is kept for a moment."""
    failure: CallFailure | None
    """Why the call failed."""
    is_open: bool
    """Whether the call failed, and its case was open after that."""


async def read_cases(scripts: Scripts, case_ids: Sequence[str], *, bodies: bool) -> list[Case | None]:
    """Return the cases with these ids, and None for each that does not exist, with or without bodies of responses.

    Raises:
        StoreError: The store did not answer.
    """
    if not case_ids:
        return []
    texts = ("content", "body", "fallback", "closed_response") if bodies else ("content",)
    commands = list[tuple[str, str]]()
    for case_id in case_ids:
        partition = keys.partition_of(case_id)
        commands.append(("HGETALL", keys.key(partition, "case", case_id)))
        commands += [("GET", keys.key(partition, name, case_id)) for name in texts]
    replies = iter(await scripts.read_together(commands))
    cases: list[Case | None] = []
    for case_id in case_ids:
        fields, content = next(replies), next(replies)
        body = (next(replies) or b"") if bodies else None
        fallback, closed_response = (next(replies), next(replies)) if bodies else (None, None)
        cases.append(_case(case_id, fields, content, body, fallback, closed_response) if fields and content else None)
    return cases


async def read_case(scripts: Scripts, case_id: str) -> Case | None:
    """Return the case with this id, whole.

    Raises:
        StoreError: The store did not answer.
    """
    return (await read_cases(scripts, [case_id], bodies=True))[0]


async def read_settings(scripts: Scripts, state_sha256: bytes, parameter: str) -> Settings | None:
    """Return the settings of the case that this state reaches with this parameter. None: there is no such case.

    Raises:
        StoreError: The store did not answer.
    """
    case_id = case_id_of(state_sha256)
    partition = keys.partition_of(case_id)
    (half, found_parameter), content = await scripts.read_together(
        [
            ("HMGET", keys.key(partition, "case", case_id), "sha", "parameter"),
            ("GET", keys.key(partition, "content", case_id)),
        ]
    )
    is_reached = half == state_sha256[16:] and (found_parameter or b"").decode() == parameter
    return unpack_content(content, None)[0] if is_reached and content else None


async def read_settings_of_wait(scripts: Scripts, call_id: str, wait_hash: str) -> Settings | None:
    """Return the settings of the case of a call. None: the call has no address with this token, or its case is deleted.

    Raises:
        StoreError: The store did not answer.
    """
    case_id = case_id_of_call(call_id)
    partition = keys.partition_of(case_id)
    found_hash, content = await scripts.read_together(
        [
            ("HGET", keys.key(partition, "call", call_id), "wait_hash"),
            ("GET", keys.key(partition, "content", case_id)),
        ]
    )
    return unpack_content(content, None)[0] if content and found_hash == wait_hash.encode() else None


def _case(
    case_id: str,
    fields: Mapping[bytes, bytes],
    content: bytes,
    body: bytes | None,
    fallback: bytes | None,
    closed_response: bytes | None,
) -> Case:
    settings, response = unpack_content(content, body)
    reason, notify = fields.get(b"reason"), fields.get(b"notify", b"").decode()
    return Case(
        **read_attributes(Case, fields),
        id=case_id,
        state_query_parameter=fields.get(b"parameter", b"").decode(),
        settings=settings,
        response=response,
        close_reason=CloseReason(reason.decode()) if reason else None,
        create_time_ms=int(fields[b"created"]) // 1000,
        expire_time_ms=_number(fields.get(b"expires")),
        close_time_ms=_number(fields.get(b"closed")),
        verification_profile=fields.get(b"profile", b"").decode(),
        get_guard=GetGuard(fields.get(b"guard", b"OFF").decode()),
        fallback=unpack_fallback(fallback) if fallback else None,
        closed_response=unpack_response(closed_response) if closed_response else None,
        hold_time_ms=_number(fields.get(b"hold_ms")),
        notify=tuple(CallReason(word) for word in notify.split(",") if word),
        repeat_window_ms=_number(fields.get(b"repeat_window")),
    )


async def known_pointers(scripts: Scripts, cases: Iterable[NewCase]) -> set[str]:
    """Return the pointers of those new cases whose `request_id` has a case.

    Raises:
        StoreError: The store did not answer.
    """
    asked = {case.pointer: case for case in cases if case.pointer}
    found = await scripts.read_together(map(_look_up_of, asked.values()))
    return {*itertools.compress(asked, found)}


def _look_up_of(case: NewCase) -> tuple[str, ...]:
    """Return the command that says whether the `request_id` of a new case has a case."""
    partition = keys.partition_of(case.id)
    if case.correlation:
        return "HEXISTS", keys.key(partition, "correlation", case.correlation), case.pointer
    return "EXISTS", keys.key(partition, "pointer", case.pointer)


async def read_call(scripts: Scripts, call_id: str, *, also_deleted: bool = False) -> Call | None:
    """Return the call or notification with this id, with its bodies.

    Args:
        scripts: The scripts on the store.
        call_id: The call.
        also_deleted: Whether a call that was deleted a moment ago is returned too, as if it had been erased.

    Raises:
        StoreError: The store did not answer.
    """
    partition = keys.partition_of(case_id_of_call(call_id))
    key = keys.key(partition, "call", call_id)
    missed = None
    """The version whose body was not there any more: then the call was erased meanwhile, or has another answer."""
    while True:
        (fields,) = await scripts.read_together([("HMGET", key, *FIELDS_OF_CALLS, *FIELDS_OF_BODIES)])
        if not _is_kept(fields) and not (also_deleted and fields[0]):
            return None
        request_body, response_body, delivery_body = (body or b"" for body in fields[len(FIELDS_OF_CALLS) :])
        version = fields[FIELDS_OF_CALLS.index("body_of")]
        if not version:
            break
        response_body = await read_body(scripts, case_id_of_call(call_id), version)
        if response_body or version == missed:  # a release before can have replaced it
            break
        missed = version
    if fields[FIELDS_OF_CALLS.index("delivery_shares_body")]:
        delivery_body = response_body
    return _call(call_id, fields, len(request_body), request_body, response_body, delivery_body)


async def list_calls(
    scripts: Scripts, case_id: str, *, before: int | None, limit: int
) -> tuple[list[Call], int | None]:
    """Return the newest calls of a case whose number is below `before`, without bodies.

    Also returns the number before which to continue if there are more.

    Raises:
        StoreError: The store did not answer.
    """
    partition = keys.partition_of(case_id)
    highest = "+inf" if before is None else f"({before}"
    key = keys.key(partition, "calls", case_id)
    command = ("ZRANGE", key, highest, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit + 1)
    (ids,) = await scripts.read_together([command])
    calls = await read_calls(scripts, [call_id.decode() for call_id in ids[:limit]])
    return calls, calls[-1].call_number if len(ids) > limit and calls else None


async def read_notifications(scripts: Scripts, case: Case) -> list[Call]:
    """Return the notifications of a case that were not dropped: the reminders, and then that of the expiry.

    Raises:
        StoreError: The store did not answer.
    """
    ids = [reminder_id(case.id, number) for number in range(1, case.reminders + 1)]
    if case.close_reason is CloseReason.EXPIRED and CallReason.EXPIRY in case.notify:
        ids.append(expiry_id(case.id))
    return await read_calls(scripts, ids)


async def read_calls(scripts: Scripts, call_ids: Sequence[str]) -> list[Call]:
    """Return the calls and notifications with these ids, without bodies, except those that were deleted meanwhile.

    Raises:
        StoreError: The store did not answer.
    """
    if not call_ids:
        return []
    commands = list[tuple[str, ...]]()
    for call_id in call_ids:
        key = keys.key(keys.partition_of(case_id_of_call(call_id)), "call", call_id)
        commands += [("HMGET", key, *FIELDS_OF_CALLS), ("HSTRLEN", key, "request_body")]
    replies = iter(await scripts.read_together(commands))
    found = [(call_id, next(replies), next(replies)) for call_id in call_ids]
    return [_call(call_id, fields, size) for call_id, fields, size in found if _is_kept(fields)]


async def read_held(scripts: Scripts, call_id: str) -> HeldCall | None:
    """Return the state of a held call. None: the call is unknown or no longer kept.

    Many calls can be read at once, because the answer to their case ends all of them. So each takes no connection.
    An end is returned once the required replicas have it: until then a failover can undo it.

    Raises:
        StoreError: The store did not answer, or too few replicas have the end.
    """
    partition = keys.partition_of(case_id_of_call(call_id))
    key, answer_key = keys.key(partition, "call", call_id), keys.key(partition, "answer", call_id)
    fields = await scripts.read(key, "HMGET", key, *FIELDS_OF_HELD_CALLS)
    if scripts.replicas and fields[0] not in (None, b"RUNNING"):
        fields = await scripts.read(keys.tag(partition), "HMGET", key, *FIELDS_OF_HELD_CALLS, is_confirmed=True)
    status, replica, answer_digest, failure, version = fields
    if status is None:
        return None
    status = CallStatus(status.decode())
    answer = None if status is CallStatus.RUNNING else await scripts.read(answer_key, "GET", answer_key)
    if answer and version:
        body = await read_body(scripts, case_id_of_call(call_id), version)
        answer = answer + body if body else None  # a body that is named is never empty: a release before replaced it
    case_key = keys.key(partition, "case", case_id_of_call(call_id))
    is_open = bool(failure) and await scripts.read(case_key, "HGET", case_key, "status") == CaseStatus.OPEN.encode()
    return HeldCall(
        status=status,
        replica=(replica or b"").decode(),
        answer_digest=(answer_digest or b"").decode(),
        answer=unpack_answer(answer) if answer else None,
        failure=CallFailure(failure.decode()) if failure else None,
        is_open=is_open,
    )


def _call(
    call_id: str,
    values: Sequence[Any],
    body_size: int,
    body: bytes = b"",
    response_body: bytes | None = None,
    delivered_body: bytes | None = None,
) -> Call:
    fields = dict(zip(_CALL_KEYS, values, strict=False))
    attributes = read_attributes(Call, fields)
    status = attributes.pop("status", None)
    erased = not fields[b"request"]
    request = Request(method="") if erased else unpack_request(fields[b"request"], body)
    return Call(
        **attributes,
        id=call_id,
        status=status,
        call_number=int(fields[b"attempt"] or 0),
        request=request,
        request_body_size=body_size or request.body_size or int(fields[b"dropped_bytes"] or 0),
        start_time_ms=int(fields[b"start"]),
        end_time_ms=_number(fields[b"end"]),
        outcome=_outcome(status, fields, response_body, erased=erased) if status else None,
        erased=erased,
        body_dropped=fields[b"dropped_bytes"] is not None,
        delivery=_delivery(fields, delivered_body) if fields[b"delivery"] else None,
        repeat_count=int(fields[b"repeats"] or 0),
    )


def _outcome(status: CallStatus, fields: Mapping[bytes, Any], body: bytes | None, *, erased: bool) -> Outcome:
    response = None
    if status in (CallStatus.SUCCEEDED, CallStatus.REJECTED) and not erased:
        # A call that runs has the response of the case here as it was at the claim. A recorded call keeps it.
        _, answer = unpack_content(fields[b"response"], body)
        response = complete(answer, platform_url=_text(fields[b"platform_url"]))
        if body is None:  # it was left out
            response = replace(response, body=None)
    return Outcome(
        status=status,
        response=response,
        keep_open=fields[b"keep_open"] == b"1",
        failure=CallFailure(fields[b"failure"].decode()) if fields[b"failure"] else None,
        failure_detail=_text(fields[b"detail"]),
    )


def _delivery(fields: Mapping[bytes, Any], body: bytes | None) -> Delivery:
    failure, response = fields[b"delivery_failure"], fields[b"delivery_response"]
    return Delivery(
        status=DeliveryStatus(fields[b"delivery"].decode()),
        attempts=int(fields[b"attempts_started"] or 0) - int(fields[b"attempts_not_asked"] or 0),
        next_attempt_time_ms=_number(fields[b"next"]),
        failure=CallFailure(failure.decode()) if failure else None,
        failure_detail=_text(fields[b"delivery_detail"]),
        response=unpack_content(response, body)[1] if response else None,
    )


def _is_kept(fields: Sequence[Any]) -> bool:
    """Return whether there is a call, and not only its tombstone."""
    return fields[FIELDS_OF_CALLS.index("request")] is not None


def _number(field: bytes | None) -> int | None:
    return int(field) if field else None


def _text(field: bytes | None) -> str:
    return (field or b"").decode()
