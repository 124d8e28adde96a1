"""Callback for Python: generate URLs that someone outside can call, and decide the answer.

::

    with CallbackClient("127.0.0.1:50051") as client:
        callback = client.generate_callback_url("order-paid", Redirect("/page/thankyou"))

`CallbackClient` asks a server, `AsyncCallbackClient` does so with asyncio; `Handlers` decide on calls, which a `Worker`
fetches. The generated messages and stubs are in `callback.v1`, for whom they serve better.
"""

from callback._decisions import Accept, Answer, Handler, Reject
from callback._errors import (
    CallAnsweredError,
    CallbackClosedError,
    CallbackError,
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
    AnswerMode,
    Call,
    Callback,
    CallbackStatus,
    CallEvent,
    CallEventType,
    CallFailure,
    CallFilter,
    CallStatus,
    CloseReason,
    Delivery,
    DeliveryStatus,
    GeneratedCallback,
    GetGuard,
    IncomingCall,
    Page,
    Redirect,
    Request,
    Response,
    ResponseType,
)
from callback.client._async_client import AsyncCallbackClient, AsyncCallWatch
from callback.client._sync_client import CallbackClient, CallWatch
from callback.connection._credentials import ServerTls, Tls
from callback.worker._handlers import Handlers, Listening
from callback.worker._worker import Worker

__all__ = [
    "Accept",
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
    "CallStatus",
    "CallWatch",
    "Callback",
    "CallbackClient",
    "CallbackClosedError",
    "CallbackError",
    "CallbackStatus",
    "CloseReason",
    "DeadlineExceededError",
    "Delivery",
    "DeliveryStatus",
    "ErrorReason",
    "FieldViolation",
    "GeneratedCallback",
    "GetGuard",
    "Handler",
    "Handlers",
    "Headers",
    "IncomingCall",
    "InvalidRequestError",
    "Listening",
    "NotFoundError",
    "Page",
    "Pairs",
    "PairsLike",
    "PermissionDeniedError",
    "Query",
    "Redirect",
    "Reject",
    "Request",
    "RequestIdReusedError",
    "RequestIdUnsupportedError",
    "Response",
    "ResponseType",
    "ServerTls",
    "Tls",
    "TooManyOpenCallbacksError",
    "TooManyWatchersError",
    "UnauthenticatedError",
    "UnavailableError",
    "WatchPositionLostError",
    "WatcherTooSlowError",
    "Worker",
]
