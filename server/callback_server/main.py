"""Run a server process until it stops, and return its exit code. The stop has a time limit.

The first SIGTERM or SIGINT starts the stop. The process ends at the latest `STOP_SLACK_S` after `drain_s` and
`grace_s`, even if a part of it hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import Final

from google.protobuf.message_factory import GetMessageClass

from callback.v1 import callback_handler_service_pb2
from callback_process import logs
from callback_process.addresses import parse_bind
from callback_process.admin import AdminServer
from callback_process.entry_point import StartError, run_process
from callback_process.listener import address_of, listen
from callback_process.stop import hard_exit_after, stop_on_signals
from callback_process.version import VERSION
from callback_server.contract.validation import violations
from callback_server.control_plane import ControlPlane, StopRequestedError
from callback_server.rpc.services import AUTHENTICATED
from callback_server.settings import ServerSettings

log = logs.get_logger()

STOP_SLACK_S: Final = 1.0
"""Time between the end of the grace and the forced end of the process, in seconds."""


def run(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        The exit code: 0, or 1 with a line on standard error if the process cannot start.
    """
    return run_process("server", settings, _serve(settings))


async def _serve(settings: ServerSettings) -> None:
    stop_requested = stop_on_signals()
    control_plane = ControlPlane(settings, stop_requested=stop_requested)
    # `callback up` has moved the clock of a test (see its moved_time.py). Otherwise a sweep finds nothing to do.
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, control_plane.sweeper.wake)
    admin = _listen_admin(settings)
    _compile_rules()
    with AdminServer(admin, control_plane.health.why_not_ready), contextlib.suppress(StopRequestedError):
        async with control_plane:
            log.info(
                "ready",
                version=VERSION,
                grpc=str(parse_bind(settings.grpc_bind)._replace(port=control_plane.port)),
                admin=str(address_of(admin)),
                tls=control_plane.has_tls,
                principals=control_plane.known_principals,
            )
            await stop_requested.wait()
            log.info("stopping", drain_s=settings.drain_s, grace_s=settings.grace_s)
            hard_exit_after(settings.drain_s + settings.grace_s + STOP_SLACK_S)
            is_clean = await control_plane.stop()
            log.info("stopped", clean=is_clean)


def _listen_admin(settings: ServerSettings) -> socket.socket:
    try:
        return listen(settings.admin_bind)
    except OSError as error:
        raise StartError(f"admin_bind: {error}") from error


def _compile_rules() -> None:
    """Compile the contract's rules before the first request, so that a wrong rule fails the start."""
    for file in (*(each.file for each in AUTHENTICATED), callback_handler_service_pb2.DESCRIPTOR):
        for descriptor in file.message_types_by_name.values():
            violations(GetMessageClass(descriptor)())
