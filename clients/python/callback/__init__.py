"""Callback for Python: generate URLs that someone outside can call, and decide the answer.

::

    async with CallbackClient("127.0.0.1:50051") as client:
        callback = await client.generate_callback_url("order-paid", Redirect("/page/thankyou"))

`CallbackClient` asks a server; `Handlers` answers it. The generated messages and stubs are in `callback.v1`, for whom
they serve better.
"""

from callback.client import CallbackClient
from callback.errors import (
    CallbackClosedError,
    CallbackError,
    DeadlineExceededError,
    ErrorReason,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    RequestIdReusedError,
    UnavailableError,
)
from callback.handlers import Accept, Answer, Handler, Handlers, Listening, Reject
from callback.pairs import Headers, Pairs, PairsLike, Query
from callback.values import (
    Call,
    Callback,
    CallbackStatus,
    CallFailure,
    CallStatus,
    CloseReason,
    GeneratedCallback,
    IncomingCall,
    Page,
    Redirect,
    Request,
    Response,
    ResponseType,
)

__all__ = [
    "Accept",
    "Answer",
    "Call",
    "CallFailure",
    "CallStatus",
    "Callback",
    "CallbackClient",
    "CallbackClosedError",
    "CallbackError",
    "CallbackStatus",
    "CloseReason",
    "DeadlineExceededError",
    "ErrorReason",
    "FieldViolation",
    "GeneratedCallback",
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
    "Query",
    "Redirect",
    "Reject",
    "Request",
    "RequestIdReusedError",
    "Response",
    "ResponseType",
    "UnavailableError",
]
