"""Availability of the servers: why none accepts calls, and the log of it, with one line for each change."""

import math
import time
from typing import Final

import grpc.aio

from callback_edge.upstream.status import REFUSAL_CODES, details_of, reason_of, status_of
from callback_process import logs
from callback_process.credentials import FileReloader

log = logs.get_logger()

QUIET_S: Final = 30.0
"""Time without a refusal, in seconds, after which the log says that servers accept calls again."""
_NO_SERVER: Final = "no connection to a server that accepts calls"
_UNREACHABLE: Final = "server_unreachable"


class ServerAvailability:
    """What is known of the servers while none accepts calls.

    Args:
        token: This edge's token, for the advice in the log.
    """

    def __init__(self, token: FileReloader[str]) -> None:
        self._token = token
        self.is_ready = False
        """Whether a stream is ready."""
        self.why_unavailable = "no server has answered yet"
        """Why no server accepts calls, in a few words. Not set while a server accepts calls."""
        self.is_refused = False
        """Whether the reason is that a server refuses this edge."""
        self._logged: set[str] = set()
        """Problems logged since the last time a server accepted calls."""
        self._refused_at = -math.inf

    def server_ready(self) -> None:
        """Record that a server accepts calls."""
        is_news = self.is_refused or self._logged or self.why_unavailable != _NO_SERVER
        self.is_refused, self.why_unavailable = False, _NO_SERVER
        if is_news and time.monotonic() - self._refused_at > QUIET_S:
            self._logged.clear()
            log.info("server_ready")

    def stream_failed(self, error: grpc.aio.AioRpcError) -> None:
        """Record that a stream could not be opened, or broke."""
        status = status_of(error)
        if status.code in REFUSAL_CODES:
            reason = reason_of(status)
            self.is_refused, self.why_unavailable = True, f"a server refuses this edge: {reason}"
            self.edge_refused(reason)
        elif not details_of(status).reason and not self.is_ready and _UNREACHABLE not in self._logged:
            self._logged.add(_UNREACHABLE)
            log.warning(_UNREACHABLE, grpc_code=error.code().name, grpc_details=error.details())

    def edge_refused(self, reason: str) -> None:
        """Log once that a server refuses this edge, and what the operator can do."""
        self._refused_at = time.monotonic()
        if reason in self._logged:
            return
        self._logged.add(reason)
        if reason == "ROLE_MISSING":
            to_do = "give the principal of this edge the role edge, in the server's principals_file"
        elif self._token.value:
            to_do = "put a token that the server knows into server_token_file: callback token NAME --role edge"
        else:
            to_do = "set server_token_file, or cert_file and key_file of server_tls"
        log.error("edge_refused", reason=reason, to_do=to_do)
