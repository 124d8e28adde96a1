"""The fields of the two hashes of the store: what each holds, and in which unit.

A flag is `1`, or absent. A time is in milliseconds since the epoch by the store's clock, unless its text says more.
Scripts and queries use these names alone (tests/domain/test_scripts.py compares them). An attribute of a case or call
that is stored under its own name is read by its type.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

from callback_server.domain.call import Call
from callback_server.domain.case import Case

CASE_FIELDS: Final[Mapping[str, str]] = {
    "status": "the CaseStatus",
    "reason": "the CloseReason; absent while the case is not closed",
    "owner": "the owner",
    "activity": "the activity",
    "mode": "the CallMode",
    "sha": "the second half of the SHA-256 of the state; the case id is the first half; absent if the case has no URL",
    "parameter": "the state query parameter; absent if the URL has the state in its path",
    "fingerprint": "the first half of the SHA-256 of the request that created the case",
    "pointer": "the name of the pointer to the case; absent if the case has no request id; with a `correlation`, the"
    " field of that pointer",
    "correlation": "the name of the pointer of the correlation key; absent if the case has no endpoint",
    "created": "the creation, in microseconds; each case of a partition has another",
    "expires": "when the case expires; absent if it never does",
    "closed": "when the case was closed",
    "call_count": "how many calls were started; the number of the newest",
    "unfinished": "how many calls run or have a delivery to run",
    "search_from": "the number of a call; no earlier one has ended and is kept. The search for the oldest begins there;"
    " absent for 0",
    "version": "how often the response was replaced",
    "call": "the id of the newest call; while a single-use case is IN_PROGRESS, the call that holds it",
    "path": "1: the response redirects to a `/path`, which needs a platform",
    "profile": "the verification profile that every call must pass; absent for none",
    "guard": "the GetGuard; absent for OFF",
    "closed_response": "flag: the case has a response for when it is closed, at a key of its own",
    "needs": "the features that each server must know (see domain/features.py), with a comma between; absent for none",
    "choices": "flag: the prompt of the CONFIRM case has choices or fields",
    "arrival": "the theoretical arrival time of the next call for the rate limit (GCRA), in microseconds",
    "answer_mode": "the AnswerMode; absent for HANDLER",
    "resolved": "a digest of the answer that ResolveCallback has given; absent for none",
    "hold_ms": "how long a held call waits for its answer; absent unless the AnswerMode is HOLD",
    "notify": "the reasons of the notifications that the handler gets, with a comma between; absent for none",
    "reminders": "how many reminders were due",
    "ordered": "flag: the calls are delivered in order, one after the other",
    "fallback": "flag: the case has a fallback, at a key of its own",
    "label_digests": "the first 12 digits of the digest of each label, concatenated, for events",
    "repeat_window": "how long after the end of a call a repeat gets its answer, in milliseconds; absent for never",
    "repeats_until": "when the last of these windows is over; absent if there was none",
    "no_repeat": "flag: no answer is given twice",
    "code": "the status code of the response; empty or absent for 200, 0 for a redirect",
    "answer_bytes": "the sum of the bytes in `answers`, while that exists",
    "bytes": "the sum of `size` of the ended calls that have no delivery to run",
    "recorded": "the sum of `size` of all calls, as it counts for the owner",
}
"""The fields of a case (key `case:ID`)."""

CALL_FIELDS: Final[Mapping[str, str]] = {
    "status": "the CallStatus",
    "attempt": "the number of the call among all calls of its case, from 1",
    "start": "when the call was claimed",
    "end": "when the call ended",
    "request": "the request, packed, without its body; empty once the call is erased, absent in a tombstone",
    "request_body": "the body of the request",
    "recorded_request": "where the request is kept whole only while the call runs: `request` from its end on",
    "drops_body": "flag, beside `recorded_request`: the body of the request is removed at the end of the call",
    "partial": "flag: the request is not kept whole, so it cannot be replayed",
    "dropped_bytes": "the bytes of the body of the request, if it was dropped; 0 if only other bodies of the call were,"
    " and absent if none was",
    "response": "packed: while the call runs, the response of the case at the claim; afterwards the answer,"
    " which for a call that the case answers is the same",
    "response_body": "the body of `response` if it is stored apart",
    "body_of": "in place of `response_body`: the version of the response of the case whose body is that of `response`",
    "answer_of": "the version of the response of the case whose body is that of the answer that is kept; absent if that"
    " has its own",
    "version": "the `version` of the case at the claim",
    "size": "the bytes of requests and responses of the call, for the limit of recorded bytes",
    "platform_url": "the base of a `/path` in the answer, of a call that the case answered",
    "failure": "the CallFailure; empty or absent for none",
    "detail": "a sentence for the owner about the failure",
    "keep_open": "1: the handler kept the case open; 0: it did not",
    "close": "flag: the handler closed the case, at the end of the call or of its delivery",
    "effect": "the effect of the end on the case: OPEN, or the CloseReason; empty for none",
    "digest": "by which a repeat is recognized: SHA-256 of the message id or of the request, in hexadecimal digits;"
    " absent if the call has no window",
    "digest_of": "of an event: the name of the pointer of its correlation key, which the `digest` belongs to; absent if"
    " it belongs to the case",
    "window": "how long after the end a repeat is recognized, in milliseconds; absent without a `digest`",
    "method": "of a call with a window or an address: the method of its request as it was sent; absent for get",
    "code": "of a call with a window: the status code of the answer, for a repeat once the answer is gone; empty or"
    " absent if a repeat gets none",
    "no_repeat": "flag: the answer is not given twice",
    "waiters": "packed: the repeats that wait with the call, each with the end of its wait and its replica; absent for"
    " none",
    "repeats": "how many repeats there were",
    "last_repeat": "the last repeat, which is not counted again if it is sent again",
    "erasure": "the name of the erasure that erased the call",
    "caller_gone": "flag: the caller did not get its answer",
    "wait_hash": "SHA-256 of the token in the address where the caller or a repeat waits, in hexadecimal digits; absent"
    " for none",
    "caller_waits": "flag: the caller itself, and not only a repeat, waits at that address",
    "given_to": "the request at that address which got an answer that is not given twice; absent for none",
    "fallback_sent": "flag: the caller gets the fallback; set before it is sent",
    "replica": "the replica where the caller of a held call waits; absent if the call is not held",
    "answer_digest": "a digest of the answer to a held call",
    "answered_by": "the principal that answered the held call, or resolved its case; empty or absent for none",
    "delivery": "the DeliveryStatus; absent if the call has no delivery",
    "delivery_start": "when the delivery was started or last replayed",
    "at_claim": "flag: the first attempt was started by the claim, whose sender runs it",
    "attempts_started": "how many attempts of the delivery have started; the fencing token of the newest",
    "ended_fencing_token": "the fencing token of the last attempt whose end was recorded",
    "attempts_not_asked": "how many attempts ended before the handler was asked",
    "attempts_before_replay": "the `attempts_started` at the last replay",
    "not_asked_before_replay": "the `attempts_not_asked` at the last replay",
    "replayed": "flag: the owner asked for a replay",
    "next": "when the next attempt is due; absent if none is scheduled",
    "delivery_failure": "the CallFailure of the last attempt; empty for none",
    "delivery_detail": "a sentence for the owner about that failure",
    "delivery_response": "the response of the handler in the last attempt, packed",
    "delivery_body": "the body of `delivery_response` if it is stored apart",
    "delivery_shares_body": "flag: in place of `delivery_body`, the body of `delivery_response` is that of `response`",
}
"""The fields of a call (key `call:ID`). A tombstone keeps those that answer a claim or an end that is sent again.

