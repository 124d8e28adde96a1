"""Who may call which method. Nothing is allowed that does not say whom it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc

from callback_server.access.certificate_names import names_of
from callback_server.access.principals import Principals
from callback_server.access.roles import LOCAL, Principal, Role
from callback_server.errors import RoleMissingError, UnauthenticatedError

_SCHEME: Final = "bearer "
_NO_CREDENTIAL: Final = "give a token (authorization: Bearer TOKEN) or a client certificate"

Metadata = Iterable[tuple[str, str | bytes]] | None
"""What a request says about itself before its message."""


class Authenticator:
    """Finds out who asks, and refuses those who may not.

    A token, if one is sent, decides alone, whatever certificate comes with it: one that is wrong or has expired is
    refused, not overlooked.
    """

    def __init__(self, principals: Callable[[], Principals] | None, *, asks_certificates: bool = False) -> None:
        """`principals` gives those who are known at this moment. None: everyone is `local`, and may do everything.

        `asks_certificates` says whether who connects has shown one.
        """
        self._principals = principals
        self.asks_certificates = asks_certificates

    def caller(self, context: grpc.aio.ServicerContext[Any, Any], role: Role) -> Principal:
        """The principal that asks.

        Raises:
            UnauthenticatedError: nobody that is known.
            RoleMissingError: somebody that does not have the role.
        """
        if self._principals is None:
            return LOCAL
        principal = _authenticated(self._principals(), context)
        if not principal.has(role):
            raise RoleMissingError(principal.name, role)
        return principal

    def refusal(self, metadata: Metadata) -> UnauthenticatedError | None:
        """Why a request need not be read: its metadata alone say that nobody is asking. None: they do not say so."""
        if self._principals is None:
            return None
        try:
            token = _token(metadata)
            if token is not None:
                self._principals().of_token(token)
            elif not self.asks_certificates:
                raise UnauthenticatedError(_NO_CREDENTIAL)
        except UnauthenticatedError as error:
            return error
        return None


def _authenticated(known: Principals, context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
    token = _token(context.invocation_metadata())
    if token is not None:
        return known.of_token(token)
    certificates = [*context.auth_context().get("x509_pem_cert", ())]
    if certificates:
        return known.of_certificate(names_of(certificates[0]))
    raise UnauthenticatedError(_NO_CREDENTIAL)


def _token(metadata: Metadata) -> str | None:
    """The token that was sent. None: none was. Raises UnauthenticatedError if what was sent is no token."""
    given = [value for name, value in metadata or () if name == "authorization"]
    if not given:
        return None
    if len(given) > 1:
        raise UnauthenticatedError("authorization was given more than once")
    (value,) = given
    if not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
        raise UnauthenticatedError("authorization must be: Bearer TOKEN")
    return value[len(_SCHEME) :].strip()
