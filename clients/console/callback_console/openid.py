"""Sign-in at an OpenID provider: the authorization code flow of OpenID Connect, by authlib.

1. A sign-in belongs to the browser that began it: a signed cookie has it, and its answer deletes the cookie. So an
   attacker cannot bring another person into a session of the attacker (login CSRF). This process keeps nothing of it.
2. The answer must have the `state` of the sign-in, and no `iss` but the issuer (RFC 9207). The code is bound to the
   sign-in by PKCE (RFC 7636), the ID token by its `nonce`. The issuer accepts a code once.
3. authlib verifies the ID token by the keys of the issuer. The server verifies it, too, with each request: it is the
   token of the session, and says nothing about roles.
4. The issuer and what its configuration names are reached over https only, and redirects are not followed.
"""

import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey
from joserfc.jws import JWSRegistry

from callback_console.settings import OpenIdSettings
from callback_process import logs

log = logs.get_logger()

_SCOPE: Final = "openid email"
"""What is asked for. The email address is shown to a person who has no access yet, and counts for nothing."""
_ALGORITHMS: Final = (*(f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)), "Ed25519", "EdDSA")
"""Algorithms of the signature of an ID token: all those with a public key. The server has a list of its own."""
_COOKIE_ALGORITHM: Final = "HS256"
"""Algorithm of the signature of a cookie, by a key that only this process has."""
LEEWAY_S: Final = 60
"""Allowed difference between the clocks of the issuer and this machine, in seconds. The server allows as much."""
SIGN_IN_S: Final = 600
"""Time limit of a sign-in, in seconds."""
_TIMEOUT_S: Final = 10.0
"""Time limit of a request to the issuer, in seconds. A person waits for it."""
_CONFIGURATION_S: Final = 300.0
"""How long the configuration of the issuer is kept, in seconds."""

_UNAVAILABLE: Final = (httpx2.HTTPError, httpx2.InvalidURL, OSError)
"""Errors of an issuer that cannot be reached."""
_WRONG: Final = (AuthlibBaseError, JoseError, ValueError, TypeError, KeyError)
"""Errors of an issuer whose answer cannot be used."""


