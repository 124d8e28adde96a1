"""A request between its arrival and its claim."""

from __future__ import annotations

import hashlib

import msgspec

from callback_server.domain.call import Request, RequestIdentity, identity_of
from callback_server.domain.endpoint import EventTarget
from callback_server.domain.guard import RequestIntent, intent_of
from callback_server.domain.ids import case_id_of, case_id_of_call, new_call_id, state_hash
from callback_server.domain.response import Response
from callback_server.domain.verification import UNVERIFIED, Verification


class PendingCall(msgspec.Struct, frozen=True):
    """A request that is about to become a call, and the checks that it has passed so far."""

    call_id: str
    """Of an event until its claim: the id begins with what stands for the case."""
    state: str
    state_sha256: bytes
    """Empty for an event, which has no state."""
    parameter: str
    request: Request
    sent: RequestIdentity
    """The identity of the request as it was sent: of a confirmation, as it was posted."""
    intent: RequestIntent
    verification: Verification = UNVERIFIED
    handshake: Response | None = None
    """Response to a handshake. A handshake is not a call."""
    event: EventTarget | None = None
    """Where the request came as an event. None: it came to the URL of a case."""

    @property
    def case_id(self) -> str:
        """The case that the request reaches."""
        return case_id_of_call(self.call_id)

    @property
    def log_fields(self) -> dict[str, str]:
        """What the log says about its address. The case of an event is not known before its claim."""
        return {"case_id": self.case_id} if self.event is None else {"endpoint": self.event.endpoint.name}


def pending_call(state: str, parameter: str, request: Request) -> PendingCall:
    """Return a request, as a call with an id of its own that has passed no checks."""
    state_sha256 = state_hash(state)
    call_id = new_call_id(case_id_of(state_sha256))
    return PendingCall(call_id, state, state_sha256, parameter, request, identity_of(request), intent_of(request))


def pending_event(target: EventTarget, request: Request) -> PendingCall:
    """Return an event, as a call with an id of its own that has passed no checks. The endpoint stands for the case."""
    call_id = new_call_id(hashlib.sha256(target.endpoint.name.encode()).hexdigest()[:32])
    return PendingCall(call_id, "", b"", "", request, identity_of(request), intent_of(request), event=target)
