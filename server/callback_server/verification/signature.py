"""Verification by a signature over parts of the request. Settings describe the format (see `SignedSettings`).

A signature is compared or decoded in exactly one form of its encoding (base64url has two: with and without padding).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from callback_server.domain.call import Request
from callback_server.domain.url import is_as_handed_out
from callback_server.verification import request_fields
from callback_server.verification.credential import Credential
from callback_server.verification.handshakes import HEXADECIMAL
from callback_server.verification.jws import Jws, parse_jws
from callback_server.verification.keys import is_public_key, is_rsa, public_keys
from callback_server.verification.message_ids import MessageIds
from callback_server.verification.places import FIELD_NAME, Place, parse_place
from callback_server.verification.profile import FailureReason, VerificationError, VerifiedMessage
from callback_server.verification.settings.handshakes import signs_challenges
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings, SignedSettings
from callback_server.verification.settings.values import Encoding, KeyAlgorithm, SecretEncoding
from callback_server.verification.template import COVERS_BODY, Template, members_of, place_of
from callback_server.verification.verifier import Explanation, Verifier

MAX_SIGNATURES: Final = 16
"""Number of signatures in one request, at most: each costs time for every secret."""
MAX_HEADERS: Final = 64
"""Number of headers that a list names, at most."""
MAX_KEY_SIGNATURES: Final = 4
"""Number of signatures by a private key in one request that are checked: each hashes the body anew, for every key."""

ENCODERS: Final[Mapping[Encoding, Callable[[bytes], tuple[bytes, ...]]]] = {
    "hex": lambda digest: (digest.hex().encode(),),
    "hex-upper": lambda digest: (digest.hex().upper().encode(),),
    "base64": lambda digest: (base64.b64encode(digest),),
    "base64url": lambda digest: (padded := base64.urlsafe_b64encode(digest), padded.rstrip(b"=")),
}
"""The accepted forms of a signature, by its encoding."""

_DECODERS: Final[Mapping[Encoding, Callable[[bytes], bytes]]] = {
    "hex": lambda text: bytes.fromhex(text.decode("ascii")),
    "hex-upper": lambda text: bytes.fromhex(text.decode("ascii")),
    "base64": lambda text: base64.b64decode(text, validate=True),
    "base64url": lambda text: base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)),
}
_NEXT_HEADER: Final = re.compile(rf";(?={FIELD_NAME.pattern}:)")
"""Where the next item of a list of headers could begin."""
KeysOfRequest = Callable[[Request, str], Sequence[tuple[int, Any]]]
"""Returns the keys for a request and its URL, each with the index of its file. Raises VerificationError."""

HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # for old senders; `doctor` warns
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""The hash functions of signatures, by name."""


class SignatureChecker(Protocol):
    """Secrets or keys of a profile."""

    files: str
    """Setting that names the files."""

    def matching(self, signed: bytes, given: Sequence[bytes], request: Request, url: str) -> int | None:
        """Return the index of the file with which one of the given signatures is valid, if there is one.

        Args:
            signed: The signed bytes.
            given: Signatures as they were sent.
            request: The request, which can name the algorithm and the certificate.
            url: URL of the request.

        Raises:
            VerificationError: The request names what the settings do not allow, or its keys are not known.
        """


class HmacChecker:
    """Checker of HMACs.

    Args:
        settings: The algorithm and the encodings.
        credentials: Files, each with one secret.

    Raises:
        CredentialsError: A secret is not encoded as the settings say.
    """

    files = "secret_files"

    def __init__(self, settings: HmacSettings, credentials: Iterable[Credential]) -> None:
        self._algorithm = settings.algorithm
        self._encode = ENCODERS[settings.encoding]
        self._prefix = settings.whole_prefix.encode()
        self._secrets = [hmac_key(settings, each) for each in credentials]

    def matching(self, signed: bytes, given: Sequence[bytes], request: Request, url: str) -> int | None:
        """Implement `SignatureChecker.matching`. The time does not depend on the place of the valid secret."""
        found = None
        for index, secret in enumerate(self._secrets):
            made = self._encode(hmac.digest(secret, signed, self._algorithm))
            if request_fields.matches([self._prefix + each for each in made], *given):
                found = index
        return found

    def sign(self, text: bytes) -> bytes:
        """Return the HMAC of a text with the first secret, for a handshake."""
        return hmac.digest(self._secrets[0], text, self._algorithm)


