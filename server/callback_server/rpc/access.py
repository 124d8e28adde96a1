"""Who may call which method. Nothing is allowed that does not say whom it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from callback_server.domain.principal import LOCAL, Principal, Role
from callback_server.errors import RoleMissingError, UnauthenticatedError
from callback_server.principals import Principals

_SCHEME = "bearer "


class Access:
    """Finds out who asks, and refuses those who may not.

    A token, if one is sent, decides alone, whatever certificate comes with it: one that is wrong or has expired is
    refused, not overlooked.
    """

    def __init__(self, principals: Callable[[], Principals] | None) -> None:
        """`principals` gives those who are known at this moment. None: everyone is `local`, and may do everything."""
        self._principals = principals

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


def _authenticated(known: Principals, context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
    given = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
    if len(given) > 1:
        raise UnauthenticatedError("authorization was given more than once")
    if given:
        (value,) = given
        if not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
            raise UnauthenticatedError("authorization must be: Bearer TOKEN")
        return known.of_token(value[len(_SCHEME) :].strip())
    peer = context.auth_context()
    names = [*peer.get("peer_uri", ()), *peer.get("peer_dns", ())]
    if names:
        return known.of_certificate([name.decode(errors="replace") for name in names])
    raise UnauthenticatedError("give a token (authorization: Bearer TOKEN) or a client certificate")
