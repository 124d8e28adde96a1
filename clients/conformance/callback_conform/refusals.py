"""Refusals as a server sends them: a status with `ErrorInfo`, and with what else it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN: Final = "callback"
"""The domain of each `ErrorInfo`."""


def status_of(refusal: Mapping[str, Any]) -> status_pb2.Status:
    """Return the status of a refusal in a scenario or a vector.

    Args:
        refusal: `code`, a name of gRPC; optional `reason`, `message`, `metadata` (an object), `violations` (a list of
            objects with `field`, `description` and `reason`) and `retry_after_s`.
    """
    code = grpc.StatusCode[refusal["code"]]
    status = status_pb2.Status(code=code.value[0], message=refusal.get("message", "refused by the scenario"))
    if reason := refusal.get("reason"):
        _add(
            status,
            error_details_pb2.ErrorInfo(
                reason=reason, domain=refusal.get("domain", DOMAIN), metadata=refusal.get("metadata")
            ),
        )
    if violations := refusal.get("violations"):
        bad = error_details_pb2.BadRequest()
        for each in violations:
            bad.field_violations.add(**each)
        _add(status, bad)
    if (seconds := refusal.get("retry_after_s")) is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(seconds * 1000))
        _add(status, retry)
    return status


async def refuse(context: grpc.aio.ServicerContext[Any, Any], refusal: Mapping[str, Any]) -> NoReturn:
    """End an RPC with a refusal."""
    await context.abort_with_status(cast("Any", rpc_status.to_status(status_of(refusal))))
    raise AssertionError("abort_with_status returned")


def _add(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)