class PublicKeyChecker:
    """Checker of signatures by private keys.

    Args:
        settings: The algorithm and the encoding.
        keys: Returns the keys for a request.
        note_proven: Called with each request that has a valid signature.
    """

    files = "key_files"

    def __init__(
        self,
        settings: PublicKeySettings,
        keys: KeysOfRequest,
        note_proven: Callable[[Request], None] = lambda _request: None,
    ) -> None:
        self._encode = ENCODERS[settings.encoding]
        self._decode = _DECODERS[settings.encoding]
        self._prefix = settings.whole_prefix.encode()
        self._place = None if settings.algorithm_place is None else parse_place(settings.algorithm_place)
        self._algorithms = {"": settings.algorithm} if self._place is None else settings.algorithms
        self._keys = keys
        self._note_proven = note_proven

    def matching(self, signed: bytes, given: Sequence[bytes], request: Request, url: str) -> int | None:
        """Implement `SignatureChecker.matching`."""
        algorithm = self._algorithm(request)
        signatures = [decoded for each in given if (decoded := self._decoded(each))]
        if not signatures:
            return None
        verifiers = [(index, _key_verifier(algorithm, key)) for index, key in self._keys(request, url)]
        for signature in signatures[:MAX_KEY_SIGNATURES]:
            for index, verify in verifiers:
                if verify is not None:
                    with contextlib.suppress(InvalidSignature):
                        verify(signature, signed)
                        self._note_proven(request)
                        return index
        return None

    def _algorithm(self, request: Request) -> KeyAlgorithm:
        """Return the algorithm of a request."""
        found = self._algorithms.get("" if self._place is None else _required([self._place], request))
        if found is None:
            raise VerificationError(f"{self._place} is not one of the algorithms")
        return found

    def _decoded(self, given: bytes) -> bytes:
        """Return the bytes of a signature. Return no bytes if it is not in the one form of its encoding."""
        if not given.startswith(self._prefix):
            return b""
        text = given.removeprefix(self._prefix)
        try:
            decoded = self._decode(text)
        except ValueError:
            return b""
        return decoded if text in self._encode(decoded) else b""


@dataclass(frozen=True, slots=True)
class _Given:
    """What is read from a request before its signature is checked."""

    signatures: list[str]
    time: str | None
    """In its original form."""
    message: Request
    """The request, or for a JWS with a payload of its own, the request with that as its body."""
    jws: Jws | None

    @property
    def octets(self) -> list[bytes]:
        """The bytes of the signatures."""
        return [request_fields.octets(each) for each in self.signatures]


