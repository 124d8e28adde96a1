"""Callback for Python: generate URLs that an outside system can call, and decide how each call is answered.

    with CallbackClient("127.0.0.1:50051") as client:
        callback = client.generate_callback_url("order-paid", Redirect("/page/thankyou"))

`CallbackClient` is the client of a Callback server, and `AsyncCallbackClient` is the same client for asyncio.
`Handlers` holds the functions that decide on calls; a `Worker` receives calls from the server and runs them.
`callback.v1` has the generated messages and stubs, for programs that need gRPC itself.

The public names are those of this module, `callback.testing`, `callback.targets`, `callback.masking` and `callback.v1`.
Modules whose name starts with an underscore are private and may change in any release.
"""

from callback._decisions import Accept, Answer, Handler, NotificationHandler, Reject
from callback._errors import (
    CallAnsweredError,
    CallbackClosedError,
    CallbackError,
    CallbackResolvedError,
    CallNotHeldError,
    CallNotReplayableError,
    DeadlineExceededError,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestIdReusedError,
    RequestIdUnsupportedError,
    TooManyOpenCallbacksError,
    TooManyWatchersError,
    UnauthenticatedError,
    UnavailableError,
    WatcherTooSlowError,
    WatchPositionLostError,
)
from callback._multi_mapping import Headers, Pairs, PairsLike, Query
from callback._reasons import ErrorReason
from callback._values import (
    Activity,
    ActivityKind,
    AnswerMode,
    Call,
    Callback,
    CallbackStatus,
    CallbackWarning,
    CallEvent,
    CallEventType,
    CallFailure,
    CallFilter,
    CallReason,
    CallStatus,
    CloseReason,
    Delivery,
    DeliveryStatus,
    Finding,
    FindingLevel,
    GeneratedCallback,
    GetGuard,
    IncomingCall,
    MinuteStatistics,
    Notification,
    OutcomeCount,
    OwnerStatistics,
    Page,
    PageResponse,
    PausedActivity,
    Prompt,
    Redirect,
    Request,
    Response,
    ResponseType,
    StageDuration,
    Statistics,
    WarningReason,
    WorkStatistics,
)
from callback.client._async_client import AsyncCallbackClient, AsyncCallWatch
from callback.client._sync_client import CallbackClient, CallWatch
from callback.connection._tls import ServerTls, Tls
from callback.worker._handlers import Handlers, Listening
from callback.worker._worker import Worker

__all__ = [
    "Accept",
    "Activity",
    "ActivityKind",
    "Answer",
    "AnswerMode",
    "AsyncCallWatch",
    "AsyncCallbackClient",
    "Call",
    "CallAnsweredError",
    "CallEvent",
    "CallEventType",
    "CallFailure",
    "CallFilter",
    "CallNotHeldError",
    "CallNotReplayableError",
    "CallReason",
    "CallStatus",
    "CallWatch",
    "Callback",
    "CallbackClient",
    "CallbackClosedError",
    "CallbackError",
    "CallbackResolvedError",
    "CallbackStatus",
    "CallbackWarning",
    "CloseReason",
    "DeadlineExceededError",
    "Delivery",
    "DeliveryStatus",
    "ErrorReason",
    "FieldViolation",
    "Finding",
    "FindingLevel",
    "GeneratedCallback",
    "GetGuard",
    "Handler",
    "Handlers",
    "Headers",
    "IncomingCall",
    "InvalidRequestError",
    "Listening",
    "MinuteStatistics",
    "NotFoundError",
    "Notification",
    "NotificationHandler",
    "OutcomeCount",
    "OwnerStatistics",
    "Page",
    "PageResponse",
    "Pairs",
    "PairsLike",
    "PausedActivity",
    "PermissionDeniedError",
    "Prompt",
    "Query",
    "Redirect",
    "Reject",
    "Request",
    "RequestIdReusedError",
    "RequestIdUnsupportedError",
    "Response",
    "ResponseType",
    "ServerTls",
    "StageDuration",
    "Statistics",
    "Tls",
    "TooManyOpenCallbacksError",
    "TooManyWatchersError",
    "UnauthenticatedError",
    "UnavailableError",
    "WarningReason",
    "WatchPositionLostError",
    "WatcherTooSlowError",
    "WorkStatistics",
    "Worker",
]

# Tracebacks and reprs then show the public name, such as `callback.NotFoundError`, and not that of a private module.
for _name in __all__:
    if isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__
del _name, _value
