"""Verification by secrets in plain text: in a header, query or body, or as a password. A reader can reuse them."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Sequence
from urllib.parse import unquote_plus

import msgspec

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.places import Place, json_spans, parse_place
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
    """Verifier: a secret in a header, in the query or in a member of the body.

    Args:
        settings: Place of the secret.
        secrets: Valid secrets.
    """

    challenge = "Secret"
    wrong = "the secret is wrong"

    def __init__(self, settings: SharedSecretSettings, secrets: Sequence[bytes]) -> None:
        self._header = settings.header
        self._parameter = settings.parameter
        self._member = None if settings.pointer is None else parse_place(f"json:{settings.pointer}")
        self.reads_body = self._member is not None
        self.valid = secrets

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Implement `Verifier.verify`."""
        message = super().verify(request, url, now)
        if self._member is not None:  # the body is searched for others only now
            _require_one_text(request, self._member)
        return message

    def redacted(self, request: Request) -> Request:
        """Implement `Verifier.redacted`."""
        if self._header is not None:
            return _without_header(request, self._header)
        if self._member is not None:
            return _without_member(request, self._member)
        return _without_parameter(request, self._parameter or "")

    def given(self, request: Request) -> bytes:
        """Return the secret of a request."""
        if self._header is not None:
            return _header_octets(request_fields.header(request, self._header))
        if self._member is not None:
            return request_fields.octets(_member(request, self._member))
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


def _member(request: Request, place: Place) -> str:
    """Return the value of a member of the body."""
    if len(request.body) > request_fields.MAX_UNVERIFIED_BYTES:
        raise VerificationError("the body is too large to be read before it is verified")
    found = place.find(request)
    if found is None:
        raise VerificationError(f"{place} is missing", FailureReason.MISSING)
    return found


def _require_one_text(request: Request, place: Place) -> None:
    """Refuse a body of which a parser may read another member than the one with the secret."""
    text = _text(request)
    spans = _spans(text, place)
    if spans is None or len(spans) != 1:
        raise VerificationError(f"{place} occurs more than once, or the JSON cannot be read")
    if text[spans[0][0]] != '"':
        raise VerificationError(f"{place} is not a text")


def _without_member(request: Request, place: Place) -> Request:
    """Return the request with an empty text in place of a member of its body, and the rest of the body as it was.

    Of a request that does not pass, each member at the place is replaced, whatever it is. A body that is no JSON, or
    too large to be read, becomes empty: the secret can be anywhere in it.
    """
    text = _text(request)
    spans = _spans(text, place) if len(request.body) <= request_fields.MAX_UNVERIFIED_BYTES else None
    if spans is None:
        return msgspec.structs.replace(request, body=b"", body_size=0)
    kept, after = [], 0
    for start, end in spans:
        kept.append(text[after:start])
        after = end
    body = '""'.join([*kept, text[after:]]).encode("utf-8", "surrogateescape")
    return msgspec.structs.replace(request, body=body, body_size=len(body) if request.body_size else 0)


def _text(request: Request) -> str:
    """Return the body as a text that has the same bytes, also if they are not UTF-8."""
    return request.body.decode("utf-8", "surrogateescape")


def _spans(text: str, place: Place) -> list[tuple[int, int]] | None:
    """Return where the members at a place of the body are in its text, or None if it is no JSON."""
    try:
        return json_spans(text, place.name)
    except (ValueError, RecursionError):
        return None


def _without_header(request: Request, name: str) -> Request:
    kept = tuple((each, value) for each, value in request.headers if each.lower() != name.lower())
    return msgspec.structs.replace(request, headers=kept)


def _without_parameter(request: Request, name: str) -> Request:
    kept = tuple((each, value) for each, value in request.query if each != name)
    pieces = [piece for piece in request.query_string.split("&") if unquote_plus(piece.partition("=")[0]) != name]
    return msgspec.structs.replace(request, query=kept, query_string="&".join(pieces))
