"""Metrics of a server process, by Prometheus' conventions.

Labels are bounded: none names a case, an owner, a label or a path. Activities are named if they are declared, or served
by a worker of this process; the others are together. A series that alerts count starts at 0 with the process, or when
its activity becomes known, because a series that starts at 1 has no rate.
"""

import functools
import math
from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from callback_process.durations import SECONDS
from callback_server.domain.call import NOT_ASKED, CallFailure, CallStatus, DeliveryStatus
from callback_server.domain.notification import CallReason
from callback_server.domain.own_profile import PREFIX

STAGES: Final = ("claim", "verify", "handler", "finish")
"""The stages of a call, in their order."""

INVOKE_METHOD: Final = "StreamInvocations"
"""The method in metrics and logs of an invocation: each is counted and timed, and not the stream. Look-ups are timed
apart."""

MAX_ACTIVITIES: Final = 200
"""How many activities have series of their own, at most."""
OTHER_ACTIVITIES: Final = "(other)"
"""The label of all other activities."""

CALLS: Final = Counter(
    "callback_calls",
    "Calls that ended in this process, by activity, outcome and, for failures, by reason",
    ["activity", "outcome", "reason"],
)
DELIVERIES: Final = Counter(
    "callback_deliveries",
    "Delivery attempts that ended in this process, by activity, outcome of the delivery and, for failures, by reason",
    ["activity", "outcome", "reason"],
)
OPEN_CALLBACKS: Final = Gauge("callback_open_callbacks", "Callbacks that are not closed, in the store")
HELD_CALLS: Final = Gauge("callback_held_calls", "Held calls that wait for an answer, in the store")
OLDEST_HELD_CALL_SECONDS: Final = Gauge(
    "callback_oldest_held_call_seconds", "For how long the oldest held call has waited for an answer"
)
DEAD_CALLS: Final = Gauge("callback_dead_calls", "Calls and notifications whose delivery is dead, in the store")
WAITING_DELIVERIES: Final = Gauge("callback_waiting_deliveries", "Deliveries that wait or run, in the store")
OLDEST_WAITING_DELIVERY_SECONDS: Final = Gauge(
    "callback_oldest_waiting_delivery_seconds", "How long ago the oldest waiting delivery became due"
)
UNSERVED_ACTIVITIES: Final = Gauge(
    "callback_unserved_activities", "Activities with deliveries that wait, which no server and no worker serves"
)
NOTIFICATIONS: Final = Counter(
    "callback_notifications",
    "Attempts to deliver a notification that ended in this process, by its reason and the outcome of its delivery",
    ["reason", "outcome"],
)
DELIVERIES_IN_FLIGHT: Final = Gauge("callback_deliveries_in_flight", "Deliveries that run in this process")
CALLS_IN_FLIGHT: Final = Gauge("callback_calls_in_flight", "Calls that run in this process, without held calls")
HELD_CALLS_IN_FLIGHT: Final = Gauge(
    "callback_held_calls_in_flight", "Held calls whose callers wait in this process for an answer"
)
WAITS_IN_FLIGHT: Final = Gauge(
    "callback_waits_in_flight",
    "Requests that wait in this process for the answer of a call: at its address, or as its repeats",
)
LARGE_CALLS_WAITING: Final = Gauge(
    "callback_large_calls_waiting", "Calls with a large body that wait in this process for their turn"
)
BODY_BYTES_IN_FLIGHT: Final = Gauge(
    "callback_body_bytes_in_flight", "Bytes of request bodies of the calls that run in this process"
)
RECORDED_BYTES: Final = Gauge(
    "callback_recorded_bytes", "Bytes of the calls that the store keeps, of all owners; the same at every server"
)
BODY_BYTES_DROPPED: Final = Counter(
    "callback_body_bytes_dropped",
    "Bytes of recorded bodies that this process dropped, because more than a limit were kept",
)
WORKERS: Final = Gauge("callback_workers", "Workers connected to this process")
WORKER_SLOTS_FREE: Final = Gauge("callback_worker_slots_free", "Free slots of the workers connected to this process")
WORKER_CALLS_WAITING: Final = Gauge("callback_worker_calls_waiting", "Calls that wait in this process for a worker")
STAGE_SECONDS: Final = Histogram(
    "callback_call_stage_seconds", "Duration of each stage of a call", ["stage"], buckets=SECONDS
)
CLAIM_SECONDS, VERIFY_SECONDS, HANDLER_SECONDS, FINISH_SECONDS = map(STAGE_SECONDS.labels, STAGES)
REQUEST_SECONDS: Final = Histogram(
    "callback_request_seconds", "Duration of the requests of each gRPC method", ["method"], buckets=SECONDS
)
LOOK_UP_SECONDS: Final = Histogram(
    "callback_look_up_seconds",
    "Duration of look-ups: requests that edges send without their body, before they read it",
    buckets=SECONDS,
)
REFUSED: Final = Counter(
    "callback_refused",
    "Refused requests, by method and reason, and by the setting of the limit that refuses them, if one does",
    ["method", "reason", "limit"],
)
VERIFICATIONS_FAILED: Final = Counter(
    "callback_verifications_failed",
    "Requests that did not pass the verification profile of their callback, by reason, and whether they were refused",
    ["profile", "reason", "enforced"],
)
KEY_FETCHES: Final = Counter(
    "callback_key_fetches",
    "Fetches of the keys and certificates of a verification profile, or of an issuer",
    ["profile", "outcome"],
)
KEYS_FETCHED_TIME_SECONDS: Final = Gauge(
    "callback_keys_fetched_time_seconds",
    "When the keys of a verification profile, or of an issuer, were last fetched, in seconds since 1970",
    ["profile"],
)
HANDSHAKES: Final = Counter(
    "callback_handshakes", "Handshakes answered: a sender asked whether it may use a URL", ["profile"]
)
REPEATS: Final = Counter(
    "callback_repeats", "Repeated requests, which get the answer of the call that they repeat, by profile", ["profile"]
)
EVENTS_UNMATCHED: Final = Counter(
    "callback_events_unmatched",
    "Verified events that no callback waits for, and that were dropped, by endpoint and reason: no_key, no_case, late",
    ["endpoint", "reason"],
)
STORE_ERRORS: Final = Counter(
    "callback_store_errors",
    "Store commands without a reply: nothing changed (refused), or that is not known (unknown)",
    ["outcome"],
)
STORE_REPLICATION_SECONDS: Final = Histogram(
    "callback_store_replication_seconds",
    "Duration of the batches of writes that replicas must confirm, by whether enough did in time (confirmed, too_few)",
    ["outcome"],
    buckets=SECONDS,
)
STORE_PARTITIONS_REFUSED: Final = Gauge(
    "callback_store_partitions_refused",
    "Partitions that are not used because the store is older than what servers have seen, as an old primary is",
)
STEPS_LOST: Final = Counter(
    "callback_store_steps_lost", "Acknowledged steps that were gone after the primary of the store changed"
)
LEASES_ENDED: Final = Counter("callback_leases_ended", "Calls interrupted because their process died or lost the store")
AUDIT_ENTRIES: Final = Counter("callback_audit_entries", "Entries of the audit that this process has added", ["action"])
AUDIT_ENTRIES_REFUSED: Final = Counter(
    "callback_audit_entries_refused",
    "Changes that were made again with a new entry, because this process did not know the newest one of the chain",
)
AUDIT_PROBLEMS: Final = Counter(
    "callback_audit_problems",
    "Chains of the audit that lacked entries which this process had seen (missing), whose newest entry was not proven "
    "(head_not_proven), from which retention deleted nothing because not all was proven (retention_stopped), or whose "
    "verification did not find all proven (not_verified)",
    ["problem"],
)
REPLICA_MESSAGES_DROPPED: Final = Counter(
    "callback_replica_messages_dropped",
    "Messages to other servers dropped because the store was away or the receiver did not read",
)
WATCHERS: Final = Gauge("callback_watchers", "Watchers connected to this process")
STORE_FAULTS: Final = Counter(
    "callback_store_faults",
    "Entries in the store without their case (entry_without_case), or that were missing and were made (missing_entry), "
    "and cases that were left as they are because of a key of a wrong type (wrong_type), or whose call does not exist "
    "(no_call)",
    ["fault"],
)
CASES_EXPIRED: Final = Counter("callback_cases_expired", "Callbacks that expired")
STORE_CLOCK_SKEW_SECONDS: Final = Gauge(
    "callback_store_clock_skew_seconds", "How far the store's clock is ahead of the clock of this process"
)
STORE_CLOCK_BEHIND_SECONDS: Final = Gauge(
    "callback_store_clock_behind_seconds",
    "How far the store's clock is behind the time of the stored data, because it has stepped back",
)
STORE_MEMORY_BYTES: Final = Gauge(
    "callback_store_memory_bytes", "Memory that a node of the store uses, by its address on a cluster", ["node"]
)
STORE_MEMORY_LIMIT_BYTES: Final = Gauge(
    "callback_store_memory_limit_bytes", "The maxmemory of a node of the store, if it has one", ["node"]
)
STORE_UP: Final = Gauge("callback_store_up", "1 while the store answers and is safe, else 0")
ACCESS_EXPIRES_TIME_SECONDS: Final = Gauge(
    "callback_access_expires_time_seconds",
    "When the first principal loses its access because its last token expires, in seconds since 1970; +Inf: none does",
)
ACCESS_EXPIRES_TIME_SECONDS.set(math.inf)
RETENTION_SECONDS: Final = Gauge(
    "callback_retention_seconds", "For how long closed callbacks and ended calls are kept: the setting retention_s"
)
RETENTION_APPLIED_TIME_SECONDS: Final = Gauge(
    "callback_retention_applied_time_seconds",
    "When this process last deleted what is past its retention in the whole store, in seconds since 1970; before the "
    "first time, when it started",
)
RELOADS_FAILED: Final = Counter(
    "callback_reloads_failed",
    "Changed files that could not be read and so did not replace the values in use",
    ["file"],
)

