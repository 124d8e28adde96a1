"""Metrics of a server process, by Prometheus' conventions.

Labels are bounded: none names a case, an owner, a label or a path. A series that alerts count starts at 0 with the
process, because a series that starts at 1 has no rate.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from callback_server.domain.call import NOT_ASKED, CallFailure, CallStatus, DeliveryStatus
from callback_server.domain.notification import Reason

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""The upper bounds of the buckets of durations, in seconds."""
STAGES: Final = ("claim", "verify", "handler", "finish")
"""The stages of a call, in their order."""

INVOKE_METHOD: Final = "StreamInvocations"
"""The method in metrics and logs of an invocation: each is counted and timed, and not the stream. Look-ups are timed
apart."""

CALLS: Final = Counter(
    "callback_calls", "Calls that ended in this process, by outcome and, for failures, by reason", ["outcome", "reason"]
)
DELIVERIES: Final = Counter(
    "callback_deliveries", "Delivery attempts that ended in this process, by the outcome of the delivery", ["outcome"]
)
NOTIFICATIONS: Final = Counter(
    "callback_notifications",
    "Attempts to deliver a notification that ended in this process, by its reason and the outcome of its delivery",
    ["reason", "outcome"],
)
DELIVERIES_IN_FLIGHT: Final = Gauge("callback_deliveries_in_flight", "Deliveries that run in this process")
CALLS_IN_FLIGHT: Final = Gauge("callback_calls_in_flight", "Calls that run in this process")
WAITS_IN_FLIGHT: Final = Gauge(
    "callback_waits_in_flight", "Requests at the addresses of calls that wait in this process for an answer"
)
BODY_BYTES_IN_FLIGHT: Final = Gauge(
    "callback_body_bytes_in_flight", "Bytes of request bodies of the calls that run in this process"
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
REPLICA_MESSAGES_DROPPED: Final = Counter(
    "callback_replica_messages_dropped",
    "Messages to other servers dropped because the store was away or the receiver did not read",
)
WATCHERS: Final = Gauge("callback_watchers", "Watchers connected to this process")
STORE_FAULTS: Final = Counter(
    "callback_store_faults",
    "Entries in the store without their case (entry_without_case), or that were missing and were made (missing_entry), "
    "and cases that were left as they are because of a key of a wrong type (wrong_type)",
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
STORE_UP: Final = Gauge("callback_store_up", "1 while the store answers and is safe, else 0")
RELOADS_FAILED: Final = Counter(
    "callback_reloads_failed",
    "Changed files that could not be read and so did not replace the values in use",
    ["file"],
)

for outcome in ("refused", "unknown"):
    STORE_ERRORS.labels(outcome)
for outcome in ("confirmed", "too_few"):
    STORE_REPLICATION_SECONDS.labels(outcome)
for fault in ("entry_without_case", "missing_entry", "wrong_type"):
    STORE_FAULTS.labels(fault)
for file in ("certificate", "handler_tls", "principals"):
    RELOADS_FAILED.labels(file)
for status in (CallStatus.SUCCEEDED, CallStatus.REJECTED):
    CALLS.labels(status, "")
for delivery in (DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD):
    DELIVERIES.labels(delivery)
    for reason in (Reason.REMINDER, Reason.EXPIRY):
        NOTIFICATIONS.labels(reason, delivery)
for failure in set(CallFailure) - {CallFailure.NO_HANDLER}:
    CALLS.labels(CallStatus.NOT_STARTED if failure in NOT_ASKED else CallStatus.FAILED, failure)
