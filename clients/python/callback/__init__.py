"""Callback for Python: generate URLs that an outside system can call, and decide how each call is answered.

    with CallbackClient("127.0.0.1:50051") as client:
        callback = client.generate_callback_url("order-paid", Redirect("/page/thankyou"))

`CallbackClient` is the client of a Callback server, and `AsyncCallbackClient` is the same client for asyncio.
`Handlers` holds the functions that decide on calls; a `Worker` receives calls from the server and runs them.
`callback.v1` has the generated messages and stubs, for programs that need gRPC itself.

The public names are those of this module, `callback.testing`, `callback.masking`, `callback.json_form` and
`callback.v1`. Modules whose name starts with an underscore are private and may change in any release.
"""

from typing import TYPE_CHECKING

from callback import _enums, _reason_errors, _values
from callback._behavior import NotJsonError
from callback._decisions import Accept, Answer, Handler, NotificationHandler, Reject
from callback._enums import *  # noqa: F403  # each enum of the contract is public
from callback._errors import (
    CallbackError,
    DeadlineExceededError,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from callback._forms import Form, FormFile, NotFormError
from callback._handler_requests import UnverifiedRequestError, verify_handler_request
from callback._multi_mapping import Headers, Pairs, PairsLike, Query
from callback._reason_errors import *  # noqa: F403  # each class of errors for a reason is public
from callback._reasons import ErrorReason
from callback._responses import PageResponse, Redirect
from callback._values import *  # noqa: F403  # each value of the contract is public
from callback.client._async_client import AsyncCallbackClient
from callback.client._async_transport import AsyncCallWatch
from callback.client._page import Page
from callback.client._sync_client import CallbackClient
from callback.client._sync_transport import CallWatch
from callback.connection._tls import ServerTls, Tls
from callback.worker._handlers import Handlers, Listening
from callback.worker._worker import Worker
from callback_shared.version import installed_version

__all__ = [
    "Accept",
    "Answer",
    "AsyncCallWatch",
    "AsyncCallbackClient",
    "CallWatch",
    "CallbackClient",
    "CallbackError",
    "DeadlineExceededError",
    "ErrorReason",
    "FieldViolation",
    "Form",
    "FormFile",
    "Handler",
    "Handlers",
    "Headers",
    "InvalidRequestError",
    "Listening",
    "NotFormError",
    "NotFoundError",
    "NotJsonError",
    "NotificationHandler",
    "Page",
    "PageResponse",
    "Pairs",
    "PairsLike",
    "PermissionDeniedError",
    "Query",
    "Redirect",
    "Reject",
    "ServerTls",
    "Tls",
    "UnauthenticatedError",
    "UnavailableError",
    "UnverifiedRequestError",
    "Worker",
    "verify_handler_request",
]
__all__ += _enums.__all__
__all__ += _reason_errors.__all__
__all__ += _values.__all__


if TYPE_CHECKING:  # a function `__getattr__` would tell type checkers that every name exists
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Return `__version__`, the version of the installed package. It is read from a file when it is asked for."""
        if name == "__version__":
            return installed_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Tracebacks and reprs then show the public name, such as `callback.NotFoundError`, and not that of a private module.
for _name in __all__:
    if isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__
del _name, _value