class SignInError(Exception):
    """A sign-in failed.

    Args:
        notice: Name of the text for the person.
        status: HTTP status of the page.
    """

    def __init__(self, notice: str, status: HTTPStatus) -> None:
        super().__init__(notice)
        self.notice = notice
        self.status = status


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that a browser has begun. The text values are short enough for a cookie."""

    state: str
    nonce: str
    code_verifier: str
    next_path: str
    """Page of the console to which it leads."""
    exp: int
    """When it is too old, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person who signed in at the issuer."""

    id_token: str
    issuer: str
    subject: str
    email: str
    """Email address. Empty if the issuer does not tell it."""
    expires: float
    """When the ID token expires, in seconds since 1970."""


class OpenId:
    """The OpenID provider of the settings.

    Args:
        settings: The settings.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file has nothing usable.
    """

    def __init__(self, settings: OpenIdSettings) -> None:
        self._settings = settings
        self._secret = self._read_secret()
        self._tls = ssl.create_default_context(cafile=settings.ca_file)
        self._cookie_key = OctKey.generate_key()
        self._configuration: Mapping[str, Any] = {}
        self._configuration_until = 0.0

    @property
    def name(self) -> str:
        """Name of the issuer for people: its host."""
        return urlsplit(self._settings.issuer).hostname or ""

    async def problem(self) -> str:
        """Return why the configuration of the issuer cannot be used. Empty if it can."""
        async with self._client("") as client:
            try:
                await self._read_configuration(client)
            except (*_UNAVAILABLE, *_WRONG) as error:
                return _problem(error)
        return ""

    async def begin(self, redirect_uri: str, next_path: str) -> tuple[SignIn, str]:
        """Begin a sign-in.

        Args:
            redirect_uri: URL of the console to which the issuer leads the browser back.
            next_path: Page of the console to which the sign-in leads.

        Returns:
            The sign-in, and the URL of the issuer that the browser visits.

        Raises:
            SignInError: The issuer cannot be reached, or its configuration is wrong.
        """
        sign_in = SignIn(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            code_verifier=secrets.token_urlsafe(48),
            next_path=next_path,
            exp=int(time.time()) + SIGN_IN_S,
        )
        async with self._client(redirect_uri) as client:
            configuration = await self._configured(client)
            url, _state = client.create_authorization_url(
                configuration["authorization_endpoint"],
                state=sign_in.state,
                nonce=sign_in.nonce,
                code_verifier=sign_in.code_verifier,
            )
        return sign_in, url

    def to_cookie(self, sign_in: SignIn) -> str:
        """Return a sign-in as the value of a cookie: signed, and valid until the sign-in is too old."""
        return jwt.encode({"alg": _COOKIE_ALGORITHM}, asdict(sign_in), self._cookie_key)

    def from_cookie(self, value: str, state: str) -> SignIn:
        """Return the sign-in of a cookie, for an answer with this state.

        Raises:
            SignInError: This process has not made the cookie, or it is too old, or that of another sign-in.
        """
        try:
            decoded = jwt.decode(value, self._cookie_key, algorithms=[_COOKIE_ALGORITHM])
            jwt.JWTClaimsRegistry(exp={"essential": True}).validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise SignInError("openid_lost", HTTPStatus.BAD_REQUEST) from error
        sign_in = SignIn(**decoded.claims)
        if not secrets.compare_digest(state.encode(), sign_in.state.encode()):
            raise SignInError("openid_lost", HTTPStatus.BAD_REQUEST)
        return sign_in

    async def finish(self, sign_in: SignIn, redirect_uri: str, answer: Mapping[str, str]) -> Person:
        """Finish a sign-in by the answer of the issuer, the query with which the browser came back.

        Raises:
            SignInError: The answer is not that of the issuer to this sign-in, or it refused, or cannot be reached.
        """
        try:
            self._secret = self._read_secret()  # the operator may have replaced it
        except (OSError, ValueError) as error:  # the last one may still be right
            log.error("client_secret_not_read", problem=str(error))
        async with self._client(redirect_uri) as client:
            configuration = await self._configured(client)
            _check_issuer(configuration, answer)
            if "error" in answer:
                log.info("sign_in_refused", issuer=self._settings.issuer, error=answer["error"][:100])
                raise SignInError("openid_refused", HTTPStatus.FORBIDDEN)
            if not answer.get("code"):
                raise SignInError("openid_wrong", HTTPStatus.BAD_REQUEST)
            with _as_sign_in_errors(self._settings.issuer):
                client.token_endpoint_auth_method = self._authentication(configuration)
                tokens = await client.fetch_token(
                    configuration["token_endpoint"],
                    grant_type="authorization_code",
                    code=answer["code"],
                    code_verifier=sign_in.code_verifier,
                )
                found: Any = await _get_json(client, configuration["jwks_uri"])
                keys = KeySet.import_key_set(found)
                return self._person(tokens, keys, sign_in.nonce)

    def sign_out_url(self, return_url: str) -> str | None:
        """Return the URL at which a person can sign out of the issuer, too (OpenID Connect RP-Initiated Logout 1.0).

        It has no `id_token_hint`: an ID token is a token of the server, and does not belong into a URL. The issuer asks
        the person.

        Args:
            return_url: URL of the console to which the issuer leads the browser back.

        Returns:
            The URL. None if the issuer has none, or no sign-in has begun yet.
        """
        endpoint = self._configuration.get("end_session_endpoint")
        if not isinstance(endpoint, str) or not _is_https(endpoint):
            return None
        query = urlencode({"client_id": self._settings.client_id, "post_logout_redirect_uri": return_url})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def _person(self, tokens: Mapping[str, Any], keys: KeySet, nonce: str) -> Person:
        """Return the person of an ID token. Raise an error of the libraries, KeyError or TypeError."""
        id_token = tokens["id_token"]
        decoded = jwt.decode(id_token, keys, registry=JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False))
        issuer = self._settings.issuer
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {"iss": {"value": issuer}, "aud": {"value": self._settings.client_id}},
            {"nonce": nonce, "client_id": self._settings.client_id, "access_token": tokens.get("access_token")},
        )
        claims.validate(leeway=LEEWAY_S)
        return Person(id_token, issuer, str(claims["sub"]), str(claims.get("email", "")), float(claims["exp"]))

    async def _configured(self, client: Any) -> Mapping[str, Any]:
        if time.monotonic() >= self._configuration_until:
            with _as_sign_in_errors(self._settings.issuer):
                found = await self._read_configuration(client)
            self._configuration, self._configuration_until = found, time.monotonic() + _CONFIGURATION_S
        return self._configuration

    async def _read_configuration(self, client: Any) -> Mapping[str, Any]:
        """Return the configuration of the issuer. Raise one of `_UNAVAILABLE` or `_WRONG`."""
        issuer = self._settings.issuer
        found = await _get_json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise ValueError("the configuration names another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _is_https(found.get(name)):
                raise ValueError(f"the configuration has no {name} with https")
        return found

    def _read_secret(self) -> str | None:
        """Return the secret of the client. Raise OSError or ValueError if its file cannot be used."""
        file = self._settings.client_secret_file
        if file is None:
            return None
        secret = file.read_text("utf-8").strip()
        if not secret:
            raise ValueError(f"{file} is empty")
        return secret

    def _authentication(self, configuration: Mapping[str, Any]) -> str:
        """Return how the console authenticates to the issuer."""
        if self._secret is None:
            return "none"
        supported = configuration.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return "client_secret_basic" if "client_secret_basic" in supported else "client_secret_post"

    def _client(self, redirect_uri: str) -> Any:
        return AsyncOAuth2Client(
            self._settings.client_id,
            self._secret,
            scope=_SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            verify=self._tls,
            timeout=_TIMEOUT_S,
        )


def _check_issuer(configuration: Mapping[str, Any], answer: Mapping[str, str]) -> None:
    """Check that the answer is one of the issuer, and not of another one (RFC 9207, 2.4). Raise SignInError."""
    issuer = configuration["issuer"]
    is_promised = configuration.get("authorization_response_iss_parameter_supported") is True
    if answer.get("iss", None if is_promised else issuer) != issuer:
        log.warning("sign_in_failed", issuer=issuer, problem="the answer is one of another issuer")
        raise SignInError("openid_wrong", HTTPStatus.BAD_REQUEST)


@contextmanager
def _as_sign_in_errors(issuer: str) -> Iterator[None]:
    """Raise what can go wrong with the issuer as SignInError, and log it."""
    try:
        yield
    except _UNAVAILABLE as error:
        log.error("issuer_unavailable", issuer=issuer, problem=_problem(error))
        raise SignInError("openid_unavailable", HTTPStatus.SERVICE_UNAVAILABLE) from error
    except _WRONG as error:
        log.error("sign_in_failed", issuer=issuer, problem=_problem(error))
        raise SignInError("openid_wrong", HTTPStatus.BAD_GATEWAY) from error


def _problem(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


async def _get_json(client: Any, url: str) -> dict[str, Any]:
    """Return the JSON object at a URL. Raise an error of httpx2, or ValueError."""
    answer = await client.request("GET", url, withhold_token=True)
    if answer.status_code != HTTPStatus.OK:
        raise httpx2.HTTPError(f"the answer at {url} is a {answer.status_code}")
    found = answer.json()
    if not isinstance(found, dict):
        raise TypeError(f"the answer at {url} is not a JSON object")
    return found


def _is_https(url: object) -> bool:
    return isinstance(url, str) and url.startswith("https://")
