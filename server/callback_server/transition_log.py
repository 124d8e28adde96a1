"""The transition log: one log event for each transition of a case or a call, with the ids that connect them.

| event | when |
|---|---|
| `case_created`, `response_set`, `case_closed`, `calls_erased` | an owner or an administrator did that |
| `call_started` | a handler is about to be asked |
| `call_ended` | the end of a call is recorded. A recorded call has no other event |
| `message_repeated` | a repeated message got the answer of its first call, `call_id`. Nothing changed |
| `handshake_answered` | a sender asked whether it may use a URL, and got the answer. It is no call |
| `verification_failed` | a request does not pass the profile of its callback; `why` says the cause. Nothing changed |
| `verification_fault` | an internal `error` stopped a verification, `at` a line. The request is refused |
| `call_answered` | an owner or an administrator answered a held call |
| `caller_gone` | an edge reports that a caller hung up before its call was answered |
| `fallback_sent` | a caller got the fallback at the answer deadline. Its call goes on |
| `delivery_tried` | a delivery attempt ended: the `status` of the delivery, and the number of the `attempt` |
| `call_replayed` | an owner or an administrator asked for a call to be delivered again |
| `activity_paused`, `activity_resumed` | an administrator did that |
| `lease_ended` | a call was interrupted: its process died, or lost the store |
| `case_expired` | the time to live of a case is over |
| `worker_connected`, `worker_disconnected` | a worker's stream started or ended, with the `calls_lost` |
| `worker_unroutable_activities` | a worker serves activities whose calls do not go to workers; `notices` say why |
| `retention_applied` | how many calls and cases past their retention a round deleted, in all partitions |

The event of the end of a call also says its effect on the case: `case_status`, and `close_reason` if the case closed.
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
"""The cached series: looking one up for each call is slow, and their number is bounded."""


def log_timeout(timeout: Timeout) -> None:
    """Log a timeout, whichever transition applied it."""
    if isinstance(timeout, LeaseEnded):
        metrics.LEASES_ENDED.inc()
        log.warning(
            "lease_ended",
            call_id=timeout.call_id,
            case_id=case_id_of_call(timeout.call_id),
            activity=timeout.activity,
            **_effect_fields(timeout.effect),
        )
    else:
        metrics.CASES_EXPIRED.inc()
        log.info("case_expired", case_id=timeout.case_id, activity=timeout.activity)


def log_call_ended(call_id: str, activity: str, outcome: Outcome, effect: CaseEffect | None) -> None:
    """Log and count the end of a call, after it is recorded."""
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
    """Return the fields about the effect of a call's end on its case; empty if there is none."""
    if effect is None:
        return {}
    fields = {"case_status": str(effect.status)}
    if effect.close_reason is not None:
        fields["close_reason"] = effect.close_reason
    return fields
