"""Verification by secrets in plain text: in a header, in the query, or as a password. A reader can reuse them."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Sequence
from urllib.parse import unquote_plus

import msgspec

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.settings.credentials import BasicSettings, SharedSecretSettings
from callback_server.verification.verifier import Explanation, Verifier


class _PlainSecret(Verifier):
    """A verifier of a text that the sender sends as it is. It signs nothing."""

    reads_body = False
    wrong: str
    """The reason why another text does not pass."""
    valid: Sequence[bytes]
    """The valid texts, in the order of their files."""
    sender = ""
    """See `VerifiedMessage.sender`."""

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Implement `Verifier.verify`."""
        if not request_fields.matches(self.valid, self.given(request)):
            raise VerificationError(self.wrong, FailureReason.SIGNATURE)
        return VerifiedMessage(sender=self.sender)

    def explain(self, request: Request, url: str) -> Explanation:
        """Implement `Verifier.explain`."""
        given = self.given(request)
        found = [index for index, each in enumerate(self.valid) if request_fields.matches([each], given)]
        return Explanation(f"secret_files[{found[0]}]" if found else "")

    @abstractmethod
    def given(self, request: Request) -> bytes:
        """Return the text of a request. Raise VerificationError if there is none."""


class SharedSecret(_PlainSecret):
    """Verifier: a secret in a header or in the query.

    Args:
        settings: Place of the secret.
        secrets: Valid secrets.
    """

    challenge = "Secret"
    wrong = "the secret is wrong"

    def __init__(self, settings: SharedSecretSettings, secrets: Sequence[bytes]) -> None:
        self._header = settings.header
        self._parameter = settings.parameter
        self.valid = secrets

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`."""
        if self._header is not None:
            return _without_header(request, self._header)
        return _without_parameter(request, self._parameter or "")

    def given(self, request: Request) -> bytes:
        """Return the secret of a request."""
        if self._header is not None:
            return _header_octets(request_fields.header(request, self._header))
        return request_fields.octets(request_fields.parameter(request, self._parameter or ""))


class Basic(_PlainSecret):
    """Verifier: HTTP Basic with a user name and a password (RFC 7617).

    Args:
        settings: The user name.
        passwords: Valid passwords.
    """

    challenge = 'Basic realm="callback", charset="UTF-8"'
    wrong = "the user name or the password is wrong"

    def __init__(self, settings: BasicSettings, passwords: Sequence[bytes]) -> None:
        self.sender = settings.username
        username = settings.username.encode()
        self.valid = [base64.b64encode(username + b":" + password) for password in passwords]

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`."""
        return _without_header(request, "authorization")

    def given(self, request: Request) -> bytes:
        """Return the user name and the password of a request, in base64."""
        return request_fields.octets(request_fields.authorization(request, "Basic"))


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
