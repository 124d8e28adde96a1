"""The transition that claims a case for a call; a recorded call also ends in it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callback_server.domain.activity import DEFAULT_DEADLINE_MS, HOLD_DEADLINE_MS, LEASE_SLACK_MS, Activity
from callback_server.domain.call import Grant, Request
from callback_server.domain.case import AnswerMode, CloseReason, Mode
from callback_server.domain.guard import RequestIntent
from callback_server.domain.ids import case_id_of
from callback_server.domain.response import Response
from callback_server.store import keys
from callback_server.store.generated_lua import flags, lists, numbers, text
from callback_server.store.packing import pack_request, unpack_content, unpack_effect, unpack_fallback
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script(
    "claim_call",
    [
        *text("case_id", "state_hash_half", "parameter", "call_id", "request", "request_body", "whole_request"),
        *text("whole_body", "replica", "platform_url", "intent", "profile", "message_hash", "window_ms"),
        *numbers("lease_ms", "hold_lease_ms", "max_recorded_calls", "max_recorded_bytes", "calls_per_minute"),
        *flags("can_deliver"),
        *lists("declared_leases", "limited_owners"),
    ],
    applies_timeouts=True,
)
DEFAULT_LEASE_MS: Final = DEFAULT_DEADLINE_MS + LEASE_SLACK_MS
HOLD_LEASE_MS: Final = HOLD_DEADLINE_MS + LEASE_SLACK_MS


class ClaimRefusal(enum.Enum):
    """Why there is no grant."""

    UNKNOWN = b"UNKNOWN"
    """No case is reached by this state in this form."""
    BUSY = b"BUSY"
    """Another call is running on a single-use case."""
    STALE = b"STALE"
    """This call has ended already: its lease was over before the store's answer came."""
    CONFIRM = b"CONFIRM"
    """A person must confirm first."""
    AGENT = b"AGENT"
    """A program that opens links makes no call of this case, and this may be one."""
    HANDSHAKE = b"HANDSHAKE"
    """No call was asked for. The case is open."""


@dataclass(frozen=True, slots=True)
class CaseClosed:
    """The case is closed."""

    reason: CloseReason


@dataclass(frozen=True, slots=True)
class VerificationRequired:
    """The case asks for a profile that was not passed. Nothing was changed, not even what was due."""

    profile: str
    alternative_domain: str
    """Where the case's URL is; empty if at the common one."""


@dataclass(frozen=True, slots=True)
class RateLimited:
    """More calls, of the case or of its owner, than are allowed in this time."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class RepeatedMessage:
    """The message has come before, and its call has succeeded."""

    call_id: str
    response: Response
    """What it was answered; the case's own if that is no longer kept."""
    platform_url: str
    """Where its `/path` leads; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was established of a request before its claim."""

    profile: str = ""
    """The verification profile that it has passed."""
    message_sha256: str = ""
    """SHA-256 of the message's id, in hexadecimal digits; empty if a message is not told from another."""
    window_ms: int = 0
    """For how long a message with this id is the same one."""


UNVERIFIED: Final = Verification()
ClaimResult = Grant | CaseClosed | VerificationRequired | RateLimited | RepeatedMessage | ClaimRefusal


class Leases:
    """How long a call may hold its case: the defaults, and what is declared by activity."""

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
    retention: Retention,
    platform_url: str | None,
    intent: RequestIntent = RequestIntent.CALL,
    verification: Verification = UNVERIFIED,
    calls_per_minute: int | None = None,
    limited_owners: Sequence[tuple[str, int]] = (),
    replica: str = "",
    can_deliver: bool = False,
) -> ClaimResult:
    """Claims the case with this state for `call_id`, durably. Safe to send again: the same call gets the same grant.

    `replica` is told of the answer, if the call is held. `can_deliver` says whether it can run a delivery at once.
    `limited_owners` are owners that have made too many calls by now, and for how many milliseconds they wait.

    Raises:
        StoreError: it is not known, unless `maybe_done` is False, whether the case was claimed.
    """
    case_id = case_id_of(state_sha256)
    kept = retention.of_request(request)
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
        max_recorded_calls=retention.calls_per_case,
        max_recorded_bytes=retention.bytes_per_case,
        calls_per_minute=calls_per_minute or 0,
        can_deliver=can_deliver,
        declared_leases=leases.pairs,
        limited_owners=[value for pair in limited_owners for value in pair],
    )
    if word in (b"CLAIMED", b"RECORDED"):
        attempt, owner, activity, mode, lease_left_ms, content, response_body, effect, answer, fallback = facts
        settings, response = unpack_content(content, response_body)
        return Grant(
            call_id=call_id,
            attempt=attempt,
            owner=owner.decode(),
            activity=activity.decode(),
            mode=Mode(mode.decode()),
            settings=settings,
            response=response,
            lease_left_ms=lease_left_ms,
            recorded=word == b"RECORDED",
            effect=unpack_effect(effect),
            answer=AnswerMode(answer.decode() or AnswerMode.HANDLER),
            fallback=unpack_fallback(fallback) if fallback else None,
        )
    if word == b"CLOSED":
        return CaseClosed(CloseReason(facts[0].decode()))
    if word == b"VERIFY":
        return VerificationRequired(facts[0].decode(), facts[1].decode())
    if word == b"LIMITED":
        return RateLimited(facts[0])
    if word == b"REPEATED":
        earlier, content, response_body, platform = facts
        return RepeatedMessage(earlier.decode(), unpack_content(content, response_body)[1], platform.decode())
    return ClaimRefusal(word)
