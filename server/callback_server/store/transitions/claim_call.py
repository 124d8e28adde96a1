"""The transition that claims a case for a call. A recorded call also ends in it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callback_server.domain.activity import DEFAULT_DEADLINE_MS, HOLD_DEADLINE_MS, LEASE_SLACK_MS, Activity
from callback_server.domain.call import Grant, Request
from callback_server.domain.case import AnswerMode, CloseReason
from callback_server.domain.guard import RequestIntent
from callback_server.domain.ids import case_id_of
from callback_server.domain.response import Response
from callback_server.store import keys
from callback_server.store.packing import pack_request, unpack_content, unpack_effect, unpack_fallback
from callback_server.store.recording import LIMITS, Recording
from callback_server.store.script_arguments import flags, lists, numbers, texts
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "claim_call",
    [
        *texts("case_id", "state_hash_half", "parameter", "call_id", "request", "request_body", "whole_request"),
        *texts("whole_body", "replica", "platform_url", "intent", "profile", "message_hash", "window_ms"),
        *numbers("lease_ms", "hold_lease_ms", "calls_per_minute"),
        *flags("can_deliver"),
        *LIMITS,
        *lists("declared_leases", "limited_owners"),
    ],
    applies_timeouts=True,
)
DEFAULT_LEASE_MS: Final = DEFAULT_DEADLINE_MS + LEASE_SLACK_MS
HOLD_LEASE_MS: Final = HOLD_DEADLINE_MS + LEASE_SLACK_MS


class ClaimRefusal(enum.Enum):
    """A reason why a claim is refused."""

    UNKNOWN = b"UNKNOWN"
    """No case is reached by this state in this form."""
    BUSY = b"BUSY"
    """Another call runs on a single-use case."""
    STALE = b"STALE"
    """This call has ended already: its lease ended before the answer of the store arrived."""
    CONFIRM = b"CONFIRM"
    """A person must confirm the request first."""
    AGENT = b"AGENT"
    """Programs that open links make no call on this case, and this request may be from one."""
    HANDSHAKE = b"HANDSHAKE"
    """No call was requested. The case is open."""


@dataclass(frozen=True, slots=True)
class CaseClosed:
    """The case is closed."""

    reason: CloseReason


@dataclass(frozen=True, slots=True)
class VerificationRequired:
    """The case requires a verification profile that was not passed. Nothing was changed, and no timeout was applied."""

    profile: str
    alternative_domain: str
    """The domain of the case's URL. Empty: the common one."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The case or its owner has more calls, or more bytes of bodies, than a limit allows."""

    wait_ms: int
    limit: str
    """The setting of the limit."""


@dataclass(frozen=True, slots=True)
class RepeatedMessage:
    """The message was received before, and its call has succeeded."""

    call_id: str
    response: Response
    """The answer to that call, or the response of the case if the answer is no longer kept."""
    platform_url: str
    """The base of a `/path` in the response. Empty: there is none."""
    owner: str
    """The owner of the case."""
    alternative_domain: str
    """The domain of the case's URL. Empty: the common one."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What the verification of a request found, before its claim."""

    profile: str = ""
    """The verification profile that the request has passed. Empty: none."""
    message_sha256: str = ""
    """SHA-256 of the message id, in hexadecimal digits. Empty: messages have no id."""
    window_ms: int = 0
    """How long a message with this id counts as the same one, in milliseconds."""


UNVERIFIED: Final = Verification()
ClaimResult = Grant | CaseClosed | VerificationRequired | RateLimited | RepeatedMessage | ClaimRefusal


class Leases:
    """The leases of calls: the default, and those that activities declare."""

    def __init__(self, activities: Mapping[str, Activity], default_ms: int = DEFAULT_LEASE_MS) -> None:
        self.default_ms = default_ms
        declared = {
            activity.name: activity.deadline_ms + LEASE_SLACK_MS
            for activity in activities.values()
            if activity.deadline_ms is not None
        }
        self.longest_ms = max([default_ms, *declared.values()])
        self.pairs: tuple[str | int, ...] = tuple(value for pair in declared.items() for value in pair)


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
    intent: RequestIntent = RequestIntent.CALL,
    verification: Verification = UNVERIFIED,
    calls_per_minute: int | None = None,
    limited_owners: Sequence[tuple[str, int, str]] = (),
    replica: str = "",
    can_deliver: bool = False,
) -> ClaimResult:
    """Claim the case with this state for `call_id`, durably. Safe to send again: the same call gets the same grant.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call.
        state_sha256: SHA-256 of the state in the URL.
        parameter: The state query parameter. Empty: the URL has the state in its path.
        request: The request as it came.
        leases: The leases of calls.
        recording: What is recorded of the request and of ended calls.
        platform_url: The base of a `/path` in a response.
        intent: What the request asks for.
        verification: What its verification found.
        calls_per_minute: The rate limit of the case. None: any number.
        limited_owners: Owners over a limit, each with its wait in milliseconds and the setting of the limit.
        replica: The replica that is told of the answer if the call is held.
        can_deliver: Whether this process can run a delivery at once.

    Raises:
        StoreError: It is not known whether the case was claimed, unless `maybe_done` is False.
    """
    case_id = case_id_of(state_sha256)
    kept = recording.of_request(request)
    kept_request, kept_body = pack_request(kept)
    whole_request, whole_body = (b"", b"") if kept is request else pack_request(request)
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id=case_id,
        state_hash_half=state_sha256[16:],
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
        window_ms=verification.window_ms,
        lease_ms=leases.default_ms,
        hold_lease_ms=HOLD_LEASE_MS,
        limits=recording.limits,
        calls_per_minute=calls_per_minute or 0,
        can_deliver=can_deliver,
        declared_leases=leases.pairs,
        limited_owners=[value for each in limited_owners for value in each],
    )
    if word in (b"CLAIMED", b"RECORDED"):
        attempt, owner, activity, lease_left_ms, content, response_body, version, *others = facts
        effect, answer_mode, fallback = others
        settings, response = unpack_content(content, response_body)
        return Grant(
            call_id=call_id,
            attempt=attempt,
            owner=owner.decode(),
            activity=activity.decode(),
            settings=settings,
            response=response,
            version=version,
            lease_left_ms=lease_left_ms,
            recorded=word == b"RECORDED",
            effect=unpack_effect(effect),
            answer_mode=AnswerMode(answer_mode.decode() or AnswerMode.HANDLER),
            fallback=unpack_fallback(fallback) if fallback else None,
        )
    if word == b"CLOSED":
        return CaseClosed(CloseReason(facts[0].decode()))
    if word == b"VERIFY":
        return VerificationRequired(facts[0].decode(), facts[1].decode())
    if word == b"LIMITED":
        return RateLimited(facts[0], facts[1].decode())
    if word == b"REPEATED":
        earlier, content, response_body, *others = facts
        platform, owner, domain = (other.decode() for other in others)
        return RepeatedMessage(earlier.decode(), unpack_content(content, response_body)[1], platform, owner, domain)
    return ClaimRefusal(word)
