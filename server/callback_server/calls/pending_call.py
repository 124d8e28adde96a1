"""A request between its arrival and its claim."""

from __future__ import annotations

import msgspec

from callback_server.domain.call import Request, RequestIdentity, identity_of
from callback_server.domain.guard import RequestIntent, intent_of
from callback_server.domain.ids import case_id_of, case_id_of_call, new_call_id, state_hash
from callback_server.domain.response import Response
from callback_server.domain.verification import UNVERIFIED, Verification


class PendingCall(msgspec.Struct, frozen=True):
    """A request that is about to become a call, and the checks that it has passed so far."""

    call_id: str
    state: str
    state_sha256: bytes
    parameter: str
    request: Request
    sent: RequestIdentity
    """The identity of the request as it was sent: of a confirmation, as it was posted."""
    intent: RequestIntent
    verification: Verification = UNVERIFIED
    handshake: Response | None = None
    """Response to a handshake. A handshake is not a call."""

    @property
    def case_id(self) -> str:
        """The case that the request reaches."""
        return case_id_of_call(self.call_id)


def pending_call(state: str, parameter: str, request: Request) -> PendingCall:
    """Return a request, as a call with an id of its own that has passed no checks."""
    state_sha256 = state_hash(state)
    call_id = new_call_id(case_id_of(state_sha256))
    return PendingCall(call_id, state, state_sha256, parameter, request, identity_of(request), intent_of(request))
