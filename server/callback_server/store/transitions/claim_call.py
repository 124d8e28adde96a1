"""The transition that claims a case for a call. Some calls also end in it."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from callback_server.domain.activity import Leases
from callback_server.domain.call import CallFailure, CallStatus, Grant, Outcome, Request, RequestIdentity
from callback_server.domain.case import AnswerMode, CloseReason, Prompt
from callback_server.domain.guard import RequestIntent
from callback_server.domain.ids import case_id_of, case_id_of_call, of_case
from callback_server.domain.response import Response
from callback_server.domain.verification import Verification
from callback_server.store.packing import (
    pack_request,
    unpack_answer,
    unpack_content,
    unpack_effect,
    unpack_fallback,
    unpack_response,
)
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("claim_call", sends_reports=True)
MAX_HELD_CALLS: Final = 100
"""How many calls of a case are held at a time."""


class ClaimRefusal(enum.Enum):
    """A reason why a claim is refused."""

    UNKNOWN = b"UNKNOWN"
    """No case is reached by this state in this form."""
    BUSY = b"BUSY"
    """Another call runs on a single-use case."""
    STALE = b"STALE"
    """This call has ended already: its lease ended before the answer of the store arrived."""
    AGENT = b"AGENT"
    """Programs that open links make no call on this case, and this request may be from one."""
    HANDSHAKE = b"HANDSHAKE"
    """No call was requested. The case is open."""
    LONG_QUERY = b"LONG_QUERY"
    """The handler of the activity cannot get a query as long as this one."""


@dataclass(frozen=True, slots=True)
class CaseClosed:
    """The case is closed."""

    reason: CloseReason
    response: Response | None = None
    """The response of the closed case. None: it has none."""
    owner: str = ""
    alternative_domain: str = ""
    """The domain of the case's URL. Empty: the common one."""


@dataclass(frozen=True, slots=True)
class ConfirmationRequired:
    """A person must confirm the request first, or make a choice."""

    prompt: Prompt | None


@dataclass(frozen=True, slots=True)
class VerificationRequired:
    """The case requires a verification profile that was not passed. Nothing was changed, and no timeout was applied."""

    profile: str
    alternative_domain: str
    """The domain of the case's URL. Empty: the common one."""
    owner: str
    """The owner of the case."""


@dataclass(frozen=True, slots=True)
class FeatureUnknown:
    """The case needs a feature that this server does not know. Nothing was changed."""

    feature: str


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The case or its owner has more calls, or more bytes of bodies, than a limit allows now."""

    retry_after_ms: int
    limit: str
    """The setting of the limit."""
    owner: str
    """The owner of the case."""


@dataclass(frozen=True, slots=True)
class EarlierCallRuns:
    """The request is a repeat of a call that runs. It waits with that call."""

    call_id: str
    told_to_wait: bool = False
    """The caller of that call was told to wait at its address, and so is the repeat. It does not wait with the call."""


@dataclass(frozen=True, slots=True)
class EarlierCallEnded:
    """The request is a repeat of a call that has ended, and gets what is left of its answer."""

    call_id: str
    status: CallStatus
    failure: CallFailure | None
    code: int | None
    """The status code of the answer. None: a redirect or a failure has none."""
    method: str
    """The method of the request of the call, as it was sent."""
    answer: Response | None
    """The whole answer. None: there is none, it is no longer kept, or it must not be given twice."""
    owner: str
    """The owner of the case."""
    alternative_domain: str
    """The domain of the case's URL. Empty: the common one."""
    is_held: bool
    """Whether the case holds its calls."""
    is_open: bool
    """Whether the case is open."""


LimitedOwner = tuple[str, int, str, str]
"""An owner over a limit: its name, its wait in milliseconds, the setting of the limit, and the calls that the limit is
for: HELD, OTHER, or all if that is empty."""
LookUpRefusal = CaseClosed | FeatureUnknown | VerificationRequired | RateLimited | ClaimRefusal
"""Why a request is refused, whatever its body is."""
ClaimResult = Grant | ConfirmationRequired | EarlierCallRuns | EarlierCallEnded | LookUpRefusal


