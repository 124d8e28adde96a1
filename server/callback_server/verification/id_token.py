"""ID tokens of OpenID Connect, which people and services send as their token.

1. The settings decide the issuer, the audiences and the algorithms, never the token.
2. It must be an ID token: what an issuer signs for another purpose, such as a logout token, has the same issuer,
   audience and subject (https://openid.net/specs/openid-connect-backchannel-1_0.html, 2.4 and 5).
3. It must have been made for one of the audiences: one that another client got, to use it with this one, names that
   client as `azp` (https://openid.net/specs/openid-connect-core-1_0.html, 2 and 3.1.3.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import jwt

from callback_server.verification.profile import VerificationError
from callback_server.verification.token import TokenKey, check_times, signed_claims, time_of

LEEWAY_S: Final = 60.0
"""Allowed difference between the clocks of the issuer and the server, in seconds."""
_REQUIRED: Final = ["iss", "sub", "aud", "exp", "iat"]
_MAX_SUBJECT: Final = 255
"""Longest subject (OpenID Connect Core 1.0, 2)."""


@dataclass(frozen=True, slots=True)
class IdToken:
    """A verified ID token."""

    issuer: str
    subject: str
    """Id of the person or service, unique at its issuer and never given to another one."""
    expires: float
    """When it expires, in seconds since 1970. `LEEWAY_S` is not added."""


def looks_signed(token: str) -> bool:
    """Return whether a token has the form of a JSON Web Token. A token of `callback token` does not."""
    return token.startswith("eyJ") and token.count(".") == 2


def named_issuer(token: bytes) -> str:
    """Return the issuer that a token names, which proves nothing yet. Raise VerificationError."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except Exception:  # the library raises many kinds for hostile input
        raise VerificationError("not a token") from None
    if not isinstance(issuer, str):
        raise VerificationError("the token's iss is not a text")
    return issuer


def names_unknown_key(token: bytes, keys: Iterable[TokenKey]) -> bool:
    """Return whether a token can be signed with a key that is newer than these. Its header has been read before."""
    key_id = jwt.get_unverified_header(token).get("kid")
    return key_id is None or all(key.id != key_id for key in keys)


def verified(
    token: bytes,
    keys: Sequence[TokenKey],
    *,
    issuer: str,
    audiences: Sequence[str],
    algorithms: Sequence[str],
    now: float,
) -> IdToken:
    """Return an ID token that one of the keys has signed.

    Raises:
        VerificationError: It does not pass. The reason is SIGNATURE if no key matches.
    """
    claims = signed_claims(token, keys, algorithms=algorithms, audience=audiences, issuer=issuer, required=_REQUIRED)
    named_type = str(jwt.get_unverified_header(token).get("typ", "JWT")).lower().removeprefix("application/")
    if named_type != "jwt" or "events" in claims:
        raise VerificationError("the token is no ID token")
    party = claims.get("azp")
    if party is None and isinstance(claims["aud"], list) and len(claims["aud"]) > 1:
        raise VerificationError("the token has several audiences and no azp")
    if party is not None and party not in list(audiences):
        raise VerificationError("the token was made for another client: its azp is not one of the audiences")
    expires = time_of(claims, "exp")
    check_times(claims, expires, leeway_s=LEEWAY_S, now=now)
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT:
        raise VerificationError("the token's sub is not a text of 1 to 255 characters")
    return IdToken(issuer, subject, expires)
