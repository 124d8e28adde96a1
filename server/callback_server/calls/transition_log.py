"""Log events of transitions that several places apply: the end of a call, and reports.

Any other transition is logged by the one place that applies it. `docs/operations.md` lists the events of all
transitions. The event of the end of a call also says its effect on the case: `case_status`, and `close_reason` if the
case closed.
"""

from __future__ import annotations

from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Grant, Outcome
from callback_server.domain.case import CaseEffect
from callback_server.domain.ids import case_id_of_call
from callback_server.domain.notification import CallReason
from callback_server.domain.reports import (
    CallResolved,
    EntryWithoutCase,
    HoldTimeEnded,
    LeaseEnded,
    LoggedReport,
    WrongType,
)

log = get_logger()


def log_report(report: LoggedReport) -> None:
    """Log a report, whichever transition made it."""
    if isinstance(report, LeaseEnded):
        metrics.LEASES_ENDED.inc()
        log.warning(
            "lease_ended",
            call_id=report.call_id,
            case_id=case_id_of_call(report.call_id),
            activity=report.activity,
            **_effect_fields(report.effect),
        )
    elif isinstance(report, HoldTimeEnded):
        outcome = Outcome(CallStatus.FAILED, failure=CallFailure.DEADLINE_EXCEEDED)
        log_call_ended(report.call_id, report.activity, outcome, report.effect)
    elif isinstance(report, CallResolved):
        log_call_ended(report.call_id, report.activity, Outcome(report.status), report.effect)
    elif isinstance(report, EntryWithoutCase):
        log_entry_without_case(report.listed_in, report.name)
    elif isinstance(report, WrongType):
        log_wrong_type(report.listed_in, report.name, report.error)
    else:
        metrics.CASES_EXPIRED.inc()
        skipped = {"skipped_reminders": report.skipped_reminders} if report.skipped_reminders else {}
        log.info("case_expired", case_id=report.case_id, activity=report.activity, **skipped)


def log_entry_without_case(listed_in: str, name: str) -> None:
    """Log and count an entry of a list whose case or call does not exist, or has another state."""
    metrics.STORE_FAULTS.labels("entry_without_case").inc()
    log.error("entry_without_case", listed_in=listed_in, case_id=case_id_of_call(name), name=name)


def log_wrong_type(listed_in: str, name: str, error: str) -> None:
    """Log and count a case that was left as it is, because one of its keys has a wrong type."""
    metrics.STORE_FAULTS.labels("wrong_type").inc()
    log.error("wrong_type", listed_in=listed_in, case_id=case_id_of_call(name), name=name, error=error)


def log_no_call(call_id: str) -> None:
    """Log and count a case that is in progress with a call that does not exist."""
    metrics.STORE_FAULTS.labels("no_call").inc()
    log.error("no_call", case_id=case_id_of_call(call_id), call_id=call_id)


def log_missing_entry(listed_in: str, name: str) -> None:
    """Log and count an entry that a case or call did not have, after it is made."""
    metrics.STORE_FAULTS.labels("missing_entry").inc()
    log.error("missing_entry", listed_in=listed_in, case_id=case_id_of_call(name), name=name)


def log_call_ended(
    call_id: str, activity: str, outcome: Outcome, effect: CaseEffect | None, *, owner: str = "", worker: str = ""
) -> None:
    """Log and count the end of a call, after it is recorded. A failed one is a warning, with its owner if known.

    `worker` is the name of the worker that had the call; empty if none had it.
    """
    metrics.calls_series(activity, outcome.status, outcome.failure or "").inc()
    fields = {
        "call_id": call_id,
        "case_id": case_id_of_call(call_id),
        "activity": activity,
        "status": outcome.status,
        **_effect_fields(effect),
        **({"worker": worker} if worker else {}),
        **({"failure": outcome.failure, "detail": outcome.failure_detail} if outcome.failure else {}),
    }
    if outcome.status is CallStatus.FAILED:
        log.warning("call_ended", **fields, **({"owner": owner} if owner else {}))
    else:
        log.info("call_ended", **fields)


def log_delivery_tried(
    grant: Grant,
    status: DeliveryStatus,
    outcome: Outcome | None,
    backoff_ms: int | None,
    *,
    was_given_up: bool,
    worker: str = "",
) -> None:
    """Log and count an attempt of a delivery, after its end is recorded. A dead one is a warning, with its owner.

    One that was given up before the handler was asked has an event of its own.
    """
    is_call = grant.reason is CallReason.CALL
    failure = (outcome and outcome.failure) or ""
    if is_call:
        metrics.deliveries_series(grant.activity, status, failure).inc()
    else:
        metrics.NOTIFICATIONS.labels(grant.reason, status).inc()
    fields = {
        "call_id": grant.call_id,
        "case_id": case_id_of_call(grant.call_id),
        "activity": grant.activity,
        "attempt": grant.attempt,
        "status": status,
        **({} if is_call else {"reason": grant.reason}),
        **({"backoff_ms": backoff_ms} if status is DeliveryStatus.PENDING else {}),
        **({"worker": worker} if worker else {}),
        **({"failure": outcome.failure, "detail": outcome.failure_detail} if outcome and outcome.failure else {}),
    }
    if was_given_up:
        log.warning("delivery_given_up", **fields, owner=grant.owner)
    elif status is DeliveryStatus.DEAD:
        log.warning("delivery_tried", **fields, owner=grant.owner)
    else:
        log.info("delivery_tried", **fields)


def _effect_fields(effect: CaseEffect | None) -> dict[str, str]:
    """Return the fields about the effect of a call's end on its case; empty if there is none."""
    if effect is None:
        return {}
    fields = {"case_status": str(effect.status)}
    if effect.close_reason is not None:
        fields["close_reason"] = effect.close_reason
    return fields