for outcome in ("refused", "unknown"):
    STORE_ERRORS.labels(outcome)
for outcome in ("confirmed", "too_few"):
    STORE_REPLICATION_SECONDS.labels(outcome)
for fault in ("entry_without_case", "missing_entry", "no_call", "wrong_type"):
    STORE_FAULTS.labels(fault)
for problem in ("head_not_proven", "missing", "not_verified", "retention_stopped"):
    AUDIT_PROBLEMS.labels(problem)
for file in ("certificate", "handler_secrets", "handler_tls", "keyring", "principals", "profile"):
    RELOADS_FAILED.labels(file)
for delivery in (DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD):
    for reason in (CallReason.REMINDER, CallReason.EXPIRY):
        NOTIFICATIONS.labels(reason, delivery)

OWN_PROFILES: Final = "own/*"
"""The label of all verification profiles of owners, of which there are many."""


def profile_label(profile: str) -> str:
    """Return the label of a verification profile."""
    return OWN_PROFILES if profile.startswith(PREFIX) else profile


_activities: set[str] = set()


def add_activities(names: Iterable[str]) -> None:
    """Give activities series of their own from now on, as long as there are not too many."""
    for name in names:
        if name not in _activities and len(_activities) < MAX_ACTIVITIES:
            _activities.add(name)
            _start_series(name)
    calls_series.cache_clear()
    deliveries_series.cache_clear()


@functools.lru_cache(4096)
def calls_series(activity: str, outcome: str, reason: str) -> Counter:
    """Return the series of the ended calls of an activity. Looking it up by its labels is slow."""
    return CALLS.labels(_label(activity), outcome, reason)


@functools.lru_cache(4096)
def deliveries_series(activity: str, outcome: str, reason: str) -> Counter:
    """Return the series of the delivery attempts of an activity."""
    return DELIVERIES.labels(_label(activity), outcome, reason)


def _label(activity: str) -> str:
    return activity if activity in _activities else OTHER_ACTIVITIES


def _start_series(label: str) -> None:
    for status in (CallStatus.SUCCEEDED, CallStatus.REJECTED):
        CALLS.labels(label, status, "")
    for delivery in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD):
        DELIVERIES.labels(label, delivery, "")
    for failure in set(CallFailure) - {CallFailure.NO_HANDLER}:
        CALLS.labels(label, CallStatus.NOT_STARTED if failure in NOT_ASKED else CallStatus.FAILED, failure)
        for delivery in (DeliveryStatus.PENDING, DeliveryStatus.DEAD):
            DELIVERIES.labels(label, delivery, failure)


_start_series(OTHER_ACTIVITIES)
