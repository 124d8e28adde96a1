"""Verification by a signed JSON Web Token. The configuration decides the algorithms, never the token.

1. Each key is used only with the algorithms of its type, so a public key is never the secret of an HMAC.
2. The library checks form, signature, audience and issuer. Its checks of the times are off: PyJWT 2.15 accepts a text
   and a boolean as a time, and reads the clock itself, so that a token could pass at another time than the one from
   which its `jti` is remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.credential import Credential
from callback_server.verification.keys import is_on, is_public_key, is_rsa, public_keys
from callback_server.verification.message_ids import MessageIds
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.settings.token import JwtSettings
from callback_server.verification.signature import ENCODERS
from callback_server.verification.verifier import Explanation, Verifier

MAX_WINDOW_S: Final = 24 * 3600
"""Longest time that the id of a single-use token is remembered, in seconds."""

_HASH_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_OTHER_URL: Final = "the token is for another URL"
_TYPES: Final = {"logout": "logout+jwt", "security": "secevent+jwt"}
"""Types (`typ`) of tokens, without `application/`."""
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key with what it is for."""

    file: int
    """Index of its file."""
    key: Any
    """Key object of the library."""
    algorithms: frozenset[str]
    """Algorithms of this key."""
    id: str | None = None


class Token(Verifier):
    """Verifier: a token in a header, a parameter or the body. Handlers get it, because they may read its claims.

    Args:
        settings: Place of the token, and its required claims.
        keys: Returns the keys; raises VerificationError if they are not known now.
    """

    challenge = 'Bearer realm="callback"'

    def __init__(self, settings: JwtSettings, keys: Callable[[], Sequence[TokenKey]]) -> None:
        self._settings = settings
        # The token may be in a form.
        self.reads_body = settings.parameter is not None or settings.whole_body or settings.body_hash_claim is not None
        required = {
            "exp": settings.max_age_s is None and not settings.allow_no_expiry,
            "iat": settings.max_age_s is not None or settings.events is not None,
            "events": settings.events is not None,
            "aud": settings.audience is not None,
            "iss": settings.issuer is not None,
        }
        self._required = [name for name, is_required in required.items() if is_required]
        named = (settings.body_hash_claim, settings.url_claim, settings.url_hash_claim)
        self._required += [name for name in named if name is not None]
        self._ids = MessageIds(settings.id)
        self._keys = keys

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:  # a token does not sign the request
        """Implement `Verifier.verify`."""
        token = self._token(request)
        if len(token) > request_fields.MAX_UNVERIFIED_BYTES:
            raise VerificationError("the token is too long")
        claims = self._claims(token, url)
        settings, leeway = self._settings, self._settings.leeway_s
        if settings.events is not None:
            _check_events(settings.events, jwt.get_unverified_header(token), claims)
        expires = self._expiry(claims, now)
        check_times(claims, expires, leeway_s=leeway, now=now)
        if settings.body_hash_claim is not None:
            digest = hashlib.sha256(request.body).digest()
            given = request_fields.octets(str(claims[settings.body_hash_claim]))
            if not request_fields.matches(ENCODERS[settings.body_hash_encoding](digest), given):
                raise VerificationError("the token is for another body", FailureReason.SIGNATURE)
        if settings.url_claim is not None and claims[settings.url_claim] != url:
            raise VerificationError(_OTHER_URL, FailureReason.SIGNATURE)
        if settings.url_hash_claim is not None:
            wanted = hashlib.sha256(request_fields.octets(url)).hexdigest()
            if claims[settings.url_hash_claim] != wanted:
                raise VerificationError(_OTHER_URL, FailureReason.SIGNATURE)
        if settings.single_use:
            if "jti" not in claims:
                raise VerificationError("the token has no jti", FailureReason.MISSING)
            message_id = request_fields.message_id(claims["jti"])
        else:
            message_id = self._ids.find(request)
        if not message_id:
            return VerifiedMessage(sender=_sender_of(claims))
        # The id is remembered as long as the token would pass again.
        window_s = max(2 * leeway, expires + leeway - now)
        if window_s > MAX_WINDOW_S:
            raise VerificationError("the token is valid for longer than its id can be remembered")
        return VerifiedMessage(message_id, math.ceil(window_s * 1000), _sender_of(claims))

    def explain(self, request: Request, url: str) -> Explanation:  # a token does not sign the request
        """Implement `Verifier.explain`."""
        token = self._token(request)
        algorithm, keys = candidates(token, self._keys(), self._settings.algorithms)
        signed = token.rpartition(b".")[0]
        for key in keys:
            with contextlib.suppress(Exception):  # the library raises many kinds for hostile input
                jwt.PyJWS().decode(token, key.key, [algorithm])
                return Explanation(f"key_files[{key.file}]", signed)
        return Explanation(signed=signed)

    def _expiry(self, claims: dict[str, Any], now: float) -> float:
        """Return the time at which the token expires, by its `exp` and its age; without both, `now`."""
        times = [time_of(claims, "exp")] if "exp" in claims else []
        if self._settings.max_age_s is not None:
            times.append(time_of(claims, "iat") + self._settings.max_age_s)
        return min(times, default=now)

    def _token(self, request: Request) -> bytes:
        settings = self._settings
        if settings.whole_body:
            if settings.events == "security" and _content_type(request) != "application/secevent+jwt":
                raise VerificationError("the content-type is not application/secevent+jwt")
            return request.body
        if settings.parameter is not None:
            return request_fields.octets(request_fields.parameter(request, settings.parameter, in_form=True))
        if settings.header is not None:
            return request_fields.octets(request_fields.header(request, settings.header))
        return request_fields.octets(request_fields.authorization(request, "Bearer"))

    def _claims(self, token: bytes, url: str) -> dict[str, Any]:
        audience = self._settings.audience
        return signed_claims(
            token,
            self._keys(),
            algorithms=self._settings.algorithms,
            audience=url if audience == "{url}" else audience,
            issuer=self._settings.issuer,
            required=self._required,
        )