async def claim_call(
    scripts: Scripts,
    *,
    call_id: str,
    state_sha256: bytes,
    parameter: str,
    request: Request,
    leases: Leases,
    recording: Recording,
    platform_url: str | None,
    sent: RequestIdentity,
    intent: RequestIntent,
    verification: Verification,
    calls_per_minute: int | None,
    limited_owners: Sequence[LimitedOwner],
    replica: str,
    can_deliver: bool,
    refused_activities: Collection[str] = (),
    is_event: bool = False,
) -> ClaimResult:
    """Claim the case with this state for `call_id`, durably. Safe to send again: the same call gets the same grant.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call. Of an event it begins with the name of its correlation key, in place of the case,
            and the grant has its real id.
        state_sha256: SHA-256 of the state in the URL. Empty for an event.
        parameter: The state query parameter. Empty: the URL has the state in its path.
        request: The request as it came.
        leases: The leases of calls.
        recording: What is recorded of the request and of ended calls.
        platform_url: The base of a `/path` in a response.
        sent: The identity of the request as it was sent, to recognize it when it is sent again.
        intent: What the request asks for.
        verification: What its verification found.
        calls_per_minute: The rate limit of the case. None: any number.
        limited_owners: The owners over a limit.
        replica: The replica that gets a message with the answer if the call is held, or when the call that a repeat
            waits with ends.
        can_deliver: Whether this process can run a delivery at once.
        refused_activities: The activities whose handlers cannot get a query as long as this one.
        is_event: Whether the case is found by a correlation key. No guard holds then.

    Raises:
        StoreError: It is not known whether the case was claimed, unless `maybe_done` is False.
    """
    kept = recording.of_request(request)
    kept_request, kept_body = pack_request(kept)
    whole_request, whole_body = (b"", b"") if kept is request else pack_request(request)
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id_of_call(call_id) if is_event else case_id_of(state_sha256),
        state_hash_half=state_sha256[16:],
        is_event=is_event,
        parameter=parameter,
        call_id=call_id,
        request=kept_request,
        request_body=kept_body,
        whole_request=whole_request,
        whole_body=whole_body,
        replica=replica,
        platform_url=platform_url or "",
        intent=intent,
        profile=verification.profile,
        message_hash=verification.message_sha256,
        request_hash=sent.digest,
        method=sent.method,
        window_ms=verification.window_ms,
        lease_ms=leases.default_ms,
        max_held_calls=MAX_HELD_CALLS,
        repeat_bytes_per_case=recording.repeat_bytes_per_case,
        limits=recording.limits,
        calls_per_minute=calls_per_minute or 0,
        can_deliver=can_deliver,
        names_body=scripts.names_bodies,
        declared_leases=leases.pairs,
        limited_owners=[value for each in limited_owners for value in each],
        refused_activities=list(refused_activities),
    )
    if word in (b"CLAIMED", b"ENDED"):
        number, owner, activity, lease_left_ms, content, response_body, version, effect, *more, case_id = facts
        answer_mode, fallback = more
        settings, response = unpack_content(content, response_body)
        return Grant(
            call_id=of_case(call_id, case_id.decode()),
            call_number=number,
            owner=owner.decode(),
            activity=activity.decode(),
            settings=settings,
            response=response,
            version=version,
            lease_left_ms=lease_left_ms,
            ended_at_claim=word == b"ENDED",
            effect=unpack_effect(effect),
            answer_mode=AnswerMode(answer_mode.decode() or AnswerMode.HANDLER),
            fallback=unpack_fallback(fallback) if fallback else None,
        )
    if word == b"RESOLVED":
        number, owner, activity, content, effect, status, answer, case_id = facts
        settings, response = unpack_content(content, b"")
        return Grant(
            call_id=of_case(call_id, case_id.decode()),
            call_number=number,
            owner=owner.decode(),
            activity=activity.decode(),
            settings=settings,
            response=response,
            lease_left_ms=0,
            ended_at_claim=True,
            effect=unpack_effect(effect),
            answer_mode=AnswerMode.HOLD,
            resolved=Outcome(CallStatus(status.decode()), unpack_answer(answer) if answer else None),
        )
    if word == b"CONFIRM":
        return ConfirmationRequired(unpack_content(facts[0], None)[0].prompt)
    if word == b"RUNS":
        return EarlierCallRuns(facts[0].decode(), told_to_wait=facts[1] == 1)
    if word == b"REPEATED":
        return earlier_call(facts)
    return refusal_of(word, facts)


def refusal_of(word: bytes, facts: Sequence[Any]) -> LookUpRefusal:
    """Return the refusal of a claim or of a look-up."""
    if word == b"CLOSED":
        reason, *more = facts
        if not (more and more[0]):
            return CaseClosed(CloseReason(reason.decode()))
        closed_response, owner, domain = more
        return CaseClosed(
            CloseReason(reason.decode()), unpack_response(closed_response), owner.decode(), domain.decode()
        )
    if word == b"FEATURE":
        return FeatureUnknown(facts[0].decode())
    if word == b"VERIFY":
        return VerificationRequired(*(each.decode() for each in facts))
    if word == b"LIMITED":
        return RateLimited(facts[0], facts[1].decode(), facts[2].decode())
    return ClaimRefusal(word)


def earlier_call(facts: Sequence[bytes]) -> EarlierCallEnded:
    """Return the ended call that a script found for a repeat."""
    call_id, status, failure, code, method, answer, platform_url, owner, domain, is_held, is_open = facts
    return EarlierCallEnded(
        call_id=call_id.decode(),
        status=CallStatus(status.decode()),
        failure=CallFailure(failure.decode()) if failure else None,
        code=int(code) if code else None,
        method=method.decode(),
        answer=unpack_answer(answer, platform_url.decode()) if answer else None,
        owner=owner.decode(),
        alternative_domain=domain.decode(),
        is_held=bool(is_held),
        is_open=bool(is_open),
    )