class Signature(Verifier):
    """Verifier: a signature over parts of the request.

    Args:
        settings: The signed parts and the format.
        checker: The secrets or keys.
        hash_name: Hash function of `{body-hash}`.
    """

    challenge = "Signature"
    reads_body = True

    def __init__(self, settings: SignedSettings, checker: SignatureChecker, hash_name: str) -> None:
        self._settings = settings
        self._hash_name = hash_name
        self.checker: Final = checker
        """The secrets or keys."""
        self._template = Template(settings.signed)
        self._places = [parse_place(each) for each in settings.signature]
        self._times = [parse_place(each) for each in settings.timestamp]
        self._ids = MessageIds(settings.id)
        before = [*self._places, *self._times, *self._template.places()]
        if isinstance(settings, PublicKeySettings):
            named = (settings.certificate_url, settings.algorithm_place)
            before += [parse_place(each) for each in named if each is not None]
        before += self._ids.places if "id" in self._template.parts else []
        self._jws = settings if isinstance(settings, PublicKeySettings) and settings.jws else None
        self._headers = None if settings.signed_headers is None else parse_place(settings.signed_headers)
        self._receivers = [parse_place(each) for each in settings.receiver]
        self._reads_unverified = any(each.in_body for each in before)
        self._members_read = [each for each in before if settings.allow_unsigned_body and "json" in each.kind]
        self._members = {name for part in self._template.parts for name, _ in members_of(part)}
        if settings.signs_own_payload:  # the places of all others are in the payload
            self._members_read = [each for each in self._places if "json" in each.kind]
            self._members = {each.name.split("/")[1] for each in self._members_read}
        algorithm = getattr(settings, "algorithm_place", None)
        apart = self._places if algorithm is None else [*self._places, parse_place(algorithm)]
        self._fields_apart = {each.name for each in apart if each.kind == "form"}
        self._splits = re.compile(f"[{re.escape(settings.separators)}]") if settings.separators else None
        self._format = _format(settings.signature_format) if settings.signature_format is not None else None

    def verify(self, request: Request, url: str, now: float) -> VerifiedMessage:
        """Implement `Verifier.verify`."""
        settings, parts = self._settings, self._template.parts
        if request.body and not settings.allow_unsigned_body and not COVERS_BODY.intersection(parts):
            raise VerificationError("the request has a body that is not signed")
        if settings.require_json_object and not request.body.startswith(b"{"):
            raise VerificationError("the body is not a JSON object")
        given = self._given(request)
        if given.time is not None:
            moment = request_fields.time_of(given.time, settings.timestamp_format)
            request_fields.require_recent(moment, now, settings.tolerance_s)
        message_id = self._ids.find(given.message, must_be_there=True) if "id" in parts else ""
        signed = self._signed(given, url, message_id)
        if signs_challenges(settings.handshake) and HEXADECIMAL.fullmatch(signed.decode("latin-1")):
            raise VerificationError("what is signed could be a challenge, which anyone can have signed")
        if self.checker.matching(signed, given.octets, request, url) is None:
            raise VerificationError("no signature is valid", FailureReason.SIGNATURE)
        for document in {each.document(request) for each in self._members_read if each.find(request) is not None}:
            _refuse_ambiguous_names(document, self._members)
        if self._receivers and _required(self._receivers, given.message) != settings.receiver_id:
            raise VerificationError("the message is for another receiver", FailureReason.SIGNATURE)
        if "id" not in parts:  # a body is parsed for it only now
            message_id = self._ids.find(given.message)
        return VerifiedMessage(message_id, settings.tolerance_s * 2000 if message_id else 0)

    def explain(self, request: Request, url: str) -> Explanation:
        """Implement `Verifier.explain`."""
        given = self._given(request)
        message_id = self._ids.find(given.message, must_be_there=True) if "id" in self._template.parts else ""
        signed = self._signed(given, url, message_id)
        index = self.checker.matching(signed, given.octets, request, url)
        return Explanation("" if index is None else f"{self.checker.files}[{index}]", signed)

    def _given(self, request: Request) -> _Given:
        """Return the signatures of a request, and what else is read before they are checked."""
        settings = self._settings
        if self._reads_unverified and len(request.body) > request_fields.MAX_UNVERIFIED_BYTES:
            raise VerificationError("the body is too large to be read before it is verified")
        values = [value for each in self._places if (value := each.find(request)) is not None]
        if not values:
            raise VerificationError(f"{self._places[0]} is missing", FailureReason.MISSING)
        if self._format is not None and not all(map(self._format.fullmatch, values)):
            raise VerificationError(f"{self._places[0]} is not as signature_format says")
        if self._splits is not None:
            values = [part for value in values for part in self._splits.split(value)]
        signatures = values
        if settings.signature_field is not None:
            signatures = _fields(values, settings.signature_field)
            if any("=" in each.removeprefix(settings.whole_prefix).rstrip("=") for each in signatures):
                raise VerificationError("a signature contains another field")  # so another separator than the sender's
        if not 1 <= len(signatures) <= MAX_SIGNATURES:
            raise VerificationError(f"the request has {len(signatures)} signatures")
        message, jws = request, None
        if self._jws is not None and self._jws.algorithm is not None:
            jws = parse_jws(signatures[0])
            jws.check_header(self._jws.algorithm, self._jws.jws_header)
            signatures = [jws.signature]
            if settings.signs_own_payload:
                message = msgspec.structs.replace(request, body=jws.payload)
            elif jws.payload:
                raise VerificationError("the JWS has a payload of its own")
        return _Given(signatures, self._time(values, message), message, jws)

    def _time(self, values: Sequence[str], message: Request) -> str | None:
        """Return the time in its original form, if messages have one."""
        if not self._times:
            return None
        if self._times[0].kind == "field":
            times = _fields(values, self._times[0].name)
            if len(times) != 1:
                raise VerificationError("the signature does not have exactly one time")
            return times[0]
        return _required(self._times, message)

    def _signed(self, given: _Given, url: str, message_id: str) -> bytes:
        """Return the signed bytes."""
        values = {part: self._value(part, given, url, message_id) for part in self._template.parts}
        if not self._template.is_bounded(values):
            raise VerificationError("the message id or the URL contains the text that must end it")
        # Without a form, and with no form that begins like a query, the URL ends where the signed bytes do.
        is_bare = "form" in values and not values["form"]
        if self._template.needs_generated_url and not is_bare and not is_as_handed_out(url):
            raise VerificationError("the URL differs from the generated one, and the signature does not mark its end")
        filled = self._template.fill(values)
        return filled if given.jws is None else given.jws.signed(filled)

    def _listed_headers(self, given: _Given) -> list[tuple[str, str]]:
        """Return the headers that the list names, in its order. The list itself, the time and the id must be in it."""
        if self._headers is None:
            return []
        request, names = given.message, ""
        read = self._times if "id" in self._template.parts else [*self._times, *self._ids.places]
        needed = [each for each in read if each.kind == "header" and each.find(request) is not None]
        if self._headers.kind == "header":
            names = _required([self._headers], request)
            needed.append(self._headers)
        elif given.jws is not None:
            names = str(given.jws.members.get(self._headers.name, ""))
        listed = names.split(",") if names else []
        lowered = {each.lower() for each in listed}
        if len(lowered) != len(listed) or len(listed) > MAX_HEADERS or not all(map(FIELD_NAME.fullmatch, listed)):
            raise VerificationError("the list of the signed headers cannot be read")
        if missing := [each for each in needed if each.name.lower() not in lowered]:
            raise VerificationError(f"{missing[0]} is not one of the signed headers")
        return [(name, request_fields.header(request, name)) for name in listed]

    def _value(self, part: str, given: _Given, url: str, message_id: str) -> bytes:
        """Return the value of a placeholder."""
        request = given.message
        match part:
            case "body":
                return request.body
            case "timestamp":
                return request_fields.octets(given.time or "")
            case "id":
                return request_fields.octets(message_id)
            case "method":
                return request_fields.octets(request.method.upper())
            case "url":
                return request_fields.octets(url)
            case "host":
                return request_fields.octets(urlsplit(url).netloc)
            case "path":
                return request_fields.octets(urlsplit(url).path)
            case "query":
                return request_fields.octets(request.query_string)
            case "target":
                query = f"?{request.query_string}" if request.query_string else ""
                return request_fields.octets(urlsplit(url).path + query)
            case "header-lines":
                return _lines_of_headers(self._listed_headers(given))
            case "header-list":
                return _list_of_headers(self._listed_headers(given))
            case "query-pairs":
                return _query_pairs(request, {each.name for each in self._places if each.kind == "query"})
            case "body-hash":
                return hashlib.new(self._hash_name, request.body).hexdigest().encode()
            case "body-hash:base64":
                return base64.b64encode(hashlib.new(self._hash_name, request.body).digest())
            case "form":
                return _sorted_form(request, has_url="url" in self._template.parts)
            case "form-pairs":
                return _form_pairs(request, self._fields_apart)
            case "body-crc32":
                return str(zlib.crc32(request.body)).encode()
            case "receiver-id":
                return request_fields.octets(self._settings.receiver_id or "")
            case _ if members := members_of(part):
                return _lines_of(members, request)
            case _:
                place = place_of(part)
                return request_fields.octets(
                    _required([place], request) if place.kind == "header" else place.find(request) or ""
                )