def _sender_of(claims: dict[str, Any]) -> str:
    """Return the issuer and the subject of a token as one text. Empty: it names neither."""
    named = claims.get("iss"), claims.get("sub")
    return "" if named == (None, None) else json.dumps(named, sort_keys=True)


def candidates(token: bytes, keys: Iterable[TokenKey], algorithms: Sequence[str]) -> tuple[str, list[TokenKey]]:
    """Return the algorithm of a token, and the keys that can have signed it.

    Raises:
        VerificationError: It is no token, or its algorithm is not one of these.
    """
    try:
        head = jwt.get_unverified_header(token)
    except Exception:  # the library raises many kinds for hostile input
        raise VerificationError("not a token") from None
    algorithm, key_id = head.get("alg"), head.get("kid")
    if algorithm not in list(algorithms):
        raise VerificationError("the token's algorithm is not allowed")
    fitting = [key for key in keys if algorithm in key.algorithms]
    return algorithm, [key for key in fitting if key_id is None or key.id in (None, key_id)]


def signed_claims(
    token: bytes,
    keys: Iterable[TokenKey],
    *,
    algorithms: Sequence[str],
    audience: str | Sequence[str] | None,
    issuer: str | None,
    required: list[str],
) -> dict[str, Any]:
    """Return the claims of a token that one of the keys has signed. The times are left to `check_times`.

    Args:
        token: The token.
        keys: The keys.
        algorithms: The allowed algorithms.
        audience: The accepted audience, or several. None: any.
        issuer: The required issuer. None: any.
        required: The names of the claims that the token must have.

    Raises:
        VerificationError: The token does not pass. The reason is SIGNATURE if no key matches.
    """
    algorithm, fitting = candidates(token, keys, algorithms)
    options: Any = {
        "require": required,
        "verify_aud": audience is not None,
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
    }
    for key in fitting:
        try:
            return jwt.decode(token, key.key, algorithms=[algorithm], audience=audience, issuer=issuer, options=options)
        except jwt.InvalidSignatureError:
            continue
        except Exception as error:  # as above; only the type, because the text contains the input
            raise VerificationError(f"the token is not valid: {type(error).__name__}") from None
    raise VerificationError("no key matches the token's signature", FailureReason.SIGNATURE)


