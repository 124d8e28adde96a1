"""The transition that takes deliveries that are due."""

from __future__ import annotations

from typing import Final

from callback_server.domain.activity import Leases
from callback_server.domain.call import Grant
from callback_server.domain.case import AnswerMode
from callback_server.domain.delivery_attempt import DeliveryAttempt
from callback_server.domain.notification import reason_of
from callback_server.store.packing import unpack_content, unpack_request
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("take_deliveries", sends_reports=True)
LIMIT: Final = 50
"""How many deliveries one script takes. It blocks the store meanwhile."""
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of requests one script takes. It takes at least one request."""


async def take_deliveries(
    scripts: Scripts,
    partition: int,
    *,
    limit: int,
    turn: int,
    leases: Leases,
    recording: Recording,
    notifications: bool = False,
) -> tuple[list[DeliveryAttempt], bool]:
    """Take at most `limit` deliveries of calls, or of notifications, that are due in a partition, durably.

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
        notifications=notifications,
        limits=recording.limits,
        default_lease_ms=leases.default_ms,
        declared_leases=leases.pairs,
    )
    return [_attempt(*facts) for facts in taken], bool(more)


def _attempt(
    call_id: bytes,
    fencing_token: int,
    attempts_not_asked: int,
    number_since_start: int,
    not_asked_since_start: int,
    age_ms: int,
    lease_ms: int,
    owner: bytes,
    activity: bytes,
    content: bytes,
    body: bytes,
    request: bytes,
    request_body: bytes,
    replayed: bytes,
    is_call_running: int,
    version: int,
) -> DeliveryAttempt:
    id_ = call_id.decode()
    settings, response = unpack_content(content, body)
    grant = Grant(
        call_id=id_,
        call_number=0,
        owner=owner.decode(),
        activity=activity.decode(),
        settings=settings,
        response=response,
        lease_left_ms=lease_ms,
        ended_at_claim=False,
        answer_mode=AnswerMode.HANDLER if is_call_running else AnswerMode.ACK,
        replayed=replayed == b"1",
        version=version,
        reason=reason_of(id_),
        attempt=fencing_token - attempts_not_asked,
        is_retry=fencing_token > 1 or replayed == b"1",
    )
    return DeliveryAttempt(
        grant,
        unpack_request(request, request_body),
        fencing_token,
        number_since_start,
        not_asked_since_start,
        age_ms,
        is_call_running == 1,
    )
