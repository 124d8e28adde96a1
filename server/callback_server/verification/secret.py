"""Verification by secrets in plain text: in a header, in the query, or as a password. A reader can reuse them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from urllib.parse import unquote_plus

import msgspec

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.settings.credentials import BasicSettings, SharedSecretSettings
from callback_server.verification.verifier import Explanation


class SharedSecret:
    """Verifier: a secret in a header or in the query.

    Args:
        settings: Place of the secret.
        secrets: Valid secrets.
    """

    challenge = "Secret"
    reads_body = False

    def __init__(self, settings: SharedSecretSettings, secrets: Sequence[bytes]) -> None:
        self._header = settings.header
        self._parameter = settings.parameter
        self._secrets = secrets

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:  # a secret signs nothing
        """Implement `Verifier.verify`."""
        if not request_fields.matches(self._secrets, self._given(request)):
            raise VerificationError("the secret is wrong", FailureReason.SIGNATURE)
        return VerifiedMessage()

    def explain(self, request: Request, url: str) -> Explanation:  # a secret signs nothing
        """Implement `Verifier.explain`."""
        return _which(self._secrets, self._given(request))

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`."""
        if self._header is not None:
            return _without_header(request, self._header)
        return _without_parameter(request, self._parameter or "")

    def _given(self, request: Request) -> bytes:
        if self._header is not None:
            return _header_octets(request_fields.header(request, self._header))
        return request_fields.octets(request_fields.parameter(request, self._parameter or ""))


class Basic:
    """Verifier: HTTP Basic with a user name and a password (RFC 7617).

    Args:
        settings: The user name.
        passwords: Valid passwords.
    """

    challenge = 'Basic realm="callback", charset="UTF-8"'
    reads_body = False

    def __init__(self, settings: BasicSettings, passwords: Sequence[bytes]) -> None:
        username = settings.username.encode()
        self._credentials = [base64.b64encode(username + b":" + password) for password in passwords]

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:  # a secret signs nothing
        """Implement `Verifier.verify`."""
        if not request_fields.matches(self._credentials, _basic(request)):
            raise VerificationError("the user name or the password is wrong", FailureReason.SIGNATURE)
        return VerifiedMessage()

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`."""
        return _without_header(request, "authorization")

    def explain(self, request: Request, url: str) -> Explanation:  # a secret signs nothing
        """Implement `Verifier.explain`."""
        return _which(self._credentials, _basic(request))


def _basic(request: Request) -> bytes:
    """Return the user name and the password, in base64."""
    scheme, _, given = request_fields.header(request, "authorization").partition(" ")
    if scheme.lower() != "basic":
        raise VerificationError("the authorization is not Basic")
    return request_fields.octets(given)


def _which(secrets: Sequence[bytes], given: bytes) -> Explanation:
    found = [index for index, each in enumerate(secrets) if request_fields.matches([each], given)]
    return Explanation(f"secret_files[{found[0]}]" if found else "")


def _header_octets(value: str) -> bytes:
    """Return the bytes of a header value."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise VerificationError("the header has characters beyond latin-1") from None


def _without_header(request: Request, name: str) -> Request:
    kept = tuple((each, value) for each, value in request.headers if each.lower() != name.lower())
    return msgspec.structs.replace(request, headers=kept)


def _without_parameter(request: Request, name: str) -> Request:
    kept = tuple((each, value) for each, value in request.query if each != name)
    pieces = [piece for piece in request.query_string.split("&") if unquote_plus(piece.partition("=")[0]) != name]
    return msgspec.structs.replace(request, query=kept, query_string="&".join(pieces))