A notification has the fields of a delivery, `start`, an empty `request` and the `size` 0.
"""


@functools.cache
def stored_attributes(kind: type[Case | Call]) -> Mapping[bytes, tuple[str, Callable[[bytes], Any]]]:
    """Return the fields that hold one attribute under its own name, with that name and how it is read."""
    fields = CASE_FIELDS if kind is Case else CALL_FIELDS
    found = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items() if name in fields}
    return {name.encode(): (name, read) for name, read in found.items() if read is not None}


def read_attributes(kind: type[Case | Call], stored: Mapping[bytes, bytes | None]) -> dict[str, Any]:
    """Return these attributes from the fields of a case or call. An absent or empty one is left out."""
    attributes = {}
    for field, (name, read) in stored_attributes(kind).items():
        if value := stored.get(field):
            attributes[name] = read(value)
    return attributes


def _reader(hint: Any) -> Callable[[bytes], Any] | None:
    """Return how an attribute of a type is read. None: it takes more than its type to read it."""
    if isinstance(hint, types.UnionType):
        hint = next(each for each in typing.get_args(hint) if each is not types.NoneType)
    if isinstance(hint, enum.EnumType):
        return {word.encode(): hint(word) for word in hint.__members__}.__getitem__
    readers: Mapping[Any, Callable[[bytes], Any]] = {str: bytes.decode, int: int, bool: b"1".__eq__}
    return readers.get(hint)
