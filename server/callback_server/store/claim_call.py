"""The transition that claims a case for a call; a recorded call also ends in it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callback_server.domain.activity import DEFAULT_DEADLINE_MS, LEASE_SLACK_MS, Activity
from callback_server.domain.call import Grant, Request
from callback_server.domain.case import CloseReason, Mode
from callback_server.domain.ids import case_id_of
from callback_server.store import keys
from callback_server.store.packing import pack_request, unpack_consequence, unpack_content
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("claim_call", settles=True)
DEFAULT_LEASE_MS: Final = DEFAULT_DEADLINE_MS + LEASE_SLACK_MS


class Refused(enum.Enum):
    """Why there is no grant."""

    UNKNOWN = b"UNKNOWN"
    """No case is reached by this state in this form."""
    BUSY = b"BUSY"
    """Another call is running on a single-use case."""
    STALE = b"STALE"
    """This call has ended already: its lease was over before the store's answer came."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The case is closed."""

    reason: CloseReason


class Leases:
    """How long a call may hold its case: the default, and what differs from it by activity."""

    def __init__(self, activities: Mapping[str, Activity], default_ms: int = DEFAULT_LEASE_MS) -> None:
        self.default_ms = default_ms
        self.longest_ms = max([default_ms, *(activity.lease_ms for activity in activities.values())])
        self.pairs: tuple[str | int, ...] = tuple(
            value
            for activity in activities.values()
            if activity.lease_ms != default_ms
            for value in (activity.name, activity.lease_ms)
        )


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
) -> Grant | Closed | Refused:
    """Claims the case with this state for `call_id`, durably. Safe to send again: the same call gets the same grant.

    Raises:
        StoreError: it is not known, unless `maybe_done` is False, whether the case was claimed.
    """
    case_id = case_id_of(state_sha256)
    packed, body = pack_request(retention.of_request(request))
    word, *facts = await scripts.run(
        SCRIPT,
        keys.partition_of(case_id),
        case_id,
        state_sha256,
        parameter,
        call_id,
        packed,
        body,
        leases.default_ms,
        retention.calls_per_case,
        retention.bytes_per_case,
        platform_url or "",
        *leases.pairs,
    )
    if word in (b"CLAIMED", b"RECORDED"):
        attempt, owner, activity, mode, lease_left_ms, content, response_body, made = facts
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
            consequence=unpack_consequence(made),
        )
    if word == b"CLOSED":
        return Closed(CloseReason(facts[0].decode()))
    return Refused(word)
