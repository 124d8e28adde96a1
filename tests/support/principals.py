"""Principals whose token is their name, unless a test gives them others."""

import hashlib

from callback_server.access.principals import PrincipalEntry, Principals, TokenEntry
from callback_server.access.roles import Principal, Role


def by(name):
    """Return the metadata of a request of a principal."""
    return (("authorization", f"Bearer {name}"),)


def token_entry(token, **fields):
    """Return the entry of a token."""
    return TokenEntry(sha256=hashlib.sha256(token.encode()).hexdigest(), **fields)


def principals_of(**entries):
    """Return principals by name, each with fields of its `PrincipalEntry`."""
    return Principals(
        {name: PrincipalEntry(**{"tokens": (token_entry(name),)} | entry) for name, entry in entries.items()}
    )


class KnownRoles:
    """Principals with these roles by name; any other name is an owner who may call too."""

    def __init__(self, **roles):
        self.roles = roles

    def quota(self, _owner):
        """Return the quota of an owner: there is none."""

    def of_token(self, token):
        """Return the principal with this token."""
        return Principal(token, frozenset(self.roles.get(token, (Role.OWNER, Role.EDGE))))
