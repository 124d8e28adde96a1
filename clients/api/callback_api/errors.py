"""Errors of gRPC as errors of the Connect protocol, with the same codes, messages and details.

An error of the server keeps everything. Any other one, of the network or of a proxy, keeps its code only: its text can
contain addresses of machines. Of an error in the console itself, only the logs have the text.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from protobuf import message_from_json_value, wkt

from callback.json_form import to_json
from callback_process import logs

log = logs.get_logger()

DOMAIN: Final = "callback"
"""`ErrorInfo` domain of a Callback server."""
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
        """Return the content in the JSON form, as a `Struct`. connectrpc sends it as `debug`."""
        try:
            kind = descriptor_pool.Default().FindMessageTypeByName(self.type_name)
        except KeyError:  # it is of a newer version
            return None
        content = message_factory.GetMessageClass(kind).FromString(self._content.value)
        return message_from_json_value(wkt.Struct, to_json(content))


@contextlib.contextmanager
def as_connect_errors(
    rename: Callable[[status_pb2.Status], status_pb2.Status] = lambda status: status,
) -> Iterator[None]:
    """Raise errors as those of the protocol.

    Args:
        rename: Returns the status of the server with the names of fields that the caller knows.
    """
    try:
        yield
    except ConnectError:
        raise
    except grpc.aio.AioRpcError as error:
        raise _connect_error(error, rename) from error
    except Exception as error:
        log.exception("request_failed")
        raise ConnectError(Code.INTERNAL, "the console failed") from error


def _connect_error(
    error: grpc.aio.AioRpcError, rename: Callable[[status_pb2.Status], status_pb2.Status]
) -> ConnectError:
    code = Code[_spelled(error.code())]
    status = _status_of(error)
    if status is None:
        log.warning("server_failed", code=error.code().name, details=error.details())
        return ConnectError(code, _TEXTS.get(error.code(), "the server failed"))
    status = rename(status)
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
