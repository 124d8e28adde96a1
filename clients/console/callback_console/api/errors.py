"""Errors of gRPC as errors of the Connect protocol, with the same codes, messages and details.

An error of the server keeps everything. Any other one, of the network or of a proxy, keeps its code only: its text can
contain addresses of machines. Of an error in the console itself, only the logs have the text.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from protobuf import message_from_json_value, wkt

from callback.v1 import callback_pb2
from callback_process import logs

log = logs.get_logger()

DOMAIN: Final = "callback"
"""`ErrorInfo` domain of a Callback server."""
_DETAILS: Final = {
    each.DESCRIPTOR.full_name: each
    for each in (
        error_details_pb2.BadRequest,
        error_details_pb2.ErrorInfo,
        error_details_pb2.RetryInfo,
        callback_pb2.Prompt,
    )
}
"""Messages in the details of an error, by name."""
_TEXTS: Final = {
    grpc.StatusCode.UNAVAILABLE: "the server cannot be reached",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the server did not respond in time",
    grpc.StatusCode.UNIMPLEMENTED: "the server is not of a compatible version",
}


class _Detail(ErrorDetail):
    """A detail, with its content as JSON, for people who have no protobuf."""

    def __init__(self, detail: any_pb2.Any) -> None:
        super().__init__(wkt.Any(type_url=detail.type_url, value=detail.value))
        self._content = detail

    def value(self, _wanted: object = None, /) -> Any:
        """Return the content as a `Struct`, whose JSON is that of the message. connectrpc sends it as `debug`."""
        message_class = _DETAILS.get(self.type_name)
        if message_class is None:
            return None
        content = json_format.MessageToDict(message_class.FromString(self._content.value))
        return message_from_json_value(wkt.Struct, content)


@contextlib.contextmanager
def as_connect_errors() -> Iterator[None]:
    """Raise errors as those of the protocol."""
    try:
        yield
    except ConnectError:
        raise
    except grpc.aio.AioRpcError as error:
        raise _connect_error(error) from error
    except Exception as error:
        log.exception("request_failed")
        raise ConnectError(Code.INTERNAL, "the console failed") from error


def _connect_error(error: grpc.aio.AioRpcError) -> ConnectError:
    code = Code[_spelled(error.code())]
    status = _status_of(error)
    if status is None:
        log.warning("server_failed", code=error.code().name, details=error.details())
        return ConnectError(code, _TEXTS.get(error.code(), "the server failed"))
    return ConnectError(code, status.message, [_Detail(detail) for detail in status.details])


def refusal(code: Code, message: str, reason: str) -> ConnectError:
    """Return an error of the console itself, with a reason of the contract."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    return ConnectError(code, message, [_Detail(detail)])


def _spelled(code: grpc.StatusCode) -> str:
    return "CANCELED" if code is grpc.StatusCode.CANCELLED else code.name


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """Return the status that a Callback server sent. None: the error is of something else."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has the methods of a Call
    except (ValueError, DecodeError):
        return None
    info = error_details_pb2.ErrorInfo()
    is_ours = status is not None and any(detail.Unpack(info) and info.domain == DOMAIN for detail in status.details)
    return status if is_ours else None
