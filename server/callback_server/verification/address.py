"""Verification by the client's address."""

from __future__ import annotations

import ipaddress

from callback_server.domain.call import Request
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.settings.credentials import AddressSettings
from callback_server.verification.verifier import Verifier


class Address(Verifier):
    """Verifier: the client's address must be in one of the networks."""

    challenge = "Address"
    reads_body = False

    def __init__(self, settings: AddressSettings) -> None:
        self._networks = settings.networks

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:  # an address signs nothing
        """Implement `Verifier.verify`."""
        try:
            address = ipaddress.ip_address(request.client_address)
        except ValueError:
            raise VerificationError("the client's address is not known") from None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address in network for network in self._networks):
            raise VerificationError("the client's address is in none of the networks", FailureReason.SIGNATURE)
        return VerifiedMessage()
