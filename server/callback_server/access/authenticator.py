"""Authentication of gRPC requests, and the check of the role that a method needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import grpc

from callback_server.access.issuers import Issuers
from callback_server.access.principals import Principals
from callback_server.access.roles import LOCAL, Principal, Role
from callback_server.errors import CallbackError, RoleMissingError, UnauthenticatedError
from callback_server.verification.id_token import looks_signed
from callback_shared.certificate_names import expiry_of, names_of

_SCHEME: Final = "bearer "
_NO_CREDENTIAL: Final = "give a token (authorization: Bearer TOKEN) or a client certificate"

_ADVICE_TO_WORKERS: Final = (
    "; a worker may read, answer and close the callbacks of its activities if its entry in the principals file has "
    "answers = true"
)

Metadata = Iterable[tuple[str, str | bytes]] | None
"""The metadata of a request."""


class Authenticator:
    """Finds the principal of a request, and refuses a request without the necessary role.

    If a request has a token, the token alone decides, whatever the certificate: a wrong or expired token is refused,
    and not ignored.
    """

    def __init__(
        self,
        principals: Callable[[], Principals] | None,
        *,
        issuers: Issuers | None = None,
        asks_certificates: bool = False,
    ) -> None:
        """Create an authenticator.

        Args:
            principals: Returns the principals that are known now. None: every client is `local` and has every role.
            issuers: Verifies ID tokens. None: they are tokens like any other.
            asks_certificates: Whether the gRPC port requests client certificates.
        """
        self._principals = principals
        self._issuers = issuers
        self.asks_certificates = asks_certificates

    def authenticate(
        self, context: grpc.aio.ServicerContext[Any, Any], role: Role, *, or_answers: bool = False
    ) -> Principal:
        """Return the principal of a request.

        Args:
            context: The context of the request.
            role: The role that the method needs.
            or_answers: Whether a worker with `answers` may use the method, too.

        Raises:
            UnauthenticatedError: The request has no valid credential. RevokedError: it is revoked.
            IssuerUnavailableError: The keys of the issuer of its ID token are not known now.
            RoleMissingError: The principal does not have the role.
        """
        if self._principals is None:
            return LOCAL
        principal = self._authenticated(self._principals(), context)
        if not principal.has(role) and not (or_answers and principal.answers):
            could_answer = or_answers and principal.has(Role.WORKER)
            raise RoleMissingError(principal.name, role, advice=_ADVICE_TO_WORKERS if could_answer else "")
        return principal

    def owners(self) -> list[str]:
        """Return the principals that can have cases, as they are known now."""
        if self._principals is None:
            return [LOCAL.name]
        return [
            name
            for name, entry in self._principals().entries.items()
            if not entry.roles.isdisjoint((Role.OWNER, Role.ADMIN))
        ]

    def early_refusal(self, metadata: Metadata) -> CallbackError | None:
        """Return the error if the metadata alone shows that no credential can be accepted. None: it does not."""
        if self._principals is None:
            return None
        try:
            token = _token(metadata)
            if token is not None:
                self._of_token(self._principals(), token)
            elif not self.asks_certificates:
                raise UnauthenticatedError(_NO_CREDENTIAL)
        except CallbackError as error:
            return error
        return None

    def _authenticated(self, known: Principals, context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
        token = _token(context.invocation_metadata())
        if token is not None:
            return self._of_token(known, token)
        certificates = [*context.auth_context().get("x509_pem_cert", ())]
        if certificates:
            principal = known.of_certificate(names_of(certificates[0]))
            expires = expiry_of(certificates[0])
            if expires <= time.time():  # the handshake, which looked at it too, may be an hour ago
                raise UnauthenticatedError("the certificate has expired")
            return replace(principal, expires=expires)
        raise UnauthenticatedError(_NO_CREDENTIAL)

    def _of_token(self, known: Principals, token: str) -> Principal:
        if self._issuers is None or not looks_signed(token):
            return known.of_token(token)
        verified = self._issuers.verify(token)
        return replace(known.of_subject(verified.issuer, verified.subject), expires=verified.expires)


def _token(metadata: Metadata) -> str | None:
    """Return the token of a request. None: there is none. Raises UnauthenticatedError if it is not a token."""
    value = None
    for name, each in metadata or ():
        if name == "authorization":
            if value is not None:
                raise UnauthenticatedError("authorization was given more than once")
            value = each
    if value is None:
        return None
    if not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
        raise UnauthenticatedError("authorization must be: Bearer TOKEN")
    return value[len(_SCHEME) :].strip()
