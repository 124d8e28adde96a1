"""The figures of a server process, by Prometheus' conventions.

Labels are bounded: none names a case, an owner, a label or a path. What alerts count stands at 0 from the start: a
series that begins at 1 has no rate.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

CALLS: Final = Counter(
    "callback_calls",
    "Calls that ended here, by what became of them and, of those that failed, why",
    ["outcome", "reason"],
)
DELIVERIES: Final = Counter(
    "callback_deliveries", "Attempts of deliveries that ended here, by what became of the delivery", ["outcome"]
)
DELIVERIES_IN_FLIGHT: Final = Gauge("callback_deliveries_in_flight", "Deliveries that run in this process")
CALLS_IN_FLIGHT: Final = Gauge("callback_calls_in_flight", "Calls that run in this process")
WORKERS: Final = Gauge("callback_workers", "Workers that are connected to this process")
WORKER_PLACES_FREE: Final = Gauge("callback_worker_places_free", "Calls that workers could take in this process")
WORKER_CALLS_WAITING: Final = Gauge("callback_worker_calls_waiting", "Calls that wait for a worker in this process")
STAGE_SECONDS: Final = Histogram(
    "callback_call_stage_seconds", "How long each stage of a call took", ["stage"], buckets=_SECONDS
)
CLAIM_SECONDS: Final = STAGE_SECONDS.labels("claim")
VERIFY_SECONDS: Final = STAGE_SECONDS.labels("verify")
HANDLER_SECONDS: Final = STAGE_SECONDS.labels("handler")
FINISH_SECONDS: Final = STAGE_SECONDS.labels("finish")
REQUEST_SECONDS: Final = Histogram(
    "callback_request_seconds", "How long each gRPC method took", ["method"], buckets=_SECONDS
)
REFUSED: Final = Counter("callback_refused", "Requests that were refused, by method and reason", ["method", "reason"])
VERIFICATIONS_FAILED: Final = Counter(
    "callback_verifications_failed", "Requests that did not pass the profile of their callback", ["profile"]
)
HANDSHAKES: Final = Counter(
    "callback_handshakes", "Requests with which a sender asked for a URL's consent, and got it", ["profile"]
)
MESSAGES_REPEATED: Final = Counter(
    "callback_messages_repeated", "Messages that came before and were answered as then, by their profile", ["profile"]
)
STORE_ERRORS: Final = Counter(
    "callback_store_errors",
    "Requests to the store without an answer: nothing was changed (refused), or that is not known (unknown)",
    ["outcome"],
)
LEASES_ENDED: Final = Counter(
    "callback_leases_ended", "Calls that were interrupted: their process died or lost the store"
)
LETTERS_DROPPED: Final = Counter(
    "callback_letters_dropped",
    "What this process could not tell other servers: the store was away, or they read nothing",
)
WATCHERS: Final = Gauge("callback_watchers", "Those who watch calls at this process")
CASES_EXPIRED: Final = Counter("callback_cases_expired", "Callbacks whose time to live has passed")
STORE_UP: Final = Gauge("callback_store_up", "1 while the store answers, else 0")
RELOADS_FAILED: Final = Counter(
    "callback_reloads_failed", "Files that changed and could not be taken over; what held before still holds", ["file"]
)

for outcome in ("refused", "unknown"):
    STORE_ERRORS.labels(outcome)
for file in ("certificate", "handler_tls", "principals"):
    RELOADS_FAILED.labels(file)
for status in (CallStatus.SUCCEEDED, CallStatus.REJECTED):
    CALLS.labels(status, "")
for delivery in (DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD):
    DELIVERIES.labels(delivery)
for failure in CallFailure:
    not_started = failure in (CallFailure.HANDLER_UNREACHABLE, CallFailure.NO_HANDLER)
    CALLS.labels(CallStatus.NOT_STARTED if not_started else CallStatus.FAILED, failure)