def secret_of(credential: Credential, encoding: SecretEncoding, prefix: str = "") -> bytes:
    """Return the bytes of a secret. Raise CredentialsError if it is not encoded as the settings say."""
    text = credential.secret().removeprefix(prefix.encode())
    try:
        match encoding:
            case "text":
                secret = text
            case "hex":
                secret = bytes.fromhex(text.decode("ascii"))
            case "base64":
                secret = base64.b64decode(text, validate=True)
            case "base64url":
                if b"+" in text or b"/" in text:  # the library accepts them too
                    raise credential.error("is not in the secret_encoding base64url")
                secret = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise credential.error(f"is not in the secret_encoding {encoding}") from None
    if not secret:
        raise credential.error("is empty")
    if is_public_key(secret):
        raise credential.error("is a public key, which anyone can have; an HMAC needs a secret")
    return secret


def hmac_key(settings: HmacSettings, credential: Credential) -> bytes:
    """Return the key of a secret. Raise CredentialsError if the secret is not encoded as the settings say."""
    secret = secret_of(credential, settings.secret_encoding, settings.secret_prefix)
    return secret if settings.secret_hash is None else hashlib.new(settings.secret_hash, secret).digest()


def _required(places: Sequence[Place], request: Request) -> str:
    for place in places:
        if (found := place.find(request)) is not None:
            return found
    raise VerificationError(f"{places[0]} is missing", FailureReason.MISSING)


