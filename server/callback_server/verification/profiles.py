"""The profiles that an operator declares, with the current secrets of their files.

A changed file is reloaded. A file that cannot be used changes nothing: the last valid content stays in effect, and the
problem is logged. Only at startup such a file is an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.x509.verification import Store

from callback_process.credentials import Contents, CredentialsError, FileReloader, reload_logger
from callback_server import metrics
from callback_server.domain.call import Request
from callback_server.domain.response import Response
from callback_server.verification.address import Address
from callback_server.verification.credential import Credential
from callback_server.verification.fetched_keys import FetchedKeys, Requester
from callback_server.verification.fetcher import Fetcher
from callback_server.verification.handshakes import Handshake, make_handshake
from callback_server.verification.jws import parse_jws
from callback_server.verification.message_signature import MessageSignature
from callback_server.verification.places import parse_place
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.secret import Basic, SharedSecret
from callback_server.verification.sender_certificate import (
    Roots,
    SenderCertificate,
    chain_key,
    check_certificate,
    load_intermediates,
    public_roots,
)
from callback_server.verification.settings.credentials import AddressSettings, BasicSettings, SharedSecretSettings
from callback_server.verification.settings.fetched_urls import is_allowed_url
from callback_server.verification.settings.message_signature import MessageSignatureSettings
from callback_server.verification.settings.profiles import (
    DeclaredSettings,
    ProfileSettings,
    StandardWebhooksSettings,
    declared_settings,
)
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings
from callback_server.verification.settings.token import JwtSettings
from callback_server.verification.signature import (
    HmacChecker,
    KeysOfRequest,
    Signature,
    keys_of_files,
    make_hmac_signature,
    make_key_signature,
    usable_keys,
)
from callback_server.verification.standard_webhooks import standard_webhooks
from callback_server.verification.token import Token, token_keys
from callback_server.verification.verifier import Verifier

Clock = Callable[[], float]
"""Returns the time, in seconds since 1970."""

RELOAD_INTERVAL_S: Final = 1.0
"""Interval in which the files are read again, in seconds."""


class Profile:
    """A verification profile with its secrets: a verifier, and an optional handshake.

    Any exception refuses the request. An exception other than VerificationError is a bug.
    """

    def __init__(
        self,
        verifier: Verifier,
        handshake: Handshake | None,
        clock: Clock,
        *,
        enforce: bool,
        fetched: FetchedKeys[Any] | None = None,
    ) -> None:
        self._fetched = fetched
        self.verifier: Final = verifier
        self._handshake = handshake
        self._clock = clock
        self.enforce = enforce
        """Whether a request that does not pass is refused. False: it is counted and logged only."""
        self.challenge = verifier.challenge
        """Value of `WWW-Authenticate` for a request that does not pass (RFC 9110, 11.6.1)."""
        self.reads_body = verifier.reads_body or handshake is not None
        """Whether the body of a request can decide what it is: verified, or a handshake."""

    def handshake(self, request: Request, url: str) -> Response | None:
        """Return the answer to a handshake (see `handshakes`), or None if the request is not one.

        Args:
            request: The request; its method can be `options`.
            url: URL of the request, as the sender knows it, with its query.

        Raises:
            VerificationError: The request is a handshake without a valid proof.
        """
        if self._handshake is None:
            return None
        return self._handshake.answer(request, lambda: self.verify(request, url))

    def verify(self, request: Request, url: str) -> VerifiedMessage:
        """Verify a request.

        Args:
            request: The request, with its body exactly as it arrived.
            url: As for `handshake`.

        Raises:
            VerificationError: The request does not pass, or with the reason KEYS: it cannot be verified now.
        """
        return self.verifier.verify(request, url, self._clock())

    def want_keys(self, error: VerificationError, *, owner: str, url: str) -> None:
        """Have the keys fetched without which a request could not be verified.

        Args:
            error: Why it could not.
            owner: Owner of the callback.
            url: As for `handshake`.
        """
        if self._fetched is not None and error.keys_url:
            self._fetched.want(error.keys_url, Requester(owner, url.partition("?")[0]))

    def redacted(self, request: Request) -> Request:
        """Return the request without a secret that was sent in plain text, for the handler and the record."""
        return self.verifier.redacted(request)


class Profiles(Mapping[str, Profile]):
    """Current profiles by name. Look up the profile for each request, because a reload replaces it.

    Args:
        settings: Declared profiles, by name.
        clock: Clock for the time of requests.
        fetcher: Fetches keys and certificates. Nothing is fetched before `run`.
        roots: Returns the roots of the certificates that are fetched.
        monotonic: Clock that is never set, for the times of fetches.

    Raises:
        CredentialsError: A file cannot be used. The text has one line for each profile with such a file.
    """

    def __init__(
        self,
        settings: Mapping[str, ProfileSettings],
        clock: Clock = time.time,
        *,
        fetcher: Fetcher | None = None,
        roots: Roots = public_roots,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self._reloaders: dict[str, FileReloader[Profile]] = {}
        self.fetched: Final[dict[str, FetchedKeys[Any]]] = {}
        """The keys that are fetched, by profile; none for a profile with files."""
        problems = []
        for name, each in settings.items():
            fetched = _fetched_keys(name, declared_settings(each), fetcher or Fetcher(), clock, roots, monotonic)
            if fetched is not None:
                self.fetched[name] = fetched
            try:
                self._reloaders[name] = _reloader(name, each, clock, fetched)
            except CredentialsError as error:
                problems.append(str(error))
        if problems:
            raise CredentialsError("\n".join(problems))

    def __getitem__(self, name: str) -> Profile:
        return self._reloaders[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._reloaders)

    def __len__(self) -> int:
        return len(self._reloaders)

    async def run(self) -> None:
        """Reload changed files, and fetch keys, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for fetched in self.fetched.values():
                tasks.create_task(fetched.run())
            tasks.create_task(self._reload_regularly())

    async def _reload_regularly(self) -> None:
        while True:
            await asyncio.sleep(RELOAD_INTERVAL_S)
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Reload changed files. Call it on one thread at a time."""
        for reloader in self._reloaders.values():
            reloader.reload()


def _reloader(
    name: str, settings: ProfileSettings, clock: Clock, fetched: FetchedKeys[Any] | None
) -> FileReloader[Profile]:
    files = profile_files(name, settings)

    def make(contents: Contents) -> Profile:
        def credentials(field: str) -> list[Credential]:
            prefix = f"profiles.{name}.{field}["
            return [
                Credential(f"{setting} {files[setting]}", content or b"")
                for setting, content in contents.items()
                if setting.startswith(prefix)
            ]

        return make_profile(settings, credentials, clock, fetched)

    for reason in FailureReason:
        metrics.VERIFICATIONS_FAILED.labels(name, reason, str(settings.enforce).lower())
    failed = metrics.RELOADS_FAILED.labels("profile")
    return FileReloader(files, make, reload_logger(failed, "profile_read", "profile_not_read", profile=name))


def make_profile(
    settings: ProfileSettings,
    credentials: Callable[[str], list[Credential]],
    clock: Clock = time.time,
    fetched: FetchedKeys[Any] | None = None,
) -> Profile:
    """Return a profile.

    Args:
        settings: Its settings.
        credentials: Returns the secrets or keys of a setting that names files, such as `secret_files`.
        clock: Clock for the time of requests.
        fetched: The keys that are fetched. None: none are.

    Raises:
        CredentialsError: A secret or key is not usable.
    """
    declared = declared_settings(settings)
    hub_tokens = [each.secret() for each in credentials("handshake.verify_token_files")]
    verifier = _verifier(declared, credentials, fetched, clock)
    checker = verifier.checker if isinstance(verifier, Signature) else None
    sign = checker.sign if isinstance(checker, HmacChecker) else None
    receiver_id = getattr(declared, "receiver_id", None) or ""
    handshake = make_handshake(declared.handshake, hub_tokens, sign, receiver_id)
    return Profile(verifier, handshake, clock, enforce=settings.enforce, fetched=fetched)


def profile_files(name: str, settings: ProfileSettings) -> dict[str, Path]:
    """Return the files of a profile, by the settings that name them."""
    lists = {
        "secret_files": getattr(settings, "secret_files", ()),
        "key_files": getattr(settings, "key_files", ()),
        "handshake.verify_token_files": getattr(settings.handshake, "verify_token_files", ()),
    }
    return {
        f"profiles.{name}.{setting}[{index}]": path
        for setting, paths in lists.items()
        for index, path in enumerate(paths)
    }


def _fetched_keys(
    name: str, settings: DeclaredSettings, fetcher: Fetcher, clock: Clock, roots: Roots, monotonic: Clock
) -> FetchedKeys[Any] | None:
    """Return the keys that the settings have fetched, or None if they are in files."""
    match settings:
        case JwtSettings(jwks_url=str() as url):
            return FetchedKeys(
                name, fetcher, lambda url, content: token_keys(0, Credential(url, content), settings), [url], monotonic
            )
        case PublicKeySettings(jwks_url=str() as url):
            return FetchedKeys(
                name, fetcher, lambda url, content: usable_keys(Credential(url, content), settings), [url], monotonic
            )
        case PublicKeySettings(certificate_url=str()):
            intermediates = load_intermediates(settings.intermediates)

            def certificate(url: str, content: bytes) -> SenderCertificate:
                return check_certificate(
                    url,
                    content,
                    names=settings.certificate_names,
                    intermediates=intermediates,
                    now=clock(),
                    roots=roots,
                )

            return FetchedKeys(name, fetcher, certificate, clock=monotonic)
    return None


def _verifier(
    settings: DeclaredSettings,
    credentials: Callable[[str], list[Credential]],
    fetched: FetchedKeys[Any] | None,
    clock: Clock,
) -> Verifier:
    """Return the verifier for settings, credentials and fetched keys.

    Raise CredentialsError if a credential is not usable.
    """

    def secrets() -> list[bytes]:
        return [each.secret() for each in credentials("secret_files")]

    match settings:
        case StandardWebhooksSettings():
            return standard_webhooks(credentials("secret_files"), settings.tolerance_s)
        case HmacSettings():
            return make_hmac_signature(settings, credentials("secret_files"))
        case PublicKeySettings():
            if settings.roots:
                keys = _keys_of_chains(settings, clock)
            elif fetched is None:
                keys = keys_of_files(settings, credentials("key_files"))
            else:
                keys = _keys_of_urls(settings, fetched, clock)
            if fetched is None or settings.certificate_url is None:
                return make_key_signature(settings, keys)
            place = parse_place(settings.certificate_url)
            return make_key_signature(settings, keys, lambda request: fetched.note_proven(place.find(request) or ""))
        case SharedSecretSettings():
            return SharedSecret(settings, secrets())
        case BasicSettings():
            return Basic(settings, secrets())
        case JwtSettings():
            if fetched is not None and (url := settings.jwks_url) is not None:
                return Token(settings, lambda: fetched.get(url))
            in_files = [
                key for index, each in enumerate(credentials("key_files")) for key in token_keys(index, each, settings)
            ]
            return Token(settings, lambda: in_files)
        case MessageSignatureSettings():
            return MessageSignature(settings, credentials("key_files"))
        case AddressSettings():
            return Address(settings)


def _keys_of_chains(settings: PublicKeySettings, clock: Clock) -> KeysOfRequest:
    """Return the keys of the certificates that come with messages."""
    place = parse_place(settings.signature[0])
    roots = Store(load_intermediates(settings.roots))

    def certificate_key(request: Request, _url: str) -> list[tuple[int, Any]]:
        chain = parse_jws(place.find(request) or "").members.get("x5c")
        return [(0, chain_key(chain, roots=roots, oids=settings.certificate_oids, now=clock()))]

    return certificate_key


def _keys_of_urls(settings: PublicKeySettings, fetched: FetchedKeys[Any], clock: Clock) -> KeysOfRequest:
    """Return the keys that are fetched: from the URL of the settings, or the certificate that a message names."""
    if (url := settings.jwks_url) is not None:
        return lambda _request, _url: [(0, key) for key in fetched.get(url)]
    place = parse_place(settings.certificate_url or "")

    def certificate_key(request: Request, _url: str) -> list[tuple[int, Any]]:
        named = place.find(request)
        if named is None:
            raise VerificationError(f"{place} is missing", FailureReason.MISSING)
        if not is_allowed_url(named, settings.certificate_urls):
            raise VerificationError(f"{place} is not one of certificate_urls", FailureReason.SIGNATURE)
        certificate = fetched.get(named)
        if clock() > certificate.valid_until:
            raise VerificationError("the sender's certificate has expired", FailureReason.TIME)
        return [(0, certificate.key)]

    return certificate_key
