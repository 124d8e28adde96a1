"""The transition that takes deliveries that are due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callback_server.domain.call import Grant, Request
from callback_server.domain.case import AnswerMode
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
"""How many deliveries one script takes. It blocks the store meanwhile."""
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of requests one script takes. It takes at least one request."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """An attempt of a delivery, to be run now."""

    grant: Grant
    request: Request
    fence: int
    """The number of the attempt among all. Its end names it, because a later attempt may have started meanwhile."""
    number: int = 1
    """The number of the attempt since the delivery started or was replayed."""
    age_ms: int = 0
    """How long ago the delivery started or was replayed, in milliseconds."""


async def take_deliveries(
    scripts: Scripts,
    partition: int,
    *,
    limit: int,
    turn: int,
    leases: Leases,
    retention: Retention,
) -> tuple[list[DeliveryAttempt], bool]:
    """Take at most `limit` deliveries that are due in a partition, durably.

    `turn` differs each time, so that each activity comes first in its turn.

    Returns:
        The attempts to run, and whether more may be due.

    Raises:
        StoreError: It is not known which were taken. They are due again when their lease ends.
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
        settings=settings,
        response=response,
        lease_left_ms=lease_ms,
        recorded=False,
        answer=AnswerMode.ACK,
        replayed=replayed == b"1",
    )
    return DeliveryAttempt(grant, unpack_request(request, request_body), fence, number, age_ms)