def _lines_of(members: Sequence[tuple[str, bool]], request: Request) -> bytes:
    """Return a line with the name, and then the text, of each member of the body that is there."""
    lines = []
    for index, (name, is_required) in enumerate(members):
        place = Place("json", f"/{name}")
        value = place.find(request)
        if value is None:
            if is_required:
                raise VerificationError(f"{place} is missing", FailureReason.MISSING)
            continue
        if index and "\n" in value:
            raise VerificationError(f"{place} contains a line break, so the signed text has more than one meaning")
        lines.append(f"{name}\n{value}\n")
    return request_fields.octets("".join(lines))


def _lines_of_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return a line `Name: value` for each header, with the names as the list has them."""
    if any("\n" in value for _, value in headers):
        raise VerificationError("a signed header has a line break")
    return request_fields.octets("".join(f"{name}: {value}\n" for name, value in headers))


def _list_of_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return headers as `name:value;name:value`, with the names as the list has them."""
    items = [f"{name}:{value}" for name, value in headers]
    text = ";".join(items)
    if (_NEXT_HEADER.split(text) if items else []) != items:
        raise VerificationError("a signed header has a value that could be another header")
    return request_fields.octets(text)


def _fields(values: Sequence[str], name: str) -> list[str]:
    """Return the values of a field in a list like `t=1`, `v1=…`."""
    return [text for each, _, text in (value.partition("=") for value in values) if each == name]


def _refuse_ambiguous_names(body: bytes, members: Collection[str]) -> None:
    """Refuse JSON of which the handler's parser may read another value than the signed one.

    Many parsers ignore the case of a name (Go, .NET), and take the last of two values. So a name must not occur twice
    in an object, and no signed member of the body may be there in another case, also one that is not there itself.
    """
    try:
        content = json.loads(body, object_pairs_hook=_object_of)
    except (ValueError, RecursionError):
        raise VerificationError("the JSON cannot be read, or a name occurs more than once in an object") from None
    folded = {name.casefold() for name in members}
    if isinstance(content, dict) and any(name.casefold() in folded for name in content.keys() - members):
        raise VerificationError("a signed member has its name in another case")


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name.casefold() for name, _ in pairs}) != len(pairs):
        raise ValueError
    return dict(pairs)


def _sorted_form(request: Request, *, has_url: bool) -> bytes:
    """Return the names and values of a form, sorted by name and without marks between them. Empty: there is no form.

    Each pair counts once, as in the libraries of Twilio. Twilio writes the hash of a body that is no form into the URL.
    """
    if request.body and not request.is_form:
        hashes_named = [value for name, value in request.query if name == "bodySHA256"]
        if not has_url or hashes_named != [hashlib.sha256(request.body).hexdigest()]:
            raise VerificationError("the request has a body that is not signed")
        return b""
    pairs = sorted(set(request_fields.form(request))) if request.is_form else []
    text = "".join(f"{name}{value}" for name, value in pairs)
    if text.startswith(("?", "&")):
        raise VerificationError("the form begins as the query of a URL does")
    return request_fields.octets(text)


def _query_pairs(request: Request, signatures: Collection[str]) -> bytes:
    """Return the sorted parameters of the query without the signatures, as `a=1&b=2`, as the library of Shopify does.

    The marks in names and values are escaped, so it has one meaning.
    """
    pairs = [(name, value) for name, value in request.query if name not in signatures]
    if len(dict(pairs)) != len(pairs):
        raise VerificationError("a parameter occurs more than once")
    escaped = (
        f"{name.replace('%', '%25').replace('=', '%3D')}={value.replace('%', '%25')}".replace("&", "%26")
        for name, value in pairs
    )
    return request_fields.octets("&".join(sorted(escaped)))


