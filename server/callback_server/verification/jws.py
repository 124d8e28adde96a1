"""JSON Web Signatures (RFC 7515) in compact form, as signatures of requests: with their own payload, or detached."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from callback_server.verification import request_fields
from callback_server.verification.profile import VerificationError

ALGORITHMS: Final[Mapping[str, str]] = {
    "rsa-sha256": "RS256",
    "rsa-sha512": "RS512",
    "rsa-pss-sha256": "PS256",
    "rsa-pss-sha512": "PS512",
    "ecdsa-raw-sha256": "ES256",
    "ecdsa-raw-sha384": "ES384",
    "ecdsa-raw-sha512": "ES512",
    "ed25519": "EdDSA",
}
"""Algorithm of a JWS (`alg`), by the one of the settings."""

_JWS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Jws:
    """The parts of a JWS. Nothing of it is verified."""

    head: str
    """Its header, in base64url."""
    members: Mapping[str, Any]
    """Members of its header."""
    payload: bytes
    """Empty: it is detached."""
    signature: str
    """In base64url."""

    def check_header(self, algorithm: str, wanted: Mapping[str, str]) -> None:
        """Raise VerificationError if the header names another algorithm or lacks wanted members.

        Args:
            algorithm: The algorithm of the settings.
            wanted: Members and their values.
        """
        if self.members.get("alg") != ALGORITHMS[algorithm]:
            raise VerificationError("the alg of the JWS is not that of the profile")
        if {"crit", "b64"} & self.members.keys():
            raise VerificationError("the JWS has an extension that is not known")
        if any(self.members.get(name) != value for name, value in wanted.items()):
            raise VerificationError("the header of the JWS lacks one of jws_header")

    def signed(self, payload: bytes) -> bytes:
        """Return the bytes that a JWS with this header and a payload signs."""
        return f"{self.head}.{_encoded(payload)}".encode()


def parse_jws(text: str) -> Jws:
    """Return the parts of a JWS. Raise VerificationError if it is none."""
    found = _JWS.fullmatch(text)
    if found is None:
        raise VerificationError("the signature is not a JWS in compact form")
    head, payload, signature = found.groups()
    try:
        return Jws(head, request_fields.json_object(_decoded(head)), _decoded(payload), signature)
    except ValueError:
        raise VerificationError("the signature is not a JWS in compact form") from None


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _decoded(segment: str) -> bytes:
    octets = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if _encoded(octets) != segment:
        raise ValueError("the last character has bits that nothing reads")  # so the same bytes have another form
    return octets
