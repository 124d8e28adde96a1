"""Verification by HTTP Message Signatures (RFC 9421), with the digest of the body in `content-digest` (RFC 9530).

1. The settings say which algorithm a signature has and what it must cover at least. A signature that covers less, or
   whose `alg` is another one, does not pass.
2. A message can have several signatures. One of those that the settings select (by label, tag and key id) must pass.
3. The library gives the values of the components, the digest and the algorithms. The choice of signatures and keys, and
   the times, are here: its own verifier reads the clock itself, and has one key for a key id.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import http_sf
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from http_message_signatures import ContentDigest, HTTPMessageSignaturesException, HTTPSignatureComponentResolver
from http_message_signatures import algorithms as library
from http_sf.compat import Item
from http_sf.list import ser_list

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.components import identity, parse_component
from callback_server.verification.credential import Credential
from callback_server.verification.keys import is_on, is_rsa, public_keys
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.settings.message_signature import MessageSignatureSettings
from callback_server.verification.signature import MAX_KEY_SIGNATURES, secret_of
from callback_server.verification.verifier import Explanation, Verifier

MAX_COMPONENTS: Final = 64
"""Number of components that a signature covers, at most: the value of each is copied before the signature is known."""

_DIGEST: Final = identity("content-digest", {})


@dataclass(frozen=True, slots=True)
class _Algorithm:
    make: Callable[..., library.HTTPSignatureAlgorithm]
    """Class of the library."""
    fits: Callable[[Any], bool]
    """Whether a key is for the algorithm."""
    jwk: frozenset[str]
    """Values of `alg` that a key of a JSON Web Key Set for this algorithm can have."""


_ALGORITHMS: Final = {
    "hmac-sha256": _Algorithm(library.HMAC_SHA256, lambda key: isinstance(key, bytes), frozenset()),
    "rsa-pss-sha512": _Algorithm(library.RSA_PSS_SHA512, is_rsa, frozenset({"PS512"})),
    "rsa-v1_5-sha256": _Algorithm(library.RSA_V1_5_SHA256, is_rsa, frozenset({"RS256"})),
    "ecdsa-p256-sha256": _Algorithm(library.ECDSA_P256_SHA256, partial(is_on, "secp256r1"), frozenset({"ES256"})),
    "ecdsa-p384-sha384": _Algorithm(library.ECDSA_P384_SHA384, partial(is_on, "secp384r1"), frozenset({"ES384"})),
    "ed25519": _Algorithm(
        library.ED25519, lambda key: isinstance(key, ed25519.Ed25519PublicKey), frozenset({"EdDSA", "Ed25519"})
    ),
}


@dataclass(frozen=True, slots=True)
class _Key:
    index: int
    """Index of its file."""
    verify: Callable[[bytes, bytes], None]
    """Verifies a signature of bytes."""
    id: str | None = None
    """Id that a signature must name, if it names one. None: any."""


@dataclass(frozen=True, slots=True)
class _Signature:
    """A signature of a message, as it was sent."""

    components: list[tuple[str, dict[str, Any]]]
    """Names of the covered components, with their parameters, in order."""
    parameters: dict[str, Any]
    value: bytes

    def time(self, name: str) -> int | None:
        """Return a time, in seconds since 1970. None: it is not given."""
        value = self.parameters.get(name)
        if value is not None and type(value) is not int:
            raise VerificationError(f"the signature's {name} is not a whole number")
        return value

    def text(self, name: str) -> str | None:
        """Return a text. None: it is not given."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise VerificationError(f"the signature's {name} is not a text")
        return value


