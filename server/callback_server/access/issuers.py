"""Issuers of ID tokens, and the verification of a token by the keys of its issuer.

1. An ID token says who a client is, and nothing about what it may do: its issuer and subject lead to a principal, and
   the roles of that are in the principals file. No other claim counts. The API server of Kubernetes uses ID tokens in
   the same way: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens
2. The keys are fetched in the background, by the issuer's configuration. A request never waits for an issuer. A token
   with a new key has the keys fetched again, at most once in ten seconds, and is refused until they are there.
3. A token that passed is remembered, so that its signature is verified once for each time that the keys are fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callback_process.credentials import CredentialsError
from callback_server.errors import IssuerUnavailableError, UnauthenticatedError
from callback_server.settings import IssuerSettings
from callback_server.verification import id_token
from callback_server.verification.credential import Credential
from callback_server.verification.fetched_keys import FetchedKeys
from callback_server.verification.fetcher import Fetched, Fetcher, FetchError
from callback_server.verification.id_token import IdToken
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.request_fields import json_object
from callback_server.verification.token import TokenKey, public_token_keys

MAX_REMEMBERED: Final = 1024
"""Number of tokens that are remembered."""


class _Configuration:
    """Source of an issuer's keys: its configuration names their URL (OpenID Connect Discovery 1.0, 4)."""

    def __init__(self, issuer: str, fetcher: Fetcher) -> None:
        self._issuer = issuer
        self._fetcher = fetcher

    async def fetch(self, url: str) -> Fetched:
        """Implement `Source`."""
        configuration = json_object((await self._fetcher.fetch(url)).content)
        if configuration.get("issuer") != self._issuer:
            raise FetchError("the configuration names another issuer")
        keys_url = configuration.get("jwks_uri")
        if not isinstance(keys_url, str) or not keys_url.startswith("https://"):
            raise FetchError("the configuration has no jwks_uri with https")
        return await self._fetcher.fetch(keys_url)


class _Issuer:
    """One issuer.

    Raises:
        CredentialsError: Its `ca_file` cannot be used.
    """

    def __init__(self, url: str, settings: IssuerSettings, proxy: str | None, monotonic: Callable[[], float]) -> None:
        self._url = url
        self._settings = settings
        self._configuration_url = f"{url.rstrip('/')}/.well-known/openid-configuration"
        networks = settings.private_networks
        fetcher = Fetcher(None if networks else proxy, private_networks=networks, tls=_tls(url, settings))
        self.fetched = FetchedKeys(url, _Configuration(url, fetcher), self._parse, [self._configuration_url], monotonic)

    def keys(self) -> Sequence[TokenKey]:
        """Return the keys. Raise IssuerUnavailableError."""
        try:
            return self.fetched.get(self._configuration_url)
        except VerificationError:
            self.fetched.fetch_again(self._configuration_url)  # sooner than its next retry
            raise IssuerUnavailableError from None

    def verified(self, token: bytes, keys: Sequence[TokenKey], now: float) -> IdToken:
        """Return a token that one of these keys has signed. Raise UnauthenticatedError or IssuerUnavailableError."""
        try:
            return id_token.verified(
                token,
                keys,
                issuer=self._url,
                audiences=self._settings.audiences,
                algorithms=self._settings.algorithms,
                now=now,
            )
        except VerificationError as error:
            is_new = error.reason is FailureReason.SIGNATURE and id_token.names_unknown_key(token, keys)
            if is_new and self.fetched.fetch_again(self._configuration_url):
                raise IssuerUnavailableError from None
            raise UnauthenticatedError(str(error)) from None

    def _parse(self, url: str, content: bytes) -> Sequence[TokenKey]:
        return public_token_keys(0, Credential(url, content), self._settings.algorithms)


@dataclass(frozen=True, slots=True)
class _Remembered:
    token: IdToken
    issuer: _Issuer
    keys: Sequence[TokenKey]
    """The keys with which it was verified."""


class Issuers:
    """The issuers whose ID tokens clients may use.

    Args:
        settings: Settings of each issuer, by its URL.
        proxy: The setting `key_proxy`.
        clock: Clock for the time of tokens, in seconds since 1970.
        monotonic: Clock that is never set, for the times of fetches.

    Raises:
        CredentialsError: A `ca_file` cannot be used.
    """

    def __init__(
        self,
        settings: Mapping[str, IssuerSettings],
        proxy: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuers = {url: _Issuer(url, each, proxy, monotonic) for url, each in settings.items()}
        self._clock = clock
        self._remembered: dict[bytes, _Remembered] = {}
        """Tokens that passed, by their SHA-256. The oldest is first."""

    @property
    def fetched(self) -> dict[str, FetchedKeys[Sequence[TokenKey]]]:
        """The keys, by the URL of the issuer."""
        return {url: issuer.fetched for url, issuer in self._issuers.items()}

    async def run(self) -> None:
        """Fetch keys until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for issuer in self._issuers.values():
                tasks.create_task(issuer.fetched.run())

    def verify(self, token: str) -> IdToken:
        """Verify a token.

        Raises:
            UnauthenticatedError: It is not a valid ID token of one of the issuers.
            IssuerUnavailableError: The keys of its issuer are not known now.
        """
        now = self._clock()
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is None or known.keys is not known.issuer.keys():
            self._remembered.pop(digest, None)
            known = self._verify(token.encode(), now)
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[digest] = known
        if known.token.expires + id_token.LEEWAY_S <= now:
            raise UnauthenticatedError("the token has expired")
        return known.token

    def _verify(self, token: bytes, now: float) -> _Remembered:
        try:
            issuer = self._issuers.get(id_token.named_issuer(token))
        except VerificationError as error:
            raise UnauthenticatedError(str(error)) from None
        if issuer is None:
            raise UnauthenticatedError("the token's issuer is not known")
        keys = issuer.keys()
        return _Remembered(issuer.verified(token, keys, now), issuer, keys)


def _tls(url: str, settings: IssuerSettings) -> ssl.SSLContext | None:
    if settings.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:  # also what is no PEM
        raise CredentialsError(f"issuers.{url}.ca_file {settings.ca_file}: {error.strerror or error}") from None