def _format(text: str) -> re.Pattern[str]:
    """Return what the value of a list of fields has to be. A signature can be empty: `explain` has one without."""
    before, between, _ = map(re.escape, re.split(r"\{timestamp\}|\{signature\}", text))
    return re.compile(f"{before}[0-9]+{between}[A-Za-z0-9+/_-]*")


def _form_pairs(request: Request, apart: Collection[str]) -> bytes:
    """Return the sorted fields of a form as `a=1&b=2`, without those about the signature, as Alipay joins them.

    Nothing is escaped. A value may contain `&`, but not so that the text could also be read as another pair.
    """
    if request.body and not request.is_form:
        raise VerificationError("the request has a body that is not signed")
    pairs = sorted(pair for pair in request_fields.form(request) if pair[0] not in apart)
    read: list[tuple[str, str]] = []
    text = "&".join(f"{name}={value}" for name, value in pairs)
    for piece in text.split("&"):
        name, mark, value = piece.partition("=")
        if mark or not read:
            read.append((name, value))
        else:
            read[-1] = (read[-1][0], f"{read[-1][1]}&{piece}")
    if read != pairs or len(dict(pairs)) != len(pairs):
        raise VerificationError("the form can be read in more than one way")
    return request_fields.octets(text)


def make_hmac_signature(settings: HmacSettings, credentials: Sequence[Credential]) -> Signature:
    """Return the verifier of the settings. Raise CredentialsError if a file cannot be used."""
    return Signature(settings, HmacChecker(settings, credentials), settings.algorithm)


def make_key_signature(
    settings: PublicKeySettings, keys: KeysOfRequest, note_proven: Callable[[Request], None] = lambda _request: None
) -> Signature:
    """Return the verifier of the settings with these keys. It calls `note_proven` with what has a valid signature."""
    name = (settings.algorithm or "").rpartition("-")[2]
    hash_name = name if name in HASHES else "sha256"  # Ed25519 has no hash function to choose
    return Signature(settings, PublicKeyChecker(settings, keys, note_proven), hash_name)


def keys_of_files(settings: PublicKeySettings, credentials: Sequence[Credential]) -> KeysOfRequest:
    """Return the keys of files. Raise CredentialsError if a file has no key for the algorithms."""
    found = [(index, key) for index, each in enumerate(credentials) for key in usable_keys(each, settings)]
    return lambda _request, _url: found


def usable_keys(credential: Credential, settings: PublicKeySettings) -> list[Any]:
    """Return the keys of a file for one of the algorithms. Raise CredentialsError if there is none."""
    algorithms = settings.allowed_algorithms
    keys = [key for key, _, _ in public_keys(credential)]
    usable = [key for key in keys if any(_key_verifier(algorithm, key) for algorithm in algorithms)]
    if not usable:
        names = ", ".join(dict.fromkeys(algorithms))
        raise credential.error(f"has no key for the algorithm {names}")
    return usable


def _in_der_form(signature: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the DER form of r and s, or raise InvalidSignature if they are not as long as the key (IEEE P1363)."""
    length = (key.curve.key_size + 7) // 8
    if len(signature) != 2 * length:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(signature[:length]), int.from_bytes(signature[length:]))


def _key_verifier(algorithm: str, key: Any) -> Callable[[bytes, bytes], None] | None:
    """Return the function that verifies signatures, or None if the key is not for this algorithm, or is too short."""
    kind, _, rest = algorithm.partition("-")
    match key:
        case ed25519.Ed25519PublicKey() if kind == "ed25519":
            return key.verify
        case ec.EllipticCurvePublicKey() if kind == "ecdsa":
            scheme = ec.ECDSA(HASHES[rest.removeprefix("raw-")])
            if rest.startswith("raw-"):
                return lambda signature, signed: key.verify(_in_der_form(signature, key), signed, scheme)
            return lambda signature, signed: key.verify(signature, signed, scheme)
        case rsa.RSAPublicKey() if kind == "rsa" and is_rsa(key):
            digest = HASHES[rest.removeprefix("pss-")]
            pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            fill = pss if rest.startswith("pss-") else padding.PKCS1v15()
            return lambda signature, signed: key.verify(signature, signed, fill, digest)
    return None