class MessageSignature(Verifier):
    """Verifier: a signature over components of the request.

    Args:
        settings: The algorithm, and what a signature must cover.
        credentials: Files with keys.

    Raises:
        CredentialsError: A file has no key for the algorithm.
    """

    challenge = "Signature"
    reads_body = True

    def __init__(self, settings: MessageSignatureSettings, credentials: Iterable[Credential]) -> None:
        self._settings = settings
        required = [parse_component(each) for each in settings.components]
        self._required = [each for each in required if each != _DIGEST]
        self._keys = [key for index, each in enumerate(credentials) for key in _keys(index, each, settings)]

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Implement `Verifier.verify`."""
        first: VerificationError | None = None
        for signature in self._selected(request):
            try:
                return self._verified(signature, request, url, now)
            except VerificationError as error:
                first = first or error
        raise first or VerificationError("no signature has the profile's label, tag or key id", FailureReason.MISSING)

    def explain(self, request: Request, url: str) -> Explanation:
        """Implement `Verifier.explain`. Of several signatures the first one counts that is valid, or else the first."""
        found = Explanation()
        for signature in self._selected(request):
            base = _base(_covered(signature, request, url), signature)
            key = self._matching(signature, base)
            if key is not None:
                return Explanation(f"key_files[{key.index}]", base)
            found = found if found.signed is not None else Explanation(signed=base)
        return found

    def _selected(self, request: Request) -> list[_Signature]:
        """Return the signatures that the settings select, at most `MAX_KEY_SIGNATURES`."""
        inputs, values = (_dictionary(request, name) for name in ("signature-input", "signature"))
        settings, found = self._settings, []
        for label in inputs:
            if label not in values or settings.label not in (None, label):
                continue
            signature = _signature(inputs[label], values[label])
            if settings.tag in (None, signature.parameters.get("tag")) and any(self._candidates(signature)):
                found.append(signature)
        return found[:MAX_KEY_SIGNATURES]

    def _candidates(self, signature: _Signature) -> Iterator[_Key]:
        """Return the keys that can have made a signature."""
        key_id = signature.parameters.get("keyid")
        return (key for key in self._keys if key_id is None or key.id in (None, key_id))

    def _verified(self, signature: _Signature, request: Request, url: str, now: float) -> VerifiedMessage:
        settings = self._settings
        if signature.text("alg") not in (None, settings.algorithm):
            raise VerificationError("the signature's alg is not the profile's algorithm")
        created, expires = signature.time("created"), signature.time("expires")
        if created is None:
            raise VerificationError("the signature's created is missing", FailureReason.MISSING)
        request_fields.require_recent(created, now, settings.tolerance_s)
        if expires is not None and expires < now:
            raise VerificationError("the signature has expired", FailureReason.TIME)
        covered = _covered(signature, request, url)
        identities = {identity(*each) for each in signature.components}
        for each in self._required:
            if each not in identities:
                raise VerificationError(f"the signature does not cover {each}")
        base = _base(covered, signature)
        if self._matching(signature, base) is None:
            raise VerificationError("no signature is valid", FailureReason.SIGNATURE)
        self._check_body(covered, request)
        nonce = signature.text("nonce") or ""
        # Without a nonce the signed bytes are the id: the bytes of a signature can differ for the same message.
        message_id = nonce if request_fields.is_message_id(nonce) else hashlib.sha256(base).hexdigest()
        return VerifiedMessage(message_id, settings.tolerance_s * 2000)

    def _matching(self, signature: _Signature, base: bytes) -> _Key | None:
        for key in self._candidates(signature):
            with contextlib.suppress(InvalidSignature, HTTPMessageSignaturesException, ValueError):
                key.verify(signature.value, base)
                return key
        return None

    def _check_body(self, covered: dict[str, str], request: Request) -> None:
        """Check that the body is the one of which the signature covers the digest."""
        try:
            is_checked = ContentDigest.verify_components(covered, request.body)
        except HTTPMessageSignaturesException:
            raise VerificationError("the content-digest is not that of the body", FailureReason.SIGNATURE) from None
        if is_checked or self._settings.allow_unsigned_body:
            return
        if request.body or request.values("content-digest"):
            raise VerificationError("the request has a body that is not signed")


def _dictionary(request: Request, name: str) -> dict[str, Any]:
    values = request.values(name)
    if not values:
        raise VerificationError(f"{name} is missing", FailureReason.MISSING)

    def refuse(_key: str, context: str) -> None:
        if context == "dictionary":
            raise VerificationError(f"{name} has a label more than once")

    try:
        found = http_sf.parse(", ".join(values).encode("latin-1"), tltype="dictionary", on_duplicate_key=refuse)
    except (ValueError, TypeError):
        raise VerificationError(f"{name} is not a dictionary of RFC 9651") from None
    return found if isinstance(found, dict) else {}


def _signature(given: tuple[Any, dict[str, Any]], value: tuple[Any, dict[str, Any]]) -> _Signature:
    components, parameters = given
    if not isinstance(components, list) or not isinstance(value[0], bytes):
        raise VerificationError("the signature does not have the form of RFC 9421")
    if len(components) > MAX_COMPONENTS:
        raise VerificationError(f"the signature covers more than {MAX_COMPONENTS} components")
    if not all(isinstance(name, str) and name == name.lower() for name, _ in components):
        raise VerificationError("a component of the signature is not a text in lower case")
    return _Signature(components, parameters, value[0])


def _covered(signature: _Signature, request: Request, url: str) -> dict[str, str]:
    """Return the covered values by their components, in order."""
    if len({identity(*each) for each in signature.components}) != len(signature.components):
        raise VerificationError("the signature covers a component more than once")
    found = {}
    try:
        headers = SimpleNamespace(items=lambda: request.headers)
        message = SimpleNamespace(method=request.method.upper(), url=url, headers=headers)
        resolver = HTTPSignatureComponentResolver(message)  # type: ignore[no-untyped-call]  # it has no annotations
        for name, parameters in signature.components:
            item = Item(name)
            item.params.update(parameters)
            found[str(item)] = resolver.resolve(item)
    except Exception:  # the library raises many kinds for hostile input
        raise VerificationError("a component of the signature cannot be read in the request") from None
    if not all(each.isascii() and each.replace("\t", " ").isprintable() for each in found.values()):
        raise VerificationError("a component of the signature has characters that cannot be signed")
    return found


def _base(covered: dict[str, str], signature: _Signature) -> bytes:
    """Return the signature base (RFC 9421, 2.5)."""
    parameters: Any = (signature.components, signature.parameters)
    lines = [f"{name}: {value}" for name, value in covered.items()]
    return "\n".join([*lines, f'"@signature-params": {ser_list([parameters])}']).encode("ascii")


def _keys(index: int, credential: Credential, settings: MessageSignatureSettings) -> list[_Key]:
    """Return the keys of a file. Raise CredentialsError if there is none for the algorithm."""
    algorithm = _ALGORITHMS[settings.algorithm]
    own_id = settings.key_ids[index] if settings.key_ids else None
    found: list[tuple[Any, str | None, str | None]]
    if settings.algorithm == "hmac-sha256":
        found = [(secret_of(credential, settings.secret_encoding), None, None)]
    else:
        found = public_keys(credential)
    keys = [
        _Key(index, algorithm.make(public_key=key).verify, own_id or key_id)
        for key, name, key_id in found
        if algorithm.fits(key) and (name is None or name in algorithm.jwk)
    ]
    if not keys:
        raise credential.error(f"has no key for the algorithm {settings.algorithm}")
    return keys
