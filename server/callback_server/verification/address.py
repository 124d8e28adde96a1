"""Where a request comes from, as proof of who sends it."""

from __future__ import annotations

import ipaddress

from callback_server.domain.call import Request
from callback_server.verification.profile import VerificationError, VerifiedMessage
from callback_server.verification.settings import AddressSettings


class Address:
    """The client's address is in one of some ranges."""

    challenge = "Address"

    def __init__(self, settings: AddressSettings) -> None:
        self._networks = [ipaddress.ip_network(network) for network in settings.networks]

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:  # it covers nothing
        """As of `Verifier`."""
        try:
            address = ipaddress.ip_address(request.client_address)
        except ValueError:
            raise VerificationError("the client's address is not known") from None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address in network for network in self._networks):
            raise VerificationError("the client's address is in none of the ranges")
        return VerifiedMessage()

    def redacted(self, request: Request) -> Request:
        """As of `Verifier`: an address is no secret."""
        return request
