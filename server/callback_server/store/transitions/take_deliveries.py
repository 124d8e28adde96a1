"""The transition that takes what is to be delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.call import Grant, Request
from callback_server.domain.case import AnswerMode, Mode
from callback_server.store.generated_lua import lists, numbers
from callback_server.store.packing import unpack_content, unpack_request
from callback_server.store.retention import Retention
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import Leases

SCRIPT: Final = Script(
    "take_deliveries",
    [
        *numbers("limit", "max_bytes", "turn", "max_recorded_calls", "max_recorded_bytes", "default_lease_ms"),
        *lists("declared_leases"),
    ],
)
LIMIT: Final = 50
"""How many deliveries one script takes: it blocks the store meanwhile."""
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""How much of requests it takes, and at least one."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """An attempt of a delivery, to be made now."""

    grant: Grant
    request: Request
    fence: int
    """Which of all attempts it is. Who ends it says so: a later one may have begun meanwhile."""
    number: int = 1
    """Which it is since the delivery began, or was replayed."""
    age_ms: int = 0
    """How long ago that was."""


async def take_deliveries(
    scripts: Scripts,
    partition: int,
    *,
    limit: int,
    turn: int,
    leases: Leases,
    retention: Retention,
) -> tuple[list[DeliveryAttempt], bool]:
    """Takes at most `limit` deliveries that are due in a partition, durably; and says whether more may be due.

    `turn` is another number each time, so that each activity comes first in its turn.

    Raises:
        StoreError: it is not known what was taken. It is due again when its lease is over.
    """
    more, *taken = await scripts.run(
        SCRIPT,
        partition,
        limit=min(limit, LIMIT),
        max_bytes=MAX_REQUEST_BYTES,
        turn=turn,
        max_recorded_calls=retention.calls_per_case,
        max_recorded_bytes=retention.bytes_per_case,
        default_lease_ms=leases.default_ms,
        declared_leases=leases.pairs,
    )
    return [_attempt(*facts) for facts in taken], bool(more)


def _attempt(
    call_id: bytes,
    fence: int,
    unasked: int,
    number: int,
    age_ms: int,
    lease_ms: int,
    owner: bytes,
    activity: bytes,
    mode: bytes,
    content: bytes,
    body: bytes,
    request: bytes,
    request_body: bytes,
    replayed: bytes,
) -> DeliveryAttempt:
    settings, response = unpack_content(content, body)
    grant = Grant(
        call_id=call_id.decode(),
        attempt=fence - unasked,
        owner=owner.decode(),
        activity=activity.decode(),
        mode=Mode(mode.decode()),
        settings=settings,
        response=response,
        lease_left_ms=lease_ms,
        recorded=False,
        answer=AnswerMode.ACK,
        replayed=replayed == b"1",
    )
    return DeliveryAttempt(grant, unpack_request(request, request_body), fence, number, age_ms)