def check_times(claims: dict[str, Any], expires: float, *, leeway_s: float, now: float) -> None:
    """Check the expiry of a token, its `nbf` and its `iat`. Raise VerificationError."""
    if expires + leeway_s <= now:
        raise VerificationError("the token has expired", FailureReason.TIME)
    for name in ("nbf", "iat"):
        if name in claims and time_of(claims, name) > now + leeway_s:
            raise VerificationError(f"the token's {name} is in the future", FailureReason.TIME)


def _content_type(request: Request) -> str:
    return request_fields.header(request, "content-type").partition(";")[0].strip(" \t").lower()


def _check_events(kind: Literal["logout", "security"], head: dict[str, Any], claims: dict[str, Any]) -> None:
    """Check what distinguishes a token about events from any other: `typ` and `events`.

    RFC 8417, 2.2 and 2.3, and https://openid.net/specs/openid-connect-backchannel-1_0.html (2.4 and 2.6).
    """
    named = str(head.get("typ", "JWT")).lower().removeprefix("application/")
    if named not in ("jwt", _TYPES[kind]):
        raise VerificationError("the token's typ is that of another kind of token")
    events = claims["events"]
    if not isinstance(events, dict) or not events or not all(isinstance(each, dict) for each in events.values()):
        raise VerificationError("the token's events is not an object with an object for each event")
    if kind == "security":
        return
    if _LOGOUT_EVENT not in events:
        raise VerificationError("the token's events has no logout")
    if "nonce" in claims:
        raise VerificationError("the token has a nonce, as no logout token does")
    if not any(isinstance(claims.get(name), str) and claims[name] for name in ("sub", "sid")):
        raise VerificationError("the token has neither sub nor sid", FailureReason.MISSING)


def time_of(claims: dict[str, Any], name: str) -> float:
    """Return the time in a claim, in seconds since 1970. Raise VerificationError if it is not a time."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise VerificationError(f"the token's {name} is not a time")
    return value


def token_keys(index: int, credential: Credential, settings: JwtSettings) -> list[TokenKey]:
    """Return the keys of a file, each with its algorithms. Raise CredentialsError if there is none."""
    if settings.is_symmetric:
        return [_secret(index, credential, settings.algorithms)]
    return public_token_keys(index, credential, settings.algorithms)


def public_token_keys(index: int, credential: Credential, algorithms: Sequence[str]) -> list[TokenKey]:
    """Return the public keys of a file, each with its algorithms. Raise CredentialsError if there is none."""
    keys = [
        TokenKey(index, key, frozenset(each for each in algorithms if own in (None, each) and _fits(each, key)), key_id)
        for key, own, key_id in public_keys(credential)
    ]
    if not any(key.algorithms for key in keys):
        raise credential.error(f"has no key for the algorithms {', '.join(algorithms)}")
    return keys


def _secret(index: int, credential: Credential, algorithms: Iterable[str]) -> TokenKey:
    secret = credential.secret()
    if is_public_key(secret):
        raise credential.error("is a public key; HS… needs a secret")
    if len(secret) < (needed := max(_HASH_BYTES[name] for name in algorithms)):
        raise credential.error(f"has {len(secret)} bytes, needs at least {needed}")
    return TokenKey(index, secret, frozenset(algorithms))


def _fits(algorithm: str, key: Any) -> bool:
    """Return whether a key has the type of an algorithm and is long enough (RFC 7518, 3.3 and 3.4; RFC 8037)."""
    match algorithm[:2]:
        case "RS" | "PS":
            return is_rsa(key)
        case "ES":
            return is_on(_CURVES[algorithm], key)
        case _:
            return isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
