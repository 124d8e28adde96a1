"""The profiles that an operator declares, with the secrets that their files hold now.

A file that changes is read again. One that can not be used changes nothing: what held still holds, and the log says so.
Only a start refuses it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from callback_process.credentials import Contents, CredentialsError, FileReloader
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.domain.call import Request
from callback_server.domain.response import Response
from callback_server.verification.address import Address
from callback_server.verification.credential import Credential
from callback_server.verification.handshakes import Handshake, make_handshake
from callback_server.verification.profile import Profile, VerifiedMessage
from callback_server.verification.secret import Basic, SharedSecret
from callback_server.verification.settings import (
    AddressSettings,
    BasicSettings,
    HmacSettings,
    JwtSettings,
    PresetSettings,
    ProfileSettings,
    SharedSecretSettings,
    StandardWebhooksSettings,
)
from callback_server.verification.signature import Signature, as_hmac
from callback_server.verification.standard_webhooks import StandardWebhooks
from callback_server.verification.token import Token
from callback_server.verification.verifier import Verifier

Clock = Callable[[], float]
"""The time, in seconds since 1970."""

log = get_logger()

WATCH_INTERVAL_S: Final = 1.0
"""How often the files are looked at, in seconds."""


class Profiles(Mapping[str, Profile]):
    """Every profile by its name, as it is at this moment: ask again for each request.

    Args:
        settings: what was declared, by name.
        clock: what the time is.

    Raises:
        CredentialsError: a file can not be used; one line for each profile with such a file.
    """

    def __init__(self, settings: Mapping[str, ProfileSettings], clock: Clock = time.time) -> None:
        self._followed: dict[str, FileReloader[Profile]] = {}
        problems = []
        for name, each in settings.items():
            try:
                self._followed[name] = _follow(name, each, clock)
            except CredentialsError as error:
                problems.append(str(error))
        if problems:
            raise CredentialsError("\n".join(problems))

    def __getitem__(self, name: str) -> Profile:
        return self._followed[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._followed)

    def __len__(self) -> int:
        return len(self._followed)

    async def run(self) -> None:
        """Read the files again whenever they have changed, until it is cancelled."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Read again what has changed. Not on several threads at the same time."""
        for followed in self._followed.values():
            followed.reload()


class _Profile:
    """A profile of its parts."""

    def __init__(self, verifier: Verifier, handshake: Handshake | None, clock: Clock) -> None:
        self._verifier = verifier
        self._handshake = handshake
        self._clock = clock
        self.challenge = verifier.challenge

    def handshake(self, request: Request, url: str) -> Response | None:
        if self._handshake is None:
            return None
        return self._handshake.answer(request, lambda: self.verify(request, url))

    def verify(self, request: Request, url: str) -> VerifiedMessage:
        return self._verifier.verify(request, url, self._clock())

    def redacted(self, request: Request) -> Request:
        return self._verifier.redacted(request)


def _follow(name: str, settings: ProfileSettings, clock: Clock) -> FileReloader[Profile]:
    files = profile_files(name, settings)

    def make(contents: Contents) -> Profile:
        def credentials(field: str) -> list[Credential]:
            prefix = f"profiles.{name}.{field}["
            return [
                Credential(f"{setting} {files[setting]}", content or b"")
                for setting, content in contents.items()
                if setting.startswith(prefix)
            ]

        hub_tokens = [each.secret() for each in credentials("handshake.verify_token_files")]
        return _Profile(_verifier(settings, credentials), make_handshake(settings.handshake, hub_tokens), clock)

    def tell(problem: str | None) -> None:
        if problem is None:
            log.info("profile_read", profile=name)
        else:
            metrics.RELOADS_FAILED.labels("profile").inc()
            log.error("profile_not_read", profile=name, problem=problem)

    return FileReloader(files, make, tell)


def profile_files(name: str, settings: ProfileSettings) -> dict[str, Path]:
    """The files that a profile names, by their settings."""
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


def _verifier(settings: ProfileSettings, credentials: Callable[[str], list[Credential]]) -> Verifier:
    """Make a verifier of its settings and of what is in the files of a setting. Raises CredentialsError."""

    def secrets() -> list[bytes]:
        return [each.secret() for each in credentials("secret_files")]

    match settings:
        case StandardWebhooksSettings():
            return StandardWebhooks(credentials("secret_files"), settings.tolerance_s)
        case HmacSettings():
            return Signature(settings, secrets())
        case PresetSettings():
            return Signature(as_hmac(settings), secrets())
        case SharedSecretSettings():
            return SharedSecret(settings, secrets())
        case BasicSettings():
            return Basic(settings, secrets())
        case JwtSettings():
            return Token(settings, credentials("key_files"))
        case AddressSettings():
            return Address(settings)
