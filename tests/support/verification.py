"""Verification profiles with secrets in files, requests as the edge sends them, and a clock that a test sets."""

import msgspec
import pytest
from pydantic import TypeAdapter
from soak.counts import SOAK

from callback_server.domain.call import Request
from callback_server.verification.profile import VerificationError, VerifiedMessage
from callback_server.verification.profiles import Profiles
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.settings.profiles import ProfileSettings

DECLARED = TypeAdapter(ProfileSettings)
KEY_KINDS = ("jwt", "public-key", "http-message-signatures")
KINDS_WITH_KEYS = {f"provider:{name}" for name, each in PROVIDERS.items() if each.profile["kind"] in KEY_KINDS}
NOW = 1_700_000_000
URL = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11?order=5"


class Clock:
    """Clock that moves only when a test moves it."""

    now = float(NOW)

    def __init__(self, now=NOW):
        self.now = float(now)

    def __call__(self):
        return self.now


class ById:
    """A profile that every request passes. The message id is the given one, or the value of the header `x-id`."""

    challenge, enforce, reads_body = "ById", True, False

    def __init__(self, message_id=None):
        self.message_id = message_id

    def handshake(self, _request, _url):
        return None

    def verify(self, request, _url):
        ids = [self.message_id] if self.message_id else request.values("x-id")
        return VerifiedMessage(ids[0], 60_000) if ids else VerifiedMessage()

    def redacted(self, request):
        return request


def profiles_of(folder, clock=None, /, *secrets, **settings):
    """Return profiles with one named `it`. Each secret is in a file that the settings name."""
    return Profiles({"it": declared(folder, *secrets, **settings)}, clock or Clock())


def declared(folder, *secrets, **settings):
    """Return the settings of a profile. Each secret is in a file in the folder, which the settings name."""
    files = []
    for index, secret in enumerate(secrets):
        file = folder / f"secret-{index}"
        file.write_bytes(secret if isinstance(secret, bytes) else secret.encode())
        files.append(file)
    if files:
        settings["key_files" if settings["kind"] in (*KINDS_WITH_KEYS, *KEY_KINDS) else "secret_files"] = files
    return DECLARED.validate_python(settings)


def profile_of(folder, *secrets, clock=None, **settings):
    return profiles_of(folder, clock, *secrets, **settings)["it"]


def sample_settings(name, folder):
    """Return the settings of a provider's profile, as they were for its sample, without its files."""
    given = {"kind": f"provider:{name}", **PROVIDERS[name].sample.settings}
    if "handshake" in PROVIDERS[name].needs:
        file = folder / "token"
        file.write_text("token")
        given["handshake"] = {"kind": "hub", "verify_token_files": [file]}
    return given


def sample_request(name):
    """Return the request of a provider's sample."""
    sample = PROVIDERS[name].sample
    query = sample.url.partition("?")[2]
    return request(
        *(tuple(pair) for pair in sample.headers),
        method=sample.method,
        body=sample.body.encode(),
        query=[part.split("=", 1) for part in query.split("&") if part],
    )


def request(*headers, method="post", body=b"", query=(), address="192.0.2.7"):
    query_string = "&".join(f"{name}={value}" for name, value in query)
    return Request(method, headers, tuple(map(tuple, query)), query_string, address, body)


def changed(request, **changes):
    return msgspec.structs.replace(request, **changes)


def with_header(request, name, value):
    """Return the request with another value of a header."""
    return changed(request, headers=tuple((each, value if each == name else old) for each, old in request.headers))


def refused(profile, request, url=URL):
    """Return why a request is refused."""
    with pytest.raises(VerificationError) as caught:
        profile.verify(request, url)
    return str(caught.value)


MASKS = (1, 2, 4, 8, 16, 32, 64, 128, 255)
"""Each bit of a byte, and all of them."""


def flips(octets):
    """Yield texts that differ in one bit, or in one whole byte: one text for each byte, and in a soak each of them.

    Of the last three bytes it is always each: base64 ends with bits that mean nothing.
    """
    for index in range(len(octets)):
        whole = SOAK or index >= len(octets) - 3
        for mask in MASKS if whole else [MASKS[index % len(MASKS)]]:
            yield octets[:index] + bytes([octets[index] ^ mask]) + octets[index + 1 :]
