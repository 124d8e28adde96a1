"""The events of cases and calls: one line in the log for each transition, with the ids that tie them together.

| event | when |
|---|---|
| `case_created`, `response_set`, `case_closed`, `calls_erased` | an owner, or an administrator, did that |
| `call_started` | a handler is about to be asked |
| `call_ended` | the end of a call is recorded. A recorded call has no other event |
| `message_repeated` | a message that came before is answered as its call was; that is `call_id`. Nothing has changed |
| `handshake_answered` | a sender was told that its URL wants to be called. That is no call |
| `verification_failed` | a request does not pass the profile of its callback: `why`. Nothing has changed |
| `verification_fault` | to verify a request broke: `error`, `at`. It does not pass, and nothing has changed |
| `call_answered` | an owner, or an administrator, answered a held call |
| `caller_gone` | an edge says that a caller hung up before its call could be answered |
| `fallback_sent` | a caller got the fallback, at the answer deadline. Its call goes on |
| `delivery_tried` | an attempt of a delivery ended: its `status` is where that leaves it, and `attempt` counts them |
| `call_replayed` | an owner, or an administrator, has a call delivered again |
| `activity_paused`, `activity_resumed` | an administrator did that |
| `lease_ended` | a call is interrupted: its process died, or lost the store |
| `case_expired` | the time to live of a case has passed |
| `worker_connected`, `worker_disconnected` | a worker's stream started or ended, with the `calls_lost` |
| `worker_unroutable_activities` | a worker serves activities whose calls do not go to workers; `notices` say why |
| `dropped` | how many calls and cases a round forgot that were past their retention: one line for all |

What the end of a call made of its case is part of that event: `case_status`, and `close_reason` if it closed it.
"""

from __future__ import annotations

import functools

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.call import Outcome
from callback_server.domain.case import CaseEffect
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.timeouts import LeaseEnded, Timeout

log = get_logger()
_calls = functools.cache(metrics.CALLS.labels)
"""A series is looked up once: their number is bounded."""


def log_timeout(due: Timeout) -> None:
    """Tells of what time brought, whichever transition came upon it."""
    if isinstance(due, LeaseEnded):
        metrics.LEASES_ENDED.inc()
        log.warning(
            "lease_ended",
            call_id=due.call_id,
            case_id=case_id_of_call(due.call_id),
            activity=due.activity,
            **_effect_fields(due.effect),
        )
    else:
        metrics.CASES_EXPIRED.inc()
        log.info("case_expired", case_id=due.case_id, activity=due.activity)


def log_call_ended(call_id: str, activity: str, outcome: Outcome, effect: CaseEffect | None) -> None:
    """Tells of the end of a call, once it is recorded."""
    _calls(outcome.status, outcome.failure or "").inc()
    log.info(
        "call_ended",
        call_id=call_id,
        case_id=case_id_of_call(call_id),
        activity=activity,
        status=outcome.status,
        **_effect_fields(effect),
        **({"failure": outcome.failure, "detail": outcome.detail} if outcome.failure else {}),
    )


def _effect_fields(effect: CaseEffect | None) -> dict[str, str]:
    """What an event says of what a call's end made of its case; nothing if that is as it was."""
    if effect is None:
        return {}
    fields = {"case_status": str(effect.status)}
    if effect.close_reason is not None:
        fields["close_reason"] = effect.close_reason
    return fields
